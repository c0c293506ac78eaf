"""Linear algebra that models share."""

from skatom.solvers.base import LeastSquaresSystem, MatrixSystem
from skatom.solvers.cholesky import PackedCholesky
from skatom.solvers.conjugate_gradients import conjugate_gradients
from skatom.solvers.greedy import orthogonal_least_squares
from skatom.solvers.greedy_path import GreedyPath
from skatom.solvers.normal_equations import NormalEquations
from skatom.solvers.nystrom import NystromPreconditioner
from skatom.solvers.streamed_qr import StreamedQR

__all__ = [
    "GreedyPath",
    "LeastSquaresSystem",
    "MatrixSystem",
    "NormalEquations",
    "NystromPreconditioner",
    "PackedCholesky",
    "StreamedQR",
    "conjugate_gradients",
    "orthogonal_least_squares",
]
