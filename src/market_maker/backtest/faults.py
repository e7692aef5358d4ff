"""What is said of a strategy that failed, or asked for what cannot be: its name, the time, the cause."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

from market_maker.backtest.state import ORDERS_MAX, Code
from market_maker.domain.errors import InvalidRequest, shorten
from market_maker.strategies.actions import WAKE_BOOK, WAKE_ORDER, WAKE_TIMER, WAKE_TRADE

TOLD_MAX = 400
"""Letters of a cause that are told; those of a compiler go on for pages."""
_PACKAGE = Path(__file__).resolve().parent.parent
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_WAKES = {WAKE_TIMER: "interval", WAKE_BOOK: "book", WAKE_TRADE: "trade", WAKE_ORDER: "order"}


def failure(error: BaseException, name: str, when: str, wake_reason: int) -> InvalidRequest:
    """Return the error of a strategy that failed: it names the strategy, the time, what it was woken by and the line."""
    woken = [word for bit, word in _WAKES.items() if wake_reason & bit] or ["interval"]
    what = shorten(" ".join(_COLOURS.sub("", f"{type(error).__name__}: {error}").split()), TOLD_MAX)
    return InvalidRequest(f"strategy {name} failed at {when}, woken by {' and '.join(woken)}: {what}{_place(error)}")


def refusal(code: Code, name: str, when: str) -> InvalidRequest:
    """Return the error that a code of the kernel stands for."""
    texts: dict[Any, str] = {
        Code.TOO_MANY_ORDERS: f"more than {ORDERS_MAX} own orders open or in flight; cancel some first",
        Code.TOO_MANY_IN_FLIGHT: "more messages in flight than are kept; lower the latency or the order rate",
        Code.TOO_MANY_MARKS: "own orders took from more levels than are remembered; trade fewer levels",
        Code.INVALID_ORDER: "an order with a side other than +1/-1, a price or quantity out of range, GTD without an end, "
        "post-only on an order that may not rest, or a change of an order that has no price",
        Code.ENDLESS: "it is woken by its own orders again and again at one instant; give the run a latency, or send less",
    }
    return InvalidRequest(f"{name} at {when}: {texts[code]}")


def _place(error: BaseException) -> str:
    """Return the line of the strategy's own file that it came from; nothing where that is compiled, or one of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        each
        for each in frames
        if each.line and "site-packages" not in each.filename and not Path(each.filename).is_relative_to(_PACKAGE)
    ]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
