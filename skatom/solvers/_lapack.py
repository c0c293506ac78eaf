"""BLAS and LAPACK for threads.

scipy's wrappers hold the interpreter's lock while a routine runs, so that threads would wait for
each other. Called through ctypes, the same routines release it. They take pointers and sizes:
the functions below know what they make of row-major arrays, and check nothing: callers see to it
that rows are contiguous.
"""

import ctypes
from functools import cache, lru_cache

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

# Columns of a panel in LAPACK's QR, and of the triangles that BLAS divides by.
_PANEL, _TRIANGLE = 32, 64
_KINDS = {str: lambda x: ctypes.c_char(x.encode()), int: ctypes.c_int, float: ctypes.c_double}


@cache
def _routine(module, name):
    """A routine of scipy's interface for compiled code, which hands out pointers in capsules."""
    capsule = ctypes.py_object(module.__pyx_capi__[name])
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, pointer_of.restype = ctypes.c_char_p, ctypes.c_void_p
    return ctypes.CFUNCTYPE(None)(pointer_of(capsule, ctypes.c_char_p(name_of(capsule))))


def _call(module, name, *arguments):
    """Call a routine with characters, numbers and arrays."""
    _routine(module, name)(
        *[
            ctypes.c_void_p(x.__array_interface__["data"][0])
            if isinstance(x, np.ndarray)
            else _reference(type(x), x)
            for x in arguments
        ]
    )


@lru_cache(4096)
def _reference(kind, value):
    """A pointer to a character or a number, which routines only read; made once."""
    return ctypes.byref(_KINDS[kind](value))


def subtract_product(out, a, b):
    """``out -= a @ b.T`` of row-major arrays (m, n), (m, k) and (n, k)."""
    (m, n), k = out.shape, a.shape[1]
    _call(
        cython_blas, "dgemm", "T", "N", n, m, k, -1.0, b, _stride(b), a, _stride(a), 1.0, out,
        _stride(out),
    )  # fmt: skip


def subtract_square(out, a):
    """``out -= a @ a.T`` on and below the diagonal, of row-major arrays (n, n) and (n, k)."""
    n, k = a.shape
    _call(cython_blas, "dsyrk", "U", "T", n, k, -1.0, a, _stride(a), 1.0, out, _stride(out))


def cholesky_in_place(matrix):
    """The lower triangle of a row-major matrix becomes its Cholesky factor.

    Returns
    -------
    int
        0, or the number, from 1 on, of the first row whose pivot is not positive.
    """
    n = len(matrix)
    half = _half(n)
    if half == n:
        info = np.zeros(1, np.intc)
        _call(cython_lapack, "dpotrf", "U", n, matrix, _stride(matrix), info)
        return int(info[0])
    first, below, last = matrix[:half, :half], matrix[half:, :half], matrix[half:, half:]
    failed = cholesky_in_place(first)
    if failed:
        return failed
    divide_by_transpose(below, first)
    subtract_square(last, below)
    failed = cholesky_in_place(last)
    return failed and half + failed


def divide_by_transpose(out, factor):
    """``out @ inv(factor).T`` in place, of row-major arrays (m, n) and (n, n), lower triangular.

    BLAS's own routine has a third of the speed of products; here it divides by small triangles.
    """
    m, n = out.shape
    half = _half(n)
    if half == n:
        _call(
            cython_blas, "dtrsm", "L", "U", "T", "N", n, m, 1.0, factor, _stride(factor), out,
            _stride(out),
        )  # fmt: skip
        return
    divide_by_transpose(out[:, :half], factor[:half, :half])
    subtract_product(out[:, half:], out[:, :half], factor[half:, :half])
    divide_by_transpose(out[:, half:], factor[half:, half:])


def _half(n):
    """Columns of the first part of a triangle of n, a multiple of `_TRIANGLE`, or n itself."""
    return n if n <= _TRIANGLE else _TRIANGLE * -(-n // (2 * _TRIANGLE))


def _stride(array):
    """Numbers from one row of a row-major array to the next."""
    return array.strides[0] // array.itemsize


def append_rows(factor, block, panel, height):
    """R of a triangle with a block of rows below it, in place; both column-major.

    Parameters
    ----------
    factor : ndarray, shape (n, n)
        The upper triangle; what is below is not touched.
    block : ndarray, shape (m, n)
        The rows; Householder's vectors on return.
    panel : int
        Columns that are reduced at once.
    height : int
        The last ``height`` rows of the block are an upper trapezoid, 0 if it is full.
    """
    m, n = block.shape
    info, work, t = np.zeros(1, np.intc), np.empty(panel * n), np.empty(panel * n)
    _call(cython_lapack, "dtpqrt", m, n, height, panel, factor, n, block, m, t, panel, work, info)


def triangle_in_place(matrix):
    """R of a column-major square matrix, on and above its diagonal."""
    n = len(matrix)
    info, size, tau = np.zeros(1, np.intc), _PANEL * n, np.empty(n)
    _call(cython_lapack, "dgeqrf", n, n, matrix, n, tau, np.empty(size), size, info)
