"""The reference price and the market's activity: both move at steps of equal length.

Owns the laws of the reference price. Knows neither book nor orders. The draws of a step are functions of the seed and the
step's number, so that whatever happens in the book, and whatever other markets do, the price takes the same path but for
impact. Interpreted and compiled form are the same code.

Only relative changes are floats; they are rounded to 2^-40, and the price is the whole-number product.
"""

import math

from market_maker.synthetic.draws.kernel import (
    SHIFT,
    changed,
    inner,
    normal,
    nth,
    quantum,
    quantum_of_e12,
    uniform,
)
from market_maker.synthetic.reference.processes import Process

GBM, CONSTANT = int(Process.GBM), int(Process.CONSTANT)
ORNSTEIN_UHLENBECK, HESTON = int(Process.ORNSTEIN_UHLENBECK), int(Process.HESTON)
DRAWS_PER_STEP = 32
"""Counters that a step may use of each stream of draws."""
JUMPS_MAX = 7
OWN_LEAST = 1e-9
"""Share of the variance below which a market has no draws of its own: weights are decimals."""
DAY_NS = 86_400_000_000_000
LEAST_Q20 = 1 << SHIFT
MOST_Q20 = 1 << 60


@inner
def move(flow, change_q40):
    """Multiply the reference price by one plus a change; it stays between one tick and 2^40."""
    head = flow.head[0]
    price = changed(head["reference_q20"], change_q40)
    head["reference_q20"] = min(MOST_Q20, max(LEAST_Q20, price))


@inner
def take_impact(flow, impact_e12):
    """Apply the impact of own executions, a relative change of 1e-12, for good; see `price_impact`."""
    move(flow, quantum_of_e12(impact_e12))
    anchor = changed(flow.head[0]["anchor_q20"], quantum_of_e12(impact_e12))
    flow.head[0]["anchor_q20"] = min(MOST_Q20, max(LEAST_Q20, anchor))


@inner
def common_normal(flow, step):
    """Return the step's normal draw: a weighted sum of the draws of factors that all markets of a group share.

    What the weights leave of the variance is the market's own.
    """
    total, left = 0.0, 1.0
    seed = flow.head[0]["reference_seed"]
    for factor in range(len(flow.loadings)):
        # A factor's draws begin where no other's end.
        weight = flow.loadings[nth(factor)]
        total += weight * normal(seed + factor + 1, step)
        left -= weight * weight
    if left > OWN_LEAST:
        total += math.sqrt(left) * normal(flow.head[0]["activity_seed"] + 2, step)
    return total


@inner
def jumps(flow, step):
    """Return the step's jumps as a change of the log price (Merton 1976): a Poisson number of normal draws."""
    rules = flow.rules[0]
    seed = flow.head[0]["reference_seed"]
    own = seed ^ flow.head[0]["activity_seed"]
    if rules["jump_rate"] <= 0.0:
        return 0.0
    # Knuth's product method: the rate is small.
    left, total, count = uniform(own, step * DRAWS_PER_STEP), 0.0, 0
    least = math.exp(-rules["jump_rate"])
    while left > least and count < JUMPS_MAX:
        count += 1
        total += rules["jump_mean"] + rules["jump_deviation"] * normal(
            own, (step * DRAWS_PER_STEP + DRAWS_PER_STEP // 2) // 2 + count
        )
        left *= uniform(own, step * DRAWS_PER_STEP + count)
    return total


@inner
def step_reference(flow):
    """Let the reference price take one step of its process."""
    head, rules, mood, conditions = flow.head[0], flow.rules[0], flow.mood[0], flow.conditions[0]
    process, step = rules["process"], head["steps"]
    if process == CONSTANT:
        return
    deviation = rules["deviation"] * conditions["volatility"]
    if rules["business_time"] > 0.0:
        deviation *= math.sqrt(mood["speed"] / rules["speed"])
    draw = common_normal(flow, step)
    if process == ORNSTEIN_UHLENBECK:
        # The exact transition of the log price's distance from its mean.
        distance = math.log(head["reference_q20"] / head["anchor_q20"])
        change = (rules["reversion_keep"] - 1.0) * distance + rules["reversion_deviation"] * conditions[
            "volatility"
        ] * draw
        move(flow, quantum(math.expm1(change)))
        return
    variance = 1.0
    if process == HESTON:
        # Full truncation (Lord, Koekkoek, van Dijk 2010); the variance is one on average.
        variance = max(0.0, mood["variance"])
        own = normal(head["activity_seed"] + 1, step)
        weight = rules["variance_correlation"]
        shock = weight * draw + math.sqrt(1.0 - weight * weight) * own
        mood["variance"] += rules["variance_reversion"] * (1.0 - variance)
        mood["variance"] += rules["variance_volatility"] * math.sqrt(variance) * shock
    # Without drift of the price itself: half the variance comes off its logarithm.
    change = deviation * math.sqrt(variance) * draw - 0.5 * deviation * deviation * variance + jumps(flow, step)
    move(flow, quantum(math.expm1(change)))


@inner
def session_factor(rules, ts):
    """Return how busy a time of day is, one on average over the session: a parabola, busiest at both ends."""
    length = rules["session_ns"]
    if length <= 0:
        return 1.0
    place = (ts - rules["day_offset_ns"]) % DAY_NS
    where = 2.0 * min(place, length) / length - 1.0
    return 1.0 + rules["session_swing"] * (1.5 * where * where - 0.5)


@inner
def step_activity(flow):
    """Let the activity take one step: an Ornstein-Uhlenbeck process of its logarithm, times the time of day."""
    head, rules, mood = flow.head[0], flow.rules[0], flow.mood[0]
    sigma = rules["activity_sigma"]
    if sigma > 0.0:
        shock = rules["activity_shock"] * normal(head["activity_seed"], head["steps"])
        mood["activity"] = rules["activity_keep"] * mood["activity"] + shock
    set_speed(flow)


@inner
def set_speed(flow):
    """Set how many seconds of average activity pass in a second."""
    rules, mood = flow.rules[0], flow.mood[0]
    sigma = rules["activity_sigma"]
    busy = math.exp(mood["activity"] - 0.5 * sigma * sigma) * session_factor(rules, flow.head[0]["ts"])
    mood["speed"] = rules["speed"] * flow.conditions[0]["activity"] * busy
