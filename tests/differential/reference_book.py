"""The recorded book of the slow obvious replay: dictionaries by side, one change at a time."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Book:
    levels: dict = field(default_factory=lambda: {1: {}, -1: {}})
    best: dict = field(default_factory=lambda: {1: 0, -1: 0})
    last_mid: int = 0
    displacement: int = 0

    def outward(self, side, tick):
        further = [t for t in self.levels[side] if side * (tick - t) > 0 and t > 0]
        return (max(further) if side > 0 else min(further)) if further else 0

    def set(self, side, tick, lots):
        """Return whether the best of the side improved."""
        self.remember()
        if lots == 0:
            self.levels[side].pop(tick, None)
            if self.best[side] == tick and tick:
                self.best[side] = self.outward(side, tick)
            return False
        self.levels[side][tick] = lots
        if tick <= 0:
            return False  # Below one tick nothing is seen.
        if self.best[side] and side * (tick - self.best[side]) <= 0:
            return False
        self.best[side] = tick
        other = self.best[-side]
        if other and side * (tick - other) >= 0:
            self.best[-side] = self.outward(-side, tick)
        # The row is one instant: what the book was in the middle of it (the new best with the old other) counts.
        if other and not self.best[-side] and self.before:
            self.last_mid = self.before
        return True

    def displace(self, displacement):
        """Every level, and the last mid, moves; return by how many ticks."""
        change, self.displacement = displacement - self.displacement, displacement
        self.remember()
        for side in (1, -1):
            self.levels[side] = {tick + change: lots for tick, lots in self.levels[side].items()}
            if self.best[side]:
                moved = self.best[side] + change
                self.best[side] = moved if moved > 0 else self.outward(side, 0)
        self.last_mid += 2 * change if self.last_mid else 0
        return change

    def remember(self):
        self.before = self.best[1] + self.best[-1] if self.best[1] and self.best[-1] else 0
        self.last_mid = self.before or self.last_mid

    def mid(self):
        return self.best[1] + self.best[-1] if self.best[1] and self.best[-1] else self.last_mid
