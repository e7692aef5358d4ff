"""What a synthetic market is made with: parameters of the flow and of the reference price, and the tables made of them.

Owns defaults, bounds and units. Sources and equations: docs/concepts/synthetic_market.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import InvalidRequest
from market_maker.synthetic.correlation import check_loadings
from market_maker.synthetic.draws.kernel import ONE, SHIFT
from market_maker.synthetic.flow.state import DECAYS, LEVELS_MAX, REACTIONS, SIZES, FlowState, new_state
from market_maker.synthetic.reference.processes import Process

NS = 1_000_000_000
PRICE_TICKS_MAX = 1 << 39
VOLATILITY_STEPS = 1.33
"""Standard deviation of the mid per square root of a second, in steps, that the default flow has by itself."""

FLOW_BOUNDS: dict[str, tuple[float, float]] = {
    "step_ticks": (1, 1 << 32), "speed": (1e-6, 1e6), "levels": (2, LEVELS_MAX), "limit_rate": (1e-6, 1e6),
    "limit_exponent": (0, 10), "cancel_exponent": (0, 10), "market_rate": (0, 1e6), "branching": (0, 0.99),
    "metaorders": (1, 1_000), "length_exponent": (1.01, 100), "participation_exponent": (0, 10), "length_max": (1, 10**9),
    "limit_pull": (0, 10), "sign_pull": (0, 10), "skew_max": (0, 20), "stale_steps": (1, 10**6),
    "pull_rate": (0, 1e6), "pull_rate_max": (0, 1e6), "reach_steps": (0, 10**6), "lots_mean": (1, 1e9),
    "lots_sigma": (0, 3), "market_size": (1e-3, 1e3), "round_lots": (0, 10**9), "round_share": (0, 1),
    "activity_sigma": (0, 2), "activity_time_s": (1e-3, 1e9), "session_start_ns": (0, 86_400 * NS),
    "session_ns": (0, 86_400 * NS), "session_swing": (0, 1), "queue_lots": (0, 10**12),
    "theta": (0, 1), "theta_reinit": (0, 1),
}  # fmt: skip
REFERENCE_BOUNDS: dict[str, tuple[float, float]] = {
    "price_deviation": (0, 0.5), "step_ns": (1_000_000, 3_600 * NS), "reversion_time_s": (1e-3, 1e9),
    "jumps_per_hour": (0, 36_000), "jump_mean": (-0.5, 0.5), "jump_deviation": (0, 0.5),
    "variance_time_s": (1e-3, 1e9), "variance_volatility": (0, 5), "variance_correlation": (-1, 1),
}  # fmt: skip
CONDITION_BOUNDS: dict[str, tuple[float, float]] = {
    "activity": (1e-3, 1e3), "limit": (0, 1e3), "cancel": (0, 1e3), "market": (1e-3, 1e3), "size": (1e-3, 1e3),
    "distance_steps": (0, 10**6), "levels_max": (1, LEVELS_MAX), "buy_bias": (-1, 1), "volatility": (0, 1e3),
}  # fmt: skip
REACTION_NAMES = ("limit_best", "limit_behind", "cancel_best", "cancel_behind", "market_best")


def _check(values: Any, bounds: dict[str, tuple[float, float]]) -> None:
    for name, (least, most) in bounds.items():
        value = getattr(values, name)
        if not least <= value <= most:
            raise InvalidRequest.of(name, value, f"a number from {least} to {most}")


@dataclass(frozen=True, slots=True)
class FlowParameters:
    """Laws of the invented participants; rates are per second of average activity, the whole sped up by `speed`.

    Parameters
    ----------
    step_ticks : distance of neighbouring levels, in ticks
    speed : seconds of average activity that pass in a second
    levels : limit orders come so far from the other side's best price, in steps
    limit_rate, limit_exponent : a limit order comes `i` steps away at limit_rate / i^limit_exponent, on each side
    limit_levels : rates at which it comes 1, 2, ... steps away, on each side, instead of the power law; 0 alone: by the power law
    cancel_rates, cancel_exponent : rate at which an order 1, 2, ... steps away is canceled; farther ones by a power law
    market_rate : mean rate of market orders of both sides
    branching, decays : mean number of market orders that one brings about, and how fast that fades, 1/s
    metaorders, length_exponent, length_max : orders under way at once; their lengths are Pareto from 1 to length_max
    participation_exponent : the k-th of them has a share in market orders in proportion to k^-participation_exponent
    feedback : log odds of an ask against a bid, for a limit order, per net market order in the memory, by decay
    limit_pull, sign_pull : log odds of a bid, and of a new metaorder that buys, per step that the reference price is above the mid
    skew_max : bound of log odds
    stale_steps : an order that the reference price has left behind so far is canceled; beyond this gap
    pull_rate, pull_rate_max : market orders towards it come, at this rate per step and at most
    reach_steps : a market order takes so far into the book
    lots_mean, lots_sigma : mean size of orders in lots, and standard deviation of its logarithm
    market_size : mean size of market orders, in that of limit orders
    round_lots, round_share : share of orders whose size is 1, 2, 5 or 10 times round_lots; 0: about the mean
    activity_sigma, activity_time_s : standard deviation and relaxation time of the log activity
    queue_lots : unit in which the queue-reactive market counts queues, such as a mean order; 0: nobody looks at queues
    limit_best, limit_behind : what limit orders at or within the best price, and behind it, are multiplied by where a queue of
        0, 1, 2, ... units stands; a longer one counts as the last (Huang, Lehalle, Rosenbaum 2015)
    cancel_best, cancel_behind : the same of each order's cancels
    market_best : the same of market orders, by the queue that they meet
    theta, theta_reinit : chance that an emptied best price is taken by the other side at once, so that the price moves for good; and
        then, that the new best queue is as long as the one before it, instead of one order (Huang, Lehalle, Rosenbaum 2015, model III)
    session_start_ns, session_ns, session_swing : begin (since midnight UTC) and length of the trading day; how much busier its
        ends are than its middle. Length 0: every hour is alike

    Raises
    ------
    InvalidRequest
        for a parameter out of bounds
    """

    step_ticks: int = 1
    speed: float = 1.0
    levels: int = 30
    limit_rate: float = 1.92
    limit_exponent: float = 0.52
    cancel_rates: tuple[float, ...] = (0.71, 0.81, 0.68, 0.56, 0.47)
    cancel_exponent: float = 0.52
    market_rate: float = 1.88
    branching: float = 0.9
    decays: tuple[float, ...] = (10.0, 1.0, 0.1, 0.01)
    metaorders: int = 10
    participation_exponent: float = 2.0
    length_exponent: float = 1.5
    length_max: int = 100_000
    feedback: tuple[float, ...] = (0.02, 0.012, 0.006, 0.003)
    limit_pull: float = 0.01
    sign_pull: float = 0.01
    skew_max: float = 3.0
    stale_steps: int = 80
    pull_rate: float = 0.1
    pull_rate_max: float = 4.0
    reach_steps: int = 20
    lots_mean: float = 10.0
    lots_sigma: float = 0.8
    market_size: float = 1.0
    round_lots: int = 0
    round_share: float = 0.25
    activity_sigma: float = 0.5
    activity_time_s: float = 1_200.0
    session_start_ns: int = 0
    session_ns: int = 0
    session_swing: float = 0.5
    limit_levels: tuple[float, ...] = (0.0,)
    queue_lots: int = 0
    limit_best: tuple[float, ...] = (1.0,)
    limit_behind: tuple[float, ...] = (1.0,)
    cancel_best: tuple[float, ...] = (1.0,)
    cancel_behind: tuple[float, ...] = (1.0,)
    market_best: tuple[float, ...] = (1.0,)
    theta: float = 0.0
    theta_reinit: float = 0.0

    def __post_init__(self) -> None:
        _check(self, FLOW_BOUNDS)
        for name in ("decays", "feedback"):
            if len(getattr(self, name)) != DECAYS:
                raise InvalidRequest.of(name, getattr(self, name), f"{DECAYS} numbers")
        if min(self.decays) <= 0:
            raise InvalidRequest.of("decays", self.decays, "positive numbers")
        if not self.cancel_rates or min(self.cancel_rates) <= 0:
            raise InvalidRequest.of("cancel_rates", self.cancel_rates, "positive numbers")
        if min(self.limit_levels) < 0 or (max(self.limit_levels) == 0 and len(self.limit_levels) > 1):
            raise InvalidRequest.of("limit_levels", self.limit_levels, "0 alone, or numbers of which one is positive")
        for name in REACTION_NAMES:
            values = getattr(self, name)
            if not 1 <= len(values) <= REACTIONS or min(values) < 0 or max(values) == 0:
                raise InvalidRequest.of(name, values, f"1 to {REACTIONS} numbers from 0, one of them positive")

    def limit_rates(self) -> NDArray[np.float64]:
        """Return the rate of limit orders on one side by distance, (levels,), 1/s."""
        if max(self.limit_levels) > 0:
            given = np.zeros(self.levels)
            given[: len(self.limit_levels)] = self.limit_levels[: self.levels]
            return given
        rates: NDArray[np.float64] = self.limit_rate / np.float_power(
            np.arange(1, self.levels + 1), self.limit_exponent
        )
        return rates

    def cancel_rates_of_levels(self) -> NDArray[np.float64]:
        """Return an order's rate of cancel by distance, (levels,), 1/s; the power law goes on from the last that is given."""
        given = len(self.cancel_rates)
        away = np.arange(1, self.levels + 1)
        far = self.cancel_rates[-1] * (given / np.maximum(away, given)) ** self.cancel_exponent
        near = np.array(self.cancel_rates)[np.minimum(away, given) - 1]
        rates: NDArray[np.float64] = np.where(away <= given, near, far)
        return rates


