"""Searching and judging: searchers on made-up objectives, folds that keep apart, and a walk-forward worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed_builders import T0, quotes
from market_maker.backtest.engine import RunConfig, run
from market_maker.backtest.evaluation import OBJECTIVES, Evaluation, evaluation_of, recalled
from market_maker.backtest.folds import Fold, Method, Range, folds_of
from market_maker.backtest.optimisation import (
    Finished,
    FoldOutcome,
    Kept,
    OptimisationProgress,
    Search,
    optimise,
)
from market_maker.backtest.out_of_sample import report_of
from market_maker.backtest.searchers import (
    Dimension,
    Point,
    RandomSearcher,
    SearchKind,
    dimension_of,
    searcher_of,
)
from market_maker.backtest.sweep import trial_key
from market_maker.cli_optimise import parse_params, word_of
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.market_data.replay import Feed, feed_of
from market_maker.strategies import contract
from market_maker.strategies.contract import Parameter, StrategyKind, find_strategy

S = 10**9
PAIR = Instrument(UUID(int=1), "made", "A-B", "A", "B", Decimal(1), Decimal(1))
X = Parameter("x", "number", 1.0, -1000, 1000, "1", "x")
N = Parameter("n", "integer", 1, 0, 10**12, "1", "n")


# --- a strategy of one decision -----------------------------------------------------------------------------------------


def on_wake(view, params, memory, actions):
    """Buy or sell as many lots as `bet` says, once, at the market."""
    from market_maker.strategies.actions import place

    if memory[0] == 0.0 and params[0] != 0.0:
        memory[0] = 1.0
        place(actions, 1 if params[0] > 0 else -1, 1, 0, 0, 0, abs(int(params[0])))


KIND = StrategyKind(
    kind="one_bet",
    summary="for tests",
    parameters=(
        Parameter("bet", "integer", 1, -10, 10, "lots", "bought; negative: sold"),
        Parameter("idle", "integer", 0, 0, 10**6, "1", "changes nothing"),
        Parameter("interval_ns", "integer", S // 10, 1, 10**12, "ns", "time between wake-ups"),
    ),
    source=f"{__name__}:on_wake",
    memory_size=1,
    is_compiled=False,
)
MOVES = [2] * 8 + [-3] * 4 + [1] * 4
"""Of the mid in each of sixteen seconds, ticks: up 16, down 12, up 4."""


@pytest.fixture(autouse=True)
def _one_bet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(contract.SHIPPED, "one_bet", __name__)


def market() -> Feed:
    """Return the mid 1000 and its moves, each in the middle of its second; the book is a tick wide on either side."""
    mids = 1000 + np.cumsum([0, *MOVES])
    times = [0, *(second * S + S // 2 for second in range(len(MOVES)))]
    return feed_of(quotes(*((t, int(mid) - 1, 100, int(mid) + 1, 100) for t, mid in zip(times, mids, strict=True))))


def base(**options) -> RunConfig:
    values = {"parameters": {"bet": 1}, "sample_interval_ns": S} | options
    return replace(RunConfig(PAIR, "one_bet", T0, T0 + 16 * S), **values)


BETS = Search((dimension_of(KIND.parameters[0], Decimal(-1), Decimal(1), step=Decimal(2)),), SearchKind.GRID)
WHOLE = Range(T0, T0 + 16 * S)


class InMemory:
    """Keeps what a search hands out."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.runs = 0

    def recall(self, keys: Sequence[str]) -> Mapping[str, Kept]:
        return {key: self.kept[key] for key in keys if key in self.kept}

    def keep(self, finished: Sequence[Finished]) -> None:
        for each in finished:
            summary = each.result.summary
            assert each.key not in self.kept, "nothing runs twice"
            self.kept[each.key] = Kept(summary.net_pnl, summary.turnover, summary.fills, each.profits_half_tick_lots)
            self.runs += 1


def told(outcomes: Sequence[FoldOutcome]) -> list[object]:
    report = report_of(outcomes, PAIR, BETS, trials_of_kind=10)
    return [report, *(outcome.candidates for outcome in outcomes)]


# --- a walk-forward by hand -----------------------------------------------------------------------------------------------


