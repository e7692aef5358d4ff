"""Kernels in their two forms, for tests of functions that only compiled code calls."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a kernel function with a wrapper that Python can call."""
    return numba.njit(lambda *values: function(*values))


def interpreted(module: ModuleType) -> ModuleType:
    """Return a kernel module run as plain Python; other kernels that it calls stay compiled."""
    spec = importlib.util.spec_from_file_location(f"interpreted_{module.__name__.replace('.', '_')}", module.__file__)
    assert spec is not None
    assert spec.loader is not None
    plain = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = plain
    before, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, 1
    try:
        spec.loader.exec_module(plain)
    finally:
        numba.config.DISABLE_JIT = before
    return plain
