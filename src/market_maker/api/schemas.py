"""What travels over HTTP: every request and answer as a type. Decimal and ISO times live here.

Unknown fields of requests are refused. Money is read as decimal text, number or string, never through a float,
and answered as text; instants are answered as ns since 1970 UTC, as text. The client uses the same types.

Longer than 500 lines because it is one list: every shape of the wire in one place, read by API, client and OpenAPI.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

Key = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:\-]+$")]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Code = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9._\-]+$")]
OrderKind = Literal["LIMIT", "MARKET", "STOP", "STOP_LIMIT"]
Prevention = Literal["NONE", "CANCEL_NEWEST", "CANCEL_OLDEST", "CANCEL_BOTH", "DECREMENT"]
TradingPhase = Literal["PRE_OPEN", "CONTINUOUS", "CLOSING_AUCTION", "VOLATILITY_AUCTION", "HALTED", "CLOSED"]
Status = Literal["PENDING_NEW", "NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED"]


class Request(Struct, forbid_unknown_fields=True, kw_only=True):
    """Any request body."""


class View(Struct, kw_only=True):
    """Any answer."""


class FieldProblem(View):
    """One fault of one field."""

    field: str
    value: str
    allowed: str


class Problem(View):
    """An error answer: RFC 9457, media type application/problem+json."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []


# ---------------------------------------------------------------------- simulator


class SimulationParams(Request):
    """How the simulated venue treats one order."""

    execution_probability: float = 1.0
    price_impact: float = 0.0


class PlaceOrder(Request):
    """A new order. `price` is for LIMIT and STOP_LIMIT, `stop_price` for STOP and STOP_LIMIT, `expire_time` for GTD."""

    pair_id: UUID
    side: Literal["BUY", "SELL"]
    type: OrderKind
    amount: Decimal
    price: Decimal | None = None
    stop_price: Decimal | None = None
    display_amount: Decimal | None = None
    self_trade_prevention: Prevention | None = None
    strategy_id: UUID | None = None
    account_id: UUID | None = None
    client_order_id: Key | None = None
    time_in_force: Literal["GTC", "IOC", "FOK", "GTD"] | None = None
    post_only: bool = False
    expire_time: str | None = None
    simulation_params: SimulationParams | None = None


class OrderView(View):
    """An order as it stands."""

    order_id: UUID
    pair_id: UUID
    account_id: UUID
    strategy_id: UUID | None
    client_order_id: str | None
    side: Literal["BUY", "SELL"]
    type: OrderKind
    time_in_force: Literal["GTC", "IOC", "FOK", "GTD"]
    post_only: bool
    price: Decimal | None
    amount: Decimal
    status: Status
    reject_reason: str | None
    cum_qty: Decimal
    leaves_qty: Decimal
    average_price: Decimal | None
    cancel_requested: bool
    simulation_params: SimulationParams
    created_ts: str
    updated_ts: str
    version: int
    stop_price: Decimal | None
    display_amount: Decimal | None
    self_trade_prevention: Prevention
    triggered: bool
    amend_requested: bool
    amend_refusal: str | None


class AmendOrder(Request):
    """What an order is to become; what is not named stays. `amount` is the total, what is executed included."""

    price: Decimal | None = None
    amount: Decimal | None = None
    stop_price: Decimal | None = None


class OrderPage(View):
    """Orders, newest first; `next` is the cursor of the next page, None on the last."""

    items: list[OrderView]
    next: str | None


class CanceledOrders(View):
    """How many wishes to cancel were noted."""

    cancel_requested: int


class ExecuteTrade(Request):
    """A trade of the market: `side` is the aggressor's. Resting orders at `price` or better are filled first."""

    pair_id: UUID
    side: Literal["BUY", "SELL"]
    price: Decimal
    amount: Decimal


class ExecutedTrade(View):
    """The prints that a given trade made."""

    trade_ids: list[UUID]


class FillView(View):
    """One execution of one of our orders. `fee` is positive when paid."""

    trade_id: UUID
    order_id: UUID
    pair_id: UUID
    account_id: UUID
    strategy_id: UUID | None
    position_id: UUID
    side: Literal["BUY", "SELL"]
    liquidity: Literal["MAKER", "TAKER"]
    price: Decimal
    amount: Decimal
    fee: Decimal
    ts: str


class FillPage(View):
    """Fills, newest first."""

    items: list[FillView]
    next: str | None


class LevelView(View):
    """One price and the total quantity there."""

    price: Decimal
    quantity: Decimal


class BookView(View):
    """An order book, best first; `sequence` grows with every change."""

    pair_id: UUID
    ts: str
    sequence: int
    bids: list[LevelView]
    asks: list[LevelView]


