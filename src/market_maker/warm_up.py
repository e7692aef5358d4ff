"""Compiling the kernels before anybody waits for them: in processes side by side, since one takes most of a minute.

What is compiled already is read from the cache, and costs a second.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

from market_maker.domain.errors import Unavailable, shorten


def _replay() -> None:
    from market_maker.backtest.worker import warm_up
    from market_maker.market_data import book

    book.warm_up()
    warm_up()


def _exchange() -> None:
    from market_maker.simulator.market_realism import compile_realism
    from market_maker.simulator.service import compile_market

    compile_market()
    compile_realism()


def _simulate() -> None:
    from market_maker.montecarlo.loop.compiled import compiled_loop

    compiled_loop()


def _risk() -> None:
    from market_maker.risk.batch.compiled import compiled_risk

    compiled_risk()


PARTS: dict[str, Callable[[], None]] = {
    "exchange": _exchange, "replay": _replay, "simulate": _simulate, "risk": _risk,
}  # fmt: skip
USUAL = ("exchange", "replay")
"""What the service and its workers run."""


def compile_part(name: str) -> None:
    """Compile one part of `PARTS` in this process."""
    PARTS[name]()


def compile_side_by_side(names: Sequence[str]) -> None:
    """Compile parts, each in a process of its own, two at a time; Unavailable names one that failed and why."""
    waiting, running = list(names), dict[str, subprocess.Popen[str]]()
    failed: str | None = None
    while waiting or running:
        while waiting and len(running) < 2:
            part = waiting.pop(0)
            program = [sys.executable, "-m", "market_maker", "compile", "--part", part]
            running[part] = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)  # noqa: S603  (our own program)
        name, process = next(iter(running.items()))
        _, told = process.communicate()
        del running[name]
        if process.returncode:
            failed = failed or f"the kernels of {name} cannot be compiled: {shorten(told.strip()[-300:], 300)}"
    if failed is not None:
        raise Unavailable(failed)