@dataclass(frozen=True, slots=True)
class ReferenceParameters:
    """Law of the reference price.

    Parameters
    ----------
    process : GBM, JUMPS (GBM with Merton's jumps), ORNSTEIN_UHLENBECK (of the log price, about the initial one), HESTON, CONSTANT
    price_deviation : standard deviation of the relative change per step, apart from jumps; on average over time for HESTON
    step_ns : the step, `market_update_interval`
    business_time : let the variance of a step follow the market's activity instead of the clock; the same on average
    reversion_time_s : relaxation time of ORNSTEIN_UHLENBECK
    jumps_per_hour, jump_mean, jump_deviation : of JUMPS; mean and standard deviation of a jump of the log price
    variance_time_s, variance_volatility, variance_correlation : of HESTON: relaxation time of the variance, standard
        deviation of its stationary law in its mean, correlation with the price
    """

    process: Process = Process.GBM
    price_deviation: float = 0.001
    step_ns: int = NS
    business_time: bool = False
    reversion_time_s: float = 3_600.0
    jumps_per_hour: float = 2.0
    jump_mean: float = 0.0
    jump_deviation: float = 0.005
    variance_time_s: float = 1_800.0
    variance_volatility: float = 0.7
    variance_correlation: float = -0.5

    def __post_init__(self) -> None:
        _check(self, REFERENCE_BOUNDS)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a scenario changes while a market runs; the defaults change nothing.

    Parameters
    ----------
    activity : multiplier of all rates
    limit, cancel, market : multipliers of the rates of limit orders, cancels, market orders
    size : multiplier of order sizes
    distance_steps : all limit orders come so many steps farther away, and nearer ones are canceled: a wider spread
    levels_max : no orders farther than so many steps
    buy_bias : share of market orders that are forced to buy (negative: to sell)
    volatility : multiplier of the reference price's deviation
    """

    activity: float = 1.0
    limit: float = 1.0
    cancel: float = 1.0
    market: float = 1.0
    size: float = 1.0
    distance_steps: int = 0
    levels_max: int = LEVELS_MAX
    buy_bias: float = 0.0
    volatility: float = 1.0

    def __post_init__(self) -> None:
        _check(self, CONDITION_BOUNDS)


def event_rate(flow: FlowParameters, conditions: Conditions) -> float:
    """Return about how many orders and cancels a flow makes in a second: as many cancels as limit orders."""
    limits = 2.0 * float(flow.limit_rates().sum()) * conditions.limit
    markets = flow.market_rate * conditions.market + flow.pull_rate_max
    return flow.speed * conditions.activity * (2.0 * limits + markets)


def suited_step(price_ticks: int, reference: ReferenceParameters, speed: float = 1.0) -> tuple[int, float]:
    """Return step_ticks and speed with which the flow moves the mid as much as the reference price moves.

    Then the mid, which follows the reference price over minutes, is a diffusion at all horizons, see the docs. Where that
    needs a step below one tick, the market is slowed down instead.
    """
    wanted = price_ticks * reference.price_deviation / math.sqrt(reference.step_ns / NS)
    step = max(1, round(wanted / (VOLATILITY_STEPS * math.sqrt(speed))))
    return step, max(1e-3, min(speed, (wanted / (VOLATILITY_STEPS * step)) ** 2 if step == 1 else speed))


def suited_design(
    *,
    price_ticks: int,
    lot_value_ticks: float,
    reference: ReferenceParameters,
    speed: float = 1.0,
    order_value: float = 10_000.0,
    **design: Any,
) -> MarketDesign:
    """Return a design that suits any instrument: levels as `suited_step` says, orders of about `order_value` on average.

    Parameters
    ----------
    price_ticks : initial reference price, in ticks
    lot_value_ticks : value in quote currency of one lot at a price of one tick
    reference, speed : as in `suited_step`
    order_value : mean value of an order in quote currency; an order is at least one lot
    design : further fields of `MarketDesign`
    """
    step, speed = suited_step(price_ticks, reference, speed)
    lots = min(1e9, max(1.0, order_value / (lot_value_ticks * price_ticks)))
    flow = FlowParameters(step_ticks=step, speed=speed, lots_mean=lots)
    return MarketDesign(price_ticks=price_ticks, flow=flow, reference=reference, **design)


def alias_table(weights: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return alias and share of each place, for draws in proportion to `weights` in one look (Walker 1977, Vose 1991)."""
    count = len(weights)
    left = weights * (count / weights.sum())
    places, shares = np.arange(count, dtype=np.int64), np.ones(count)
    poor, rich = [i for i in range(count) if left[i] < 1.0], [i for i in range(count) if left[i] >= 1.0]
    while poor and rich:
        low, high = poor.pop(), rich[-1]
        places[low], shares[low] = high, left[low]
        left[high] -= 1.0 - left[low]
        if left[high] < 1.0:
            poor.append(rich.pop())
    return places, shares


