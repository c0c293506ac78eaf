"""Kernels: similarities of feature vectors, atoms and structures."""

from skatom.kernels.base import Kernel, KernelSum, ScaledKernel
from skatom.kernels.covariances import covariance
from skatom.kernels.dot_kernel import DotKernel, Product, Profile, Scaled, Sum
from skatom.kernels.dot_product import Cosine, Polynomial
from skatom.kernels.fchl18.kernel import FCHL18
from skatom.kernels.feature_kernel import FeatureKernel
from skatom.kernels.kernel_matrix import KernelMatrix
from skatom.kernels.nbody.averaged import CovariantNBody, HaarNBody
from skatom.kernels.nbody.base import NBodySum
from skatom.kernels.nbody.cartesian import CartesianPairs
from skatom.kernels.nbody.haar import (
    cartesian_kernel,
    covariant_kernel,
    haar_kernel,
    many_body_kernel,
)
from skatom.kernels.nbody.many_body import ManyBody
from skatom.kernels.nbody.sums import NBody
from skatom.kernels.parts import AverageOverParts
from skatom.kernels.stationary import GammaExponential, Gaussian, Laplacian, Matern
from skatom.kernels.structure import StructureKernel

__all__ = [
    "AverageOverParts",
    "CartesianPairs",
    "Cosine",
    "CovariantNBody",
    "DotKernel",
    "FCHL18",
    "FeatureKernel",
    "GammaExponential",
    "Gaussian",
    "HaarNBody",
    "Kernel",
    "KernelMatrix",
    "KernelSum",
    "Laplacian",
    "ManyBody",
    "Matern",
    "NBody",
    "NBodySum",
    "Polynomial",
    "Product",
    "Profile",
    "Scaled",
    "ScaledKernel",
    "StructureKernel",
    "Sum",
    "cartesian_kernel",
    "covariance",
    "covariant_kernel",
    "haar_kernel",
    "many_body_kernel",
]
