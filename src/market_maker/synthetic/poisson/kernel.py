"""A market maker in the model of Avellaneda and Stoikov: a Brownian mid, fills with intensity A exp(-k distance).

Owns one thing: what becomes of cash and inventory step by step. The quotes are those of the strategy that is shipped; chance
comes in as an array of numbers. Interpreted and compiled form are the same code.

Prices and cash are whole ticks of a grid that the caller makes as fine as it likes; gamma, sigma and k are in these ticks.

Source: Avellaneda and Stoikov (2008), "High-frequency trading in a limit order book", Quantitative Finance 8(3), section 3.3.
"""

import math

from numba import njit

from market_maker.strategies.avellaneda_stoikov import optimal_spread, reservation_price

inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", _nrt=False)
"""For functions that only compiled code calls."""

PROFIT, INVENTORY, SPREAD, FILLS, RESULTS = range(5)
"""Columns of a path's results: final profit in ticks, final inventory, sum of quoted spreads in ticks, fills."""
MID, RESERVATION, BID, ASK, HELD, EARNED, TRACKED = range(7)
"""Columns of a tracked step: prices in ticks (0: no quote, at the end), inventory, and cash plus inventory at the mid."""
MOST_EXPONENT = 700.0
"""e to this power is still a number."""
DRAWS = 3
"""Numbers of a step, each in [0, 1): is the ask filled, is the bid filled, does the mid go up."""


@inner
def fill_probability(distance, intensity, k, dt):
    """Return A exp(-k distance) dt, literally: above 1 it is certain."""
    return intensity * math.exp(min(-k * distance, MOST_EXPONENT)) * dt


@inner
def quoted(mid, q, left_s, gamma, sigma, k, spread_ticks):
    """Return reservation price, bid and ask in ticks; with `spread_ticks` above 0 that spread around the mid instead.

    Rounded as the strategy rounds: bids down, asks up.
    """
    if spread_ticks > 0.0:
        r, half = float(mid), 0.5 * spread_ticks
    else:
        r = reservation_price(float(mid), float(q), gamma, sigma, left_s)
        half = 0.5 * optimal_spread(gamma, sigma, k, left_s)
    return int(round(r)), int(math.floor(r - half)), int(math.ceil(r + half))


def run(draws, mid, mid_step, dt, gamma, sigma, k, intensity, spread_ticks, results, track):
    """Trade along every path.

    Parameters
    ----------
    draws : (paths, steps, DRAWS) float64 in [0, 1)
    mid, mid_step : int, ticks: the mid at the start, and how far it goes up or down in a step
    dt : seconds of a step; the session lasts `steps` of them
    gamma, sigma, k, intensity : 1 per tick and order, ticks per square root of a second, 1 per tick, 1 per second
    spread_ticks : above 0: this constant spread around the mid; 0: the strategy's quotes
    results : (paths, RESULTS) int64, written
    track : (0 or steps + 1, TRACKED) int64; with rows, the first path is written, a row per step and one of the end

    Notes
    -----
    As in the paper: quotes are computed at t; both may be filled, each by one order; then the mid moves. Quotes that cross
    the mid are filled at their own price all the same.
    """
    steps = draws.shape[1]
    for path in range(draws.shape[0]):
        s, q, cash, spreads, fills = mid, 0, 0, 0, 0
        for step in range(steps):
            r, bid, ask = quoted(s, q, (steps - step) * dt, gamma, sigma, k, spread_ticks)
            if path == 0 and len(track) > 0:
                track[step, MID], track[step, RESERVATION], track[step, BID], track[step, ASK] = s, r, bid, ask
                track[step, HELD], track[step, EARNED] = q, cash + q * s
            spreads += ask - bid
            sold = draws[path, step, 0] < fill_probability(ask - s, intensity, k, dt)
            bought = draws[path, step, 1] < fill_probability(s - bid, intensity, k, dt)
            if sold:
                q -= 1
                cash += ask
                fills += 1
            if bought:
                q += 1
                cash -= bid
                fills += 1
            s += mid_step if draws[path, step, 2] < 0.5 else -mid_step
        results[path, PROFIT] = cash + q * s
        results[path, INVENTORY] = q
        results[path, SPREAD] = spreads
        results[path, FILLS] = fills
        if path == 0 and len(track) > 0:
            track[steps, MID], track[steps, RESERVATION], track[steps, BID], track[steps, ASK] = s, s, 0, 0
            track[steps, HELD], track[steps, EARNED] = q, cash + q * s
