"""What is to be assessed: the positions of a scope with their prices, books, resting orders and the equity behind them.

Reads; computes no figure of risk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from market_maker.domain.clock import Clock
from market_maker.domain.errors import InvalidRequest, NotFound
from market_maker.domain.ids import BACKTEST_ACCOUNT_ID, MARKET_ACCOUNT_ID
from market_maker.domain.instrument import EXACT
from market_maker.domain.position import PositionState
from market_maker.risk.market_view import MarketView
from market_maker.risk.measures import Scope
from market_maker.risk.positions import Holding, in_one_currency
from market_maker.risk.prices import PriceSource
from market_maker.risk.sections import Funds
from market_maker.storage.database import Database
from market_maker.storage.reference import ReferenceData
from market_maker.storage.simulation import get_positions, get_positions_beside

POSITIONS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Subject:
    """What is assessed at an instant: holdings, the named one first, and the funds of the one account they belong to.

    `account_gross` is the sum of the sizes of all values of the named one's account. `closed` is what positions of the scope
    that are flat by now have earned, of those that settle in the currency of the others. Money is in that currency, but the
    equity of `funds`: it is the account's.
    """

    holdings: Sequence[Holding]
    scope: Scope
    as_of_ts: int
    funds: Funds | None
    account_gross: Decimal
    closed: Decimal = Decimal(0)


class Subjects:
    """Finds what is to be assessed.

    Parameters
    ----------
    database, reference, prices, markets, clock : where to look
    maintenance_rate : share of a position's value that has to be there as equity
    """

    def __init__(
        self,
        database: Database,
        reference: ReferenceData,
        prices: PriceSource,
        markets: MarketView,
        clock: Clock,
        maintenance_rate: Decimal,
    ) -> None:
        self._database = database
        self._reference = reference
        self._prices = prices
        self._markets = markets
        self._clock = clock
        self._maintenance_rate = maintenance_rate

    async def find(self, position_id: UUID, scope: Scope, currency: str | None = None) -> Subject:
        """Return a position, or all that it is a part of, in a currency, see `in_one_currency`.

        Raises
        ------
        NotFound : no such position
        InvalidRequest : the scope STRATEGY of a position without one, more than 1,000 positions, or several currencies
        DataError : no price history
        """
        await self._reference.refresh_pairs()
        others = await get_positions_beside(self._database, position_id, POSITIONS_MAX)
        if not others or others[0].account_id == MARKET_ACCOUNT_ID:
            raise NotFound.of("position", "position_id", str(position_id))
        named = others[0]
        covered = [each for each in await self._members(named, scope, others) if each.position_id != position_id]
        members = [named, *(each for each in covered if each.qty_lots)]
        now = self._clock.now_ns()
        holdings = in_one_currency(await self._holdings(members, now), currency)
        accounts = {state.account_id for state in members}
        equity, gross = await self._equity(named.account_id, others, holdings)
        funds = Funds(equity, self._maintenance_rate) if len(accounts) == 1 else None
        if holdings[0].is_in_coins:
            gross = EXACT.divide(gross, holdings[0].mark_price)
        return Subject(holdings, scope, now, funds, gross, await self._closed(holdings[0].currency, covered))

    async def _closed(self, currency: str, covered: list[PositionState]) -> Decimal:
        """Return the results of the flat ones of some positions that are settled in a currency."""
        total = Decimal(0)
        for state in covered:
            instrument = (await self._reference.pair(state.pair_id)).instrument
            if not state.qty_lots and instrument.settled_in == currency:
                total += instrument.cash_to_decimal(state.realised_tick_lots - state.fees_tick_lots)
        return total

    async def _members(
        self, named: PositionState, scope: Scope, of_account: list[PositionState]
    ) -> list[PositionState]:
        """Return the positions of the scope, flat ones too."""
        if scope is Scope.POSITION:
            return []
        # What backtests end with is not held by anyone.
        beside = [MARKET_ACCOUNT_ID] + [BACKTEST_ACCOUNT_ID] * (named.account_id != BACKTEST_ACCOUNT_ID)
        found = of_account
        if scope is Scope.STRATEGY:
            if named.strategy_id is None:
                raise InvalidRequest.of(
                    "scope", scope.value, "POSITION, PAIR, ACCOUNT or BOOK for a position without strategy"
                )
            found = await get_positions(
                self._database, strategy_id=named.strategy_id, other_than=beside, limit=POSITIONS_MAX
            )
        elif scope in (Scope.BOOK, Scope.PAIR):
            pair_id = named.pair_id if scope is Scope.PAIR else None
            found = await get_positions(self._database, pair_id=pair_id, other_than=beside, limit=POSITIONS_MAX)
        if len(found) >= POSITIONS_MAX:
            raise InvalidRequest.of("scope", scope.value, f"a scope of fewer than {POSITIONS_MAX} positions")
        return found

    async def _holdings(self, members: list[PositionState], now: int) -> list[Holding]:
        wanted = frozenset(state.position_id for state in members)
        pairs = {}
        for pair_id in dict.fromkeys(state.pair_id for state in members):
            instrument = (await self._reference.pair(pair_id)).instrument
            history = await self._prices.history(instrument, now)
            pairs[pair_id] = (instrument, history, await self._markets.look(pair_id, wanted))
        holdings = []
        for state in members:
            instrument, history, look = pairs[state.pair_id]
            book, orders = (None, ()) if look is None else (look.book, look.orders.get(state.position_id, ()))
            holdings.append(Holding(state, instrument, history, None, book, orders))
        return holdings

    async def _equity(
        self, account_id: UUID, positions: list[PositionState], holdings: Sequence[Holding]
    ) -> tuple[Decimal, Decimal]:
        """Return balance and unrealised results, and the sum of the sizes of all values.

        Each position at its mark; one whose price nobody knows counts at its cost. One of an INVERSE contract is turned into its
        quote at the mark, and left out where nobody knows that: it is settled in another currency.
        """
        marks = {holding.instrument.pair_id: holding.mark for holding in holdings}
        in_quote = {each.position.position_id: each for each in _in_quote(holdings)}
        balance = self._markets.balance(account_id)
        account = await self._reference.account(account_id)
        equity = account.initial_balance if balance is None else balance
        gross = Decimal(0)
        for state in positions:
            instrument = (await self._reference.pair(state.pair_id)).instrument
            if instrument.inverse_scale:
                known = in_quote.get(state.position_id)
                if known is not None:
                    equity += known.result
                    gross += abs(known.value)
                continue
            if balance is None:
                equity += instrument.cash_to_decimal(state.realised_tick_lots - state.fees_tick_lots)
            ticks = self._markets.reference_ticks(state.pair_id)
            half_ticks = marks.get(state.pair_id, None if ticks is None else 2 * ticks)
            value = 2 * state.cost_tick_lots if half_ticks is None else half_ticks * state.qty_lots
            equity += EXACT.divide(instrument.cash_to_decimal(value - 2 * state.cost_tick_lots), Decimal(2))
            gross += EXACT.divide(instrument.cash_to_decimal(abs(value)), Decimal(2))
        return equity, gross


def _in_quote(holdings: Sequence[Holding]) -> list[Holding]:
    return [replace(holding, in_quote=True) for holding in holdings if holding.instrument.inverse_scale]
