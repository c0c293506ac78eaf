"""The types of operations such as ``+`` and ``a[i]``, found once for each set of arguments.

numba tries its dozens of rules for an operation one after another, those for strings and lists of
Python included, each time that an operation occurs and several times in each function. That is a
sixth of all compilation.
"""

from functools import cache

from numba.core.types import Function
from numba.core.typing.context import Context


class RememberedOperations(Context):
    """numba's typing context, whose state it shares, with the operations that it has typed.

    Remembered are functions whose implementation follows from the types alone. What numba compiles
    from Python (an overload) depends on settings such as fast-math and is looked up each time.

    Parameters
    ----------
    context : numba.core.typing.context.Context
        The context of numba.
    """

    __slots__ = ("_known", "_numba")

    def __init__(self, context):
        self.__dict__ = context.__dict__
        self._numba = context
        self._known = {}

    def __eq__(self, other):
        return other is self or other is self._numba

    def __hash__(self):
        # numba keeps what it has compiled by the context: both share it
        return hash(self._numba)

    def resolve_function_type(self, func, args, kws):
        """The signature of a call, or None."""
        if kws or isinstance(func, str):
            return super().resolve_function_type(func, args, kws)
        rules = func if isinstance(func, Function) else self._lookup_global(func)
        if not isinstance(rules, Function):
            return super().resolve_function_type(func, args, kws)
        signature = self._known.get((rules, args))
        if signature is None:
            signature = super().resolve_function_type(rules, args, kws)
            if signature is not None and rules.get_impl_key(signature) is rules.typing_key:
                self._known[rules, args] = signature
        return signature


@cache
def remembering(context):
    """The context that shares its state with one of numba and remembers operations."""
    return RememberedOperations(context)
