"""Gaussian processes of plain rows, beside scikit-learn's."""

from skatom.gaussian_process.row_kernel import RowKernel

__all__ = ["RowKernel"]