class MarketBookView(BookView):
    """The order book of a simulated market. `stale`: its feed has a gap, and this is the last book before it.

    In an auction's phase the book may be crossed; `indicative_price` and `indicative_amount` tell what the auction would trade
    at this moment.
    """

    stale: bool
    phase: TradingPhase
    indicative_price: Decimal | None
    indicative_amount: Decimal | None


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
    """A simulated market. `state_hash`, told when it is asked for, covers book, queue, open orders, positions and randomness."""

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


class SessionList(View):
    """All markets that run or pause."""

    items: list[SessionView]


class TapeTrade(View):
    """A public trade; `side` is the aggressor's."""

    trade_id: UUID
    ts: str
    side: Literal["BUY", "SELL"]
    price: Decimal
    amount: Decimal


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


# ---------------------------------------------------------------------- reference data


class NewPair(Request):
    """A new pair; with `initial_price` a simulated market starts for it."""

    symbol: Code
    base: Code
    quote: Code
    tick_size: Decimal
    lot_size: Decimal
    venue: Code = "simulator"
    contract_type: Literal["SPOT", "LINEAR"] = "LINEAR"
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
    contract_type: Literal["SPOT", "LINEAR", "INVERSE"]
    maker_fee: Decimal
    taker_fee: Decimal
    initial_price: Decimal | None
    is_simulated: bool


class PairList(View):
    """All pairs."""

    items: list[PairView]


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
    """Money that went into an account or out of it; `number` counts the account's transfers."""

    transfer_id: UUID
    account_id: UUID
    number: int
    amount: Decimal
    ts: str


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
    """A position."""

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


class PositionPage(View):
    """Positions, newest first."""

    items: list[PositionView]
    next: str | None


# ---------------------------------------------------------------------- backtest


class MarketConditions(Request):
    """Conditions put on the history; each optional. Volatility: standard deviation of daily log returns."""

    volatility: Annotated[float, Meta(gt=0, le=10)] | None = None
    trend: Literal["UP", "DOWN", "SIDEWAYS"] | None = None
    volume_profile: Literal["LOW", "NORMAL", "HIGH", "U_SHAPED"] | None = None


class RunLimit(Request):
    """A limit of a run, as a risk limit. `on_breach` is for what is held: MAX_POSITION, MAX_NOTIONAL, MAX_LOSS, MAX_DRAWDOWN."""

    kind: str
    threshold: Decimal
    warn_share: Decimal = Decimal("0.8")
    on_breach: Literal["ALERT", "REDUCE", "HALT"] = "ALERT"


class RunBacktest(Request):
    """A backtest. Dates are UTC and both included; timestamps are taken exactly. Latencies as `100ms`."""

    strategy_id: UUID
    start_date: str
    end_date: str
    market_conditions: MarketConditions | None = None
    pair_id: UUID | None = None
    entry_latency: str | None = None
    response_latency: str | None = None
    balance: Decimal | None = None
    fill_model: Literal["PARTIAL", "NO_PARTIAL"] = "PARTIAL"
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    allow_gaps: bool = False
    execution: dict[str, Any] | None = None
    """Queue model, latency, fees, funds: see the page about backtests."""
    band: bool = True
    record_orders: bool = False
    with_pairs: Annotated[list[UUID], Meta(max_length=15)] = []
    """Further instruments that the strategy trades at once, number 1 and on; there is no band then."""
    limits: Annotated[list[RunLimit], Meta(max_length=10)] = []
    """What stands before its orders: see the page about backtests."""


class RunView(View):
    """A run: PENDING, RUNNING, COMPLETED, FAILED or CANCELED; a backtest, or a simulation whose result was kept."""

    run_id: UUID
    strategy_id: UUID
    pair_id: UUID
    kind: Literal["BACKTEST", "SIMULATION"]
    status: Literal["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELED"]
    progress_percent: float
    events_per_second: float | None
    eta_seconds: float | None
    error: str | None
    attempts: int
    cancel_requested: bool
    configuration: dict[str, Any]
    created_ts: str
    started_ts: str | None
    finished_ts: str | None
    report: str | None
    version: int


class RunPage(View):
    """Runs, newest first."""

    items: list[RunView]
    next: str | None


class ResultView(View):
    """What a completed run earned; money as text in quote currency."""

    run_id: UUID
    strategy_id: UUID
    pair_id: UUID
    kind: Literal["BACKTEST", "SIMULATION"]
    start_ts: str
    end_ts: str
    summary: dict[str, Any]
    reproducibility: dict[str, Any]
    digest: str
    created_ts: str
    report: str


