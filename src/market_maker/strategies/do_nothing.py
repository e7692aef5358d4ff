"""The baseline: places nothing and holds what it holds. What remains of a run with it is the cost of the frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from market_maker.strategies import parameters
from market_maker.strategies.actions import Records, View
from market_maker.strategies.contract import StrategyKind


def on_wake(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """Make no request."""


KIND = StrategyKind(
    kind="do_nothing",
    summary="Places nothing: the baseline against which others are held.",
    parameters=(parameters.INTERVAL,),
    source="market_maker.strategies.do_nothing:on_wake",
)
