"""Kernels of the pairs and triangles of structures, and functions of them."""

from skatom.kernels.nbody.averaged import CovariantNBody, HaarNBody
from skatom.kernels.nbody.base import NBodyKernel, NBodySum
from skatom.kernels.nbody.cartesian import CartesianPairs
from skatom.kernels.nbody.haar import (
    cartesian_kernel,
    covariant_kernel,
    haar_kernel,
    many_body_kernel,
)
from skatom.kernels.nbody.many_body import ManyBody
from skatom.kernels.nbody.sums import NBody

__all__ = [
    "CartesianPairs",
    "CovariantNBody",
    "HaarNBody",
    "ManyBody",
    "NBody",
    "NBodyKernel",
    "NBodySum",
    "cartesian_kernel",
    "covariant_kernel",
    "haar_kernel",
    "many_body_kernel",
]
