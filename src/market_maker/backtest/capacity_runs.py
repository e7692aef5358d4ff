"""How much size a strategy bears: the same run with larger orders and a larger limit of inventory, in one shared pass.

Makes the runs; what they tell is `performance.capacity`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from market_maker.backtest.engine import RunConfig
from market_maker.backtest.sweep import SweepProgress, sweep
from market_maker.domain.instrument import EXACT
from market_maker.market_data.replay import Feed
from market_maker.performance.capacity import CapacityCurve, SizeResult, capacity_curve
from market_maker.strategies.contract import find_strategy

SCALES = (1, 2, 4, 8, 16, 32)
SIZES = ("order_lots", "max_inventory_lots")
"""Parameters that are multiplied; a strategy without the first has no capacity curve."""


def size_curve(
    config: RunConfig,
    feed: Feed,
    public_lots: int | None = None,
    progress: Callable[[SweepProgress], None] | None = None,
) -> CapacityCurve | None:
    """Return net profit against order size, None for a strategy whose size no parameter says.

    Parameters
    ----------
    config : the run; its band is left out
    feed : what it ran on
    public_lots : what the market traded over the run; None: not known
    progress : as of `sweep`

    Raises
    ------
    InvalidRequest, DataError
        As `sweep`.

    Notes
    -----
    Funds are multiplied as well: an order that fails for want of money says nothing about the market. A scale at which a
    parameter would pass its bound is left out. The recorded market does not react to orders; beyond the displayed
    quantities the profit is too good, unless the run has a price impact.
    """
    kind = find_strategy(config.strategy_kind)
    bounds = {each.name: each.maximum for each in kind.parameters if each.name in SIZES}
    if SIZES[0] not in bounds:
        return None
    own = {name: int(kind.validate(config.parameters)[name]) for name in bounds}
    scales = [scale for scale in SCALES if all(own[name] * scale <= bounds[name] for name in bounds)]
    if len(scales) < 2 or not own[SIZES[0]]:
        return None
    plain = replace(config, band=False, records_orders=False)
    configs = [
        replace(
            plain,
            parameters={**config.parameters, **{name: lots * scale for name, lots in own.items()}},
            balance=EXACT.multiply(config.balance, Decimal(scale)),
        )
        for scale in scales
    ]
    found = {}
    for trial in sweep(configs, feed, progress):
        summary, pair = trial.result.summary, config.instrument
        found[trial.number] = SizeResult(
            scale=Decimal(scales[trial.number]),
            net_pnl=summary.net_pnl,
            sharpe=summary.sharpe.ratio,
            own_lots=int(EXACT.divide(summary.volume, pair.lot_size)),
            public_lots=public_lots,
        )
    return capacity_curve([found[number] for number in sorted(found)])