class ResultPage(View):
    """Results, newest first."""

    items: list[ResultView]
    next: str | None


class TrialView(View):
    """One parameter set that a sweep has tried; `number` is its place in the grid, money is text in quote currency."""

    trial_id: UUID
    sweep_id: UUID
    number: int
    trial_key: str
    strategy_id: UUID
    pair_id: UUID
    kind: str
    parameters: dict[str, Any]
    configuration: dict[str, Any]
    summary: dict[str, Any]
    digest: str
    seed: int
    created_ts: str


class TrialPage(View):
    """Trials, newest first."""

    items: list[TrialView]
    next: str | None


class GridRange(Request, rename={"first": "from", "last": "to"}):
    """Values from the first to the last, both included; 0.1 steps meet 0.3."""

    first: Decimal
    last: Decimal
    step: Decimal = Decimal(1)


class RunSweep(Request):
    """A sweep: every combination of the grid's values, the last name varying fastest; the rest is as of a backtest."""

    strategy_id: UUID
    start_date: str
    end_date: str
    grid: dict[str, list[Decimal] | GridRange]
    market_conditions: MarketConditions | None = None
    pair_id: UUID | None = None
    entry_latency: str | None = None
    response_latency: str | None = None
    balance: Decimal | None = None
    fill_model: Literal["PARTIAL", "NO_PARTIAL"] = "PARTIAL"
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    allow_gaps: bool = False
    execution: dict[str, Any] | None = None
    limits: Annotated[list[RunLimit], Meta(max_length=10)] = []


class SweepView(View):
    """A sweep: `done` of `total` sets are tried, `known` of them before it began; the last name of `grid` varies fastest."""

    sweep_id: UUID
    strategy_id: UUID
    pair_id: UUID
    status: Literal["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELED"]
    total: int
    done: int
    known: int
    progress_percent: float
    sets_per_second: float | None
    eta_seconds: float | None
    error: str | None
    attempts: int
    cancel_requested: bool
    configuration: dict[str, Any]
    created_ts: str
    started_ts: str | None
    finished_ts: str | None
    version: int
    grid: dict[str, list[int | float]]


class SweepDetailView(SweepView):
    """A sweep with its best trials by net P&L so far; the best of many is not evidence."""

    best: list[TrialView]


class SweepPage(View):
    """Sweeps, newest first."""

    items: list[SweepView]
    next: str | None


class SweepTrialPage(View):
    """Trials of a sweep: `number` is the place in its grid, `sweep_id` the sweep that ran the set, maybe an earlier one."""

    items: list[TrialView]
    next: str | None


class AnalyzeRuns(Request):
    """Completed runs to analyse together; with `fragility` they also run under other latencies, queue models and fees."""

    run_ids: Annotated[list[UUID], Meta(min_length=1, max_length=1000)]
    fragility: bool = False


# ---------------------------------------------------------------------- risk


RiskMethod = Literal[
    "HISTORICAL", "AGE_WEIGHTED", "FILTERED_HISTORICAL", "NORMAL", "STUDENT_T", "CORNISH_FISHER", "EWMA", "GARCH",
    "PEAKS_OVER_THRESHOLD", "MONTE_CARLO",
]  # fmt: skip
RiskScope = Literal["POSITION", "PAIR", "ACCOUNT", "STRATEGY", "BOOK"]
StressNorm = Literal["LARGEST", "EUCLID", "SUM", "LIKELIHOOD"]


class AssessRisk(Request):
    """Figures of a position; what is left out comes from the settings. `time_horizon` as `1d`, from 1s.

    With `scope` the figures are of all positions of the named one's account, of its strategy, or of the whole book.
    """

    position_id: UUID
    risk_model: Literal["VaR", "ExpectedShortfall"] = "VaR"
    confidence_level: Decimal | None = None
    time_horizon: str | None = None
    method: RiskMethod = "HISTORICAL"
    scope: RiskScope = "POSITION"


