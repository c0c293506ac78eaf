"""The linear algebra that models share."""

from skatom.solvers.cholesky import PackedCholesky

__all__ = ["PackedCholesky"]
