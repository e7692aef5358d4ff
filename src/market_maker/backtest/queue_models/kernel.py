"""The queue ahead of one resting order under six models. Pure: numbers in, numbers out; who owns them is not its business.

All quantities are in lots. An order keeps two floats: `front`, the quantity ahead of it, and `cum`, what has traded at
its price since the level was last shown (a trade and the fall of the level that follows it are one thing and must not
count twice). When it comes to rest, front is the displayed quantity and cum is 0. Fronts are whole numbers under
RISK_AVERSE, which floats keep exactly; compiled and interpreted form give the same bits.
"""

import math

import numpy as np

from market_maker.backtest.ladder.kernel import inner
from market_maker.backtest.queue_models import QueueModel

RISK_AVERSE = np.int64(QueueModel.RISK_AVERSE)
POWER, POWER2 = np.int64(QueueModel.POWER), np.int64(QueueModel.POWER2)
POWER3, LOG = np.int64(QueueModel.POWER3), np.int64(QueueModel.LOG)


@inner
def ratio(a, b):
    """Return a / b as processors do: 0 / 0 is not a number, anything else / 0 is infinite (its sign is never used)."""
    if b == 0.0:
        return math.inf if a > 0.0 or a < 0.0 else math.nan
    return a / b


@inner
def power(x, n):
    """Return x**n; a negative x (a front that a trade has overrun by less than half a lot) has no broken power."""
    if x < 0.0 and n != math.floor(n):
        return math.nan
    return x**n


@inner
def log_one_plus(x):
    """Return ln(1 + x) where Python would raise, too."""
    y = 1.0 + x
    if y > 0.0:
        return math.log(y)
    return -math.inf if y == 0.0 else math.nan


@inner
def share_behind(model, n, front, back):
    """Return the probability that a cancelled lot stood behind us.

    It may be NaN (an empty level) or infinite; `on_depth` says what follows from that.
    """
    if model == POWER:
        return ratio(power(back, n), power(back, n) + power(front, n))
    if model == POWER2:
        return ratio(power(back, n), power(back + front, n))
    if model == POWER3:
        return 1.0 - power(ratio(front, front + back), n)
    back_log = log_one_plus(back * n)
    if model == LOG:
        return ratio(back_log, back_log + log_one_plus(front * n))
    return ratio(back_log, log_one_plus((back + front) * n))


@inner
def on_trade(model, n, front, cum, lots):
    """Return (front, cum) after a trade of `lots` at our price by an aggressor of the other side.

    A front below 0 says how far the trade reached beyond those ahead: see `executable_lots`.
    """
    return front - lots, cum + lots


@inner
def on_depth(model, n, front, cum, before, after):
    """Return (front, cum) after a row set our level from `before` to `after` lots.

    What has traded since the last row explains the first `cum` lots of a fall; newcomers queue behind us. The rest was
    cancelled: (1 - p) of it ahead of us, and ahead of us too what the part behind could not give. An infinite p counts
    as 1. A front that is not a number (0 / 0: nobody on either side) becomes what is displayed.
    """
    most = float(after)
    fallen = before - after - cum
    if model == RISK_AVERSE or fallen < 0.0:
        return min(front, most), 0.0
    back = before - front
    behind = share_behind(model, n, front, back)
    if math.isinf(behind):
        behind = 1.0
    estimate = front - (1.0 - behind) * fallen + min(back - behind * fallen, 0.0)
    if math.isnan(estimate):
        return most, 0.0
    return min(estimate, most), 0.0


@inner
def whole_lots_ahead(front):
    """Return the quantity ahead in whole lots for those who look at it: rounded up, never below 0."""
    return np.int64(math.ceil(max(front, 0.0)))


@inner
def executable_lots(front):
    """Return how many whole lots of us a trade has reached: -front, halves away from zero; 0 while somebody is ahead.

    When it is above 0 the caller sets the front to 0: nobody is ahead any more.
    """
    if front >= 0.0:
        return np.int64(0)
    whole = math.floor(-front)
    return np.int64(whole + 1) if -front - whole >= 0.5 else np.int64(whole)
