"""The limits of the slow obvious replay: fractions and lists, written from the page about limits and not from the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

CASH = {"MAX_ORDER_NOTIONAL", "MAX_NOTIONAL", "MAX_LOSS", "MAX_DRAWDOWN"}
COUNTS = {"MAX_MESSAGE_RATE", "MAX_REPEATED_ORDERS"}
SECOND = 10**9


@dataclass
class Bound:
    threshold: Fraction
    warn: Fraction
    hold: str
    state: str = "OK"
    evaluated: int = 0
    warnings: int = 0
    breaches: int = 0
    refused: int = 0
    largest: Fraction | None = None
    first: tuple | None = None


class Guard:
    """Limits as requests give them; values in base and quote currency, shares and messages."""

    def __init__(self, limits, pair):
        self.tick, self.lot = Fraction(pair.tick_size), Fraction(pair.lot_size)
        self.bounds = {
            each["kind"]: Bound(
                Fraction(each["threshold"]), Fraction(each["threshold"]) * Fraction(each.get("warn_share", "0.8")),
                each.get("on_breach", "ALERT"),
            )
            for each in limits
        }  # fmt: skip
        self.hold, self.cancels, self.peak, self.messages = "ALERT", False, Fraction(0), []

    def look(self, now, kind, value):
        """Return whether a value is beyond the limit of a kind."""
        bound = self.bounds.get(kind)
        if bound is None:
            return False
        release, before = bound.threshold / 20, bound.state
        if value > bound.threshold or (before == "BREACHED" and value > bound.threshold - release):
            bound.state = "BREACHED"
        elif value >= bound.warn or (before != "OK" and value >= bound.warn - release):
            bound.state = "WARN"
        else:
            bound.state = "OK"
        bound.evaluated += 1
        bound.largest = value if bound.largest is None else max(bound.largest, value)
        bound.warnings += bound.state == "WARN" and before == "OK"
        if bound.state == "BREACHED":
            bound.breaches += before != "BREACHED"
            bound.first = bound.first or (now, value)
            order = ["ALERT", "REDUCE", "HALT"]
            if order.index(bound.hold) > order.index(self.hold):
                self.hold = bound.hold
                self.cancels = bound.hold == "HALT"
        return value > bound.threshold

    def watch(self, now, held, cash, fees, mid):
        """Look at what is held; `mid` is in half ticks, 0 before there is one."""
        self.look(now, "MAX_POSITION", abs(held) * self.lot)
        if not mid:
            return
        money = self.tick * self.lot
        worth = held * Fraction(mid, 2) * money
        self.look(now, "MAX_NOTIONAL", abs(worth))
        result = (cash - fees) * money + worth
        self.peak = max(self.peak, result)
        self.look(now, "MAX_LOSS", -result)
        self.look(now, "MAX_DRAWDOWN", self.peak - result)

    def allows(self, now, side, price, whole, added, held, resting, mid):
        """Return whether an order may leave; `price` 0 is a market order's."""
        if self.hold == "HALT" or (self.hold == "REDUCE" and added + resting > -side * held):
            return False
        self.messages.append((now, side, price, whole))
        recent = [each for each in self.messages if now - each[0] < SECOND]
        price_half = 2 * price or mid
        paid = Fraction(price_half, 2) * self.tick
        after, worst = abs(held + side * added), abs(held + side * (resting + added))
        off = Fraction(abs(price_half - mid), mid)
        values = [
            ("MAX_ORDER_SIZE", whole * self.lot),
            ("MAX_ORDER_NOTIONAL", whole * self.lot * paid),
            ("PRICE_COLLAR", Fraction(ceil(off * 10**8), 10**8)),
            ("MAX_MESSAGE_RATE", len(recent)),
            ("MAX_REPEATED_ORDERS", sum(each[1:] == (side, price, whole) for each in recent)),
        ]
        values += [("MAX_WORST_CASE_POSITION", worst * self.lot)] if worst > abs(held) else []
        if after > abs(held):
            values += [("MAX_POSITION", after * self.lot), ("MAX_NOTIONAL", after * self.lot * paid)]
        for kind, value in values:
            if self.look(now, kind, value):
                self.bounds[kind].refused += 1
                return False
        return True
