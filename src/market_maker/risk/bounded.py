"""The figure that a limit of each kind bounds, of an assessment: of one position, or the sum over all that it covers."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from market_maker.domain.units import NS_PER_SECOND
from market_maker.risk.limits import LimitKind
from market_maker.risk.measures import AMOUNT_STEP, RiskMetrics, Scope

if TYPE_CHECKING:  # what finds it reads the lake, whose kernels bring the compiler with them
    from market_maker.risk.subjects import Subject


def bounded_value(kind: LimitKind, subject: Subject, metrics: RiskMetrics) -> Decimal:
    """Return the figure that a limit of `kind` bounds, of all that was assessed.

    Quantities net, of each pair by itself, the largest; notional gross; results of positions that are flat by now count.
    `kind` is one of `limits.ASSESSED`.
    """
    match kind:
        case LimitKind.MAX_VAR:
            return metrics.value_at_risk
        case LimitKind.MAX_ES:
            return metrics.expected_shortfall
        case LimitKind.MAX_DRAWDOWN:
            return metrics.drawdown
        case LimitKind.MAX_NOTIONAL:
            return metrics.gross_value
        case LimitKind.MAX_POSITION:
            net: dict[UUID, Decimal] = {}
            for each in subject.holdings:
                net[each.instrument.pair_id] = net.get(each.instrument.pair_id, Decimal(0)) + each.quantity
            return max(abs(quantity) for quantity in net.values())
        case LimitKind.MAX_LOSS:
            return -sum((each.result for each in subject.holdings), subject.closed)
        case LimitKind.MAX_CONCENTRATION:
            gross = subject.account_gross if metrics.scope is Scope.POSITION else metrics.gross_value
            largest = max(abs(each.value) for each in subject.holdings)
            return (largest / gross).quantize(AMOUNT_STEP) if gross else Decimal(0)
    assert kind is LimitKind.MAX_STALENESS, kind
    oldest = min(each.history.window_end_ts for each in subject.holdings)
    return Decimal(metrics.as_of_ts - oldest) / NS_PER_SECOND
