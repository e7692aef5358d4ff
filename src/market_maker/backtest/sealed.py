"""The replay's memory as compiled code takes it: one structure reference to the same arrays.

A named tuple of arrays would be copied, and its arrays counted, at every call inside the kernel (measured: ten times
slower to run and to compile). The structure is made inside a compiled function, since its Python proxy would compile
again in every process.

Nothing in the kernel allocates, and its caller holds the arrays: the kernel is compiled without Numba's counting of
references (`inner`), which would otherwise take most of its time. Reading a field is lowered here for that, and as a
load of what never changes after sealing, so that the optimiser keeps fields in registers across writes to arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, typeof, types
from numba.core import cgutils as _cgutils
from numba.core import datamodel as _datamodel
from numba.core import extending as _extending
from numba.core import imputils as _imputils
from numba.core.typing import templates as _templates
from numba.experimental import structref as _structref

from market_maker.backtest.ladder.kernel import Ladder, new_ladder
from market_maker.backtest.state import ReplayState, new_state

structref: Any = _structref
cgutils: Any = _cgutils
extending: Any = _extending
imputils: Any = _imputils
_struct_ref: Any = types.StructRef
_DATA_OF_MEMINFO = 3
"""Place of the pointer to the data in Numba's MemInfo, in words (see numba/core/runtime/nrt.cpp)."""


# Numba names such a type by all of its fields, and every function by the types of its arguments: with thousands of
# letters in each symbol a fifth of the time of compilation goes into names. There is one type of each kind.


class LadderType(types.StructRef):
    """Compiled type of `Ladder`."""

    def __init__(self, fields: list[tuple[str, Any]]) -> None:
        _struct_ref.__init__(self, fields)
        self.name = "Ladder"


class StateType(types.StructRef):
    """Compiled type of `ReplayState`."""

    def __init__(self, fields: list[tuple[str, Any]]) -> None:
        _struct_ref.__init__(self, fields)
        self.name = "ReplayState"


class LadderProxy(_structref.StructRefProxy):
    """Opaque handle of a compiled ladder."""


class StateProxy(_structref.StructRefProxy):
    """Opaque handle of a compiled state."""


structref.define_boxing(LadderType, LadderProxy)
structref.define_boxing(StateType, StateProxy)


def _load(builder: Any, pointer: Any, constant: Any) -> Any:
    """Load a value member by member, each marked as never changing."""
    kind = pointer.type.pointee
    if not isinstance(kind, ir.Aggregate):
        loaded = builder.load(pointer)
        loaded.set_metadata("invariant.load", constant)
        return loaded
    value = ir.Constant(kind, ir.Undefined)
    for i in range(len(kind)):
        member = builder.gep(pointer, [ir.Constant(ir.IntType(32), 0), ir.Constant(ir.IntType(32), i)], inbounds=True)
        value = builder.insert_value(value, _load(builder, member, constant), i)
    return value


