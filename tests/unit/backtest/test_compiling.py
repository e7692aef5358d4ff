"""Where the kernel is compiled: apart from those who must not wait, and only when it is not in the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from market_maker.backtest import compiling
from market_maker.strategies.compiling import apart


def test_a_process_of_its_own_compiles_once_and_the_cache_serves_from_then_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A recording that was played first compiled in the service, whose other answers took up to half a second meanwhile."""
    done: list[str] = []

    class Process:
        def __init__(self, words: list[str]) -> None:
            done.append("apart")
            assert words[1] == "-c"
            exec(words[2], {"__name__": "apart"})

        def wait(self) -> int:
            return 0

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.setattr(compiling, "compile_all", lambda: done.append("here"))
    monkeypatch.setattr(apart.subprocess, "Popen", Process)
    compiling.compile_apart()
    assert done == ["apart", "here", "here"]
    compiling.compile_apart()
    assert done == ["apart", "here", "here", "here"]
