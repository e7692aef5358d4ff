"""What is said of a strategy that failed, or asked for what cannot be: its name, the time, the cause."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

from market_maker.backtest.state import ORDERS_MAX, Code
from market_maker.domain.errors import InvalidRequest, shorten
from market_maker.domain.instrument import MAX_LOTS, MAX_TICKS
from market_maker.domain.order import OrderType, TimeInForce
from market_maker.strategies.actions import AMEND, PLACE, WAKE_BOOK, WAKE_ORDER, WAKE_TIMER, WAKE_TRADE, Records

TOLD_MAX = 400
"""Letters of a cause that are told; those of a compiler go on for pages."""
_PACKAGE = Path(__file__).resolve().parent.parent
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LIVES = ", ".join(f"{int(each)} ({each.name})" for each in TimeInForce)
_WAKES = {WAKE_TIMER: "interval", WAKE_BOOK: "book", WAKE_TRADE: "trade", WAKE_ORDER: "order"}


def failure(error: BaseException, name: str, when: str, wake_reason: int) -> InvalidRequest:
    """Return the error of a strategy that failed: it names the strategy, the time, what it was woken by and the line."""
    what = shorten(" ".join(_COLOURS.sub("", f"{type(error).__name__}: {error}").split()), TOLD_MAX)
    return InvalidRequest(f"strategy {name} failed at {when}, {woken_by(wake_reason)}: {what}{_place(error)}")


def woken_by(wake_reason: int) -> str:
    """Return by what a strategy was woken, in words."""
    return f"woken by {' and '.join([word for bit, word in _WAKES.items() if wake_reason & bit] or ['interval'])}"


def refusal(code: Code, name: str, when: str, actions: Records | None = None, wake_reason: int = 0) -> InvalidRequest:
    """Return the error that a code of the kernel stands for; with what a strategy asked for, it says what was wrong of that.

    Parameters
    ----------
    name, when : of the strategy and of the instant
    actions, wake_reason : its requests of the wake-up in which the code came, and what had woken it
    """
    texts: dict[Any, str] = {
        Code.TOO_MANY_ORDERS: f"more than {ORDERS_MAX} own orders open or in flight; cancel some first",
        Code.TOO_MANY_IN_FLIGHT: "more messages in flight than are kept; lower the latency or the order rate",
        Code.TOO_MANY_MARKS: "own orders took from more levels than are remembered; trade fewer levels",
        Code.INVALID_ORDER: "an order with a side other than +1/-1, a price or quantity out of range, GTD without an end, "
        "post-only on an order that may not rest or other than 0 or 1, or a change of an order that has no price",
        Code.ENDLESS: "it is woken by its own orders again and again at one instant; give the run a latency, or send less",
    }
    if actions is None:
        return InvalidRequest(f"{name} at {when}: {texts[code]}")
    wrong = (
        ""
        if code != Code.INVALID_ORDER
        else next(filter(None, map(_fault_of, actions[1 : actions[0]["kind"] + 1])), "")
    )
    if code == Code.INVALID_ORDER and not wrong and (changed := _changed(actions)):
        # Right for itself, so that only the order can be at fault.
        wrong = f"a change of an order without a price (MARKET); changes were of {changed}"
    what = f"asked for {wrong}" if wrong else texts[code]
    return InvalidRequest(f"strategy {name} at {when}, {woken_by(wake_reason)}: {what}")


def _fault_of(action: Any) -> str:
    """Return what is wrong with a request for itself, or nothing; the rules are those of `owner.kernel.submit`."""
    price, lots, side = int(action["price_ticks"]), int(action["qty_lots"]), int(action["side"])
    bad_lots, bad_price = not 0 < lots <= MAX_LOTS, not 0 < price <= MAX_TICKS
    of_price, of_lots = f"a price of {price} ticks; it is 1 to 2^40", f"an order of {lots} lots; it is 1 to 2^40"
    if action["kind"] == AMEND:
        faults: tuple[tuple[Any, str], ...] = ((bad_lots, of_lots), (bad_price, of_price))
    elif action["kind"] == PLACE:
        kind, life, post_only = int(action["order_type"]), int(action["time_in_force"]), int(action["post_only"])
        is_limit, rests = kind == OrderType.LIMIT, life in (TimeInForce.GTC, TimeInForce.GTD)
        faults = (
            (abs(side) != 1, f"an order of side {side}; it is 1 or -1"),
            (bad_lots, of_lots),
            (not is_limit and kind != OrderType.MARKET, f"an order of type {kind}; it is 0 (LIMIT) or 1 (MARKET)"),
            (is_limit and bad_price, of_price),
            (life not in set(TimeInForce), f"an order of time in force {life}; it is one of {_LIVES}"),
            (life == TimeInForce.GTD and not (is_limit and action["expire_ts"] > 0), "GTD without a price or an end"),
            (post_only not in (0, 1), f"an order with a post_only of {post_only}; it is 0 or 1"),
            (post_only and not (is_limit and rests), "post-only on an order that may not rest"),
        )  # fmt: skip
    else:
        faults = ()
    return next((text for is_wrong, text in faults if is_wrong), "")


def _changed(actions: Records) -> str:
    """Return the orders whose change was asked for, in words."""
    ids = [int(each["order_id"]) for each in actions[1 : actions[0]["kind"] + 1] if each["kind"] == AMEND]
    return f"order{'s' if len(ids) > 1 else ''} {shorten(', '.join(map(str, ids)))}" if ids else ""


def _place(error: BaseException) -> str:
    """Return the line of the strategy's own file that it came from; nothing where that is compiled, or one of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        each
        for each in frames
        if each.line and "site-packages" not in each.filename and not Path(each.filename).is_relative_to(_PACKAGE)
    ]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
