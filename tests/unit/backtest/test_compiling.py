"""Where the kernel is compiled: apart from those who must not wait, and only when it is not in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from market_maker.backtest import compiling


def test_a_process_of_its_own_compiles_once_and_the_cache_serves_from_then_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A recording that was played first compiled in the service, whose other answers took up to half a second meanwhile."""
    done: list[str] = []

    def run(words: list[str], **_: Any) -> None:
        done.append("apart")
        assert words[1] == "-c"
        exec(words[2], {"__name__": "apart"})

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.setattr(compiling, "compile_all", lambda: done.append("here"))
    monkeypatch.setattr(compiling.subprocess, "run", run)
    compiling.compile_apart()
    assert done == ["apart", "here", "here"]
    compiling.compile_apart()
    assert done == ["apart", "here", "here", "here"]
