"""What `serve` and its workers take of the machine."""

from __future__ import annotations

import pytest

from market_maker.server import processors, sweep_threads
from market_maker.settings import BacktestSettings


@pytest.mark.parametrize(
    ("there", "workers", "wanted", "threads"),
    [
        (8, 1, 0, 7),  # one is left to the service
        (8, 3, 0, 2),  # workers may sweep at once
        (2, 1, 0, 1),
        (1, 1, 0, 1),
        (2, 4, 0, 1),
        (4, 0, 0, 3),  # a worker elsewhere
        (2, 1, 16, 16),
    ],
)
def test_a_sweep_leaves_a_processor_to_the_service(there: int, workers: int, wanted: int, threads: int) -> None:
    """A sweep that was asked for by REST took all processors of the machine on which the service answers."""
    settings = BacktestSettings(workers=workers, sweep_threads=wanted)
    assert sweep_threads(settings, there) == threads


def test_processors_are_those_that_may_be_used() -> None:
    assert processors() >= 1
