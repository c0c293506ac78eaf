"""Kernels: similarities of feature vectors, atoms and structures."""

from skatom.kernels.base import Kernel, Product, Profile, Scaled, Sum
from skatom.kernels.blocks import covariance
from skatom.kernels.dot_product import Cosine, Polynomial
from skatom.kernels.fchl18.kernel import FCHL18
from skatom.kernels.nbody.haar import (
    cartesian_kernel,
    covariant_kernel,
    haar_kernel,
    many_body_kernel,
)
from skatom.kernels.nbody.many_body import ManyBody
from skatom.kernels.nbody.sums import NBody, NBodySum
from skatom.kernels.stationary import Gaussian, Laplacian, Matern
from skatom.kernels.structure import StructureKernel

__all__ = [
    "Cosine",
    "FCHL18",
    "Gaussian",
    "Kernel",
    "Laplacian",
    "ManyBody",
    "Matern",
    "NBody",
    "NBodySum",
    "Polynomial",
    "Product",
    "Profile",
    "Scaled",
    "StructureKernel",
    "Sum",
    "cartesian_kernel",
    "covariance",
    "covariant_kernel",
    "haar_kernel",
    "many_body_kernel",
]
