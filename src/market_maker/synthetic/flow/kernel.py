"""What an invented participant does next: when, limit order or cancel or market order, which side, where, how much.

Owns the laws of the flow and its memory of itself. Knows no book: best prices and distances come in as numbers, what to do
goes out as numbers. Interpreted and compiled form are the same code. Docs and sources: docs/concepts/synthetic_market.md.

All intensities are per second of average activity; `mood.speed` of them pass in a second.
"""

import math

import numpy as np

from market_maker.synthetic.draws.kernel import bits_of, inlined, inner, nth, uniform
from market_maker.synthetic.flow.state import REACTIONS, SIZES
from market_maker.synthetic.reference.kernel import set_speed, step_activity, step_reference

LIMIT, CANCEL, MARKET, PULL, NOTHING = 0, 1, 2, 3, 4
"""What happens: a limit order, a proposed cancel, a market order of the flow, one that pulls to the reference price."""
LONGEST_NS = 1e18


@inlined
def draw(flow):
    """Return the flow's next draw in [0, 1)."""
    head = flow.head[0]
    head["draws"] += 1
    return uniform(head["seed"], head["draws"])


@inlined
def draw_bits(flow):
    """Return the flow's next 63 random bits."""
    head = flow.head[0]
    head["draws"] += 1
    return bits_of(head["seed"], head["draws"])


@inlined
def chance_of(logit):
    """Return the logistic function."""
    return 1.0 / (1.0 + math.exp(-logit))


@inner
def age(flow, ts):
    """Let the memory of past market orders fade until `ts`."""
    head = flow.head[0]
    passed = (ts - head["ts"]) * 1e-9 * flow.mood[0]["speed"]
    if passed > 0.0:
        for k in range(len(flow.decays)):
            kept = math.exp(-flow.decays[nth(k)] * passed)
            flow.excited[nth(k)] *= kept
            flow.signed[nth(k)] *= kept
    head["ts"] = ts


@inlined
def limit_rate(flow):
    """Return the intensity of limit orders."""
    return flow.rules[0]["limit_rate"] * flow.conditions[0]["limit"]


@inlined
def cancel_rate(flow):
    """Return the intensity of proposed cancels: of every order that the pool holds, at the largest rate."""
    return flow.head[0]["pooled"] * flow.rules[0]["cancel_rate_max"] * flow.conditions[0]["cancel"]


@inlined
def market_rate(flow):
    """Return the intensity of market orders: a Hawkes process with exponentials.

    A condition multiplies the whole, and divides what an order adds, so that the branching ratio stays.
    """
    rate = flow.rules[0]["market_base_rate"]
    for k in range(len(flow.excited)):
        rate += flow.excited[nth(k)]
    return rate * flow.conditions[0]["market"] * flow.rules[0]["market_most"]


@inner
def plan(flow):
    """Draw when something may happen next. Between two events no intensity grows (Ogata 1981)."""
    head, mood = flow.head[0], flow.mood[0]
    mood["bound"] = limit_rate(flow) + cancel_rate(flow) + market_rate(flow) + flow.rules[0]["pull_rate_max"]
    wait = -math.log(1.0 - draw(flow)) * 1e9 / (mood["bound"] * mood["speed"] + 1e-12)
    head["next_ts"] = head["ts"] + int(min(wait, LONGEST_NS))
    head["pending"] = 1


@inner
def choose(flow, gap_steps):
    """Return what happens at the planned instant, at which the memory has been aged."""
    head, rules = flow.head[0], flow.rules[0]
    head["pending"] = 0
    head["proposals"] += 1
    left = draw(flow) * flow.mood[0]["bound"] - limit_rate(flow)
    if left < 0.0:
        return LIMIT
    left -= cancel_rate(flow)
    if left < 0.0:
        return CANCEL
    left -= market_rate(flow)
    if left < 0.0:
        return MARKET
    beyond = abs(gap_steps) - rules["stale_steps"]
    if beyond > 0.0 and left < min(rules["pull_rate_max"], rules["pull_rate"] * beyond):
        return PULL
    return NOTHING


@inner
def reset_plan(flow, ts):
    """Forget the planned event and draw anew from `ts`, since rates have changed: waiting has no memory."""
    age(flow, ts)
    set_speed(flow)
    flow.head[0]["pending"] = 0
    flow.head[0]["conditions_seen"] = flow.conditions[0]["version"]


@inner
def take_step(flow):
    """Let activity and reference price take a step, at the instant that is due."""
    head = flow.head[0]
    age(flow, head["step_ts"])
    head["pending"] = 0
    step_activity(flow)
    step_reference(flow)
    head["steps"] += 1
    head["step_ts"] += flow.rules[0]["step_ns"]


