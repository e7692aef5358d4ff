"""Risk figures, tests of models, limits, kill switches, alerts."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from market_maker.api.schemas.bases import Code, Name, Request, View

RiskMethod = Literal[
    "HISTORICAL", "AGE_WEIGHTED", "FILTERED_HISTORICAL", "NORMAL", "STUDENT_T", "CORNISH_FISHER", "EWMA", "GARCH",
    "PEAKS_OVER_THRESHOLD", "MONTE_CARLO",
]  # fmt: skip
RiskScope = Literal["POSITION", "PAIR", "ACCOUNT", "STRATEGY", "BOOK"]
Move = Annotated[float, Meta(ge=-1, le=1000)]
Factor = Annotated[float, Meta(ge=0.001, le=1000)]
StressNorm = Literal["LARGEST", "EUCLID", "SUM", "LIKELIHOOD"]


class AssessRisk(Request):
    """Figures of a position; what is left out comes from the settings (of `risk_model`: VaR where it may be asked for).

    `time_horizon` as `1d`, from 1s.

    With `scope` the figures are of all positions of the named one's account, of its strategy, or of the whole book. With
    `currency` they are in what the pairs settle in or in their quote, into which an INVERSE contract is turned at its price.
    """

    position_id: UUID
    risk_model: Literal["VaR", "ExpectedShortfall"] | None = None
    confidence_level: Decimal | None = None
    time_horizon: str | None = None
    method: RiskMethod = "HISTORICAL"
    scope: RiskScope = "POSITION"
    currency: Code | None = None


class RiskMetricsView(View):
    """Risk figures: positive losses in `currency`, null of figures that an earlier version kept. `value` is the figure that was asked for.

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
    currency: str | None = None
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
    shock: Move = 0.0
    shocks: dict[str, Move] = {}
    spread_factor: Factor = 1.0
    depth_factor: Factor = 1.0


class StressTest(Request):
    """Storms over a position or a scope; without `scenarios` the published ones. `loss` is that of the reverse question.

    `currency` as of an assessment.
    """

    position_id: UUID
    scope: RiskScope = "POSITION"
    scenarios: Annotated[list[StressScenario], Meta(max_length=100)] = []
    time_horizon: str | None = None
    loss: Decimal | None = None
    norm: StressNorm = "LIKELIHOOD"
    currency: Code | None = None


class StressView(View):
    """Losses in given storms, in the worst stretches of the history, and the smallest move that loses an amount."""

    position_id: UUID
    scope: RiskScope
    currency: str
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
    """A limit with its last value and when it was last evaluated (ns). `hold` is what a breach holds back.

    `not_evaluated` tells why it could not be evaluated when it was last tried, such as too little price history.
    """

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
    not_evaluated: str | None = None


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
