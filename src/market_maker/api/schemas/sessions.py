"""Sessions of simulated markets: scenarios, rules, phases, what was traded, realism, strategies run live."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from market_maker.api.schemas.bases import Prevention, Request, TradingPhase, View
from market_maker.api.schemas.orders import LevelView


class StartScenario(Request):
    """A scenario to start: now or `starts_in` (such as `10s`) of the market's time, and again every `repeats_every`."""

    name: Annotated[str, Meta(min_length=1, max_length=40)]
    parameters: dict[str, float] = {}
    starts_in: str | None = None
    repeats_every: str | None = None


class ScenarioView(View):
    """A scenario of a market. Instants to come are told for the market's present pace; `runs` counts its beginnings."""

    scenario_id: UUID
    name: str
    parameters: dict[str, float]
    state: Literal["SCHEDULED", "RUNNING", "ENDED", "STOPPED"]
    starts_ts: str
    ends_ts: str
    repeats_every: str | None
    runs: int
    phase: str | None


class ScenarioList(View):
    """The scenarios of a market that are to come, under way or lately over, oldest first."""

    items: list[ScenarioView]


class ScenarioKindView(View):
    """A scenario that can be started; `parameters` is a JSON schema."""

    name: str
    summary: str
    parameters: dict[str, Any]


class ScenarioKindList(View):
    """The scenarios that there are."""

    items: list[ScenarioKindView]


class TradingRules(Request):
    """Filters and safeguards of a market; null switches one off. Prices are distances in quote currency.

    Limit prices may be `price_collar` away from the reference price; an order is worth `min_notional` at least. A trade that
    would be farther than `static_band` from the reference price, or than `dynamic_band` from the last price before its order,
    is not made: an auction of `volatility_auction` begins. `self_trade_prevention` is for orders that name none.
    """

    price_collar: Decimal | None = None
    min_notional: Decimal | None = None
    static_band: Decimal | None = None
    dynamic_band: Decimal | None = None
    volatility_auction: str | None = None
    self_trade_prevention: Prevention = "CANCEL_NEWEST"


class PlayRecording(Request):
    """A recording of the session's pair that is its market: from `start` to before `end`, as it was recorded.

    `pace`: `speed` times as fast as the clock, or as fast as possible. `at_end`: the session pauses, stops (open orders are
    cancelled), or plays the recording again (orders that rest are cancelled). `allow_gaps`: with less than 0.99 coverage.
    """

    start: str
    end: str
    pace: Literal["CLOCK", "FASTEST"] = "CLOCK"
    at_end: Literal["PAUSE", "STOP", "LOOP"] = "PAUSE"
    allow_gaps: bool = False


class PlayedRecording(View):
    """A recording that is played: what was asked for, what of it is recorded, and where it is.

    `now` is the recorded instant; `passes` counts how often it has been played to its end; `ended`: nothing is left.
    """

    start: str
    end: str
    first: str
    last: str
    now: str
    pace: Literal["CLOCK", "FASTEST"]
    at_end: Literal["PAUSE", "STOP", "LOOP"]
    allow_gaps: bool
    passes: int
    ended: bool


class StartSession(Request):
    """A new simulated market; what is left out comes from the settings. Durations as `100ms`.

    `parameters` are for mode CUSTOM (see `custom-schema`), `scenarios` for STRESS and CUSTOM: they begin with the market.
    `playback`: the market is a recording. `state` PAUSED: it stands still until it is set RUNNING.
    """

    pair_id: UUID
    mode: Literal["NORMAL", "STRESS", "CUSTOM"] = "NORMAL"
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    initial_price: Decimal | None = None
    price_deviation: Annotated[float, Meta(ge=0, le=0.5)] | None = None
    execution_delay: str | None = None
    market_update_interval: str | None = None
    speed: Annotated[float, Meta(ge=0.1, le=100)] | None = None
    parameters: dict[str, Any] | None = None
    scenarios: Annotated[list[StartScenario], Meta(max_length=32)] = []
    rules: TradingRules | None = None
    phase: TradingPhase = "CONTINUOUS"
    playback: PlayRecording | None = None
    state: Literal["RUNNING", "PAUSED"] = "RUNNING"


