"""A strategy for tests that does a bit of everything, steered by a generator kept in its memory."""

from __future__ import annotations

from market_maker.strategies.actions import amend, cancel, njit, place, place_until
from market_maker.strategies.contract import Parameter, StrategyKind


def on_wake(view, params, memory, actions):
    """Cancel, rest, cross, post and take at random; about one request in two wake-ups."""
    if memory[0] == 0:
        memory[0] = params[0] + 1
    memory[0] = (memory[0] * 16807) % 2147483647
    draw = int(memory[0])
    if view.best_bid_ticks == 0 or view.best_ask_ticks == 0:
        return
    what = draw % 13
    side = 1 if (draw // 10) % 2 == 0 else -1
    lots = 1 + (draw // 20) % 12
    away = (draw // 240) % 5 - 1
    touch = view.best_bid_ticks if side > 0 else view.best_ask_ticks
    price = max(1, touch - side * away)
    if what < 3:
        if len(view.orders) > 0:
            cancel(actions, view.orders[(draw // 1200) % len(view.orders)]["order_id"])
    elif what < 6:
        place(actions, side, 0, 0, 0, price, lots)
    elif what == 6:
        place(actions, side, 0, 0, 1, price, lots)
        place(actions, -side, 0, 0, 1, max(1, price + side * 3), lots)
    elif what == 7:
        place(actions, side, 0, 1 + lots % 2, 0, max(1, price + side * 4), lots * 4)
    elif what == 8:
        place(actions, side, 1, 0, 0, 0, lots * 2)
    elif what < 11:
        change(view, actions, draw)
    elif what == 11:
        place_until(actions, side, 0, price, lots, view.now_ts + 20 * int(params[1]))
    elif view.position_lots != 0 and view.cash_tick_lots != view.trades + view.bought_lots - view.sold_lots:
        place(actions, -1 if view.position_lots > 0 else 1, 0, 0, 0, price, abs(view.position_lots))


@njit
def change(view, actions, draw):
    """Move, shrink or grow one of the open orders."""
    if len(view.orders) > 0:
        own = view.orders[(draw // 1200) % len(view.orders)]
        if own["price_ticks"] == 0:
            return
        moved = max(1, own["price_ticks"] + (draw // 600) % 3 - 1)
        amend(actions, own["order_id"], moved, max(1, own["qty_lots"] + (draw // 7) % 5 - 3))


KIND = StrategyKind(
    kind="random_trader",
    summary="for tests",
    parameters=(
        Parameter("seed", "integer", 1, 0, 10**6, "1", "seed"),
        Parameter("interval_ns", "integer", 500, 1, 10**12, "ns", "time between wake-ups"),
    ),
    source="random_trader:on_wake",
    memory_size=1,
)


def fails(view, params, memory, actions):
    """Fail as broken code does."""
    raise IndexError("index out of range")


def absurd(view, params, memory, actions):
    """Ask for an order that cannot exist."""
    place(actions, 3, 0, 0, 0, 100, 1)


def changes_priceless(view, params, memory, actions):
    """Change an order that has no price."""
    for order in view.orders:
        amend(actions, order["order_id"], 100, 1)
    place(actions, 1, 1, 1, 0, 0, 1)


def asks_wrongly(view, params, memory, actions):
    """Ask for an order whose part number `params[1]` cannot be."""
    which = params[1]
    post_only = 257 if which == 0 else 256 if which == 1 else 1 if which == 2 else 0
    time_in_force = 9 if which == 3 else 1 if which == 2 else 0
    lots = 0 if which == 4 else 1
    place(actions, 1, 2 if which == 5 else 0, time_in_force, post_only, -7 if which == 6 else 100, lots)