def test_a_walk_forward_worked_out_by_hand() -> None:
    """Two folds, training two tests long: [0, 8) -> [8, 12), [4, 12) -> [12, 16) seconds.

    The bet is made at the start of a stretch, a tick above or below its mid, and valued at the last mid. In seconds 0 to 8
    the mid rises by 16: buying earns 16 - 1 = 15, selling loses 17. In [8, 12) it falls by 12: buying loses 13. In [4, 12) it
    rises by 8 and falls by 12: selling earns 4 - 1 = 3. In [12, 16) it rises by 4: selling loses 5, buying earns 3.
    """
    folds = folds_of(WHOLE, 2, train_parts=2)
    assert [(fold.train[0].start_ts - T0, fold.train[0].end_ts - T0) for fold in folds] == [(0, 8 * S), (4 * S, 12 * S)]
    first, second = optimise(base(), market(), BETS, folds, threads=1)
    assert (first.chosen.parameters, first.chosen.score, first.train.net_pnl) == ({"bet": 1}, 15.0, 15)
    assert [(c.parameters["bet"], c.score) for c in first.candidates] == [(1, 15.0), (-1, -17.0)]
    assert first.test is not None
    assert first.test.net_pnl == -13
    assert (second.chosen.parameters, second.chosen.score) == ({"bet": -1}, 3.0)
    assert second.test is not None
    assert second.unchanged is not None
    assert (second.test.net_pnl, second.unchanged.net_pnl) == (-5, 3)
    # The curve of the second training: it sells at 1008 - 1, the mid is then 1010, ..., 1016, 1013, ..., 1004.
    assert (second.train.profits / 2).tolist() == [-3, -2, -2, -2, 3, 3, 3, 3]

    report = report_of([first, second], PAIR, BETS, trials_of_kind=8)
    assert next(iter(report)) == "out_of_sample"
    judged = report["out_of_sample"]
    assert (judged["net_pnl"], judged["folds_in_profit"], judged["unchanged"]["net_pnl"]) == ("-18", 0, "-10")
    # 18 lost in 8 s of tests, 15 + 3 earned in 16 s of training: -2.25 a second over 1.125.
    assert judged["efficiency"] == pytest.approx(-2.0, rel=1e-6)
    curve = judged["equity"]
    assert curve["ts"] == [str(T0 + s * S) for s in range(8, 17)]
    # Bought at 1017, the mids are 1013, 1010, 1007, 1004; then sold at 1003, the mids are 1005, ..., 1008.
    lost = [0, -4, -7, -10, -13, -15, -16, -17, -18]
    assert [Decimal(value) for value in curve["equity"]] == [100_000 + each for each in lost]
    assert report["recommended"] == {"bet": -1}
    assert report["stability"] == [{"name": "bet", "values": [1, -1], "spread_share": 1.0, "at_bound": 2}]
    assert "8 trials" in report["note"]


def test_purged_folds_learn_on_both_sides_of_a_test() -> None:
    """Four blocks of 4 s; the second, [4, 8), rises by 8.

    Training is [0, 4) and [8, 16): buying earns 8 - 1 and then -12 + 4 - 1 = -9, together -2; selling -9 + 7 = -2. Of equals the
    first is taken, which is selling; in the test it loses 8 + 1.
    """
    folds = folds_of(WHOLE, 4, method=Method.PURGED)
    outcome = optimise(base(), market(), BETS, folds, threads=1)[1]
    assert [candidate.score for candidate in outcome.candidates] == [-2.0, -2.0]
    assert outcome.chosen.parameters == {"bet": -1}
    assert len(outcome.train.profits) == 4 + 8
    assert outcome.test is not None
    assert outcome.test.net_pnl == -9


def test_without_folds_nothing_is_held_back_and_the_report_says_so() -> None:
    (outcome,) = optimise(base(), market(), BETS, folds_of(WHOLE, 0), threads=1)
    report = report_of([outcome], PAIR, BETS, trials_of_kind=2)
    assert report["out_of_sample"] is None
    assert "no evidence" in report["note"]
    # 16 - 12 + 4 - 1
    assert outcome.train.net_pnl == 7


# --- going on -------------------------------------------------------------------------------------------------------------


