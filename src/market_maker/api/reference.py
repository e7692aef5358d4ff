"""/api/v1: pairs, accounts, strategies and positions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from litestar import Controller, Response, get, patch, post
from litestar.params import FromPath, FromQuery

from market_maker.api.answers import After, AnyRequest, Limit, Service, answer, body_of, page
from market_maker.api.own_account import account_of, bound_account
from market_maker.api.schemas import (
    AccountList,
    AccountView,
    ChangePair,
    ChangePosition,
    NewAccount,
    NewPair,
    NewPosition,
    NewStrategy,
    NewTransfer,
    PairChangePage,
    PairList,
    PairView,
    PositionPage,
    PositionTransferPage,
    PositionView,
    StrategyList,
    StrategyView,
    TransferPage,
    TransferView,
)
from market_maker.domain.events import position_data
from market_maker.service import new_instrument


class Pairs(Controller):
    """Pairs."""

    path = "/api/v1/pairs"
    tags = ("reference",)

    @get(summary="List pairs")
    async def find(self, service: Service) -> Response[PairList]:
        """Return all pairs, oldest first."""
        return answer(PairList, {"items": await service.directory.pairs()})

    @get("/{pair_id:uuid}", summary="One pair")
    async def one(self, service: Service, pair_id: FromPath[UUID]) -> Response[PairView]:
        """Return a pair."""
        return answer(PairView, await service.directory.pair(pair_id))

    @post(status_code=201, opt={"body": NewPair}, summary="Add a pair")
    async def add(self, request: AnyRequest, service: Service) -> Response[PairView]:
        """Add a pair; with `initial_price` a simulated market starts for it."""
        wish = await body_of(request, NewPair)
        instrument = new_instrument(
            venue=wish.venue,
            symbol=wish.symbol,
            base=wish.base,
            quote=wish.quote,
            tick_size=wish.tick_size,
            lot_size=wish.lot_size,
            contract_type=wish.contract_type,
            maker_fee=wish.maker_fee,
            taker_fee=wish.taker_fee,
            contract_multiplier=wish.contract_multiplier,
        )
        data = await service.directory.add_pair(instrument, wish.initial_price)
        return answer(PairView, data, 201, {"Location": f"/api/v1/pairs/{data['pair_id']}"})

    @patch("/{pair_id:uuid}", opt={"body": ChangePair}, summary="Change a pair")
    async def change(self, request: AnyRequest, service: Service, pair_id: FromPath[UUID]) -> Response[PairView]:
        """Change terms of a pair; 409 when rows are kept in units of the term. Runs and markets keep those they began with."""
        wish = await body_of(request, ChangePair)
        values = {name: getattr(wish, name) for name in wish.__struct_fields__}
        changes = {name: value for name, value in values.items() if value is not None}
        return answer(PairView, await service.directory.change_pair(pair_id, changes))

    @get("/{pair_id:uuid}/changes", summary="Changes of a pair")
    async def changes(
        self, service: Service, pair_id: FromPath[UUID], after: After = None, limit: Limit = 100
    ) -> Response[PairChangePage]:
        """Return what was changed of a pair by hand or by an import, newest first."""
        return page(PairChangePage, await service.directory.pair_changes(pair_id, after, limit), "change_id", limit)


class Accounts(Controller):
    """Accounts."""

    path = "/api/v1/accounts"
    tags = ("reference",)

    @get(summary="List accounts")
    async def find(self, service: Service) -> Response[AccountList]:
        """Return all accounts with their balances."""
        return answer(AccountList, {"items": _own(await service.directory.accounts())})

    @post(status_code=201, opt={"body": NewAccount}, summary="Add an account")
    async def add(self, request: AnyRequest, service: Service) -> Response[AccountView]:
        """Add an account with a first balance."""
        wish = await body_of(request, NewAccount)
        return answer(AccountView, await service.directory.add_account(wish.name, wish.balance), 201)

    @get("/{account_id:uuid}", summary="One account")
    async def one(self, service: Service, account_id: FromPath[UUID]) -> Response[AccountView]:
        """Return an account with its balances: total, reserved and available."""
        return answer(AccountView, await service.directory.account(account_id))

    @post("/{account_id:uuid}/transfers", status_code=201, opt={"body": NewTransfer}, summary="Transfer money")
    async def transfer(
        self, request: AnyRequest, service: Service, account_id: FromPath[UUID]
    ) -> Response[TransferView]:
        """Bring money into an account, or out of it what is available (409 otherwise); durable when answered."""
        wish = await body_of(request, NewTransfer)
        made = await service.parts.simulator.accounts.transfer(account_id, wish.amount, wish.currency)
        return answer(TransferView, made, 201)

    @get("/{account_id:uuid}/transfers", summary="Transfers and resets of an account")
    async def transfers(
        self, service: Service, account_id: FromPath[UUID], after: After = None, limit: Limit = 100
    ) -> Response[TransferPage]:
        """Return what went into an account and out of it, newest first; their sum is `transferred` of the account."""
        items = await service.parts.simulator.accounts.transfers(account_id, after=after, limit=limit)
        return page(TransferPage, items, "transfer_id", limit)

    @post("/{account_id:uuid}/reset", status_code=200, summary="Give an account a fresh start")
    async def reset(self, service: Service, account_id: FromPath[UUID]) -> Response[AccountView]:
        """Cancel an account's orders, bring its positions to zero at the reference price, and its balance to the first one."""
        return answer(AccountView, await service.parts.simulator.accounts.reset(account_id))


