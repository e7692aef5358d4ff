"""The engine's memory as compiled code takes it: one structure reference to the same arrays, and how such are made.

Owns the lowering of field access: a field of a sealed state never changes, so that it is loaded as invariant and without
counting references; the arrays are held by the Python object that was sealed. The structure is made inside a compiled
function, since its Python proxy would compile again in every process.
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

from market_maker.matching.state import MatchingState, new_state

structref: Any = _structref
cgutils: Any = _cgutils
extending: Any = _extending
imputils: Any = _imputils
struct_ref: Any = types.StructRef
new_struct: Any = structref.new
type_of: Any = typeof
_DATA_OF_MEMINFO = 3
"""Place of the pointer to the data in Numba's MemInfo, in words (see numba/core/runtime/nrt.cpp)."""


class MatchingType(types.StructRef):
    """Compiled type of `MatchingState`; its short name keeps symbols, and with them compilation, short."""

    def __init__(self, fields: list[tuple[str, Any]]) -> None:
        struct_ref.__init__(self, fields)
        self.name = "Matching"


class MatchingProxy(_structref.StructRefProxy):
    """Opaque handle of a compiled state."""


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


def define_access(struct: Any, proxy: Any) -> None:
    """Let compiled code read, and once write, the fields of a structure; register how it goes in and out."""
    structref.define_boxing(struct, proxy)
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


define_access(MatchingType, MatchingProxy)
_EXAMPLE = new_state(orders=1, owners=1, pages=1, events=1)
_matching_type: Any = MatchingType
MATCHING = _matching_type([(name, type_of(getattr(_EXAMPLE, name))) for name in MatchingState._fields])


@njit
def seal_matching(state: Any) -> Any:
    """Return the compiled form of a state; for use in compiled code."""
    sealed: Any = new_struct(MATCHING)
    sealed.head = state.head
    sealed.orders = state.orders
    sealed.details = state.details
    sealed.free_orders = state.free_orders
    sealed.id_directory = state.id_directory
    sealed.id_pages = state.id_pages
    sealed.id_keys = state.id_keys
    sealed.id_next = state.id_next
    sealed.id_counts = state.id_counts
    sealed.free_ids = state.free_ids
    sealed.owners = state.owners
    sealed.suspended = state.suspended
    sealed.expiry = state.expiry
    sealed.best = state.best
    sealed.pages = state.pages
    sealed.page_counts = state.page_counts
    sealed.page_keys = state.page_keys
    sealed.page_next = state.page_next
    sealed.directory = state.directory
    sealed.summaries = state.summaries
    sealed.words = state.words
    sealed.levels = state.levels
    sealed.free_pages = state.free_pages
    sealed.events = state.events
    sealed.inbox = state.inbox
    return sealed


def _seal(state: Any) -> Any:
    return seal_matching(state)


def compile_seal() -> Callable[[MatchingState], Any]:
    """Return the function that makes the compiled form of a state; both forms share the arrays."""
    compiled: Callable[[MatchingState], Any] = njit(MATCHING(type_of(_EXAMPLE)), cache=True)(_seal)
    return compiled
