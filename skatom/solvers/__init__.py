"""The linear algebra that models share."""

from skatom.solvers.cholesky import PackedCholesky
from skatom.solvers.conjugate_gradients import NystromPreconditioner, conjugate_gradients
from skatom.solvers.greedy import GreedyPath, orthogonal_least_squares
from skatom.solvers.streamed_qr import StreamedQR

__all__ = [
    "GreedyPath",
    "NystromPreconditioner",
    "PackedCholesky",
    "StreamedQR",
    "conjugate_gradients",
    "orthogonal_least_squares",
]