@inner
def limit_side(flow, gap_steps):
    """Return the side of a new limit order.

    After buying, asks are likelier than bids and the other way round, which takes the predictable part out of the price;
    below the reference price bids are likelier.
    """
    rules = flow.rules[0]
    skew = -rules["limit_pull"] * gap_steps
    for k in range(len(flow.signed)):
        skew += flow.weights[nth(k)] * flow.signed[nth(k)]
    skew = min(rules["skew_max"], max(-rules["skew_max"], skew))
    return -1 if draw(flow) < chance_of(skew) else 1


@inlined
def weighted(flow, places, shares):
    """Return a place drawn by an alias table."""
    place = draw_bits(flow) % len(places)
    return place if draw(flow) < shares[nth(place)] else places[nth(place)]


@inner
def distance(flow):
    """Return the distance of a new limit order from the other side's best price, in steps, at least 1."""
    return weighted(flow, flow.level_places, flow.level_shares) + 1


@inlined
def scaled_size(flow, lots):
    """Return a size under the present conditions, at least one lot."""
    return max(1, lots * flow.conditions[0]["size_e3"] // 1000)


@inlined
def limit_size(flow):
    """Return the size of a limit order in lots."""
    return scaled_size(flow, flow.sizes[nth(draw_bits(flow) & (SIZES - 1))])


@inlined
def market_size(flow):
    """Return the size of a market order in lots."""
    return scaled_size(flow, flow.market_sizes[nth(draw_bits(flow) & (SIZES - 1))])


@inner
def metaorder_side(flow, gap_steps):
    """Return the side of the next market order: that of one of the metaorders under way (Lillo, Mike, Farmer 2005).

    A metaorder that is done is followed by another, of Pareto length; its side leans towards the reference price.
    """
    which = weighted(flow, flow.metaorder_places, flow.metaorder_shares)
    if flow.metaorders[which, 1] <= 0:
        renew(flow, which, gap_steps)
    flow.metaorders[which, 1] -= 1
    side = flow.metaorders[which, 0]
    bias = flow.conditions[0]["buy_bias"]
    if bias != 0.0 and draw(flow) < abs(bias):
        side = 1 if bias > 0.0 else -1
    return side


@inner
def renew(flow, which, gap_steps):
    """Begin a new metaorder."""
    rules = flow.rules[0]
    lean = min(rules["skew_max"], max(-rules["skew_max"], rules["sign_pull"] * gap_steps))
    flow.metaorders[which, 0] = 1 if draw(flow) < chance_of(lean) else -1
    length = math.pow(1.0 - draw(flow), -1.0 / rules["length_exponent"])
    flow.metaorders[which, 1] = int(min(length, float(rules["length_max"])))


@inner
def remember(flow, side):
    """Keep a market order in the memory of the flow."""
    share = 1.0 / flow.conditions[0]["market"]
    for k in range(len(flow.excited)):
        flow.excited[nth(k)] += flow.excitations[nth(k)] * share
        flow.signed[nth(k)] += side
    flow.head[0]["markets"] += 1


@inlined
def is_canceled(flow, away_steps, stale):
    """Tell whether a proposed cancel of an order so far from the other side's best price happens.

    An order that the reference price has left behind, one that is nearer than conditions allow, or one beyond the levels
    that they allow is always canceled.
    """
    conditions = flow.conditions[0]
    if (
        stale
        or away_steps <= conditions["distance_steps"]
        or away_steps > conditions["levels_max"] + conditions["distance_steps"]
    ):
        return True
    place = max(1, min(away_steps - conditions["distance_steps"], len(flow.accepts) - 1))
    return draw(flow) < flow.accepts[nth(place)]


@inlined
def queue_length(flow, lots):
    """Return how many mean orders a level of so many lots is long, rounded up, as the tables of reactions count."""
    return min(np.int64(REACTIONS - 1), (lots + flow.rules[0]["queue_lots"] - 1) // flow.rules[0]["queue_lots"])


@inlined
def joins(flow, lots, behind):
    """Tell whether a limit order comes although so many lots stand at its price (Huang, Lehalle, Rosenbaum 2015)."""
    return draw(flow) < flow.limit_accepts[nth(behind), nth(queue_length(flow, lots))]


@inlined
def leaves(flow, lots, behind):
    """Tell whether a proposed cancel happens in a queue of so many lots."""
    return draw(flow) < flow.cancel_accepts[nth(behind), nth(queue_length(flow, lots))]


@inlined
def takes(flow, lots):
    """Tell whether a market order comes to a best price at which so many lots stand."""
    return draw(flow) < flow.market_accepts[nth(queue_length(flow, lots))]


@inlined
def pool(flow, order_id, slot):
    """Add an open order to the pool; the caller has made sure that there is room."""
    head = flow.head[0]
    entry = flow.pool[nth(head["pooled"])]
    entry["order_id"] = order_id
    entry["slot"] = slot
    head["pooled"] += 1


@inlined
def drop(flow, place):
    """Take an order out of the pool; the last takes its place."""
    head = flow.head[0]
    head["pooled"] -= 1
    last, entry = flow.pool[nth(head["pooled"])], flow.pool[nth(place)]
    entry["order_id"] = last["order_id"]
    entry["slot"] = last["slot"]
