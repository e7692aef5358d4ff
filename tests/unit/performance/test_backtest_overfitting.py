"""The probability of overfitting: against a plain search of all combinations, on noise, and on a true edge."""

from __future__ import annotations

import math
import time
from itertools import combinations

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.backtest_overfitting import Performance, probability_of_overfitting
from market_maker.performance.returns import sharpe_ratio
from market_maker.performance.trial_statistics import edge_of, statistics_of_returns

AXES = ("trial", "period")


def plain(returns: np.ndarray, blocks: int) -> tuple[list[float], list[float], list[float]]:
    """Return logits and performances by the definition: every combination, every trial, one by one."""
    parts = np.array_split(np.arange(returns.shape[1]), blocks)
    logits, inner, outer = [], [], []

    def ratios(places: list[int]) -> list[float]:
        rows = [trial[np.concatenate([parts[k] for k in places])] for trial in returns]
        return [0.0 if np.ptp(row) == 0 else row.mean() / row.std(ddof=1) for row in rows]

    for inside in combinations(range(blocks), blocks // 2):
        here, there = ratios(list(inside)), ratios([k for k in range(blocks) if k not in inside])
        best = here.index(max(here))
        below = sum(other < there[best] for other in there)
        equal = sum(other == there[best] for other in there)
        share = (below + (equal + 1) / 2) / (len(returns) + 1)
        logits.append(math.log(share / (1 - share)))
        inner.append(here[best])
        outer.append(there[best])
    return logits, inner, outer


@pytest.mark.parametrize(("trials", "periods", "blocks"), [(5, 60, 6), (8, 67, 8), (2, 9, 4), (3, 4, 2)])
def test_it_is_the_plain_search(rng, trials, periods, blocks):
    returns = rng.standard_normal((trials, periods))
    found = probability_of_overfitting(returns, axes=AXES, blocks=blocks)
    logits, inner, outer = plain(returns, blocks)
    assert found.combinations == math.comb(blocks, blocks // 2)
    assert found.logits == pytest.approx(logits)
    assert found.in_sample == pytest.approx(inner)
    assert found.out_of_sample == pytest.approx(outer)
    assert found.probability == np.mean(np.array(logits) <= 0)
    assert found.loss_probability == np.mean(np.array(outer) < 0)
    assert found.degradation == pytest.approx(np.polyfit(inner, outer, 1)[0])


def test_the_axes_matter(rng):
    returns = rng.standard_normal((12, 40)) + np.linspace(0, 0.3, 12)[:, None]
    one = probability_of_overfitting(returns, axes=AXES, blocks=4)
    same = probability_of_overfitting(returns.T, axes=("period", "trial"), blocks=4)
    swapped = probability_of_overfitting(returns.T, axes=AXES, blocks=4)
    assert np.array_equal(one.logits, same.logits)
    assert one.logits.tolist() != swapped.logits.tolist()


def test_trials_that_never_trade_have_a_ratio_of_zero():
    """All trials but one stand still; it loses in every half, so the first idle one is always chosen: the shared best."""
    returns = np.zeros((4, 32))
    returns[3] = np.tile([-1.0, -2.0], 16)
    found = probability_of_overfitting(returns, axes=AXES, blocks=4)
    assert found.in_sample.tolist() == [0.0] * 6
    # Three idle trials share the ranks 2, 3, 4: 3 of 5, above the median.
    assert found.logits == pytest.approx([math.log(3 / 2)] * 6)
    assert (found.probability, found.loss_probability, found.degradation) == (0.0, 0.0, None)


def test_a_constant_that_binary_cannot_hold_does_not_vary():
    returns = np.vstack([np.full(40, 0.1), np.tile([0.3, -0.2], 20)])
    assert probability_of_overfitting(returns, axes=AXES, blocks=4).in_sample.max() < 1.0


def test_by_the_mean_alone(rng):
    # The second trial has the larger mean everywhere and so much noise that its ratio is smaller.
    returns = np.vstack([np.tile([0.9, 1.1], 20), np.tile([-18.0, 22.0], 20)])
    by_mean = probability_of_overfitting(returns, axes=AXES, blocks=4, performance=Performance.MEAN)
    assert by_mean.in_sample == pytest.approx([2.0] * 6)
    assert probability_of_overfitting(returns, axes=AXES, blocks=4).out_of_sample.min() > 1.0


def test_noise_is_flagged_and_a_true_edge_passes(rng):
    """Issue: an overfitted search on pure noise has PBO > 0.4 and fails the deflated ratio; a planted edge passes."""
    noise = rng.standard_normal((200, 1000))
    planted = noise.copy()
    planted[17] += 0.25
    for returns, is_edge in ((noise, False), (planted, True)):
        statistics = statistics_of_returns(returns, axes=AXES, periods_per_year=365.0)
        best = returns[np.argmax(returns.mean(axis=1) / returns.std(axis=1, ddof=1))]
        sharpe = sharpe_ratio(np.concatenate([[1.0], np.cumprod(1 + best / 1000)]), interval_ns=86_400 * 10**9)
        edge = edge_of(best, sharpe, statistics)
        assert statistics.count == statistics.effective == 200
        assert (statistics.overfitting.probability < 0.05) is is_edge
        assert (statistics.overfitting.probability > 0.4) is not is_edge
        assert (edge.deflated.probability > 0.95) is is_edge
        assert edge.probabilistic_sharpe.value > 0.95  # alone it believes both


def test_a_thousand_trials_are_quick(rng):
    """Budget: well under 10 s for 1,000 trials of 5,000 periods; 0.8 s was measured. Some 13 million ratios are ranked.

    Time of the processor, because the machine may be busy.
    """
    returns = rng.standard_normal((1000, 5000))
    begin = time.process_time()
    found = probability_of_overfitting(returns, axes=AXES)
    assert time.process_time() - begin < 8.0
    assert found.combinations == 12_870
    assert 0.2 < found.probability < 0.8


@pytest.mark.parametrize("blocks", [0, 1, 3, 22, 12])
def test_blocks_that_are_refused(rng, blocks):
    with pytest.raises(InvalidRequest, match="an even number from 2 to 10"):
        probability_of_overfitting(rng.standard_normal((3, 21)), axes=AXES, blocks=blocks)


def test_one_trial_is_no_choice(rng):
    with pytest.raises(DataError, match="at least 2"):
        probability_of_overfitting(rng.standard_normal((1, 40)), axes=AXES, blocks=4)
