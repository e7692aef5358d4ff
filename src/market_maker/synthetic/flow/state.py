"""The memory of one market's invented participants: record layouts and the constructor. Arrays only.

Everything is plain arrays in a named tuple made in Python: the interpreted kernel runs on the same memory, a snapshot is
a copy of the arrays, and two flows with equal arrays go on alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

DECAYS = 4
"""Exponentials of the Hawkes process and of the liquidity feedback."""
LEVELS_MAX = 200
SIZES = 4096
"""Sizes are drawn from a table of so many equally likely quantities."""
REACTIONS = 32
"""Queues are told apart up to so many mean orders, less one; longer ones count as that long."""


def _record(kind: type, *names: str) -> np.dtype[Any]:
    return np.dtype([(name, kind) for name in names])


HEAD_DTYPE = _record(
    np.int64,
    # time: of the last change of intensities, of the event to come (`pending` != 0), of the next step; steps so far
    "ts", "next_ts", "pending", "step_ts", "steps",
    # chance: seeds of the flow, of the activity and of the reference price, draws of the flow so far
    "seed", "activity_seed", "reference_seed", "draws",
    # the reference price and the price its mean reversion aims at, in 2^-20 ticks
    "reference_q20", "anchor_q20",
    # places of the pool in use; the conditions that have been seen; orders, cancels and proposals so far; the proposal after
    # which an empty side was last served; orders of the first book, those that it
    # is to have, and quotes recorded so far
    "pooled", "conditions_seen", "limits", "cancels", "markets", "proposals", "refilled", "opened",
    "opening", "recorded",
    # an emptied best price that the other side takes: its side (1 buys), the price, and the lots that are still to come
    "follow_side", "follow_ticks", "follow_lots",
    # whether an event has been that may have emptied a best price, and the best ranks before it
    "watched", "bid_rank", "ask_rank",
)  # fmt: skip

RULES_DTYPE = np.dtype(
    [
        *[
            (name, np.int64)
            for name in (
                "step_ticks", "step_ns", "levels", "length_max", "process", "stale_steps", "reach_steps",
                "day_offset_ns", "session_ns", "queue_lots",
            )
        ],
        *[
            (name, np.float64)
            for name in (
                # rates per second of average activity: of all limit orders, of one order's cancel at most, of market orders
                "speed", "limit_rate", "cancel_rate_max", "market_base_rate", "market_most", "pull_rate", "pull_rate_max",
                # feedback, pull to the reference price
                "limit_pull", "sign_pull", "skew_max", "length_exponent", "theta", "theta_reinit",
                # activity
                "activity_sigma", "activity_keep", "activity_shock", "session_swing", "business_time",
                # reference price, per step
                "deviation", "reversion_keep", "reversion_deviation", "jump_rate", "jump_mean", "jump_deviation",
                "variance_reversion", "variance_mean", "variance_volatility", "variance_correlation",
            )
        ],
    ]
)  # fmt: skip
"""What is fixed when a market is made; see `parameters`. Steps are `step_ticks` in prices, `step_ns` in time."""

MOOD_DTYPE = np.dtype(
    [
        ("activity", np.float64), ("speed", np.float64), ("variance", np.float64),
        ("bound", np.float64),
    ]
)  # fmt: skip
"""What changes by itself: log activity, seconds of average activity per second, variance of the reference price (one on
average), bound of the intensity of the event to come (1/s)."""

CONDITIONS_DTYPE = np.dtype(
    [
        ("version", np.int64), ("levels_max", np.int64), ("distance_steps", np.int64), ("size_e3", np.int64),
        ("jump_q40", np.int64),
        ("activity", np.float64), ("limit", np.float64), ("cancel", np.float64), ("market", np.float64),
        ("buy_bias", np.float64), ("volatility", np.float64),
    ]
)  # fmt: skip
"""What a scenario changes while the market runs: `version` is to differ after a change. Multipliers are 1 for nothing,
`size_e3` 1,000; `buy_bias` in [-1, 1] is the share of market orders that are forced to buy (sell); `distance_steps` widens
the spread by so many steps; `jump_q40` is a relative jump of the reference price that is still to be done."""

POOL_DTYPE = _record(np.int64, "order_id", "slot")


class FlowState(NamedTuple):
    """All memory of one market's participants.

    head, rules, mood, conditions (1,); decays (DECAYS,) 1/s, excitations and weights (DECAYS,): what a market order adds to the
    intensity of others and how it turns liquidity, by decay; excited (DECAYS,) 1/s and signed (DECAYS,): decayed sums of past
    market orders and of their signs; level_places (levels,) int64 and level_shares (levels,) float64: the alias table of
    distances; accepts (levels + 1,) chance that a proposed cancel at a distance happens; limit_accepts and cancel_accepts (2, REACTIONS),
    market_accepts (REACTIONS,): chance that an order happens by the length of the queue it meets, at the best price and
    behind it; sizes, market_sizes (SIZES,) lots;
    metaorders (k, 2): sign and orders left, with the alias table of who is next; pool (n,): open orders of the flow, some of them gone already; loadings (f,):
    weights of the common factors of the reference price.
    """

    head: Any
    rules: Any
    mood: Any
    conditions: Any
    decays: Any
    excitations: Any
    weights: Any
    excited: Any
    signed: Any
    level_places: Any
    level_shares: Any
    accepts: Any
    limit_accepts: Any
    cancel_accepts: Any
    market_accepts: Any
    sizes: Any
    market_sizes: Any
    metaorders: Any
    metaorder_places: Any
    metaorder_shares: Any
    pool: Any
    loadings: Any


def new_state(*, levels: int, metaorders: int, pool: int, factors: int) -> FlowState:
    """Return a state of zeros for so many levels, metaorders, open orders and common factors."""
    return FlowState(
        head=np.zeros(1, HEAD_DTYPE),
        rules=np.zeros(1, RULES_DTYPE),
        mood=np.zeros(1, MOOD_DTYPE),
        conditions=np.zeros(1, CONDITIONS_DTYPE),
        **{name: np.zeros(DECAYS) for name in ("decays", "excitations", "weights", "excited", "signed")},
        level_places=np.zeros(levels, np.int64),
        level_shares=np.zeros(levels, np.float64),
        accepts=np.zeros(levels + 1, np.float64),
        limit_accepts=np.ones((2, REACTIONS)),
        cancel_accepts=np.ones((2, REACTIONS)),
        market_accepts=np.ones(REACTIONS),
        sizes=np.zeros(SIZES, np.int64),
        market_sizes=np.zeros(SIZES, np.int64),
        metaorders=np.zeros((metaorders, 2), np.int64),
        metaorder_places=np.zeros(metaorders, np.int64),
        metaorder_shares=np.zeros(metaorders, np.float64),
        pool=np.zeros(pool, POOL_DTYPE),
        loadings=np.zeros(factors, np.float64),
    )
