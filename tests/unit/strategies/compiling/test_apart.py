"""Compiling in a process of its own: once, ended with the service, and of strategies of a user's own, too."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from market_maker.domain.errors import Unavailable
from market_maker.strategies import contract
from market_maker.strategies.compiling import apart
from market_maker.strategies.contract import add_strategy_file, find_strategy

OWN = """
from market_maker.strategies.contract import StrategyKind
from market_maker.strategies.parameters import INTERVAL

KIND = StrategyKind("compiled_apart_of_a_test", "Does nothing.", (INTERVAL,), "compiled_apart_of_a_test:on_wake")


def on_wake(view, params, memory, actions):
    memory[0] += 1.0
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.setattr(contract, "_FROM_FILES", dict(contract._FROM_FILES))
    return tmp_path


def test_what_has_been_compiled_is_not_compiled_again(cache: Path) -> None:
    begun: list[int] = []
    for _ in range(2):
        apart.compile_apart("a.compiled", "print()", begin=lambda: begun.append(1))
    assert begun == [1]
    assert (cache / "a.compiled").exists()


def test_what_fails_is_tried_again_and_left_to_whoever_needs_it(cache: Path) -> None:
    apart.compile_apart("a.compiled", "raise SystemExit(3)")
    assert not (cache / "a.compiled").exists()


def test_a_stop_ends_what_compiles_and_who_waits_for_it(cache: Path) -> None:
    """A service that compiled for a minute took a minute to stop."""
    told: list[Exception] = []
    begun: list[int] = []

    here = threading.Barrier(4)

    def wait() -> None:
        here.wait(20)
        try:
            apart.compile_apart("a.compiled", "import time; time.sleep(60)", begin=lambda: begun.append(1))
        except Unavailable as error:
            told.append(error)

    waiting = [threading.Thread(target=wait) for _ in range(3)]
    for each in waiting:
        each.start()
    here.wait(20)
    while not apart._running:
        time.sleep(0.01)
    time.sleep(0.5)  # The others have come by now: whoever comes later is not of this service.
    apart.end_compiling()
    for each in waiting:
        each.join(20)
    assert not any(each.is_alive() for each in waiting)
    assert ["stopping" in str(error) for error in told] == [True] * 3
    assert begun == [1], "who comes meanwhile waits for the first"
    assert not (cache / "a.compiled").exists()


@pytest.mark.parametrize("is_own", [False, True])
def test_a_strategy_is_compiled_by_another_process(is_own: bool, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first strategy that ran live was compiled in the service, whose other answers waited for seconds."""
    name = "do_nothing"
    if is_own:
        file = cache / "compiled_apart_of_a_test.py"
        file.write_text(OWN, encoding="utf-8")
        name = add_strategy_file(file).kind
    programs: list[str] = []

    class Process:
        def __init__(self, words: list[str]) -> None:
            programs.append(words[2])
            assert words[0] == sys.executable

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(apart.subprocess, "Popen", Process)
    monkeypatch.setattr(apart, "compiled", lambda strategy: strategy.function())
    prepared = find_strategy(name).prepare({})
    for _ in range(2):
        assert apart.compiled_apart(prepared) is prepared.function()
    assert len(programs) == 1
    exec(programs[0])
    with pytest.raises(Exception, match="kind"):
        apart.compile_kind("no_such_strategy")
