"""Loops over two or three rows of numbers."""

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee


@callee(cache=True, fastmath=FASTMATH)
def dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@callee(cache=True, fastmath=FASTMATH)
def multiply(a, b):
    for i in range(len(a)):
        a[i] *= b[i]


@callee(cache=True, fastmath=FASTMATH)
def product(a, b, out):
    for i in range(len(out)):
        out[i] = a[i] * b[i]


@callee(cache=True, fastmath=FASTMATH)
def add(a, x, out):
    for i in range(len(out)):
        out[i] += a * x[i]
