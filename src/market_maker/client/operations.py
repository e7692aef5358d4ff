"""Every operation of the REST API, described once: arguments of the user in, `Call` out.

Money is given as Decimal, int or text, never as float; ids as UUID or text. tests/unit/client holds this against the
OpenAPI document, both ways. It is long because the API is: one description per endpoint, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import update_wrapper
from types import NoneType
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload
from uuid import UUID

import msgspec

from market_maker.api import schemas
from market_maker.client.conversation import Call
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.ids import new_id

P = ParamSpec("P")
Answer = TypeVar("Answer")
Id = UUID | str
Money = Decimal | int | str
Number = Decimal | int | float
Side = Literal["BUY", "SELL"]


class SyncSender:
    """Whose operations return answers."""

    def send(self, call: Call[Answer]) -> Answer:
        """Send a call and return its answer."""
        raise AssertionError(call)


class AsyncSender:
    """Whose operations return coroutines."""

    async def send(self, call: Call[Answer]) -> Answer:
        """Send a call and return its answer."""
        raise AssertionError(call)


class Operation(Generic[P, Answer]):
    """Makes a method that describes a call into one that sends it: now, or as a coroutine, by the client's kind."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Call[Answer]]) -> None:
        self.describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, client: None, owner: Any = None) -> Operation[P, Answer]: ...
    @overload
    def __get__(self, client: SyncSender, owner: Any = None) -> Callable[P, Answer]: ...
    @overload
    def __get__(self, client: AsyncSender, owner: Any = None) -> Callable[P, Coroutine[Any, Any, Answer]]: ...
    def __get__(self, client: SyncSender | AsyncSender | None, owner: Any = None) -> Any:
        """Return the operation bound to a client."""
        if client is None:
            return self

        def operate(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.send(self.describe(client, *args, **kwargs))

        return update_wrapper(operate, self.describe)


def _id(value: Id, field: str) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise InvalidRequest.of(field, value, "a UUID, or its text") from None


def _optional_id(value: Id | None, field: str) -> UUID | None:
    return None if value is None else _id(value, field)


def _money(value: Money, field: str) -> Decimal:
    if isinstance(value, float | bool):
        raise InvalidRequest.of(field, value, 'Decimal, int or text; a float is not exact: write "0.1"')
    try:
        return Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise InvalidRequest.of(field, value, "a decimal number") from None


def _optional_money(value: Money | None, field: str) -> Decimal | None:
    return None if value is None else _money(value, field)


def _kind(price: Money | None, stop_price: Money | None) -> schemas.OrderKind:
    """Return the type of order that has these prices."""
    if stop_price is None:
        return "MARKET" if price is None else "LIMIT"
    return "STOP" if price is None else "STOP_LIMIT"


def _conditions(value: schemas.MarketConditions | Mapping[str, Any] | None) -> schemas.MarketConditions | None:
    if value is None or isinstance(value, schemas.MarketConditions):
        return value
    try:
        return msgspec.convert(dict(value), schemas.MarketConditions)
    except msgspec.ValidationError as error:
        allowed = (
            "volatility above 0 up to 10, trend UP, DOWN or SIDEWAYS, volume_profile LOW, NORMAL, HIGH or U_SHAPED"
        )
        raise InvalidRequest.of("market_conditions", dict(value), f"{allowed} ({error})") from error


def _limits(given: Sequence[schemas.RunLimit | Mapping[str, Any]]) -> list[schemas.RunLimit]:
    found = []
    for number, value in enumerate(given):
        if isinstance(value, schemas.RunLimit):
            found.append(value)
            continue
        fields = dict(value)
        for name in ("threshold", "warn_share"):
            if name in fields:
                fields[name] = _money(fields[name], f"limits[{number}].{name}")
        try:
            found.append(msgspec.convert(fields, schemas.RunLimit))
        except msgspec.ValidationError as error:
            allowed = f"kind, threshold and, if wanted, warn_share and on_breach ({error})"
            raise InvalidRequest.of(f"limits[{number}]", dict(value), allowed) from error
    return found


def _number(value: Number, field: str) -> Decimal:
    """Return a parameter's value; a float as it is written, so that 0.1 is one tenth."""
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise InvalidRequest.of(field, value, "a number") from None


def _grid(
    given: Mapping[str, Sequence[Number] | Mapping[str, Number]],
) -> dict[str, list[Decimal] | schemas.GridRange]:
    grid: dict[str, list[Decimal] | schemas.GridRange] = {}
    for name, choices in given.items():
        field = f"grid.{name}"
        if not isinstance(choices, Mapping):
            grid[name] = [_number(value, field) for value in choices]
        elif {"from", "to"} <= choices.keys() <= {"from", "to", "step"}:
            ends = [_number(choices.get(end, 1), field) for end in ("from", "to", "step")]
            grid[name] = schemas.GridRange(first=ends[0], last=ends[1], step=ends[2])
        else:
            raise InvalidRequest.of(field, dict(choices), "a list of values, or from, to and step")
    return grid


class Operations:
    """The operations that both clients offer; wrong requests raise the errors of `domain.errors`."""

    # ------------------------------------------------------------------ simulator

    @Operation
    def place_order(
        self,
        pair_id: Id,
        side: Side,
        amount: Money,
        price: Money | None = None,
        *,
        type: schemas.OrderKind | None = None,  # noqa: A002 (the API's word)
        stop_price: Money | None = None,
        display_amount: Money | None = None,
        self_trade_prevention: schemas.Prevention | None = None,
        strategy_id: Id | None = None,
        account_id: Id | None = None,
        client_order_id: str | None = None,
        time_in_force: Literal["GTC", "IOC", "FOK", "GTD"] | None = None,
        post_only: bool = False,
        expire_time: str | None = None,
        execution_probability: float = 1.0,
        price_impact: float = 0.0,
        wait: bool = False,
    ) -> Call[schemas.OrderView]:
        """Place a simulated order: LIMIT with a price, MARKET without, unless `type` says so; with `stop_price` a stop.

        It is sent again after a lost connection or 503 and never placed twice: `client_order_id`, else a fresh
        Idempotency-Key, tells the service. With `wait` the answer is the outcome, else the durable acceptance.
        """
        return Call(
            "POST",
            "/api/v1/simulator/orders",
            schemas.OrderView,
            query={"wait": wait},
            body=schemas.PlaceOrder(
                pair_id=_id(pair_id, "pair_id"),
                side=side,
                type=type or _kind(price, stop_price),
                stop_price=_optional_money(stop_price, "stop_price"),
                display_amount=_optional_money(display_amount, "display_amount"),
                self_trade_prevention=self_trade_prevention,
                amount=_money(amount, "amount"),
                price=_optional_money(price, "price"),
                strategy_id=_optional_id(strategy_id, "strategy_id"),
                account_id=_optional_id(account_id, "account_id"),
                client_order_id=client_order_id,
                time_in_force=time_in_force,
                post_only=post_only,
                expire_time=expire_time,
                simulation_params=schemas.SimulationParams(
                    execution_probability=execution_probability, price_impact=price_impact
                ),
            ),
            idempotency_key=new_id().hex if client_order_id is None else None,
            is_repeatable=True,
        )

    @Operation
    def get_orders(
        self,
        *,
        pair_id: Id | None = None,
        strategy_id: Id | None = None,
        account_id: Id | None = None,
        is_open: bool | None = None,
        client_order_id: str | None = None,
        after: Id | None = None,
        limit: int = 100,
    ) -> Call[schemas.OrderPage]:
        """Return orders, newest first; `after` is the cursor `next` of the page before.

        By `client_order_id` those are found that are open or were placed in the last two days.
        """
        query = {
            "pair_id": pair_id,
            "strategy_id": strategy_id,
            "account_id": account_id,
            "is_open": is_open,
            "client_order_id": client_order_id,
            "after": after,
            "limit": limit,
        }
        return _get("/api/v1/simulator/orders", schemas.OrderPage, query)

    @Operation
    def get_order(self, order_id: Id) -> Call[schemas.OrderView]:
        """Return an order as committed."""
        return _get("/api/v1/simulator/orders/{order_id}", schemas.OrderView, order_id=order_id)

    @Operation
    def amend_order(
        self,
        order_id: Id,
        *,
        price: Money | None = None,
        amount: Money | None = None,
        stop_price: Money | None = None,
        wait: bool = False,
    ) -> Call[schemas.OrderView]:
        """Ask for another price, total amount or stop price; with `wait` the answer is the outcome."""
        body = schemas.AmendOrder(
            price=_optional_money(price, "price"),
            amount=_optional_money(amount, "amount"),
            stop_price=_optional_money(stop_price, "stop_price"),
        )
        path = {"order_id": _id(order_id, "order_id")}
        return Call(
            "PATCH", "/api/v1/simulator/orders/{order_id}", schemas.OrderView, path, query={"wait": wait}, body=body
        )

    @Operation
    def cancel_order(self, order_id: Id, *, wait: bool = False) -> Call[schemas.OrderView]:
        """Ask for an order to be cancelled; with `wait` the answer is the outcome."""
        path = {"order_id": _id(order_id, "order_id")}
        return Call("DELETE", "/api/v1/simulator/orders/{order_id}", schemas.OrderView, path, {"wait": wait})

    @Operation
    def cancel_all_orders(
        self, *, pair_id: Id | None = None, account_id: Id | None = None
    ) -> Call[schemas.CanceledOrders]:
        """Ask for all open orders (of one pair, of one account) to be cancelled."""
        query = {"pair_id": pair_id, "account_id": account_id}
        return Call("DELETE", "/api/v1/simulator/orders", schemas.CanceledOrders, query=query, is_repeatable=True)

    @Operation
    def get_trades(
        self,
        *,
        pair_id: Id | None = None,
        order_id: Id | None = None,
        account_id: Id | None = None,
        after: Id | None = None,
        limit: int = 100,
    ) -> Call[schemas.FillPage]:
        """Return the executions of our orders, newest first."""
        query = {"pair_id": pair_id, "order_id": order_id, "account_id": account_id, "after": after, "limit": limit}
        return _get("/api/v1/simulator/trades", schemas.FillPage, query)

    @Operation
    def execute_trade(self, pair_id: Id, side: Side, price: Money, amount: Money) -> Call[schemas.ExecutedTrade]:
        """Make a trade of the market happen; `side` is the aggressor's."""
        body = schemas.ExecuteTrade(
            pair_id=_id(pair_id, "pair_id"), side=side, price=_money(price, "price"), amount=_money(amount, "amount")
        )
        return Call("POST", "/api/v1/simulator/trades", schemas.ExecutedTrade, body=body)

    @Operation
    def get_order_book(self, pair_id: Id, depth: int = 20) -> Call[schemas.MarketBookView]:
        """Return the simulated book, `depth` levels a side (1 to 1000)."""
        return _get("/api/v1/simulator/orderbook/{pair_id}", schemas.MarketBookView, {"depth": depth}, pair_id=pair_id)

    @Operation
    def get_sessions(self, *, state_hash: bool = False) -> Call[schemas.SessionList]:
        """Return all markets that run or pause."""
        return _get("/api/v1/simulator/sessions", schemas.SessionList, {"state_hash": state_hash})

    @Operation
    def get_session(self, session_id: Id, *, state_hash: bool = False) -> Call[schemas.SessionView]:
        """Return a running session; with `state_hash` also the hash of its state."""
        path = "/api/v1/simulator/sessions/{session_id}"
        return _get(path, schemas.SessionView, {"state_hash": state_hash}, session_id=session_id)

    @Operation
    def start_session(
        self,
        pair_id: Id,
        *,
        mode: Literal["NORMAL", "STRESS", "CUSTOM"] = "NORMAL",
        seed: int | None = None,
        initial_price: Money | None = None,
        price_deviation: float | None = None,
        execution_delay: str | None = None,
        market_update_interval: str | None = None,
        speed: float | None = None,
        parameters: dict[str, Any] | None = None,
        scenarios: Sequence[schemas.StartScenario] = (),
        rules: schemas.TradingRules | None = None,
        phase: schemas.TradingPhase = "CONTINUOUS",
        playback: schemas.PlayRecording | None = None,
        state: Literal["RUNNING", "PAUSED"] = "RUNNING",
    ) -> Call[schemas.SessionView]:
        """Start a simulated market for a pair that has none; durations as ``100ms``.

        `parameters` are for mode CUSTOM, see `get_custom_schema`; `scenarios` for STRESS and CUSTOM. `playback`: the market
        is a recording of the lake, and orders stand in it and fill as in a backtest.
        """
        body = schemas.StartSession(
            pair_id=_id(pair_id, "pair_id"),
            mode=mode,
            seed=seed,
            initial_price=_optional_money(initial_price, "initial_price"),
            price_deviation=price_deviation,
            execution_delay=execution_delay,
            market_update_interval=market_update_interval,
            speed=speed,
            parameters=parameters,
            scenarios=list(scenarios),
            rules=rules,
            phase=phase,
            playback=playback,
            state=state,
        )
        return Call("POST", "/api/v1/simulator/sessions", schemas.SessionView, body=body)

    @Operation
    def change_session(
        self,
        session_id: Id,
        *,
        state: Literal["RUNNING", "PAUSED", "STOPPED"] | None = None,
        recording: bool | None = None,
        speed: float | None = None,
        step: str | None = None,
        mode: Literal["NORMAL", "STRESS", "CUSTOM"] | None = None,
        parameters: dict[str, Any] | None = None,
        rules: schemas.TradingRules | None = None,
        phase: schemas.TradingPhase | None = None,
    ) -> Call[schemas.SessionView]:
        """Change a market that runs: recording, mode and parameters, rules, phase, speed, step, state, in this order."""
        path = {"session_id": _id(session_id, "session_id")}
        body = schemas.ChangeSession(
            state=state, recording=recording, speed=speed, step=step, mode=mode, parameters=parameters, rules=rules,
            phase=phase,
        )  # fmt: skip
        return Call("PATCH", "/api/v1/simulator/sessions/{session_id}", schemas.SessionView, path, body=body)

    @Operation
    def get_scenario_kinds(self) -> Call[schemas.ScenarioKindList]:
        """Return the scenarios that there are, with a JSON schema of their parameters."""
        return _get("/api/v1/simulator/scenarios", schemas.ScenarioKindList)

    @Operation
    def get_custom_schema(self) -> Call[dict[str, Any]]:
        """Return the JSON schema of the parameters of mode CUSTOM."""
        return _get("/api/v1/simulator/custom-schema", dict)

    @Operation
    def get_scenarios(self, session_id: Id) -> Call[schemas.ScenarioList]:
        """Return the scenarios of a session, oldest first."""
        path = "/api/v1/simulator/sessions/{session_id}/scenarios"
        return _get(path, schemas.ScenarioList, session_id=session_id)

    @Operation
    def start_scenario(
        self,
        session_id: Id,
        name: str,
        *,
        parameters: Mapping[str, float] | None = None,
        starts_in: str | None = None,
        repeats_every: str | None = None,
    ) -> Call[schemas.ScenarioView]:
        """Start a scenario in a session: now or ``starts_in`` (such as ``10s``), once or every ``repeats_every``."""
        body = schemas.StartScenario(
            name=name, parameters=dict(parameters or {}), starts_in=starts_in, repeats_every=repeats_every
        )
        path = {"session_id": _id(session_id, "session_id")}
        return Call("POST", "/api/v1/simulator/sessions/{session_id}/scenarios", schemas.ScenarioView, path, body=body)

    @Operation
    def stop_scenario(self, session_id: Id, scenario_id: Id) -> Call[schemas.ScenarioView]:
        """Stop a scenario that is to come or under way."""
        path = {"session_id": _id(session_id, "session_id"), "scenario_id": _id(scenario_id, "scenario_id")}
        template = "/api/v1/simulator/sessions/{session_id}/scenarios/{scenario_id}"
        return Call("DELETE", template, schemas.ScenarioView, path)

    @Operation
    def get_tape(self, pair_id: Id, *, limit: int = 100) -> Call[schemas.TapeView]:
        """Return the last public trades of a running market, newest first."""
        return _get("/api/v1/simulator/tape/{pair_id}", schemas.TapeView, {"limit": limit}, pair_id=pair_id)

    @Operation
    def get_live_bars(self, pair_id: Id, interval: str = "1s", *, limit: int = 100) -> Call[schemas.MarketBarList]:
        """Return the last candles of a running market's trades, oldest first."""
        query = {"interval": interval, "limit": limit}
        return _get("/api/v1/simulator/bars/{pair_id}", schemas.MarketBarList, query, pair_id=pair_id)

    @Operation
    def get_realism(
        self,
        pair_id: Id,
        *,
        window: str = "1d",
        start: str | None = None,
        end: str | None = None,
        reference_pair_id: Id | None = None,
        reference_start: str | None = None,
        reference_end: str | None = None,
    ) -> Call[schemas.RealismView]:
        """Return the stylised facts of a running market, or of [start, end] of what was recorded of it, and scores."""
        query = {
            "window": window,
            "start": start,
            "end": end,
            "reference_pair_id": _optional_id(reference_pair_id, "reference_pair_id"),
            "reference_start": reference_start,
            "reference_end": reference_end,
        }
        return _get("/api/v1/simulator/realism/{pair_id}", schemas.RealismView, query, pair_id=pair_id)

    @Operation
    def run_strategy(self, strategy_id: Id, *, account_id: Id | None = None) -> Call[schemas.StrategyRunView]:
        """Let a strategy trade on its pair's running market, for the default account unless one is named."""
        body = schemas.StartStrategy(
            strategy_id=_id(strategy_id, "strategy_id"), account_id=_optional_id(account_id, "account_id")
        )
        return Call("POST", "/api/v1/simulator/strategies", schemas.StrategyRunView, body=body)

    @Operation
    def get_strategy_runs(
        self, *, strategy_id: Id | None = None, after: Id | None = None, limit: int = 100
    ) -> Call[schemas.StrategyRunPage]:
        """Return runs of strategies on simulated markets, newest first."""
        query = {
            "strategy_id": _optional_id(strategy_id, "strategy_id"),
            "after": _optional_id(after, "after"),
            "limit": limit,
        }
        return _get("/api/v1/simulator/strategies", schemas.StrategyRunPage, query)

    @Operation
    def get_strategy_run(self, run_id: Id) -> Call[schemas.StrategyRunView]:
        """Return quotes, inventory, result by cause, fills, markouts and the last error of a run."""
        return _get("/api/v1/simulator/strategies/{run_id}", schemas.StrategyRunView, run_id=run_id)

    @Operation
    def stop_strategy(self, run_id: Id) -> Call[schemas.StrategyRunView]:
        """Stop a strategy and cancel its orders."""
        path = {"run_id": _id(run_id, "run_id")}
        return Call("DELETE", "/api/v1/simulator/strategies/{run_id}", schemas.StrategyRunView, path)

    # ------------------------------------------------------------------ pairs, accounts, strategies, positions

    @Operation
    def get_pairs(self) -> Call[schemas.PairList]:
        """Return all pairs."""
        return _get("/api/v1/pairs", schemas.PairList)

    @Operation
    def get_pair(self, pair_id: Id) -> Call[schemas.PairView]:
        """Return a pair."""
        return _get("/api/v1/pairs/{pair_id}", schemas.PairView, pair_id=pair_id)

    @Operation
    def add_pair(
        self,
        symbol: str,
        base: str,
        quote: str,
        *,
        tick_size: Money,
        lot_size: Money,
        venue: str = "simulator",
        contract_type: Literal["SPOT", "LINEAR", "INVERSE"] = "LINEAR",
        contract_multiplier: Money = 1,
        maker_fee: Money = 0,
        taker_fee: Money = 0,
        initial_price: Money | None = None,
    ) -> Call[schemas.PairView]:
        """Add a pair; with `initial_price` a simulated market starts for it."""
        body = schemas.NewPair(
            symbol=symbol,
            base=base,
            quote=quote,
            tick_size=_money(tick_size, "tick_size"),
            lot_size=_money(lot_size, "lot_size"),
            venue=venue,
            contract_type=contract_type,
            contract_multiplier=_money(contract_multiplier, "contract_multiplier"),
            maker_fee=_money(maker_fee, "maker_fee"),
            taker_fee=_money(taker_fee, "taker_fee"),
            initial_price=_optional_money(initial_price, "initial_price"),
        )
        return Call("POST", "/api/v1/pairs", schemas.PairView, body=body)

    @Operation
    def change_pair(
        self,
        pair_id: Id,
        *,
        maker_fee: Money | None = None,
        taker_fee: Money | None = None,
        contract_type: Literal["SPOT", "LINEAR", "INVERSE"] | None = None,
        contract_multiplier: Money | None = None,
        base: str | None = None,
        quote: str | None = None,
        tick_size: Money | None = None,
        lot_size: Money | None = None,
    ) -> Call[schemas.PairView]:
        """Change terms of a pair; Conflict when rows are kept in units of the term."""
        body = schemas.ChangePair(
            maker_fee=_optional_money(maker_fee, "maker_fee"),
            taker_fee=_optional_money(taker_fee, "taker_fee"),
            contract_type=contract_type,
            contract_multiplier=_optional_money(contract_multiplier, "contract_multiplier"),
            base=base,
            quote=quote,
            tick_size=_optional_money(tick_size, "tick_size"),
            lot_size=_optional_money(lot_size, "lot_size"),
        )
        path = {"pair_id": _id(pair_id, "pair_id")}
        return Call("PATCH", "/api/v1/pairs/{pair_id}", schemas.PairView, path, body=body)

    @Operation
    def get_pair_changes(
        self, pair_id: Id, *, after: Id | None = None, limit: int = 100
    ) -> Call[schemas.PairChangePage]:
        """Return what was changed of a pair, newest first."""
        query = {"after": after, "limit": limit}
        return _get("/api/v1/pairs/{pair_id}/changes", schemas.PairChangePage, query, pair_id=pair_id)

    @Operation
    def get_accounts(self) -> Call[schemas.AccountList]:
        """Return all accounts with their balances."""
        return _get("/api/v1/accounts", schemas.AccountList)

    @Operation
    def add_account(self, name: str, balance: str | None = None) -> Call[schemas.AccountView]:
        """Add an account with a first balance such as ``100000 USDT``."""
        body = schemas.NewAccount(name=name, balance=balance)
        return Call("POST", "/api/v1/accounts", schemas.AccountView, body=body)

    @Operation
    def get_account(self, account_id: Id) -> Call[schemas.AccountView]:
        """Return an account with its balances: total, reserved and available."""
        return _get("/api/v1/accounts/{account_id}", schemas.AccountView, account_id=account_id)

    @Operation
    def transfer(self, account_id: Id, amount: Money, currency: str | None = None) -> Call[schemas.TransferView]:
        """Bring money into an account, or out of it if the amount is negative."""
        body = schemas.NewTransfer(amount=_money(amount, "amount"), currency=currency)
        path = {"account_id": _id(account_id, "account_id")}
        return Call("POST", "/api/v1/accounts/{account_id}/transfers", schemas.TransferView, path, body=body)

    @Operation
    def get_transfers(self, account_id: Id, *, after: Id | None = None, limit: int = 100) -> Call[schemas.TransferPage]:
        """Return what went into an account and out of it, resets as well, newest first."""
        query = {"after": after, "limit": limit}
        return _get("/api/v1/accounts/{account_id}/transfers", schemas.TransferPage, query, account_id=account_id)

    @Operation
    def reset_account(self, account_id: Id) -> Call[schemas.AccountView]:
        """Cancel an account's orders, bring its positions to zero at the reference price, and its balance to the first one."""
        path = {"account_id": _id(account_id, "account_id")}
        return Call("POST", "/api/v1/accounts/{account_id}/reset", schemas.AccountView, path)

    @Operation
    def get_strategies(self) -> Call[schemas.StrategyList]:
        """Return all strategies, and the installed kinds with the schema of their parameters."""
        return _get("/api/v1/strategies", schemas.StrategyList)

    @Operation
    def get_strategy(self, strategy_id: Id) -> Call[schemas.StrategyView]:
        """Return a strategy."""
        return _get("/api/v1/strategies/{strategy_id}", schemas.StrategyView, strategy_id=strategy_id)

    @Operation
    def add_strategy(
        self, name: str, kind: str, pair_id: Id, parameters: dict[str, Any] | None = None
    ) -> Call[schemas.StrategyView]:
        """Add a strategy: an installed kind with parameters for one pair."""
        body = schemas.NewStrategy(name=name, kind=kind, pair_id=_id(pair_id, "pair_id"), parameters=parameters or {})
        return Call("POST", "/api/v1/strategies", schemas.StrategyView, body=body)

    @Operation
    def get_positions(
        self,
        *,
        pair_id: Id | None = None,
        account_id: Id | None = None,
        after: Id | None = None,
        limit: int = 100,
    ) -> Call[schemas.PositionPage]:
        """Return positions, newest first, valued where a market runs."""
        query = {"pair_id": pair_id, "account_id": account_id, "after": after, "limit": limit}
        return _get("/api/v1/positions", schemas.PositionPage, query)

    @Operation
    def get_position(self, position_id: Id) -> Call[schemas.PositionView]:
        """Return a position."""
        return _get("/api/v1/positions/{position_id}", schemas.PositionView, position_id=position_id)

    @Operation
    def open_position(
        self,
        pair_id: Id,
        *,
        quantity: Money = 0,
        average_price: Money | None = None,
        account_id: Id | None = None,
        strategy_id: Id | None = None,
    ) -> Call[schemas.PositionView]:
        """Return the position of an account, strategy and pair, made when there is none, brought to `quantity`."""
        body = schemas.NewPosition(
            pair_id=_id(pair_id, "pair_id"),
            account_id=_optional_id(account_id, "account_id"),
            strategy_id=_optional_id(strategy_id, "strategy_id"),
            quantity=_money(quantity, "quantity"),
            average_price=_optional_money(average_price, "average_price"),
        )
        return Call("POST", "/api/v1/positions", schemas.PositionView, body=body)

    @Operation
    def update_position(
        self, position_id: Id, quantity: Money, *, average_price: Money | None = None, version: int = 0
    ) -> Call[schemas.PositionView]:
        """Bring a position to `quantity`; `version`, unless 0, must be the present one (Conflict otherwise)."""
        body = schemas.ChangePosition(
            quantity=_money(quantity, "quantity"),
            average_price=_optional_money(average_price, "average_price"),
            version=version,
        )
        path = {"position_id": _id(position_id, "position_id")}
        return Call("PATCH", "/api/v1/positions/{position_id}", schemas.PositionView, path, body=body)

    @Operation
    def get_position_transfers(
        self, position_id: Id, *, after: Id | None = None, limit: int = 100
    ) -> Call[schemas.PositionTransferPage]:
        """Return what was brought into a position or out of it without a trade, resets as well, newest first."""
        query = {"after": after, "limit": limit}
        path = "/api/v1/positions/{position_id}/transfers"
        return _get(path, schemas.PositionTransferPage, query, position_id=position_id)

    # ------------------------------------------------------------------ backtest

    @Operation
    def run_backtest(
        self,
        strategy_id: Id,
        start_date: str,
        end_date: str,
        *,
        market_conditions: schemas.MarketConditions | Mapping[str, Any] | None = None,
        pair_id: Id | None = None,
        entry_latency: str | None = None,
        response_latency: str | None = None,
        balance: Money | None = None,
        fill_model: Literal["PARTIAL", "NO_PARTIAL"] = "PARTIAL",
        seed: int = 0,
        allow_gaps: bool = False,
        execution: Mapping[str, Any] | None = None,
        band: bool = True,
        record_orders: bool = False,
        with_pairs: Sequence[Id] = (),
        limits: Sequence[schemas.RunLimit | Mapping[str, Any]] = (),
    ) -> Call[schemas.RunView]:
        """Queue a backtest; dates are UTC and both included. `wait_for_run` returns it once it has ended.

        `market_conditions` change the recorded market: `{"volatility": 0.02, "trend": "SIDEWAYS"}`. `execution` says how
        orders wait, travel and pay: `{"queue_model": "POWER", "queue_n": 3}`. `with_pairs` are further instruments that the
        strategy trades at once. `limits` stand before its orders: `[{"kind": "MAX_LOSS", "threshold": "500", "on_breach": "HALT"}]`.
        """
        body = schemas.RunBacktest(
            strategy_id=_id(strategy_id, "strategy_id"),
            start_date=start_date,
            end_date=end_date,
            market_conditions=_conditions(market_conditions),
            pair_id=_optional_id(pair_id, "pair_id"),
            entry_latency=entry_latency,
            response_latency=response_latency,
            balance=_optional_money(balance, "balance"),
            fill_model=fill_model,
            seed=seed,
            allow_gaps=allow_gaps,
            execution=None if execution is None else dict(execution),
            band=band,
            record_orders=record_orders,
            with_pairs=[_id(pair_id, "with_pairs") for pair_id in with_pairs],
            limits=_limits(limits),
        )
        return Call("POST", "/api/v1/backtest", schemas.RunView, body=body)

    @Operation
    def run_sweep(
        self,
        strategy_id: Id,
        start_date: str,
        end_date: str,
        grid: Mapping[str, Sequence[Number] | Mapping[str, Number]],
        *,
        market_conditions: schemas.MarketConditions | Mapping[str, Any] | None = None,
        pair_id: Id | None = None,
        entry_latency: str | None = None,
        response_latency: str | None = None,
        balance: Money | None = None,
        fill_model: Literal["PARTIAL", "NO_PARTIAL"] = "PARTIAL",
        seed: int = 0,
        allow_gaps: bool = False,
        execution: Mapping[str, Any] | None = None,
        limits: Sequence[schemas.RunLimit | Mapping[str, Any]] = (),
    ) -> Call[schemas.SweepView]:
        """Queue a sweep of a strategy's parameters; `wait_for_sweep` returns it once it has ended.

        `grid` has the values of each parameter: ``{"order_lots": [5, 10], "half_spread_ticks": {"from": 1, "to": 9, "step": 2}}``.
        Every combination is tried, the last name varying fastest; all else is as of `run_backtest`.
        """
        body = schemas.RunSweep(
            strategy_id=_id(strategy_id, "strategy_id"),
            start_date=start_date,
            end_date=end_date,
            grid=_grid(grid),
            market_conditions=_conditions(market_conditions),
            pair_id=_optional_id(pair_id, "pair_id"),
            entry_latency=entry_latency,
            response_latency=response_latency,
            balance=_optional_money(balance, "balance"),
            fill_model=fill_model,
            seed=seed,
            allow_gaps=allow_gaps,
            execution=None if execution is None else dict(execution),
            limits=_limits(limits),
        )
        return Call("POST", "/api/v1/backtest/sweeps", schemas.SweepView, body=body)

    @Operation
    def get_sweeps(
        self, *, strategy_id: Id | None = None, after: Id | None = None, limit: int = 100
    ) -> Call[schemas.SweepPage]:
        """Return sweeps, newest first."""
        query = {"strategy_id": strategy_id, "after": after, "limit": limit}
        return _get("/api/v1/backtest/sweeps", schemas.SweepPage, query)

    @Operation
    def get_sweep(self, sweep_id: Id) -> Call[schemas.SweepDetailView]:
        """Return a sweep: sets done, sets per second and time left while it runs, and its best trials so far."""
        return _get("/api/v1/backtest/sweeps/{sweep_id}", schemas.SweepDetailView, sweep_id=sweep_id)

    @Operation
    def cancel_sweep(self, sweep_id: Id) -> Call[schemas.SweepView]:
        """Ask for a sweep to be stopped; the trials of its finished chunks stay."""
        path = {"sweep_id": _id(sweep_id, "sweep_id")}
        return Call("DELETE", "/api/v1/backtest/sweeps/{sweep_id}", schemas.SweepView, path)

    @Operation
    def get_sweep_trials(
        self,
        sweep_id: Id,
        *,
        sort: Literal["best", "number"] = "best",
        after: Id | None = None,
        limit: int = 100,
    ) -> Call[schemas.SweepTrialPage]:
        """Return the trials of a sweep's sets: by net P&L, best first, or by their place in the grid."""
        query = {"sort": sort, "after": after, "limit": limit}
        path = "/api/v1/backtest/sweeps/{sweep_id}/trials"
        return _get(path, schemas.SweepTrialPage, query, sweep_id=sweep_id)

    @Operation
    def explain_order(self, run_id: Id, order_id: int) -> Call[dict[str, Any]]:
        """Return the whole story of an order of a completed run."""
        path: dict[str, UUID | int] = {"run_id": _id(run_id, "run_id"), "order_id": order_id}
        return Call("GET", "/api/v1/backtest/runs/{run_id}/orders/{order_id}", dict[str, Any], path, is_repeatable=True)

    @Operation
    def get_runs(
        self, *, strategy_id: Id | None = None, after: Id | None = None, limit: int = 100
    ) -> Call[schemas.RunPage]:
        """Return runs, newest first."""
        query = {"strategy_id": strategy_id, "after": after, "limit": limit}
        return _get("/api/v1/backtest/runs", schemas.RunPage, query)

    @Operation
    def get_run(self, run_id: Id) -> Call[schemas.RunView]:
        """Return a run: percent, events per second and time left while it runs."""
        return _get("/api/v1/backtest/runs/{run_id}", schemas.RunView, run_id=run_id)

    @Operation
    def cancel_run(self, run_id: Id) -> Call[schemas.RunView]:
        """Ask for a run to be stopped."""
        path = {"run_id": _id(run_id, "run_id")}
        return Call("DELETE", "/api/v1/backtest/runs/{run_id}", schemas.RunView, path)

    @Operation
    def get_run_result(self, run_id: Id) -> Call[dict[str, Any]]:
        """Return summary, equity curve and fills of a completed run; of several instruments by leg."""
        return _get("/api/v1/backtest/runs/{run_id}/result", dict[str, Any], run_id=run_id)

    @Operation
    def get_run_report(self, run_id: Id, *, fragility: bool = False) -> Call[str]:
        """Return the report of a completed run: one HTML page that opens without a network."""
        return _get("/api/v1/backtest/runs/{run_id}/report", str, {"fragility": fragility}, run_id=run_id)

    @Operation
    def get_backtest_results(
        self, strategy_id: Id, *, after: Id | None = None, limit: int = 100
    ) -> Call[schemas.ResultPage]:
        """Return the results of a strategy's completed runs, newest first."""
        query = {"after": after, "limit": limit}
        return _get("/api/v1/backtest/results/{strategy_id}", schemas.ResultPage, query, strategy_id=strategy_id)

    @Operation
    def get_trials(self, strategy_id: Id, *, after: Id | None = None, limit: int = 100) -> Call[schemas.TrialPage]:
        """Return every parameter set that sweeps of a strategy have tried, newest first."""
        query = {"after": after, "limit": limit}
        return _get("/api/v1/backtest/trials/{strategy_id}", schemas.TrialPage, query, strategy_id=strategy_id)

    @Operation
    def analyze_backtest_results(self, run_ids: Sequence[Id], *, fragility: bool = False) -> Call[dict[str, Any]]:
        """Return the analysis of one completed run, or the comparison of several.

        With `fragility` they also run under other latencies, queue models and fees; that takes as long as some runs.
        """
        body = schemas.AnalyzeRuns([_id(run_id, "run_ids") for run_id in run_ids], fragility)
        return Call("POST", "/api/v1/backtest/analysis", dict[str, Any], body=body, is_repeatable=True)

    # ------------------------------------------------------------------ risk

    @Operation
    def assess_risk(
        self,
        position_id: Id,
        *,
        risk_model: Literal["VaR", "ExpectedShortfall"] | None = None,
        confidence_level: Money | None = None,
        time_horizon: str | None = None,
        method: schemas.RiskMethod = "HISTORICAL",
        scope: schemas.RiskScope = "POSITION",
        currency: str | None = None,
    ) -> Call[schemas.RiskMetricsView]:
        """Compute, save and publish the figures of a position or a scope by one of ten methods; hold them against limits."""
        body = schemas.AssessRisk(
            position_id=_id(position_id, "position_id"),
            risk_model=risk_model,
            confidence_level=_optional_money(confidence_level, "confidence_level"),
            time_horizon=time_horizon,
            method=method,
            scope=scope,
            currency=currency,
        )
        return Call("POST", "/api/v1/risk/assessment", schemas.RiskMetricsView, body=body)

    @Operation
    def stress_risk(
        self,
        position_id: Id,
        *,
        scope: schemas.RiskScope = "POSITION",
        scenarios: Sequence[Mapping[str, Any]] = (),
        time_horizon: str | None = None,
        loss: Money | None = None,
        norm: schemas.StressNorm = "LIKELIHOOD",
        currency: str | None = None,
    ) -> Call[schemas.StressView]:
        """Return what storms would lose; `scenarios` as `schemas.StressScenario` has them, without any the published ones."""
        body = schemas.StressTest(
            position_id=_id(position_id, "position_id"),
            scope=scope,
            scenarios=[schemas.StressScenario(**each) for each in scenarios],
            time_horizon=time_horizon,
            loss=_optional_money(loss, "loss"),
            norm=norm,
            currency=currency,
        )
        return Call("POST", "/api/v1/risk/stress", schemas.StressView, body=body, is_repeatable=True)

    @Operation
    def test_risk_models(
        self,
        position_id: Id,
        *,
        methods: Sequence[schemas.RiskMethod] = (),
        confidence_level: Money | None = None,
        window: int = 250,
        interval: str | None = None,
    ) -> Call[schemas.ModelTestView]:
        """Judge methods by what happened to a position's pair, and keep the outcome."""
        body = schemas.TestModels(
            position_id=_id(position_id, "position_id"),
            methods=list(methods),
            confidence_level=_optional_money(confidence_level, "confidence_level"),
            window=window,
            interval=interval,
        )
        return Call("POST", "/api/v1/risk/model-tests", schemas.ModelTestView, body=body)

    @Operation
    def get_risk_model_tests(
        self, position_id: Id, *, after: Id | None = None, limit: int = 100
    ) -> Call[schemas.ModelTestPage]:
        """Return the tests of models that were made for a position, newest first."""
        query = {"after": after, "limit": limit}
        return _get("/api/v1/risk/model-tests/{position_id}", schemas.ModelTestPage, query, position_id=position_id)

    @Operation
    def get_risk_metrics(
        self, position_id: Id, *, after: Id | None = None, limit: int = 100
    ) -> Call[schemas.RiskMetricsPage]:
        """Return the saved figures of a position, newest first."""
        query = {"after": after, "limit": limit}
        return _get("/api/v1/risk/metrics/{position_id}", schemas.RiskMetricsPage, query, position_id=position_id)

    @Operation
    def get_risk_report(self, position_id: Id) -> Call[str]:
        """Return the risk page of a position that has been assessed: one HTML page that opens without a network."""
        return _get("/api/v1/risk/report/{position_id}", str, position_id=position_id)

    @Operation
    def get_limits(self) -> Call[schemas.LimitList]:
        """Return all limits with their last value."""
        return _get("/api/v1/risk/limits", schemas.LimitList)

    @Operation
    def add_limit(
        self,
        kind: schemas.LimitKindName,
        threshold: Money,
        *,
        scope: schemas.LimitScopeName = "ALL",
        scope_id: Id | None = None,
        warn_share: Money = "0.8",
        on_breach: schemas.BreachAction = "ALERT",
    ) -> Call[schemas.LimitView]:
        """Add a limit; it warns from `warn_share` of the threshold on."""
        body = schemas.NewLimit(
            kind=kind,
            threshold=_money(threshold, "threshold"),
            scope=scope,
            scope_id=_optional_id(scope_id, "scope_id"),
            warn_share=_money(warn_share, "warn_share"),
            on_breach=on_breach,
        )
        return Call("POST", "/api/v1/risk/limits", schemas.LimitView, body=body)

    @Operation
    def remove_limit(self, limit_id: Id) -> Call[None]:
        """Remove a limit; what it held back is let go, and its open alerts are cleared."""
        path = {"limit_id": _id(limit_id, "limit_id")}
        return Call("DELETE", "/api/v1/risk/limits/{limit_id}", NoneType, path)

    @Operation
    def reset_limit(self, limit_id: Id) -> Call[schemas.LimitView]:
        """Let go what a breach of a limit holds back, and clear its alerts."""
        path = {"limit_id": _id(limit_id, "limit_id")}
        return Call("POST", "/api/v1/risk/limits/{limit_id}/reset", schemas.LimitView, path)

    @Operation
    def get_risk_states(self) -> Call[schemas.ScopeStates]:
        """Return the scopes that a breach or a kill switch keeps from trading freely."""
        return _get("/api/v1/risk/states", schemas.ScopeStates)

    @Operation
    def get_kill_switches(self) -> Call[schemas.KillSwitchView]:
        """Return the kill switches that are engaged."""
        return _get("/api/v1/risk/kill-switch", schemas.KillSwitchView)

    @Operation
    def set_kill_switch(
        self, engaged: bool, reason: str, *, scope: schemas.LimitScopeName = "ALL", scope_id: Id | None = None
    ) -> Call[schemas.KillSwitchView]:
        """Refuse every new order of a scope and cancel the open ones; or release that, which needs the scope `admin`."""
        body = schemas.SetKillSwitch(
            engaged=engaged, reason=reason, scope=scope, scope_id=_optional_id(scope_id, "scope_id")
        )
        return Call("POST", "/api/v1/risk/kill-switch", schemas.KillSwitchView, body=body)

    @Operation
    def get_risk_audit(self, *, after: Id | None = None, limit: int = 100) -> Call[schemas.AuditPage]:
        """Return what was changed about limits and kill switches, newest first."""
        return _get("/api/v1/risk/audit", schemas.AuditPage, {"after": after, "limit": limit})

    @Operation
    def get_alerts(
        self,
        *,
        alert_state: Literal["RAISED", "CLEARED"] | None = None,
        after: Id | None = None,
        limit: int = 100,
    ) -> Call[schemas.AlertPage]:
        """Return alerts, newest first."""
        query = {"alert_state": alert_state, "after": after, "limit": limit}
        return _get("/api/v1/risk/alerts", schemas.AlertPage, query)

    # ------------------------------------------------------------------ market data, operations

    @Operation
    def get_catalogue(self, *, pair_id: Id | None = None) -> Call[schemas.CatalogueView]:
        """Return the recorded days with their counts and checksums."""
        return _get("/api/v1/market-data/catalogue", schemas.CatalogueView, {"pair_id": pair_id})

    @Operation
    def get_bars(self, pair_id: Id, start: str, end: str, interval: str = "1m") -> Call[schemas.PriceList]:
        """Return bars of mids in [start, end], from recorded data or from virtual trading."""
        query = {"start": start, "end": end, "interval": interval}
        return _get("/api/v1/market-data/bars/{pair_id}", schemas.PriceList, query, pair_id=pair_id)

    @Operation
    def get_recorded_book(self, pair_id: Id, at: str, *, depth: int = 20) -> Call[schemas.BookView]:
        """Return the recorded book as it had been received at an instant (UTC)."""
        query = {"at": at, "depth": depth}
        return _get("/api/v1/market-data/orderbook/{pair_id}", schemas.BookView, query, pair_id=pair_id)

    @Operation
    def get_quality(
        self, pair_id: Id, *, first: str | None = None, last: str | None = None
    ) -> Call[schemas.QualityView]:
        """Measure the quality of recorded days (UTC, both included) anew."""
        query = {"first": first, "last": last}
        return _get("/api/v1/market-data/quality/{pair_id}", schemas.QualityView, query, pair_id=pair_id)

    @Operation
    def import_file(self, path: str, options: Mapping[str, Any] | None = None) -> Call[schemas.ImportView]:
        """Queue the import of a file that lies in the service's inbox folder; `options` as `schemas.ImportFile` has them."""
        body = schemas.ImportFile(path=path, **(options or {}))
        return Call("POST", "/api/v1/market-data/imports", schemas.ImportView, body=body)

    @Operation
    def get_imports(self, *, after: Id | None = None, limit: int = 100) -> Call[schemas.ImportPage]:
        """Return imports, newest first."""
        return _get("/api/v1/market-data/imports", schemas.ImportPage, {"after": after, "limit": limit})

    @Operation
    def get_import(self, import_id: Id) -> Call[schemas.ImportView]:
        """Return an import: how far it is, and its report once it has ended."""
        return _get("/api/v1/market-data/imports/{import_id}", schemas.ImportView, import_id=import_id)

    @Operation
    def get_health(self) -> Call[schemas.HealthView]:
        """Return every check, also when one is down."""
        return Call("GET", "/health/ready", schemas.HealthView, also=frozenset({503}), is_repeatable=True)

    @Operation
    def get_liveness(self) -> Call[schemas.HealthView]:
        """Return whether the process answers."""
        return _get("/health/live", schemas.HealthView)

    @Operation
    def get_metrics(self) -> Call[str]:
        """Return all metrics in Prometheus' text form."""
        return _get("/metrics", str)


def _get(path: str, kind: type[Answer], query: Mapping[str, object] | None = None, **ids: Id) -> Call[Answer]:
    values = {name: _id(value, name) for name, value in ids.items()}
    return Call("GET", path, kind, values, query or {}, is_repeatable=True)
