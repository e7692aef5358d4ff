"""When and where the kernel of backtests is compiled, for those who must not be held up meanwhile.

Most of compiling is Python and holds its lock: in a thread of a service it would slow down every answer for a minute or two.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import structlog

from market_maker.backtest.compiled import compile_all
from market_maker.strategies.compilation import use_cache

_MARK = "backtest.compiled"
_log = structlog.get_logger("backtest")


def compile_here() -> None:
    """Compile every entry point in this process, or read it from the cache."""
    compile_all()
    (_folder() / _MARK).touch()


def compile_apart() -> None:
    """As `compile_here`, but what is not in the cache is compiled by a process of its own."""
    if not (_folder() / _MARK).exists() and not os.environ.get("NUMBA_DISABLE_JIT"):
        _log.info("the kernel of backtests is compiled; once, it takes a minute or two")
        program = f"from {__name__} import compile_here; compile_here()"
        # Should it fail, it is done here, slowly.
        subprocess.run([sys.executable, "-c", program], check=False)  # noqa: S603  (our own program)
    compile_here()


def _folder() -> Path:
    return Path(os.environ.get("NUMBA_CACHE_DIR") or use_cache())
