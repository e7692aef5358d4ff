"""Compiling in a process of its own, for those who must not be held up meanwhile.

Most of compiling is Python and holds its lock: in a thread of a service it would slow down every answer. What is in the cache
already is told by a mark in the cache's folder. It knows nothing of what is compiled, strategies apart.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from market_maker.domain.errors import InvalidRequest, Unavailable
from market_maker.strategies.compilation import compiled, use_cache
from market_maker.strategies.contract import SHIPPED, PreparedStrategy, add_strategy_file, find_strategy

_running: set[subprocess.Popen[bytes]] = set()
_turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
_ended = 0
"""How often `end_compiling` was called."""


def cache_folder() -> Path:
    """Return the folder of compiled code."""
    return Path(os.environ.get("NUMBA_CACHE_DIR") or use_cache())


def note_compiled(mark: str) -> None:
    """Note that what `mark` stands for is in the cache; in a folder that cannot be written it is not noted."""
    with contextlib.suppress(OSError):
        (cache_folder() / mark).touch()


def compile_apart(mark: str, program: str, *, begin: Callable[[], None] = lambda: None) -> None:
    """Run a program that compiles into the cache in a process of its own, unless `mark` says that it has been done.

    Parameters
    ----------
    mark : name of the file that says so
    program : Python text
    begin : called before the process is started

    Should the program fail, its work is left to whoever needs it, slowly and in its own process.

    Raises
    ------
    Unavailable
        `end_compiling` was called meanwhile.
    """
    path = cache_folder() / mark
    if path.exists() or os.environ.get("NUMBA_DISABLE_JIT"):
        return
    ended, code = _ended, 1
    with _turns[mark]:  # Who comes meanwhile waits for the first.
        if path.exists():
            return
        if ended == _ended:
            begin()
            process = subprocess.Popen([sys.executable, "-c", program])  # noqa: S603  (our own program)
            _running.add(process)
            code = process.wait()
            _running.discard(process)
        if ended != _ended:
            raise Unavailable("the service is stopping")
        if code == 0:
            note_compiled(mark)


def end_compiling() -> None:
    """End the processes that compile, and what waits for them: the service stops."""
    global _ended  # noqa: PLW0603  (of the process, as what runs is)
    _ended += 1
    for process in list(_running):
        process.terminate()


def compiled_apart(strategy: PreparedStrategy, *, begin: Callable[[], None] = lambda: None) -> Callable[..., None]:
    """Return the strategy's function compiled, as `compiled` does; what is not in the cache is compiled apart."""
    kind = strategy.kind
    file = "" if kind.kind in SHIPPED else getattr(sys.modules[strategy.function().__module__], "__file__", None)
    if file is None:  # of no file: no other process could compile it
        return compiled(strategy)
    text = f"{kind.source} {file} {kind.source_hash()}"
    mark = f"strategy-{hashlib.sha256(text.encode()).hexdigest()[:24]}.compiled"
    compile_apart(mark, f"from {__name__} import compile_kind; compile_kind({kind.kind!r}, {file!r})", begin=begin)
    return compiled(strategy)


def compile_kind(kind: str, file: str = "") -> None:
    """Compile a strategy into the cache; one that is neither shipped nor installed is read from its file first."""
    try:
        found = find_strategy(kind)
    except InvalidRequest:
        if not file:
            raise
        found = add_strategy_file(Path(file))
    compiled(found.prepare({}))
