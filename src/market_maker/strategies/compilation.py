"""Where compiled code is cached, and how a strategy becomes a first-class function of the one signature.

Numba does not notice that a callee in another module changed and would go on with stale machine code: the cache
folder is therefore keyed by a hash of every kernel source, the strategies' helpers and the versions involved.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import mmap
import os
import platform
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
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


def load_compiler() -> None:
    """Import what Numba compiles with; its own import of SciPy's linear algebra is left to those who use it.

    Numba imports it to see whether it is there, which takes 17 MiB of memory and a tenth of a second of every process.
    """
    with _compiling:
        if "numba.np.arraymath" in sys.modules or find_spec("scipy") is None:
            return
        from numba.np import linalg

        toolkit: Any = linalg
        ensure_blas = toolkit.ensure_blas
        toolkit.ensure_blas = lambda: None
        try:
            import_module("numba.np.arraymath")
        finally:
            toolkit.ensure_blas = ensure_blas


def let_go_of_compiler() -> None:
    """Let the system take back the memory of LLVM's own code, some 50 MiB: to run what is compiled it is not needed.

    Who compiles or loads again finds it again, as it does pages of any file. Does nothing but on Linux.
    """
    if sys.platform != "linux":
        return
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    with Path("/proc/self/maps").open(encoding="utf-8") as maps:
        for line in maps:
            # Code alone, which nothing ever writes to.
            if line.rstrip().endswith("libllvmlite.so") and " r-xp " in line:
                start, end = (int(address, 16) for address in line.split()[0].split("-"))
                advise(start, end - start, mmap.MADV_DONTNEED)


class _OneProgram:
    """What replaces four steps of Numba's while an entry and its callees are compiled; see `optimised_as_one`."""

    def __init__(self, library: Any, generator: Any, names: Collection[str]) -> None:
        self._names, self._thread = names, threading.get_ident()
        self.optimise, self.finalize, self.set_environment = (
            library._optimize_final_module, library._finalize_final_module, generator.set_env  # noqa: SLF001
        )  # fmt: skip
        self.environments: list[tuple[Any, str, Any]] = []

    def is_callee(self, library: Any) -> bool:
        """Return whether what is compiled is called by an entry alone."""
        # Numba's own runtime is no callee: it may be loaded at any time.
        return threading.get_ident() == self._thread and library.name not in self._names and library.name != "nrt"

    def optimise_entry(self, library: Any) -> None:
        """Optimise an entry together with all that it calls, and nothing else."""
        if self.is_callee(library):
            return
        if threading.get_ident() == self._thread:
            for function in library._final_module.functions:  # noqa: SLF001
                if function.linkage.name == "linkonce_odr" and not function.is_declaration:
                    function.linkage = "private"
        self.optimise(library)

    def finalize_entry(self, library: Any) -> None:
        """Make machine code of an entry, and of nothing else."""
        if self.is_callee(library):
            library._finalize_dynamic_globals()  # noqa: SLF001
            library._finalized = True  # noqa: SLF001
        else:
            self.finalize(library)

    def set_known_environment(self, generator: Any, name: str, environment: Any) -> None:
        """Tell machine code its environment, if there is such code by now."""
        if generator._engine.is_symbol_defined(name):  # noqa: SLF001
            self.set_environment(generator, name, environment)
        else:
            self.environments.append((generator, name, environment))


@contextmanager
def optimised_as_one(names: Collection[str]) -> Iterator[None]:
    """Make machine code only of the functions of these names that this thread compiles, each with its callees as one program.

    Numba optimises and translates every function together with its callees, at each level of calls anew: with some hundred
    kernel functions below another half of the time goes into code that nobody runs. And it gives every copy of a callee the
    same public name, so that the linker takes whichever was loaded first. What an entry calls is therefore private to it
    (internal would not do: the linker knows such names, too), which the optimiser uses (measured: a replay 15 % faster).
    """
    from numba.core import codegen

    library: Any = codegen.CPUCodeLibrary
    generator: Any = codegen.JITCPUCodegen
    with _compiling:  # Two at once would put back each other's.
        program = _OneProgram(library, generator, names)
        # Not the methods themselves, which would not be told the library.
        library._optimize_final_module = lambda self: program.optimise_entry(self)  # noqa: PLW0108, SLF001
        library._finalize_final_module = lambda self: program.finalize_entry(self)  # noqa: PLW0108, SLF001
        generator.set_env = lambda *values: program.set_known_environment(*values)  # noqa: PLW0108
        # Of the many objects of a compilation few become garbage: to look for it takes a tenth of the time.
        collects = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collects:
                gc.enable()
            library._optimize_final_module = program.optimise  # noqa: SLF001
            library._finalize_final_module = program.finalize  # noqa: SLF001
            generator.set_env = program.set_environment
            # Those of callees came before the programs that contain them.
            for made, name, environment in program.environments:
                if made._engine.is_symbol_defined(name):  # noqa: SLF001
                    made.set_env(name, environment)


@cache
def _compile(function: Callable[..., None]) -> Callable[..., None]:
    import numba
    from numba.core.errors import NumbaError

    from market_maker.strategies.actions import SIGNATURE

    toolkit: Any = numba
    load_compiler()
    try:
        # Whoever wakes it holds the arrays: counting references would cost more than most strategies.
        compiled: Callable[..., None] = toolkit.njit(SIGNATURE, cache=True, nogil=True, _nrt=False)(function)
    except NumbaError:
        # One that makes arrays of its own needs the counting.
        compiled = toolkit.njit(SIGNATURE, cache=True, nogil=True)(function)
    let_go_of_compiler()
    return compiled


def compiled(strategy: PreparedStrategy) -> Callable[..., None]:
    """Return the strategy's function compiled (or read from the cache) for the engine's signature."""
    if not os.environ.get("NUMBA_CACHE_DIR"):
        use_cache()
    return _compile(strategy.function())
