"""Pairs, accounts, strategies and positions."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from market_maker.api.schemas.bases import Code, Name, Request, View

ContractName = Literal["SPOT", "LINEAR", "INVERSE"]


class NewPair(Request):
    """A new pair; with `initial_price` a simulated market starts for it, of any but an INVERSE contract.

    `contract_multiplier` is what one unit of quantity stands for: 50 of a future of 50 USD a point.
    """

    symbol: Code
    base: Code
    quote: Code
    tick_size: Decimal
    lot_size: Decimal
    venue: Code = "simulator"
    contract_type: ContractName = "LINEAR"
    contract_multiplier: Decimal = Decimal(1)
    maker_fee: Decimal = Decimal(0)
    taker_fee: Decimal = Decimal(0)
    initial_price: Decimal | None = None


class PairView(View):
    """A pair."""

    pair_id: UUID
    venue: str
    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    contract_type: ContractName
    contract_multiplier: Decimal
    maker_fee: Decimal
    taker_fee: Decimal
    initial_price: Decimal | None
    is_simulated: bool


class PairList(View):
    """All pairs."""

    items: list[PairView]


class ChangePair(Request):
    """Terms of a pair to change; those left out stay. Fees: while no market of it runs.

    Contract type, multiplier and currencies: while there are no orders, markets or positions of accounts in the pair and no
    run is on its way; the positions that backtests left in it go. Tick and lot: while, beside that, no day is recorded.
    """

    maker_fee: Decimal | None = None
    taker_fee: Decimal | None = None
    contract_type: ContractName | None = None
    contract_multiplier: Decimal | None = None
    base: Code | None = None
    quote: Code | None = None
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None


class PairChangeView(View):
    """One change of a pair: by field the text `from` which and `to` which; `by` is the API key, or the user of a command.

    Null where no key is needed.
    """

    change_id: UUID
    ts: str
    changes: dict[str, dict[str, str]]
    by: str | None
    correlation_id: str | None


class PairChangePage(View):
    """Changes of a pair, newest first."""

    items: list[PairChangeView]
    next: str | None


class NewAccount(Request):
    """A new account; `balance` such as `100000 USDT`, default from the settings."""

    name: Name
    balance: str | None = None


class BalanceView(View):
    """What an account has of a currency. `reserved`: the worst case of what it holds and has ordered; `available`: the rest."""

    currency: str
    total: Decimal
    reserved: Decimal
    available: Decimal


class AccountView(View):
    """An account; `balance` is the first one plus transfers and realised results less fees."""

    account_id: UUID
    name: str
    currency: str
    initial_balance: Decimal
    transferred: Decimal
    balance: Decimal
    balances: list[BalanceView]


class NewTransfer(Request):
    """Money into an account, or out of it if `amount` is negative; `currency`, if given, must be the account's."""

    amount: Decimal
    currency: Code | None = None


class TransferView(View):
    """Money that went into an account or out of it; `number` counts the account's transfers.

    `reason`: TRANSFER by a user, RESET to the first balance.
    """

    transfer_id: UUID
    account_id: UUID
    number: int
    amount: Decimal
    currency: str
    reason: Literal["TRANSFER", "RESET"]
    ts: str


class TransferPage(View):
    """Transfers of an account, newest first."""

    items: list[TransferView]
    next: str | None


class AccountList(View):
    """All accounts."""

    items: list[AccountView]


class NewStrategy(Request):
    """A strategy: an installed kind, by name, with parameters for one pair."""

    name: Name
    kind: Annotated[str, Meta(min_length=1, max_length=100)]
    pair_id: UUID
    parameters: dict[str, Any] = {}


class StrategyView(View):
    """A strategy with all its parameters."""

    strategy_id: UUID
    name: str
    kind: str
    pair_id: UUID
    parameters: dict[str, Any]


class StrategyKindView(View):
    """An installed kind of strategy; `parameters` is a JSON schema."""

    kind: str
    summary: str
    parameters: dict[str, Any]


class StrategyList(View):
    """All strategies, and the kinds that are installed."""

    items: list[StrategyView]
    kinds: list[StrategyKindView]


class NewPosition(Request):
    """A position to hold: one per account, strategy and pair. `quantity` needs an `average_price` unless a market runs."""

    pair_id: UUID
    account_id: UUID | None = None
    strategy_id: UUID | None = None
    quantity: Decimal = Decimal(0)
    average_price: Decimal | None = None


class ChangePosition(Request):
    """Bring a position to `quantity`; the difference is transferred at `average_price`, else at the mark."""

    quantity: Decimal
    average_price: Decimal | None = None
    version: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class PositionView(View):
    """A position. Results and fees are in `currency`: the quote of its pair, the base of an INVERSE one."""

    position_id: UUID
    pair_id: UUID
    account_id: UUID
    strategy_id: UUID | None
    quantity: Decimal
    average_price: Decimal | None
    realised_pnl: Decimal
    unrealised_pnl: Decimal | None
    fees: Decimal
    mark_price: Decimal | None
    updated_ts: str
    version: int
    currency: str


class PositionPage(View):
    """Positions, newest first."""

    items: list[PositionView]
    next: str | None


class PositionTransferView(View):
    """A quantity that came into a position (BUY) or went out of it (SELL) at a price, without a trade or a fee.

    By `PATCH` of the position, or by the reset of its account.
    """

    transfer_id: UUID
    position_id: UUID
    side: Literal["BUY", "SELL"]
    price: Decimal
    quantity: Decimal
    ts: str


class PositionTransferPage(View):
    """Transfers of a position, newest first."""

    items: list[PositionTransferView]
    next: str | None