def size_table(*, mean: float, sigma: float, round_lots: int, round_share: float) -> NDArray[np.int64]:
    """Return SIZES equally likely sizes in lots: log-normal quantiles, and a share of round sizes, of mean `mean`.

    The law is cut at its quantiles of 1 / (2 SIZES); every size is at least one lot.
    """
    round_lots = round_lots or max(1, round(mean / 2.0))
    rounds = round(round_share * SIZES)
    parts = np.array([1] * 55 + [2] * 25 + [5] * 15 + [10] * 5)
    spikes = round_lots * parts[(np.arange(rounds) * len(parts)) // max(1, rounds)]
    smooth = SIZES - rounds
    if smooth == 0:
        return spikes.astype(np.int64)
    places = (np.arange(smooth) + 0.5) / smooth
    shape = np.exp(sigma * np.array([NormalDist().inv_cdf(place) for place in places.tolist()]))
    # The mean of the smooth part is such that that of the whole is `mean`, found by bisection since sizes are whole.
    wanted = max(mean * SIZES - spikes.sum(), 0.25 * mean * smooth)
    low, high = 0.0, 2.0 * wanted / smooth + 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if np.maximum(1, np.rint(middle * shape)).sum() < wanted:
            low = middle
        else:
            high = middle
    sizes = np.maximum(1, np.rint(high * shape))
    table: NDArray[np.int64] = np.concatenate([spikes, sizes]).astype(np.int64)
    return table


@dataclass(frozen=True, slots=True)
class MarketDesign:
    """Everything that a market of one pair is made with.

    Parameters
    ----------
    price_ticks : initial reference price, in ticks
    start_ts : when the market begins, ns UTC
    seed, group_seed : roots of the pair's own draws and of the draws of the common factors
    loadings : weights of the common factors; what their squares leave of one is the pair's own. See `correlation`
    since_epoch : whether steps are counted from 1970 on, so that markets that begin at different instants take the same ones
    flow, reference : the laws
    pool : room for open orders to begin with; it grows
    """

    price_ticks: int
    start_ts: int = 0
    seed: int = 0
    group_seed: int = 0
    loadings: tuple[float, ...] = (1.0,)
    since_epoch: bool = False
    flow: FlowParameters = field(default_factory=FlowParameters)
    reference: ReferenceParameters = field(default_factory=ReferenceParameters)
    pool: int = 4096

    def __post_init__(self) -> None:
        _check(self, {"price_ticks": (1, PRICE_TICKS_MAX), "start_ts": (0, 1 << 62), "pool": (2, 1 << 24)})
        check_loadings(self.loadings)


def _seed_of(*words: int) -> int:
    """Return a seed of 62 bits for one stream of draws."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 2


def set_conditions(state: FlowState, conditions: Conditions) -> None:
    """Write conditions into the record that the kernel reads; a jump that is still to be done stays."""
    record = state.conditions[0]
    for one in fields(conditions):
        if one.name == "size":
            record["size_e3"] = round(conditions.size * 1_000)
        else:
            record[one.name] = getattr(conditions, one.name)
    record["version"] += 1


def conditions_of(state: FlowState) -> Conditions:
    """Return the conditions in force; what `set_conditions` wrote, the size to a thousandth."""
    record = state.conditions[0]
    values: dict[str, Any] = {one.name: record[one.name].item() for one in fields(Conditions) if one.name != "size"}
    return Conditions(size=int(record["size_e3"]) / 1_000, **values)


def set_laws(state: FlowState, flow: FlowParameters, reference: ReferenceParameters) -> None:
    """Give a market that runs other laws, from the present instant on; what it remembers stays.

    Raises
    ------
    InvalidRequest
        for another number of levels or of metaorders: the memory has places for those it was made with
    """
    for name, places in (("levels", len(state.level_places)), ("metaorders", len(state.metaorders))):
        if getattr(flow, name) != places:
            raise InvalidRequest.of(name, getattr(flow, name), f"{places}, as the market was made")
    _write_rules(state.rules[0], flow, reference)
    _write_laws(state, flow)
    state.conditions[0]["version"] += 1


def make_flow(design: MarketDesign) -> FlowState:
    """Return the memory of a market that has not begun."""
    flow, reference = design.flow, design.reference
    places = {"levels": flow.levels, "metaorders": flow.metaorders, "factors": len(design.loadings)}
    state = new_state(pool=design.pool, **places)
    head, mood = state.head[0], state.mood[0]
    head["ts"] = head["step_ts"] = design.start_ts
    head["step_ts"] += reference.step_ns
    if design.since_epoch:
        head["steps"] = design.start_ts // reference.step_ns
        head["step_ts"] = (head["steps"] + 1) * reference.step_ns
    head["seed"], head["activity_seed"] = _seed_of(design.seed, 1), _seed_of(design.seed, 2)
    head["reference_seed"] = _seed_of(design.group_seed, 3)
    head["reference_q20"] = head["anchor_q20"] = design.price_ticks << SHIFT
    _write_rules(state.rules[0], flow, reference)
    _write_laws(state, flow)
    # The intensities that are kept up by themselves: the mean is base + sum of excited.
    state.excited[:] = flow.branching * flow.market_rate / DECAYS
    state.loadings[:] = design.loadings
    rng = np.random.default_rng(_seed_of(design.seed, 4))
    # What is left of the metaorders under way: each is looked at after 40 of its orders, as if it had traded before.
    state.metaorders[:, 0] = rng.choice([-1, 1], flow.metaorders)
    lengths = (1.0 - rng.random((flow.metaorders, 64))) ** (-1.0 / flow.length_exponent)
    total = np.cumsum(np.minimum(lengths, flow.length_max).astype(np.int64), axis=1)
    state.metaorders[:, 1] = [row[np.searchsorted(row, 40)] - 40 if row[-1] > 40 else 1 for row in total]
    mood["activity"] = flow.activity_sigma * rng.standard_normal()
    mood["variance"] = 1.0
    mood["speed"] = flow.speed
    set_conditions(state, Conditions())
    return state


def _write_rules(rules: Any, flow: FlowParameters, reference: ReferenceParameters) -> None:
    rates, cancels = flow.limit_rates(), flow.cancel_rates_of_levels()
    step_s = reference.step_ns / NS
    for name in (
        "step_ticks", "speed", "levels", "length_max", "stale_steps", "reach_steps", "session_ns", "session_swing", "pull_rate",
        "pull_rate_max", "limit_pull", "sign_pull", "skew_max", "length_exponent", "activity_sigma", "theta", "theta_reinit",
    ):  # fmt: skip
        rules[name] = getattr(flow, name)
    rules["day_offset_ns"] = flow.session_start_ns
    # What comes is proposed at the largest rate over all queues, and thinned by `limit_accepts` and its kin.
    rules["queue_lots"] = flow.queue_lots
    rules["limit_rate"] = 2.0 * rates.sum() * _largest(flow, "limit_best", "limit_behind")
    rules["cancel_rate_max"] = cancels.max() * _largest(flow, "cancel_best", "cancel_behind")
    rules["market_most"] = _largest(flow, "market_best")
    rules["market_base_rate"] = (1.0 - flow.branching) * flow.market_rate
    rules["activity_keep"] = math.exp(-step_s / flow.activity_time_s)
    rules["activity_shock"] = flow.activity_sigma * math.sqrt(-math.expm1(-2.0 * step_s / flow.activity_time_s))
    deviation = reference.price_deviation
    rules["process"], rules["step_ns"], rules["deviation"] = int(reference.process), reference.step_ns, deviation
    rules["business_time"] = float(reference.business_time)
    keep = math.exp(-step_s / reference.reversion_time_s)
    rules["reversion_keep"] = keep
    rules["reversion_deviation"] = deviation * math.sqrt(
        -math.expm1(-2.0 * step_s / reference.reversion_time_s) * reference.reversion_time_s / (2.0 * step_s)
    )
    jumps = reference.process == Process.JUMPS
    rules["jump_rate"] = reference.jumps_per_hour * step_s / 3_600.0 if jumps else 0.0
    rules["jump_mean"], rules["jump_deviation"] = reference.jump_mean, reference.jump_deviation
    rules["variance_reversion"] = min(1.0, step_s / reference.variance_time_s)
    # The stationary variance of dv = k (1 - v) dt + x sqrt(v) dW is x^2 / (2 k).
    rules["variance_volatility"] = reference.variance_volatility * math.sqrt(2.0 * rules["variance_reversion"])
    rules["variance_correlation"] = reference.variance_correlation


def _largest(flow: FlowParameters, *names: str) -> float:
    """Return the largest of some multipliers; 1 where nobody looks at queues."""
    return max(max(getattr(flow, name)) for name in names) if flow.queue_lots else 1.0


def _by_queue(flow: FlowParameters, *names: str) -> NDArray[np.float64]:
    """Return chances in proportion to some multipliers, (names, REACTIONS), of which the largest is 1."""
    rows = [getattr(flow, name) for name in names]
    table = np.array([[*row, *[row[-1]] * (REACTIONS - len(row))] for row in rows], np.float64)
    chances: NDArray[np.float64] = table / table.max()
    return chances


def _write_laws(state: FlowState, flow: FlowParameters) -> None:
    state.limit_accepts[:] = _by_queue(flow, "limit_best", "limit_behind")
    state.cancel_accepts[:] = _by_queue(flow, "cancel_best", "cancel_behind")
    state.market_accepts[:] = _by_queue(flow, "market_best")[0]
    cancels = flow.cancel_rates_of_levels()
    state.level_places[:], state.level_shares[:] = alias_table(flow.limit_rates())
    shares: NDArray[np.float64] = np.float_power(np.arange(1, flow.metaorders + 1), -flow.participation_exponent)
    state.metaorder_places[:], state.metaorder_shares[:] = alias_table(shares)
    state.accepts[1:] = cancels / cancels.max()
    sizes = {"sigma": flow.lots_sigma, "round_lots": flow.round_lots, "round_share": flow.round_share}
    state.sizes[:] = size_table(mean=flow.lots_mean, **sizes)  # type: ignore[arg-type]
    state.market_sizes[:] = size_table(mean=max(1.0, flow.lots_mean * flow.market_size), **sizes)  # type: ignore[arg-type]
    state.decays[:] = flow.decays
    state.excitations[:] = np.array(flow.decays) * (flow.branching / DECAYS)
    state.weights[:] = flow.feedback


def jump_quantum(relative: float) -> int:
    """Return a relative jump in units of 2^-40.

    Raises
    ------
    InvalidRequest
        unless it is from -0.99 to 1
    """
    if not -0.99 <= relative <= 1.0:
        raise InvalidRequest.of("jump", relative, "a number from -0.99 to 1")
    return round(relative * ONE)
