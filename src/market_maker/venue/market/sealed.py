"""Any named tuple of arrays as compiled code takes it: one structure reference to the same arrays.

Owns the making of such a structure from the fields of a tuple, whatever they are; how its fields are read is the matching
engine's. The structure is made inside a compiled function, since its Python proxy would compile again in every process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit, typeof, types
from numba.core import cgutils as _cgutils
from numba.experimental import structref as _structref
from numba.experimental.jitclass import base as _jitclass
from numba.extending import intrinsic

from market_maker.matching.sealed import define_access
from market_maker.synthetic.flow.state import FlowState, new_state

cgutils: Any = _cgutils
jitclass: Any = _jitclass
struct_ref: Any = types.StructRef
type_of: Any = typeof


class FlowType(types.StructRef):
    """Compiled type of `FlowState`; its short name keeps symbols, and with them compilation, short."""

    def __init__(self, fields: list[tuple[str, Any]]) -> None:
        struct_ref.__init__(self, fields)
        self.name = "Flow"


class FlowProxy(_structref.StructRefProxy):
    """Opaque handle of a compiled state."""


@intrinsic
def filled(typing_context: Any, kind: Any, values: Any) -> Any:  # noqa: ARG001  (what Numba calls it with)
    """Return a new structure of type `kind` whose fields are those of a named tuple; for use in compiled code."""
    struct = kind.instance_type
    names = values.fields

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        fields = struct.get_data_type()
        allocated = context.data_model_manager[fields].get_value_type()
        size = context.get_constant(types.uintp, context.get_abi_sizeof(allocated))
        destructor = jitclass.imp_dtor(context, builder.module, struct)
        meminfo = context.nrt.meminfo_alloc_dtor(builder, size, destructor)
        data = builder.bitcast(context.nrt.meminfo_data(builder, meminfo), allocated.as_pointer())
        builder.store(cgutils.get_null_value(allocated), data)
        room = cgutils.create_struct_proxy(fields)(context, builder, ref=data)
        given = signature.args[1]
        for name, value, of in zip(names, cgutils.unpack_tuple(builder, arguments[1]), given.types, strict=True):
            converted = context.cast(builder, value, of, struct.field_dict[name])
            context.nrt.incref(builder, struct.field_dict[name], converted)
            setattr(room, name, converted)
        made = context.make_helper(builder, struct)
        made.meminfo = meminfo
        return made._getvalue()  # noqa: SLF001

    return struct(kind, values), generate


define_access(FlowType, FlowProxy)
_EXAMPLE = new_state(levels=2, metaorders=1, pool=1, factors=1)
_flow_type: Any = FlowType
FLOW = _flow_type([(name, type_of(getattr(_EXAMPLE, name))) for name in FlowState._fields])


made_of: Any = filled


def _seal(state: Any) -> Any:
    return made_of(FLOW, state)


def compile_seal() -> Callable[[FlowState], Any]:
    """Return the function that makes the compiled form of a flow; both forms share the arrays."""
    compiled: Callable[[FlowState], Any] = njit(FLOW(type_of(_EXAMPLE)), cache=True)(_seal)
    return compiled