class Strategies(Controller):
    """Strategies."""

    path = "/api/v1/strategies"
    tags = ("reference",)

    @get(summary="List strategies")
    async def find(self, service: Service) -> Response[StrategyList]:
        """Return all strategies, and the installed kinds with the schema of their parameters."""
        return answer(
            StrategyList, {"items": await service.directory.strategies(), "kinds": service.directory.strategy_kinds()}
        )

    @get("/{strategy_id:uuid}", summary="One strategy")
    async def one(self, service: Service, strategy_id: FromPath[UUID]) -> Response[StrategyView]:
        """Return a strategy."""
        return answer(StrategyView, await service.directory.strategy(strategy_id))

    @post(status_code=201, opt={"body": NewStrategy}, summary="Add a strategy")
    async def add(self, request: AnyRequest, service: Service) -> Response[StrategyView]:
        """Add a strategy: an installed kind with parameters for one pair. Code never comes through the API."""
        wish = await body_of(request, NewStrategy)
        data = await service.directory.add_strategy(wish.name, wish.kind, wish.parameters, wish.pair_id)
        return answer(StrategyView, data, 201, {"Location": f"/api/v1/strategies/{data['strategy_id']}"})


class Positions(Controller):
    """Positions."""

    path = "/api/v1/positions"
    tags = ("reference",)

    @get(summary="List positions")
    async def find(
        self,
        service: Service,
        pair_id: FromQuery[UUID | None] = None,
        account_id: FromQuery[UUID | None] = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response[PositionPage]:
        """Return positions, newest first, valued where a market runs."""
        found = await service.get_positions(
            pair_id=pair_id, account_id=account_of(account_id), after=after, limit=limit
        )
        items: list[dict[str, Any]] = [position_data(position) for position in found]
        return page(PositionPage, items, "position_id", limit)

    @get("/{position_id:uuid}", summary="One position")
    async def one(self, service: Service, position_id: FromPath[UUID]) -> Response[PositionView]:
        """Return a position."""
        return answer(PositionView, position_data(await service.get_position(position_id)))

    @get("/{position_id:uuid}/transfers", summary="Transfers of a position")
    async def transfers(
        self, service: Service, position_id: FromPath[UUID], after: After = None, limit: Limit = 100
    ) -> Response[PositionTransferPage]:
        """Return what was brought into a position or out of it without a trade, newest first, resets as well."""
        items = await service.directory.position_transfers(position_id, after, limit)
        return page(PositionTransferPage, items, "transfer_id", limit)

    @post(status_code=201, opt={"body": NewPosition}, summary="Open a position")
    async def add(self, request: AnyRequest, service: Service) -> Response[PositionView]:
        """Return the position of an account, strategy and pair, made when there is none and brought to `quantity`."""
        wish = await body_of(request, NewPosition)
        position = await service.open_position(
            account_of(wish.account_id), wish.strategy_id, wish.pair_id, wish.quantity, wish.average_price
        )
        return answer(PositionView, position_data(position), 201)

    @patch("/{position_id:uuid}", opt={"body": ChangePosition}, summary="Update a position")
    async def update(
        self, request: AnyRequest, service: Service, position_id: FromPath[UUID]
    ) -> Response[PositionView]:
        """Bring a position to `quantity`; `version`, if given, must be the present one (409 otherwise)."""
        wish = await body_of(request, ChangePosition)
        position = await service.change_position(position_id, wish.quantity, wish.average_price, wish.version)
        return answer(PositionView, position_data(position))


def _own(accounts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the accounts that the request may see."""
    own = bound_account()
    return accounts if own is None else [account for account in accounts if account["account_id"] == str(own)]
