"""How far a run is, how fast it goes and how long it still takes, told from the reports of its replay.

What comes before the first report (the opening of a recording, which may have to be prepared) says nothing of the pace and is
left out. Owns no clock: instants are given.
"""

from __future__ import annotations

from dataclasses import dataclass

from market_maker.backtest.engine import RunProgress


@dataclass(slots=True)
class Pace:
    """The pace of one run; `share`, `events_per_second` and `left_s` (None: not known yet) are as of the newest report.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.note(RunProgress(0, 1000, 0), 30.0)
    >>> pace.note(RunProgress(250, 1000, 7), 31.0)
    >>> pace.share, pace.events_per_second, pace.left_s(31.5)
    (0.25, 250.0, 2.5)
    """

    share: float = 0.0
    events_per_second: float | None = None
    _first: tuple[int, float] | None = None
    _last: tuple[int, float] | None = None
    _total: int = 0

    def note(self, report: RunProgress, at_s: float) -> None:
        """Take a report that was made at `at_s`, in seconds of any clock that does not go back."""
        if not report.events_total:
            return
        self._total = report.events_total
        self._last = (report.events_done, at_s)
        self._first = self._first or self._last
        self.share = max(self.share, min(1.0, report.events_done / report.events_total))
        done, since_s = self._first
        elapsed = at_s - since_s
        if elapsed > 0 and report.events_done > done:
            self.events_per_second = (report.events_done - done) / elapsed

    def left_s(self, now_s: float) -> float | None:
        """Return how long it still takes from `now_s` on."""
        if self._last is None or not self.events_per_second:
            return None
        done, at_s = self._last
        return max(0.0, (self._total - done) / self.events_per_second - (now_s - at_s))
