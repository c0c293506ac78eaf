"""What numba finds out again for each function, and asks once while functions of skatom compile."""

from weakref import WeakKeyDictionary

from numba.core import event
from numba.core.base import BaseContext as TargetContext
from numba.core.typing.context import BaseContext as TypingContext

_refresh, _refresh_types = TargetContext.refresh, TypingContext.refresh
_get_abi_sizeof = TargetContext.get_abi_sizeof
_start, _end = event.start_event, event.end_event
_known = WeakKeyDictionary()
_sizes = WeakKeyDictionary()


def refresh(self):
    """Take in declarations that are new to a context of code, if there are any.

    numba looks through all of its registries before each function and for each helper.
    """
    _if_new(self, _refresh)


def refresh_types(self):
    """The same for a context of types."""
    _if_new(self, _refresh_types)


def _if_new(context, take_in):
    if _known.get(context) != _n_declarations(context):
        take_in(context)
        _known[context] = _n_declarations(context)


def _n_declarations(context):
    """How many declarations there are in the registries of a context, and of its types."""
    types = getattr(context, "typing_context", None)
    return (0 if types is None else _n_declarations(types)) + sum(
        len(getattr(registry, name))
        for registry, loader in context._registries.items()
        for name in loader.registry_items
    )


def get_abi_sizeof(self, ty):
    """Bytes of a type; numba writes, and LLVM reads, a module for each question."""
    key = str(ty)
    if "%" in key:  # names another type, which is described elsewhere
        return _get_abi_sizeof(self, ty)
    sizes = _sizes.setdefault(self, {})
    if key not in sizes:
        sizes[key] = _get_abi_sizeof(self, ty)
    return sizes[key]


def start_event(kind, data=None):
    """numba's announcement of an event, but not of each call of LLVM: there are thousands."""
    if kind != "numba:llvm_lock":
        _start(kind, data)


def end_event(kind, data=None, exc_details=None):
    """The announcement of its end."""
    if kind != "numba:llvm_lock":
        _end(kind, data, exc_details)


REPLACED = (
    (TargetContext, "refresh", refresh),
    (TargetContext, "get_abi_sizeof", get_abi_sizeof),
    (TypingContext, "refresh", refresh_types),
    (event, "start_event", start_event),
    (event, "end_event", end_event),
)
