"""What is compiled as one program: nothing of it can be taken for, or replaced by, what another program has."""

from __future__ import annotations

import threading
from typing import Any

from numba import njit, types

from market_maker.strategies.compilation import optimised_as_one

toolkit: Any = njit
SIGNATURE = types.int64(types.int64)


def a_program() -> Any:
    """Return a function that calls another one."""

    @toolkit
    def callee(x: int) -> int:
        # One that calls itself is never wholly inlined.
        return x if x < 2 else callee(x - 1) + callee(x - 2)  # type: ignore[no-any-return]

    def caller(x: int) -> int:
        return callee(x) + callee(x + 3)  # type: ignore[no-any-return]

    return caller


def shared_functions(compiled: Any) -> list[str]:
    """Return the functions of a program that the linker may replace by others of the same name."""
    text: str = compiled.overloads[SIGNATURE.args].library.get_llvm_str()
    return [line for line in text.splitlines() if line.startswith("define linkonce_odr") and "callee" in line]


def test_the_callees_of_an_entry_are_its_own() -> None:
    with optimised_as_one({"a_program.<locals>.caller"}):
        alone = toolkit(SIGNATURE)(a_program())
    assert shared_functions(toolkit(SIGNATURE)(a_program())), "nothing to be shared: the test shows nothing"
    assert not shared_functions(alone)
    assert alone(10) == a_program()(10)


def test_two_threads_leave_the_compiler_as_it_was() -> None:
    from numba.core import codegen

    library: Any = codegen.CPUCodeLibrary
    before = library._optimize_final_module
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with optimised_as_one({"a_program.<locals>.caller"}):
            entered.set()
            leave.wait(10)

    def follow() -> None:
        with optimised_as_one({"a_program.<locals>.caller"}):
            pass

    threads = [threading.Thread(target=hold), threading.Thread(target=follow)]
    threads[0].start()
    entered.wait(10)
    threads[1].start()
    leave.set()
    for thread in threads:
        thread.join(10)
    assert library._optimize_final_module is before
