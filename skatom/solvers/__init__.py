"""The linear algebra that models share."""

from skatom.solvers.cholesky import PackedCholesky
from skatom.solvers.streamed_qr import StreamedQR

__all__ = ["PackedCholesky", "StreamedQR"]
