"""When and where the kernel of backtests is compiled, for those who must not be held up meanwhile."""

from __future__ import annotations

import structlog

from market_maker.backtest.compiled import compile_all
from market_maker.strategies.compiling import apart

_MARK = "backtest.compiled"
_log = structlog.get_logger("backtest")


def compile_here() -> None:
    """Compile every entry point in this process, or read it from the cache."""
    compile_all()
    apart.note_compiled(_MARK)


def compile_apart() -> None:
    """As `compile_here`, but what is not in the cache is compiled by a process of its own.

    Raises
    ------
    Unavailable
        The service stops meanwhile.
    """
    apart.compile_apart(
        _MARK,
        f"from {__name__} import compile_here; compile_here()",
        begin=lambda: _log.info("the kernel of backtests is compiled; once, it takes a minute or two"),
    )
    compile_here()