class ChangeSession(Request):
    """Pause, go on, or stop for good (open orders are cancelled); begin or end a recording; set the market's speed.

    `step`, such as `10s`, lets a paused market go on by so much of its time at once. `mode` NORMAL stops all scenarios;
    `parameters`, of mode CUSTOM, replace those that the market has, and so do `rules`. `phase` ends an auction that is held.
    """

    state: Literal["RUNNING", "PAUSED", "STOPPED"] | None = None
    recording: bool | None = None
    speed: Annotated[float, Meta(ge=0.1, le=100)] | None = None
    step: str | None = None
    mode: Literal["NORMAL", "STRESS", "CUSTOM"] | None = None
    parameters: dict[str, Any] | None = None
    rules: TradingRules | None = None
    phase: TradingPhase | None = None


class SessionView(View):
    """A simulated market. `state_hash`, told when it is asked for, covers book, queue, open orders, positions and randomness.

    `fault` says why its recording cannot be opened: the session is told as it was committed, and can only be stopped.
    """

    session_id: UUID
    pair_id: UUID
    mode: Literal["NORMAL", "STRESS", "CUSTOM"]
    seed: int
    state: Literal["RUNNING", "PAUSED", "STOPPED"]
    price_deviation: float
    execution_delay: str
    market_update_interval: str
    created_ts: str
    speed: float
    parameters: dict[str, Any]
    scenarios: list[ScenarioView]
    rules: TradingRules
    phase: TradingPhase
    step: int
    reference_price: Decimal
    open_orders: int
    trades: int
    playback: PlayedRecording | None
    state_hash: str | None
    recording: bool
    recorded_events: int
    fault: str | None


class SessionList(View):
    """All markets that run or pause."""

    items: list[SessionView]


class TapeTrade(View):
    """A public trade; `side` is the aggressor's, null for a trade of an auction."""

    trade_id: UUID
    ts: str
    side: Literal["BUY", "SELL"] | None
    price: Decimal
    amount: Decimal
    auction: bool


class TapeView(View):
    """The last public trades, newest first."""

    items: list[TapeTrade]


class MarketBar(View):
    """A candle of public trades that begins at `ts`; `buy_volume` is what aggressors bought of the volume."""

    ts: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    buy_volume: Decimal
    trades: int


class MarketBarList(View):
    """Candles, oldest first; intervals without a trade have none."""

    items: list[MarketBar]


class RealismView(View):
    """Stylised facts of a market; its reference's and the scores where one was named. See the page about realism."""

    market: dict[str, Any]
    reference: dict[str, Any] | None
    scores: dict[str, Any] | None


class StartStrategy(Request):
    """A strategy that is to trade on its pair's running market, for the default account unless one is named."""

    strategy_id: UUID
    account_id: UUID | None = None


class RunQuotes(View):
    """The best own orders in the book with all that is at their prices; None without one."""

    bid: LevelView | None
    ask: LevelView | None


class RunResultView(View):
    """The result of a run in quote currency: spread + inventory - fees = net, at the present mid."""

    net: Decimal
    spread: Decimal
    inventory: Decimal
    fees: Decimal


class MarkoutView(View):
    """What the mid did after the fills, per unit of quantity in quote currency; positive went the way of the fill."""

    horizon: str
    mean: float | None
    fills: int
    left_out: int


class StrategyRunView(View):
    """A strategy on a simulated market. `error` says why it failed, or what else than its owner ended it."""

    run_id: UUID
    strategy_id: UUID
    account_id: UUID
    pair_id: UUID
    session_id: UUID
    name: str
    kind: str
    parameters: dict[str, Any]
    state: Literal["RUNNING", "STOPPED", "FAILED"]
    error: str | None
    started_ts: str
    ended_ts: str | None
    updated_ts: str
    wakes: int
    orders_placed: int
    orders_rejected: int
    orders_refused: int
    last_refusal: str | None
    open_orders: int
    quotes: RunQuotes
    inventory: Decimal
    mid_price: Decimal | None
    fills: int
    maker_fills: int
    turnover: Decimal
    pnl: RunResultView
    markouts: list[MarkoutView]


class StrategyRunPage(View):
    """Runs of strategies on simulated markets, newest first."""

    items: list[StrategyRunView]
    next: str | None
