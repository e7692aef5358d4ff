"""Which stretches of a recording to choose parameters in and which to judge the choice by: instants only.

No training part meets the test part of its fold, and with an embargo none comes nearer to it than that. A run starts
flat and is valued at the last mid of its stretch, so that no outcome of a training part depends on the market after it:
what is purged is the stretch of the test itself, and the embargo on either side of it is against what neighbouring
stretches of a market have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.units import format_duration
from market_maker.performance.splits import walk_forward_windows

FOLDS_MAX = 100
TRAIN_PARTS = 3


class Method(StrEnum):
    """WALK_FORWARD: learn from the past only. PURGED: each part is judged by what was learned from all others."""

    WALK_FORWARD = "walk-forward"
    PURGED = "purged"


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch [start, end) of time, ns UTC."""

    start_ts: int
    end_ts: int


@dataclass(frozen=True, slots=True)
class Fold:
    """Where to choose and where to judge; `train` has two parts where the test lies between them. No test: `test` None."""

    number: int
    train: tuple[Range, ...]
    test: Range | None


def folds_of(
    whole: Range,
    folds: int,
    *,
    method: Method = Method.WALK_FORWARD,
    embargo_ns: int = 0,
    train_parts: int = TRAIN_PARTS,
    is_anchored: bool = False,
    least_ns: int = 1,
) -> list[Fold]:
    """Return the folds of a recording, in the order of their tests, which are equally long and do not meet.

    Parameters
    ----------
    folds : 0: one without a test, the whole for training; WALK_FORWARD: from 1; PURGED: from 2
    embargo_ns : left out between a test and the training parts beside it
    train_parts : WALK_FORWARD: how many tests a training part is long
    is_anchored : WALK_FORWARD: every training part begins with the recording
    least_ns : a test or training part that is shorter is refused

    Raises
    ------
    InvalidRequest
        A number out of range, or stretches that would be too short.

    Notes
    -----
    Walk-forward: Pardo (2008), "The evaluation and optimization of trading strategies", chapter 11. Purged k-fold: Lopez de
    Prado (2018), "Advances in financial machine learning", section 7.4, here with the embargo on both sides of a test.
    """
    least = {Method.WALK_FORWARD: 1, Method.PURGED: 2}[method]
    if folds != 0 and not least <= folds <= FOLDS_MAX:
        raise InvalidRequest.of("folds", folds, f"0, or {least} to {FOLDS_MAX}")
    if embargo_ns < 0 or train_parts < 1:
        raise InvalidRequest.of("embargo", (embargo_ns, train_parts), "0 or more, and training parts of 1 or more")
    span_ns = whole.end_ts - whole.start_ts
    if folds == 0:
        found = [Fold(0, (whole,), None)]
    elif method is Method.PURGED:
        found = _purged(whole, folds, span_ns // folds, embargo_ns, least_ns)
    else:
        found = _walked(
            whole, folds, max(span_ns - embargo_ns, 0) // (folds + train_parts), embargo_ns, train_parts, is_anchored
        )
    shortest_ns = min((part.end_ts - part.start_ts for fold in found for part in _parts(fold)), default=0)
    if shortest_ns < least_ns or any(not fold.train for fold in found):
        raise InvalidRequest.of(
            "folds", folds,
            f"fewer, a shorter embargo or a longer recording: it is {format_duration(span_ns)} long, and a part would be"
            f" {format_duration(max(shortest_ns, 0))}, below {format_duration(least_ns)}",
        )  # fmt: skip
    return found


def _walked(whole: Range, folds: int, test_ns: int, embargo_ns: int, train_parts: int, is_anchored: bool) -> list[Fold]:
    if test_ns <= 0:
        return []
    windows = walk_forward_windows(
        whole.start_ts, whole.end_ts, train_ns=train_parts * test_ns, test_ns=test_ns, gap_ns=embargo_ns,
        is_anchored=is_anchored,
    )  # fmt: skip
    return [
        Fold(number, (Range(w.train_start_ts, w.train_end_ts),), Range(w.test_start_ts, w.test_end_ts))
        for number, w in enumerate(windows[:folds])
    ]


def _purged(whole: Range, folds: int, test_ns: int, embargo_ns: int, least_ns: int) -> list[Fold]:
    found = []
    for number in range(folds):
        test = Range(whole.start_ts + number * test_ns, whole.start_ts + (number + 1) * test_ns)
        before = Range(whole.start_ts, test.start_ts - embargo_ns)
        after = Range(test.end_ts + embargo_ns, whole.start_ts + folds * test_ns)
        # A training part of which an embargo leaves too little is left out.
        train = tuple(part for part in (before, after) if part.end_ts - part.start_ts >= least_ns)
        found.append(Fold(number, train, test))
    return found


def _parts(fold: Fold) -> tuple[Range, ...]:
    return fold.train if fold.test is None else (*fold.train, fold.test)