def test_an_interrupted_search_goes_on_and_ends_the_same() -> None:
    feed, folds = market(), folds_of(WHOLE, 2, train_parts=2)
    search = replace(BETS, dimensions=(*BETS.dimensions, dimension_of(KIND.parameters[1], Decimal(0), Decimal(9))))
    whole, memory = InMemory(), InMemory()
    expected = optimise(base(), feed, search, folds, memory=whole, threads=1)
    # 20 sets in each of two folds; then the chosen and the own one, which in the first fold are the same.
    assert whole.runs == 20 + 1 + 20 + 2

    class Stop(Exception):
        pass

    def stop(step: OptimisationProgress) -> None:
        if step.done >= 25:
            raise Stop

    with pytest.raises(Stop):
        optimise(base(), feed, search, folds, memory=memory, progress=stop, threads=1)
    before = memory.runs
    assert 20 < before < whole.runs
    steps: list[OptimisationProgress] = []
    found = optimise(base(), feed, search, folds, memory=memory, progress=steps.append, threads=1)
    assert memory.runs == whole.runs
    assert told(found) == told(expected)
    assert (steps[-1].done, steps[-1].total) == (44, 44)
    again = optimise(base(), feed, search, folds, memory=memory, threads=2)
    assert memory.runs == whole.runs, "nothing was left to run"
    assert told(again) == told(expected)


def test_profits_add_up_and_are_recalled_only_when_they_fit() -> None:
    feed = market()
    config = base(parameters={"bet": 3}, start_ts=T0 + S // 3, end_ts=T0 + 7 * S + 5)
    result = run(config, feed, find_strategy("one_bet").prepare(config.parameters))
    found = evaluation_of(config, feed, result)
    assert int(found.profits.sum()) == 2 * result.summary.net_pnl
    assert len(found.profits) == 7  # 6 2/3 seconds
    known = {"net_pnl": found.net_pnl, "turnover": found.turnover, "fills": found.fills}
    same = recalled(config, feed, **known, profits=found.profits)
    assert same is not None
    assert (same.equity.tolist(), same.balance) == (found.equity.tolist(), found.balance)
    assert recalled(config, feed, **known, profits=found.profits[:-1]) is None
    assert recalled(config, feed, **known, profits=found.profits + 2) is None


def test_a_set_that_never_trades_has_no_ratio_and_is_ranked_last() -> None:
    search = replace(BETS, dimensions=(dimension_of(KIND.parameters[0], Decimal(-1), Decimal(1)),), objective="sharpe")
    (outcome,) = optimise(base(), market(), search, folds_of(WHOLE, 0), threads=1)
    assert [candidate.parameters["bet"] for candidate in outcome.candidates] == [1, -1, 0]
    assert outcome.candidates[-1].score is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net_pnl", 6.0),
        # The equity, in halves, is 100, 104, 98, 112: the fall is 6, the profit 12.
        ("pnl_over_drawdown", 2.0),
        ("pnl_per_turnover", 0.25),
    ],
)
def test_objectives_by_hand(name: str, value: float) -> None:
    found = Evaluation(Decimal(6), Decimal(24), 2, 100, np.array([4, -6, 14]), S, T0)
    assert OBJECTIVES[name](found) == value
    assert OBJECTIVES["sharpe"](replace(found, profits=np.array([-100, 0, 0]))) is None, "no funds are left"


# --- searchers ------------------------------------------------------------------------------------------------------------


def peak(point: Point) -> float | None:
    """Return a score with its highest value, 0, at x = 3 and n = 1000; undefined where x is above 9."""
    if point["x"] > 9:
        return None
    return -((point["x"] - 3.0) ** 2) - 2.0 * math.log10(point["n"] / 1000) ** 2


SPACE = (
    dimension_of(X, Decimal(-10), Decimal(10)),
    dimension_of(N, Decimal(1), Decimal(10**6), is_log=True),
)
COUNTED = (
    dimension_of(X, Decimal(-10), Decimal(10), step=Decimal("0.5")),
    dimension_of(N, Decimal(200), Decimal(2000), step=Decimal(200)),
)


def searched(kind: SearchKind, space: tuple[Dimension, ...], trials: int, seed: int, batch: int = 20) -> list[Point]:
    searcher, points = searcher_of(kind, space, trials=trials, seed=seed), list[Point]()
    while len(points) < trials:
        part = searcher.ask(min(batch, trials - len(points)))
        if not part:
            break
        searcher.tell([peak(point) for point in part])
        points += part
    return points