def _fields_of(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Return the helper for the fields behind a reference, without the runtime that counts."""
    meminfo = cgutils.create_struct_proxy(kind)(context, builder, value=value).meminfo
    words = builder.bitcast(meminfo, cgutils.voidptr_t.as_pointer())
    data = builder.load(cgutils.gep_inbounds(builder, words, _DATA_OF_MEMINFO))
    data.set_metadata("invariant.load", builder.module.add_metadata([]))
    fields = kind.get_data_type()
    pointer = context.data_model_manager[fields].get_value_type().as_pointer()
    return cgutils.create_struct_proxy(fields)(context, builder, ref=builder.bitcast(data, pointer))


def _define_access(struct: Any) -> None:
    """Let compiled code read and write the fields of a structure."""
    models: Any = _datamodel
    models.default_manager.register(struct, models.models.StructRefModel)

    def resolve(_: Any, kind: Any, name: str) -> Any:
        return kind.field_dict.get(name)

    extending.infer_getattr(
        type("Access", (_templates.AttributeTemplate,), {"key": struct, "generic_resolve": resolve})
    )

    def read(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
        fields = _fields_of(context, builder, kind, value)
        pointer = fields._get_ptr_by_name(name)  # noqa: SLF001
        found = _load(builder, pointer, builder.module.add_metadata([]))
        if not context.enable_nrt:
            return found
        return imputils.impl_ret_borrowed(context, builder, kind.field_dict[name], found)

    def write(context: Any, builder: Any, signature: Any, arguments: Any, name: str) -> None:
        (kind, given), (value, new) = signature.args, arguments
        fields = _fields_of(context, builder, kind, value)
        converted = context.cast(builder, new, given, kind.field_dict[name])
        context.nrt.incref(builder, given, converted)
        context.nrt.decref(builder, given, getattr(fields, name))
        setattr(fields, name, converted)

    extending.lower_getattr_generic(struct)(read)
    extending.lower_setattr_generic(struct)(write)


_define_access(LadderType)
_define_access(StateType)

_new: Any = structref.new
_typeof: Any = typeof
_LADDER = new_ladder(0, 1, 1)
_EXAMPLE = new_state(exchange=_LADDER, local=_LADDER, depth_levels=1, orders=1, in_flight=1, marks=1)
_ladder_type: Any = LadderType
_state_type: Any = StateType
LADDER = _ladder_type([(name, _typeof(getattr(_EXAMPLE.exchange, name))) for name in Ladder._fields])
STATE = _state_type(
    [
        (name, LADDER if isinstance(getattr(_EXAMPLE, name), Ladder) else _typeof(getattr(_EXAMPLE, name)))
        for name in ReplayState._fields
    ]
)
_LADDER_TUPLE = _typeof(_EXAMPLE.exchange)
_STATE_TUPLE = _typeof(_EXAMPLE)


@njit
def _seal_ladder(ladder: Any) -> Any:
    sealed: Any = _new(LADDER)
    sealed.best = ladder.best
    sealed.table = ladder.table
    sealed.quantity = ladder.quantity
    sealed.occupied = ladder.occupied
    sealed.extent = ladder.extent
    return sealed


def _seal_one(ladder: Any) -> Any:
    return _seal_ladder(ladder)


def _seal(state: Any) -> Any:
    sealed: Any = _new(STATE)
    sealed.clock = state.clock
    sealed.head = state.head
    sealed.orders = state.orders
    sealed.resting = state.resting
    sealed.resting_count = state.resting_count
    sealed.open_slots = state.open_slots
    sealed.free_slots = state.free_slots
    sealed.requests = state.requests
    sealed.responses = state.responses
    sealed.nodes = state.nodes
    sealed.heads = state.heads
    sealed.own_best = state.own_best
    sealed.bound = state.bound
    sealed.agenda_ts = state.agenda_ts
    sealed.agenda_set = state.agenda_set
    sealed.wake_ts = state.wake_ts
    sealed.wake_clock = state.wake_clock
    sealed.wakes = state.wakes
    sealed.reasons = state.reasons
    sealed.fills = state.fills
    sealed.fill_sets = state.fill_sets
    sealed.samples = state.samples
    sealed.log = state.log
    sealed.log_sets = state.log_sets
    sealed.queues = state.queues
    sealed.queue_n = state.queue_n
    sealed.latency = state.latency
    sealed.recorded_requests = state.recorded_requests
    sealed.recorded_answers = state.recorded_answers
    sealed.load = state.load
    sealed.carried = state.carried
    sealed.fees = state.fees
    sealed.fee_tiers = state.fee_tiers
    sealed.fee_volumes = state.fee_volumes
    sealed.funding_ts = state.funding_ts
    sealed.funding_e8 = state.funding_e8
    sealed.impact = state.impact
    sealed.limits = state.limits
    sealed.guard = state.guard
    sealed.messages = state.messages
    sealed.exchange = _seal_ladder(state.exchange)
    sealed.local = _seal_ladder(state.local)
    sealed.view_bids = state.view_bids
    sealed.view_asks = state.view_asks
    sealed.view_orders = state.view_orders
    sealed.view_instruments = state.view_instruments
    sealed.actions = state.actions
    return sealed


def compile_seals() -> tuple[Callable[[ReplayState], Any], Callable[[Ladder], Any]]:
    """Return the functions that make the compiled form of a state and of a ladder; both forms share the arrays."""
    state: Callable[[ReplayState], Any] = njit(STATE(_STATE_TUPLE), cache=True)(_seal)
    ladder: Callable[[Ladder], Any] = njit(LADDER(_LADDER_TUPLE), cache=True)(_seal_one)
    return state, ladder