class RiskMetricsView(View):
    """Risk figures: positive losses in quote currency. `value` is the figure that was asked for.

    `quantity` and `mark_price` are the named position's, all else is of the scope. The last eight are described in the
    page about risk figures; one that could not be made holds a `reason` and nothing else.
    """

    metrics_id: UUID
    risk_model: Literal["VaR", "ExpectedShortfall"]
    value: Decimal
    position_id: UUID
    pair_id: UUID
    quantity: Decimal
    mark_price: Decimal
    position_value: Decimal
    confidence_level: Decimal
    time_horizon: str
    value_at_risk: Decimal
    expected_shortfall: Decimal
    drawdown: Decimal
    drawdown_start_ts: str
    drawdown_trough_ts: str
    drawdown_recovery_ts: str | None
    method: str
    convention: str
    sampling_interval: str
    scaling: float
    observations: int
    dropped: int
    coverage: float
    window_start_ts: str
    window_end_ts: str
    data_hash: str
    as_of_ts: str
    scope: RiskScope = "POSITION"
    positions: int = 1
    gross_value: Decimal = Decimal(0)
    scaling_rule: str = "SQUARE_ROOT"
    parameters: dict[str, float] = {}
    drawdowns: dict[str, Any] = {}
    components: dict[str, Any] = {}
    liquidity: dict[str, Any] = {}
    inventory: dict[str, Any] = {}
    worst_case: dict[str, Any] = {}
    concentration: dict[str, Any] = {}
    margin: dict[str, Any] = {}
    stress: dict[str, Any] = {}


class StressScenario(Request):
    """A storm: the relative move `shock` of every factor (base currency) but those in `shocks`."""

    name: Code
    shock: Annotated[float, Meta(ge=-1, le=1000)] = 0.0
    shocks: dict[str, float] = {}
    spread_factor: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    depth_factor: Annotated[float, Meta(gt=0, le=1000)] = 1.0


class StressTest(Request):
    """Storms over a position or a scope; without `scenarios` the published ones. `loss` is that of the reverse question."""

    position_id: UUID
    scope: RiskScope = "POSITION"
    scenarios: Annotated[list[StressScenario], Meta(max_length=100)] = []
    time_horizon: str | None = None
    loss: Decimal | None = None
    norm: StressNorm = "LIKELIHOOD"


class StressView(View):
    """Losses in given storms, in the worst stretches of the history, and the smallest move that loses an amount."""

    position_id: UUID
    scope: RiskScope
    as_of_ts: str
    fixed: list[dict[str, Any]]
    historical: list[dict[str, Any]]
    reverse: dict[str, Any]


class RiskMetricsPage(View):
    """Risk figures, newest first."""

    items: list[RiskMetricsView]
    next: str | None


class TestModels(Request):
    """Methods to be judged over the history of a position's pair; without any, three. `interval` as `1m`."""

    __test__ = False  # tell pytest that this is not a test class

    position_id: UUID
    methods: Annotated[list[RiskMethod], Meta(max_length=10)] = []
    confidence_level: Decimal | None = None
    window: Annotated[int, Meta(ge=20, le=5000)] = 250
    interval: str | None = None


class ModelTestView(View):
    """What the tests say of each method, and of each two of them which has the better scores."""

    test_id: UUID
    position_id: UUID
    created_ts: str
    confidence_level: Decimal
    window: int
    interval: str
    observations: int
    data_hash: str
    models: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]


class ModelTestPage(View):
    """Tests of models, newest first."""

    items: list[ModelTestView]
    next: str | None


LimitKindName = Literal[
    "MAX_VAR", "MAX_ES", "MAX_DRAWDOWN", "MAX_POSITION", "MAX_NOTIONAL", "MAX_LOSS", "MAX_CONCENTRATION", "MAX_STALENESS",
    "MAX_ORDER_SIZE", "MAX_ORDER_NOTIONAL", "PRICE_COLLAR", "MAX_MESSAGE_RATE", "MAX_REPEATED_ORDERS", "MAX_SELF_TRADE",
    "MAX_WORST_CASE_POSITION", "MAX_BOOK_VAR",
]  # fmt: skip
LimitScopeName = Literal["POSITION", "PAIR", "STRATEGY", "ACCOUNT", "ALL"]
BreachAction = Literal["ALERT", "REDUCE", "HALT"]
HoldState = Literal["ACTIVE", "REDUCING", "HALTED"]


class NewLimit(Request):
    """A limit; warns from `warn_share` of the threshold on. `scope_id` for every scope but ALL.

    `on_breach`: REDUCE takes only orders that reduce a position, HALT none and ends the open ones, until it is reset.
    """

    kind: LimitKindName
    threshold: Decimal
    scope: LimitScopeName = "ALL"
    scope_id: UUID | None = None
    warn_share: Decimal = Decimal("0.8")
    on_breach: BreachAction = "ALERT"


class LimitView(View):
    """A limit with its last value and when it was last evaluated (ns). `hold` is what a breach holds back."""

    limit_id: UUID
    kind: LimitKindName
    scope: LimitScopeName
    scope_id: UUID | None
    threshold: Decimal
    warn_share: Decimal
    state: Literal["OK", "WARN", "BREACHED"]
    value: Decimal | None
    evaluated_ts: str | None
    on_breach: BreachAction
    hold: HoldState
    hold_ts: str | None