def best_of(points: Sequence[Point]) -> float:
    return max(score for score in map(peak, points) if score is not None)


def test_a_grid_finds_the_optimum_and_tries_every_set_once() -> None:
    points = searched(SearchKind.GRID, COUNTED, 1000, 1)
    assert len(points) == 41 * 10
    assert len({tuple(point.values()) for point in points}) == 410
    assert max(points, key=lambda point: -math.inf if peak(point) is None else peak(point)) == {"x": 3, "n": 1000}


@pytest.mark.parametrize("seed", range(3))
def test_chance_comes_near_and_learning_nearer(seed: int) -> None:
    random, bayes = (best_of(searched(kind, SPACE, 200, seed)) for kind in (SearchKind.RANDOM, SearchKind.BAYES))
    # Above -3 lies an ellipse of pi sqrt(3) sqrt(3/2) in 20 x 6: 0.056 of all draws, which 200 of them miss once in 90,000.
    assert random > -3.0
    assert bayes > -0.05


@pytest.mark.parametrize("kind", [SearchKind.RANDOM, SearchKind.BAYES])
@pytest.mark.parametrize("space", [SPACE, COUNTED])
def test_the_same_seed_tries_the_same_sets(kind: SearchKind, space: tuple[Dimension, ...]) -> None:
    one, other, another = (searched(kind, space, 60, seed) for seed in (7, 7, 8))
    assert one == other
    assert one != another
    for point in one:
        for dimension in space:
            value = point[dimension.name]
            assert dimension.low <= Decimal(str(value)) <= dimension.high
            assert isinstance(value, int) or not dimension.is_whole
            if dimension.step:
                assert (Decimal(str(value)) - dimension.low) % dimension.step == 0


def test_chance_draws_no_set_twice_and_ends_when_all_are_drawn() -> None:
    searcher = RandomSearcher((dimension_of(N, Decimal(1), Decimal(12)),), seed=3)
    points = searcher.ask(5) + searcher.ask(100)
    assert sorted(point["n"] for point in points) == list(range(1, 13))
    assert searcher.ask(1) == []


def test_draws_fall_evenly() -> None:
    whole = dimension_of(N, Decimal(2), Decimal(4))
    assert [whole.drawn(share) for share in (0, 0.33, 0.34, 0.66, 0.67, 0.999)] == [2, 2, 3, 3, 4, 4]
    log = dimension_of(X, Decimal(1), Decimal(100), is_log=True)
    assert [log.drawn(share) for share in (0.0, 0.5)] == [1.0, pytest.approx(10.0)]
    assert dimension_of(X, Decimal("0.1"), Decimal("0.5"), step=Decimal("0.1")).value(2) == 0.3
    assert dimension_of(X, Decimal(5), Decimal(5)).drawn(0.9) == 5


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("y=1:2", r"--param: y=1:2 is not allowed; allowed: each once of x, n, interval_ns"),
        ("x", r"--param x: .*allowed: NAME=LOW:HIGH"),
        ("x=1", "--param x: 1 is not allowed"),
        ("x=1:2:3:4", "--param x"),
        ("x=a:2", "--param x: a is not allowed"),
        ("x=nan:2", "a finite number"),
        ("x=2:1", "LOW not above HIGH"),
        ("x=0:1:log", "a LOW above 0"),
        ("x=-2000:1", r"param.x: -2000 is not allowed; allowed: a number from -1000 to 1000"),
        ("n=1:2:0.5", "a whole step above 0"),
        ("n=0.5:2", "a whole number"),
        ("x=0:1:0", "a step above 0"),
        ("n=0:1000000000000", "a wider step or `log`"),
    ],
)
def test_a_wrong_word_is_named(word: str, text: str) -> None:
    kind = StrategyKind("made", "for tests", (X, N, KIND.parameters[2]), "")
    with pytest.raises(InvalidRequest, match=text):
        parse_params([word], kind)


