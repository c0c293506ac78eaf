"""Parts of numba's passes that do the same in less time, while functions of skatom compile."""

from builtins import type as type_of
from contextlib import contextmanager
from types import BuiltinFunctionType, NoneType

from numba.core import ir, types
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NopythonRewrites
from numba.core.types.functions import BaseFunction

from skatom._numba.operations import get_call_type
from skatom._numba.remembered import REPLACED

_numbas = ir.Inst._rec_list_vars
_WITHOUT_VARIABLES = frozenset({ir.Loc, str, int, bool, float, NoneType, BuiltinFunctionType})


@contextmanager
def quick_passes():
    """A context in which numba has these parts; for the thread that holds its compiler lock."""
    parts = (
        (BaseFunction, "get_call_type", get_call_type),
        (ir.Inst, "_rec_list_vars", list_variables),
        *REPLACED,
    )
    before = [getattr(owner, name) for owner, name, _ in parts]
    for owner, name, part in parts:
        setattr(owner, name, part)
    try:
        yield
    finally:
        for (owner, name, _), part in zip(parts, before, strict=True):
            setattr(owner, name, part)


def list_variables(self, value):
    """The variables within a part of an instruction; each pass asks several times."""
    kind = type_of(value)
    if kind is ir.Var:
        return [value]
    if kind is dict:
        value = value.values()
    elif kind is not list and kind is not tuple:
        return [] if kind in _WITHOUT_VARIABLES else _numbas(self, value)
    found = []
    for part in value:
        kind = type_of(part)
        if kind is ir.Var:
            found.append(part)
        elif kind not in _WITHOUT_VARIABLES:
            found += self._rec_list_vars(part)
    return found


@register_pass(mutates_CFG=True, analysis_only=False)
class ArrayRewrites(NopythonRewrites):
    """numba's rewrites after type inference, which are of expressions of arrays, if there are any.

    They find out what lives when before and after.
    """

    _name = "skatom_array_rewrites"

    def run_pass(self, state):
        """Rewrite the expressions; whether anything may have changed."""
        return _makes_arrays(state) and super().run_pass(state)


def _makes_arrays(state):
    """Whether any operation or call gives an array."""
    for block in state.func_ir.blocks.values():
        for assignment in block.find_insts(ir.Assign):
            value = assignment.value
            if (
                isinstance(value, ir.Expr)
                and value.op in ("binop", "inplace_binop", "unary", "call")
                and isinstance(state.typemap[assignment.target.name], types.Array)
            ):
                return True
    return False
