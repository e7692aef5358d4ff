"""What the kernel has to know of a confidence: how many losses are in the tail and where its quantile lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from market_maker.performance.figures import Float64
from market_maker.risk.laws import normal_tail, upper_quantile
from market_maker.risk.tails import Convention, tail_share_of, too_few_losses


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The table of the kernel, the losses that it needs, and where to look for them, in deviations above the mean."""

    table: Float64
    kept: int
    reach: float


def plan(count: int, confidences: Sequence[float | Decimal], convention: Convention) -> Plan:
    """Return the plan for `count` losses; InvalidRequest or DataError as `tails.tail_figures`."""
    table, kept = np.zeros((len(confidences), 6)), 1
    for row, confidence in zip(table, confidences, strict=True):
        share = tail_share_of(confidence)
        tail = count * share
        if tail < 1:
            raise too_few_losses(count, confidence, share)
        whole = int(tail)
        if convention is Convention.INTERPOLATED:
            exact = (count - 1) * share
            place, rest = int(exact), float(exact - int(exact))
        else:
            upper = convention is Convention.UPPER_ORDER_STATISTIC and tail == whole
            place, rest = min(whole - upper, count - 1), 0.0
        row[:] = (float(tail), whole, place, rest, *normal_tail(float(share)))
        kept = max(kept, min(max(whole, place) + 2, count))
    # Twice as many losses as are needed lie above it if they are normal; fatter tails have fewer, but enough for most.
    wanted = min(2.0 * kept / count, 0.5)
    reach = upper_quantile(wanted) if wanted < 0.5 else -math.inf
    table.flags.writeable = False
    return Plan(table, kept, reach)
