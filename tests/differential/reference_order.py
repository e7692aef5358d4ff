"""An own order of the slow obvious replay, and how it moves in the queue of its price."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Own:
    order_id: int
    side: int
    market: bool
    tif: int
    post_only: bool
    price: int
    qty: int
    expires: int
    submitted: int
    leaves: int
    known_leaves: int
    known_price: int
    known_qty: int
    model: object
    status: int = 0
    front: float = 0
    cum: float = 0
    shown: int = 0
    joined: int = 0
    known_status: int = 0
    known_front: int = 0
    cancel_pending: int = 0
    amend_pending: int = 0

    def stand(self, ts, shown):
        """The order is behind all that its level displays."""
        self.shown, self.joined, self.cum = shown, ts, 0
        self.front = 0 if self.model == "FRONT" else shown

    def level(self, lots, joined):
        """The level of a resting order displays `lots` from now on."""
        before, self.shown = self.shown, lots
        if self.model == "FIFO" and before > lots and joined <= self.joined:
            self.front -= before - lots
        if callable(self.model):
            fallen, self.cum = before - lots - self.cum, 0
            if fallen >= 0:
                back = before - self.front
                behind = self.model(self.front, back)
                left = self.front - (1 - behind) * fallen + min(back - behind * fallen, 0.0)
                self.front = lots if math.isnan(left) else left
        self.front = max(0, min(self.front, lots))

    def reach(self, lots, joined):
        """A trade at its price passes the queue ahead of an order; return by how much it reaches the order."""
        if self.model == "FIFO":
            return lots if joined > self.joined else 0
        left = lots - self.front
        self.cum += lots
        if callable(self.model):
            left = math.floor(left + 0.5)
            self.front = 0 if left > 0 else self.front - lots
        else:
            self.front = max(0, self.front - lots)
        return 0 if self.model == "BACK" else left
