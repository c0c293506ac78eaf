"""Products of matrices in compiled loops, by the BLAS that numba calls for ``numpy.dot``.

numba compiles each ``numpy.dot`` with checks of its arguments and an array for the result: some
0.2 s, and again in each function into which it is inlined. This is the call alone.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.linalg import ensure_blas


@intrinsic
def add_product(typing_context, m, n, k, a, b, transposed, factor, out, stride):
    """out = factor · out + a b, or with bᵀ; in compiled functions only.

    Parameters
    ----------
    m, n, k : int
        The product is (m, k) times (k, n).
    a : ndarray of float
        An array that begins with the m k elements, row after row.
    b : ndarray of float
        The same with the k n elements, of (k, n) or ``transposed`` of (n, k).
    transposed : bool
    factor : float
        0: what was in ``out`` does not matter.
    out : ndarray of float
        An array that begins with the first row.
    stride : int
        Elements from one row of ``out`` to the next.
    """
    ensure_blas()
    if not all(array.layout == "C" and array.dtype == types.float64 for array in (a, b, out)):
        raise TypingError(f"{a}, {b}, {out}: add_product takes contiguous arrays of float64")
    integers = [types.intp] * 3
    signature = types.void(*integers, a, b, types.boolean, types.float64, out, types.intp)
    return signature, _call


def _call(context, builder, signature, arguments):
    m, n, k, a, b, transposed, factor, out, stride = arguments
    char, word, void_p = ir.IntType(8), m.type, cgutils.voidptr_t
    function = ir.FunctionType(
        ir.IntType(32),
        [char, char, char, word, word, word, void_p, void_p, word, void_p, word, void_p, void_p,
         word],
    )  # fmt: skip
    dgemm = cgutils.get_or_insert_function(builder.module, function, "numba_xxgemm")

    def data(place, array):
        kind = signature.args[place]
        pointer = context.make_array(kind)(context, builder, array).data
        return builder.bitcast(pointer, void_p)

    def number(value):
        return builder.bitcast(cgutils.alloca_once_value(builder, value), void_p)

    def at_least_one(value):
        one = word(1)
        return builder.select(builder.icmp_signed(">", value, one), value, one)

    # BLAS counts along columns: outᵀ = bᵀ aᵀ
    letter = builder.select(transposed, char(ord("t")), char(ord("n")))
    width = at_least_one(builder.select(transposed, k, n))
    builder.call(dgemm, [
        char(ord("d")), letter, char(ord("n")), n, m, k, number(factor.type(1.0)),
        data(4, b), width, data(3, a), at_least_one(k), number(factor), data(7, out),
        at_least_one(stride),
    ])  # fmt: skip
    return context.get_dummy_value()


def interpreted_product(m, n, k, a, b, transposed, factor, out, stride):
    """`add_product` in Python, for ``NUMBA_DISABLE_JIT``."""
    left = np.reshape(a, -1)[: m * k].reshape(m, k)
    right = np.reshape(b, -1)[: k * n].reshape((n, k) if transposed else (k, n))
    strides = stride * out.itemsize, out.itemsize
    rows = np.lib.stride_tricks.as_strided(out, (m, n), strides)
    rows[...] = left @ (right.T if transposed else right) + (factor * rows if factor else 0.0)