def test_words_give_dimensions() -> None:
    kind = StrategyKind("made", "for tests", (X, N), "")
    found = parse_params(["n=1:1000:log", "x=0:1:0.25"], kind)
    assert found == (
        Dimension("n", Decimal(1), Decimal(1000), None, True, True),
        Dimension("x", Decimal(0), Decimal(1), Decimal("0.25")),
    )
    with pytest.raises(InvalidRequest, match="each once"):
        parse_params(["x=0:1", "x=0:2"], kind)
    assert word_of("bayes", "purged") == (SearchKind.BAYES, Method.PURGED)
    with pytest.raises(InvalidRequest, match="--search: hill is not allowed; allowed: grid, random, bayes"):
        word_of("hill", "purged")


@pytest.mark.parametrize(
    ("search", "text"),
    [
        (replace(BETS, trials=1), "trials: 1 is not allowed; allowed: 2 or more"),
        (replace(BETS, trials=0), "1 to 100,000"),
        (replace(BETS, objective="luck"), "objective: luck is not allowed; allowed: net_pnl, sharpe"),
        (replace(BETS, dimensions=()), "one parameter or more"),
        (Search(SPACE, SearchKind.GRID), "param.x: LOW:HIGH without a step is not allowed"),
    ],
)
def test_a_wrong_search_is_named_before_anything_runs(search: Search, text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        optimise(base(), market(), search, folds_of(WHOLE, 0))


# --- folds ----------------------------------------------------------------------------------------------------------------


@given(
    span=st.integers(1, 10**6),
    count=st.integers(1, 12),
    method=st.sampled_from(Method),
    embargo=st.integers(0, 5000),
    parts=st.integers(1, 6),
    is_anchored=st.booleans(),
)
def test_no_training_meets_its_test(
    span: int, count: int, method: Method, embargo: int, parts: int, is_anchored: bool
) -> None:
    whole = Range(T0, T0 + span)
    try:
        folds = folds_of(whole, count, method=method, embargo_ns=embargo, train_parts=parts, is_anchored=is_anchored)
    except InvalidRequest:
        assert count == 1 or embargo >= span // (2 * count) or span < 100 * (count + parts)
        return
    assert [fold.number for fold in folds] == list(range(count))
    tests = [fold.test for fold in folds]
    assert len({test.end_ts - test.start_ts for test in tests}) == 1
    assert all(one.end_ts == other.start_ts for one, other in pairwise(tests))
    for fold in folds:
        assert fold.test is not None
        assert fold.train
        for part in fold.train:
            assert whole.start_ts <= part.start_ts < part.end_ts <= whole.end_ts
            is_before = part.end_ts + embargo <= fold.test.start_ts
            is_after = part.start_ts >= fold.test.end_ts + embargo
            assert is_before or (is_after and method is Method.PURGED)
            if is_anchored and method is Method.WALK_FORWARD:
                assert part.start_ts == whole.start_ts


def test_folds_by_hand() -> None:
    # 100 = 10 of embargo + (2 tests + 4 parts of training) x 15
    found = folds_of(Range(0, 100), 2, embargo_ns=10, train_parts=4)
    assert found == [Fold(0, (Range(0, 60),), Range(70, 85)), Fold(1, (Range(15, 75),), Range(85, 100))]
    assert [fold.train[0].start_ts for fold in folds_of(Range(0, 100), 2, train_parts=3, is_anchored=True)] == [0, 0]
    found = folds_of(Range(0, 90), 3, method=Method.PURGED, embargo_ns=5)
    assert found == [
        Fold(0, (Range(35, 90),), Range(0, 30)),
        Fold(1, (Range(0, 25), Range(65, 90)), Range(30, 60)),
        Fold(2, (Range(0, 55),), Range(60, 90)),
    ]
    with pytest.raises(InvalidRequest, match="folds: 3 is not allowed; allowed: fewer, a shorter embargo"):
        folds_of(Range(0, 90), 3, method=Method.PURGED, embargo_ns=5, least_ns=31)
    with pytest.raises(InvalidRequest, match="2 to 100"):
        folds_of(Range(0, 90), 1, method=Method.PURGED)


def test_keys_of_folds_differ_and_those_of_equal_runs_do_not() -> None:
    feed = market()
    keys = {trial_key(base(start_ts=T0 + s * S), feed) for s in range(4)}
    assert len(keys) == 4
    assert trial_key(base(), feed) == trial_key(base(parameters={"bet": 1, "idle": 0}), feed)
