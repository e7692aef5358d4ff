"""Limits driven to breach and back, and the alerts that they raise and clear."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.domain.position import PositionState
from market_maker.risk.alerts import Alert, AlertChanges, AlertState, Severity, alert_changes
from market_maker.risk.bounded import bounded_value
from market_maker.risk.guard import GUARDED
from market_maker.risk.history import price_history
from market_maker.risk.limit_rows import to_alert
from market_maker.risk.limits import (
    ASSESSED,
    Limit,
    LimitKind,
    LimitScope,
    LimitState,
    applies_to,
    evaluate,
)
from market_maker.risk.measures import Scope
from market_maker.risk.positions import Holding
from market_maker.risk.subjects import Subject
from risk_builders import some_metrics

OK, WARN, BREACHED = LimitState.OK, LimitState.WARN, LimitState.BREACHED
POSITION = PositionState(UUID(int=10), UUID(int=11), UUID(int=12), UUID(int=13))


def a_limit(**changes: object) -> Limit:
    given = {
        "limit_id": UUID(int=1), "kind": LimitKind.MAX_VAR, "scope": LimitScope.POSITION,
        "scope_id": POSITION.position_id, "threshold": Decimal(100),
    }  # fmt: skip
    return Limit(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "from_ok", "from_warn", "from_breached"),
    [
        ("-5", OK, OK, OK),
        ("74.99", OK, OK, OK),  # 80 - 5
        ("75", OK, WARN, WARN),
        ("79.99", OK, WARN, WARN),
        ("80", WARN, WARN, WARN),
        ("95", WARN, WARN, WARN),  # 100 - 5
        ("95.01", WARN, WARN, BREACHED),
        ("100", WARN, WARN, BREACHED),  # the threshold itself is allowed
        ("100.00000001", BREACHED, BREACHED, BREACHED),
    ],
)
def test_states_with_hysteresis(
    value: str, from_ok: LimitState, from_warn: LimitState, from_breached: LimitState
) -> None:
    for previous, expected in ((OK, from_ok), (WARN, from_warn), (BREACHED, from_breached)):
        evaluation = evaluate(a_limit(), Decimal(value), previous)
        assert evaluation.state is expected
        assert evaluation.changed is (previous is not expected)


def test_a_value_that_trembles_on_the_edge_changes_the_state_once() -> None:
    state, changes = OK, 0
    for value in ["99", "101", "99", "101", "97", "100.5", "96"] * 20:
        evaluation = evaluate(a_limit(), Decimal(value), state)
        changes += evaluation.changed
        state = evaluation.state
    assert (state, changes) == (BREACHED, 2)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_an_unknown_value_is_not_a_small_one(value: str) -> None:
    with pytest.raises(InvalidRequest, match="value"):
        evaluate(a_limit(), Decimal(value))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"threshold": Decimal(0)}, "threshold"),
        ({"threshold": Decimal(-1)}, "threshold"),
        ({"threshold": Decimal("NaN")}, "threshold"),
        ({"threshold": Decimal("Infinity")}, "threshold"),
        ({"warn_share": Decimal("0.05")}, "warn_share"),
        ({"warn_share": Decimal("1.01")}, "warn_share"),
        ({"scope_id": None}, "scope_id"),
        ({"scope": LimitScope.ALL}, "scope_id"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        a_limit(**changes)
    assert caught.value.errors[0].field == field


@pytest.mark.parametrize(
    ("scope", "owner", "applies"),
    [
        (LimitScope.POSITION, 10, True), (LimitScope.POSITION, 11, False),
        (LimitScope.PAIR, 11, True), (LimitScope.PAIR, 10, False),
        (LimitScope.ACCOUNT, 12, True), (LimitScope.ACCOUNT, 13, False),
        (LimitScope.STRATEGY, 13, True), (LimitScope.STRATEGY, 12, False),
        (LimitScope.ALL, None, True),
    ],
)  # fmt: skip
def test_whose_figure_is_bounded(scope: LimitScope, owner: int | None, *, applies: bool) -> None:
    limit = a_limit(scope=scope, scope_id=None if owner is None else UUID(int=owner))
    assert applies_to(limit, POSITION) is applies


def test_a_manual_position_has_no_strategy_limit() -> None:
    manual = PositionState(UUID(int=10), UUID(int=11), UUID(int=12), None)
    assert not applies_to(a_limit(scope=LimitScope.STRATEGY, scope_id=UUID(int=13)), manual)


def a_holding(number: int, pair: int, lots: int, price: int, *, paid: int, fees: int = 0, last_ts: int = 0) -> Holding:
    """A position in lots and ticks of one, bought at `paid`, at a price that stands since `last_ts`."""
    instrument = Instrument(UUID(int=pair), "v", f"P{pair}-Q", f"P{pair}", "Q", Decimal(1), Decimal(1))
    state = PositionState(UUID(int=number), instrument.pair_id, UUID(int=12), None, lots, lots * paid, 0, fees)
    history = price_history([last_ts], [2 * price], interval_ns=10**9)
    return Holding(state, instrument, history)


def test_every_kind_bounds_its_figure() -> None:
    """Two positions of one pair, +3 and -5 at 10, and one of another, +2 at 50: net -2 and +2, gross 30 + 50 + 100."""
    holdings = [
        a_holding(1, 1, 3, 10, paid=12, fees=1, last_ts=6 * 10**9),
        a_holding(2, 1, -5, 10, paid=11, last_ts=6 * 10**9),
        a_holding(3, 2, 2, 50, paid=40, last_ts=2 * 10**9),
    ]
    given = {"value_at_risk": "3", "expected_shortfall": "4", "drawdown": "5", "gross_value": "180"}
    metrics = replace(some_metrics(**given, as_of_ts=10**10), scope=Scope.ACCOUNT)
    subject = Subject(holdings, Scope.ACCOUNT, 10**10, None, Decimal(500), closed=Decimal(-30))
    values = {kind: bounded_value(kind, subject, metrics) for kind in ASSESSED}
    assert values == {
        LimitKind.MAX_VAR: 3, LimitKind.MAX_ES: 4, LimitKind.MAX_DRAWDOWN: 5, LimitKind.MAX_POSITION: 2,
        LimitKind.MAX_NOTIONAL: 180, LimitKind.MAX_CONCENTRATION: Decimal("0.55555556"),
        LimitKind.MAX_LOSS: 6 + 1 - 5 - 20 + 30,
        LimitKind.MAX_STALENESS: 7,  # the older history ends at 3 s
    }  # fmt: skip
    alone = Subject(holdings[:1], Scope.POSITION, 10**10, None, Decimal(500))
    assert bounded_value(LimitKind.MAX_CONCENTRATION, alone, some_metrics()) == Decimal("0.06")
    assert set(LimitKind) == ASSESSED | GUARDED, "every kind is evaluated somewhere"


def test_an_alert_of_a_sum_is_one_whoever_shows_it() -> None:
    limit = a_limit(scope=LimitScope.ACCOUNT, scope_id=UUID(int=12))
    raised = alert_changes(
        evaluate(limit, Decimal(101)), None, position_id=UUID(int=1), ts=1, alert_id=UUID(int=7)
    ).raised
    assert raised is not None
    assert raised.message == f"VaR 101 of account {UUID(int=12)} is above its limit of 100"
    assert raised.dedupe_key == f"{limit.limit_id}:ACCOUNT:CRITICAL"
    again = evaluate(limit, Decimal(102), BREACHED)
    assert alert_changes(again, raised, position_id=UUID(int=2), ts=2, alert_id=UUID(int=8)) == AlertChanges()
    assert to_alert(raised.to_json()) == raised


def test_the_life_of_alerts() -> None:
    """A value rises over the warning and the threshold, stays, and falls: two alerts, each raised and cleared once."""
    limit, state, open_alert = a_limit(), OK, None
    told: list[tuple[str, str, int]] = []
    for ts, value in enumerate(["50", "85", "90", "120", "130", "99", "90", "60", "60"]):
        evaluation = evaluate(limit, Decimal(value), state)
        changes = alert_changes(
            evaluation, open_alert, position_id=POSITION.position_id, ts=ts, alert_id=UUID(int=100 + ts)
        )
        state = evaluation.state
        if changes.cleared:
            assert (changes.cleared.cleared_ts, changes.cleared.cleared_value) == (ts, Decimal(value))
            told.append(("cleared", changes.cleared.severity, ts))
            open_alert = None
        if changes.raised:
            assert changes.raised.raised_ts == ts
            told.append(("raised", changes.raised.severity, ts))
            open_alert = changes.raised
    assert open_alert is None
    assert told == [
        ("raised", Severity.WARNING, 1),
        ("cleared", Severity.WARNING, 3),
        ("raised", Severity.CRITICAL, 3),
        ("cleared", Severity.CRITICAL, 6),
        ("raised", Severity.WARNING, 6),
        ("cleared", Severity.WARNING, 7),
    ]


def test_an_alert_says_what_is_wrong() -> None:
    evaluation = evaluate(a_limit(), Decimal("120.50"))
    alert = alert_changes(evaluation, None, position_id=POSITION.position_id, ts=5, alert_id=UUID(int=7)).raised
    assert isinstance(alert, Alert)
    assert (alert.severity, alert.state, alert.model) == (Severity.CRITICAL, AlertState.RAISED, "VaR")
    assert alert.message == f"VaR 120.50 of position {POSITION.position_id} is above its limit of 100"
    shown = alert.to_json()
    assert (shown["value"], shown["threshold"], shown["raised_ts"]) == ("120.50", "100", "5")
    assert shown["cleared_ts"] is None
    assert alert.dedupe_key == shown["dedupe_key"] == f"{UUID(int=1)}:{POSITION.position_id}:CRITICAL"
