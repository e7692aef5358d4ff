"""Where compiled code is cached, and how a strategy becomes a first-class function of the one signature.

Numba does not notice that a callee in another module changed and would go on with stale machine code: the cache
folder is therefore keyed by a hash of every kernel source, the strategies' helpers and the versions involved.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs

from market_maker.strategies.contract import PreparedStrategy

_PACKAGE = Path(__file__).resolve().parent.parent
_compiling = threading.RLock()


def kernel_sources(package: Path = _PACKAGE) -> list[Path]:
    """Return every source file whose change must invalidate compiled code, in a fixed order."""
    names = (
        package.rglob("kernel.py"),
        (package / "backtest" / name for name in ("state.py", "sealed.py", "compiled.py")),
        (package / "backtest").glob("*_models/__init__.py"),
        (package / "matching" / name for name in ("state.py", "codes.py", "sealed.py", "compiled.py")),
        (package / "synthetic" / "flow" / name for name in ("state.py", "parameters.py")),
        (package / "synthetic").glob("*/processes.py"),
        (package / "venue" / "market").glob("*.py"),
        (package / "montecarlo" / "loop" / name for name in ("state.py", "sealed.py", "compiled.py")),
        (package / "strategies").glob("*.py"),
        (package / "risk" / name for name in ("rules.py",)),
        (package / "domain" / name for name in ("order.py", "instrument.py")),
    )
    return sorted({path for found in names for path in found})


def cache_key(package: Path = _PACKAGE) -> str:
    """Return the key of the cache folder: a hash of kernel sources and of the versions of compiler and NumPy."""
    digest = hashlib.sha256()
    for name in ("numba", "llvmlite", "numpy"):
        digest.update(f"{name}={version(name)};".encode())
    digest.update(f"python={platform.python_version()};".encode())
    for path in kernel_sources(package):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


def use_cache(folder: Path | None = None) -> Path:
    """Direct compiled code to `folder`/<key> and return that path; call it before kernels are imported.

    Without `folder`: MM_KERNEL_CACHE, else the user's cache folder. Safe to call again with the same folder.
    """
    root = folder or Path(os.environ.get("MM_KERNEL_CACHE") or platformdirs.user_cache_path("market-maker") / "kernels")
    path = root / cache_key()
    path.mkdir(parents=True, exist_ok=True)
    os.environ["NUMBA_CACHE_DIR"] = str(path)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(path)
    return path


@contextmanager
def optimised_as_one(names: Collection[str]) -> Iterator[None]:
    """Optimise what this thread compiles only in the functions of these names, each with all that it calls as one program.

    Numba optimises every function together with its callees, at each level of calls anew: with some forty kernel functions
    below another a third of the time goes into code that nobody runs (measured: 35 s, 22 s without). And it gives every
    copy of a callee the same public name, so that the linker takes whichever was loaded first: without optimisation, a
    process that compiles would run five times as slowly as one that reads the cache. What an entry calls is therefore
    private to it (internal would not do: the linker knows such names, too), which the optimiser uses (measured: a replay
    15 % faster).
    """
    from numba.core import codegen

    library: Any = codegen.CPUCodeLibrary
    thread = threading.get_ident()

    def optimise_entries(self: Any) -> None:
        if threading.get_ident() != thread:
            optimise(self)
        elif self.name in names:
            for function in self._final_module.functions:
                if function.linkage.name == "linkonce_odr" and not function.is_declaration:
                    function.linkage = "private"
            optimise(self)

    with _compiling:  # Two at once would put back each other's.
        optimise = library._optimize_final_module  # noqa: SLF001
        library._optimize_final_module = optimise_entries  # noqa: SLF001
        try:
            yield
        finally:
            library._optimize_final_module = optimise  # noqa: SLF001


@cache
def _compile(function: Callable[..., None]) -> Callable[..., None]:
    import numba
    from numba.core.errors import NumbaError

    from market_maker.strategies.actions import SIGNATURE

    toolkit: Any = numba
    try:
        # Whoever wakes it holds the arrays: counting references would cost more than most strategies.
        compiled: Callable[..., None] = toolkit.njit(SIGNATURE, cache=True, nogil=True, _nrt=False)(function)
    except NumbaError:
        # One that makes arrays of its own needs the counting.
        compiled = toolkit.njit(SIGNATURE, cache=True, nogil=True)(function)
    return compiled


def compiled(strategy: PreparedStrategy) -> Callable[..., None]:
    """Return the strategy's function compiled (or read from the cache) for the engine's signature."""
    if not os.environ.get("NUMBA_CACHE_DIR"):
        use_cache()
    return _compile(strategy.function())
