"""Gaussian processes of plain rows: kernels for scikit-learn's, and a search for kernels."""

from skatom.gaussian_process.kernel_search import (
    Candidate,
    KernelSearch,
    bayesian_information_criterion,
)
from skatom.gaussian_process.row_kernel import RowKernel
from skatom.gaussian_process.stability import extrapolation_stability

__all__ = [
    "Candidate",
    "KernelSearch",
    "RowKernel",
    "bayesian_information_criterion",
    "extrapolation_stability",
]