class ScopeState(View):
    """A scope that a breach (`limit_id`) or a kill switch keeps from trading freely."""

    scope: LimitScopeName
    scope_id: UUID | None
    state: HoldState
    since_ts: str | None
    limit_id: UUID | None
    reason: str


class ScopeStates(View):
    """All that is held back; what is not listed is ACTIVE."""

    items: list[ScopeState]


class SetKillSwitch(Request):
    """Engage or release a kill switch; releasing needs the scope `admin`. `scope_id` for every scope but ALL."""

    engaged: bool
    reason: Name
    scope: LimitScopeName = "ALL"
    scope_id: UUID | None = None


class KillSwitchItem(View):
    """One engaged switch."""

    switch_id: UUID
    scope: LimitScopeName
    scope_id: UUID | None
    reason: str
    engaged_ts: str


class KillSwitchView(View):
    """The switches that are engaged; `orders_ended` by this request."""

    engaged: bool
    items: list[KillSwitchItem]
    orders_ended: int = 0


class AuditEntry(View):
    """One change of a limit or a switch."""

    audit_id: UUID
    ts: str
    action: str
    details: dict[str, Any]


class AuditPage(View):
    """Changes of limits and switches, newest first."""

    items: list[AuditEntry]
    next: str | None


class LimitList(View):
    """All limits."""

    items: list[LimitView]


class AlertView(View):
    """A notice that a limit warns or is breached; `position_id` is the one whose order, fill or assessment showed it."""

    alert_id: UUID
    limit_id: UUID
    kind: str
    scope: LimitScopeName
    scope_id: UUID | None
    position_id: UUID
    severity: Literal["WARNING", "CRITICAL"]
    state: Literal["RAISED", "CLEARED"]
    model: str
    value: Decimal
    threshold: Decimal
    raised_ts: str
    cleared_ts: str | None
    cleared_value: Decimal | None
    dedupe_key: str
    message: str


class AlertPage(View):
    """Alerts, newest first."""

    items: list[AlertView]
    next: str | None


# ---------------------------------------------------------------------- market data, operations


class RecordedDay(View):
    """One day of one kind of events in the lake."""

    venue: str
    symbol: str
    kind: str
    day: str
    import_id: UUID
    path: str
    rows: int
    bytes: int
    sha256: str
    first_ts: str
    last_ts: str
    quality: dict[str, Any]


class CatalogueView(View):
    """What the lake holds."""

    items: list[RecordedDay]


class PriceView(View):
    """One bar of mids; `ts` is its start in ns."""

    ts: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quotes: int


class PriceList(View):
    """Bars, oldest first."""

    items: list[PriceView]


class ImportFile(Request):
    """A file of the configured inbox folder, by its name there, and what may be done to get it in.

    `offset_negative_latency`, `offset_ns`, `sort` and `drop_off_book` change the data and are recorded; `force` imports
    what a rule of quality refuses; `replace` takes the place of days that other files have given.
    """

    path: Annotated[str, Meta(min_length=1, max_length=500)]
    format: Annotated[str, Meta(min_length=1, max_length=60)] | None = None
    venue: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    symbol: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    symbols: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=1000)] = []
    date: dt.date | None = None
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    offset_negative_latency: bool = False
    offset_ns: Annotated[int, Meta(ge=-(2**53), le=2**53)] = 0
    sort: bool = False
    drop_off_book: bool = False
    force: bool = False
    replace: bool = False


class ImportView(View):
    """An import: how far it is, and, when it is asked for alone and has ended, its report."""

    import_id: UUID
    source: str
    importer: str
    importer_version: str
    options: dict[str, Any]
    state: Literal["PENDING", "RUNNING", "PUBLISHING", "COMPLETED", "FAILED"]
    verdict: Literal["PASS", "WARN", "FAIL"]
    progress_percent: float
    rows: int
    created_ts: str
    error: str | None = None
    finished_ts: str | None = None
    report: dict[str, Any] | None = None


class ImportPage(View):
    """Imports, newest first."""

    items: list[ImportView]
    next: UUID | None = None


class TableQuality(View):
    """Figures and findings of one table of one recorded day (bars: year)."""

    day: dt.date
    table: str
    verdict: Literal["PASS", "WARN", "FAIL"]
    findings: list[dict[str, Any]]
    figures: dict[str, Any]


class QualityView(View):
    """The quality of recorded days."""

    items: list[TableQuality]


class HealthView(View):
    """Whether the service is well, check by check."""

    state: Literal["ok", "degraded", "down"]
    checks: dict[str, Any]
