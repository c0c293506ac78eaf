"""The exponential of whole arrays, several at a time.

A call of the library's function for each element keeps the compiler from using vector
instructions; plain arithmetic does not.
"""

from math import factorial, log

import numpy as np
from numba import njit

_SMALLEST = -700.0
_PER_OCTAVE = 1 / log(2.0)
# ln 2 in two parts, the first with zeros at its end: its multiples up to 2^20 are exact
_LN2_HIGH = float.fromhex("0x1.62e42feep-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12 = (
    1 / factorial(n) for n in range(2, 13)
)  # fmt: skip


@njit(cache=True, fastmath={"contract"})
def exponentials(x, bits, powers):
    """x[k] = exp(x[k]) for x below 700, to the last digits; exp(-700) for all that is smaller.

    ``bits`` and ``powers`` are scratch as long as x: one memory seen as int64 and float64.
    """
    for k in range(len(x)):
        clipped = _SMALLEST if x[k] < _SMALLEST else x[k]  # which keeps NaN
        n = np.floor(clipped * _PER_OCTAVE + 0.5)
        f = (clipped - n * _LN2_HIGH) - n * _LN2_LOW
        # exp(f) for |f| < ½ ln 2, and the exponent field of 2^n
        high = _C7 + f * (_C8 + f * (_C9 + f * (_C10 + f * (_C11 + f * _C12))))
        low = 1 + f * (1 + f * (_C2 + f * (_C3 + f * (_C4 + f * (_C5 + f * (_C6 + f * high))))))
        x[k] = low
        bits[k] = (np.int64(n) + 1023) << 52
    for k in range(len(x)):
        x[k] *= powers[k]
