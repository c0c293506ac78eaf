"""Linear algebra that models share."""

from skatom.solvers.base import LeastSquaresSystem, MatrixSystem
from skatom.solvers.cholesky import PackedCholesky
from skatom.solvers.conjugate_gradients import conjugate_gradients
from skatom.solvers.dense_cholesky import factor_in_place
from skatom.solvers.greedy import orthogonal_least_squares
from skatom.solvers.greedy_path import GreedyPath
from skatom.solvers.normal_equations import EquationsInPlace, NormalEquations
from skatom.solvers.nystrom import NystromPreconditioner
from skatom.solvers.streamed_qr import StreamedQR

__all__ = [
    "EquationsInPlace",
    "GreedyPath",
    "LeastSquaresSystem",
    "MatrixSystem",
    "NormalEquations",
    "NystromPreconditioner",
    "PackedCholesky",
    "StreamedQR",
    "conjugate_gradients",
    "factor_in_place",
    "orthogonal_least_squares",
]
