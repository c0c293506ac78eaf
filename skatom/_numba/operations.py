"""The types of operations such as ``+`` and ``a[i]``, found once for each set of arguments.

numba tries its dozens of rules for an operation one after another, those for strings and lists of
Python included, each time that an operation occurs, several times while it finds the types of a
function and once more for its code. That is a fifth of all compilation.
"""

from numba.core.types import Function
from numba.core.types.functions import BaseFunction

_numbas = BaseFunction.get_call_type
_known = {}


def get_call_type(self, context, args, kws):
    """numba's method of the type of a function: the signature of a call.

    Remembered are functions whose implementation follows from the types alone. What numba compiles
    from Python (an overload) depends on settings such as fast-math and is looked up each time.
    """
    if kws or not isinstance(self, Function):
        return _numbas(self, context, args, kws)
    signature = _known.get((self, args))
    if signature is None:
        signature = _numbas(self, context, args, kws)
        if self.get_impl_key(signature) is self.typing_key:
            _known[self, args] = signature
    return signature
