"""Conjugate gradients with a preconditioner."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf, log
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skatom._device import is_tensor, namespace
from skatom._progress import tqdm
from skatom._typing import Array
from skatom._warnings import warn
from skatom.parallel import serial_blas
from skatom.solvers.base import check_system, solver

# Iterations from whose residuals the rest is estimated.
_RECENT = 50


def _memory(size):
    """Bytes of the working vectors of ``size`` numbers."""
    return 8.0 * 6 * size


@solver(needs=["product"], memory=_memory)
def conjugate_gradients(
    system: Any,
    b: Array,
    preconditioner: Callable,
    tol: float,
    max_iter: int,
    verbose: int = 0,
    start: Array | None = None,
    watch: Callable | None = None,
) -> tuple:
    """Solve A x = b for a symmetric positive definite A that is known by its products only.

    A KeyboardInterrupt ends the iteration with a warning; the current solution is returned.

    Parameters
    ----------
    system : object with the method ``product``
        ``product(v)`` is A v.
    b : ndarray or Tensor of float, shape (n,)
        The right-hand side.
    preconditioner : callable
        Function that multiplies a vector by an approximate inverse of A.
    tol : float
        Iteration ends when the norm of the residual is below ``tol`` times the norm of b.
    max_iter : int
        Largest number of iterations.
    verbose : int, default=0
        1 shows a progress bar, with the relative residual and an estimate of the iterations left.
    start : ndarray or Tensor of float, shape (n,), default=None
        An approximate solution to begin with. None: zero.
    watch : callable, default=None
        Called after each iteration as ``watch(x, n_iter, residual)``, with the relative residual;
        the iteration ends, without a warning, if it returns True.

    Returns
    -------
    x : ndarray or Tensor of float, shape (n,)
        The solution.
    n_iter : int
        Number of iterations.

    Raises
    ------
    TypeError
        If the system does not give products.
    ValueError
        If b or a product has another shape or a number that is not finite.

    Warns
    -----
    ConvergenceWarning
        If the tolerance was not reached.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.solvers import MatrixSystem, NystromPreconditioner, conjugate_gradients
    >>> system = MatrixSystem([[4.0, 2.0], [2.0, 3.0]])
    >>> preconditioner = NystromPreconditioner.of(system, np.array([0]))
    >>> x, n_iter = conjugate_gradients(system, [8.0, 7.0], preconditioner, 1e-10, max_iter=10)
    >>> x.round(6), n_iter
    (array([1.25, 1.5 ]), 2)
    """
    check_system(conjugate_gradients, system)
    b = _checked(b, (len(b),), "the right-hand side")
    x = 0.0 * b if start is None else 1.0 * _checked(start, b.shape, "the start")
    n_iter, finished, stopped = 0, False, False
    with tqdm(total=max_iter, desc="conjugate gradients", disable=not verbose) as bar:
        estimate = _Estimate(tol)
        try:
            with serial_blas():  # threads would round in another way
                steps = _residuals(system, b, preconditioner, x, start is not None)
                for n_iter, residual in enumerate(steps):  # noqa: B007
                    bar.set_postfix(estimate.step(residual), refresh=False)
                    bar.update(n_iter > 0)
                    finished = residual <= tol
                    stopped = n_iter and watch is not None and watch(x, n_iter, residual)
                    if finished or stopped or n_iter == max_iter:
                        break
        except KeyboardInterrupt:
            pass
    if not (finished or stopped):
        warn(
            f"conjugate gradients stopped after {n_iter} iterations, before the relative "
            f"residual fell to {tol:g}: raise alpha, n_inducing or max_iter",
            ConvergenceWarning,
        )
    return x, n_iter


def _residuals(system, b, preconditioner, x, started):
    """Improve x in place; yields the relative residual of the start, then that after each step.

    It ends where the matrix is no longer positive definite for the accuracy of its products.
    """

    def product(v):
        return _checked(system.product(v), b.shape, "a product of the matrix")

    r = b - product(x) if started else 1.0 * b
    size = _norm(b) or 1.0
    yield _norm(r) / size
    z = preconditioner(r)
    p, rz = 1.0 * z, float(r @ z)
    while True:
        q = product(p)
        curvature = float(p @ q)
        if not curvature > 0:
            return
        step = rz / curvature
        x += step * p
        r -= step * q
        yield _norm(r) / size
        z = preconditioner(r)
        rz, before = float(r @ z), rz
        p *= rz / before
        p += z


def _norm(v):
    return float((v @ v) ** 0.5)


class _Estimate:
    """What a progress bar says of the residual, and of the iterations that are left."""

    def __init__(self, tol):
        self._tol = tol
        self._recent = deque(maxlen=_RECENT)

    def step(self, residual):
        self._recent.append(residual)
        first, n_steps, left = self._recent[0], len(self._recent) - 1, inf
        if 0 < residual < first:
            left = n_steps * log(max(residual / self._tol, 1.0)) / log(first / residual)
        told = f"{left:.0f}" if left < inf else "?"
        return {"residual": f"{residual:.1e}", "left": told}


def _checked(vector, shape, what):
    if not is_tensor(vector):
        vector = np.asarray(vector, float)
    if vector.shape != shape:
        raise ValueError(f"{what} has shape {tuple(vector.shape)}: give numbers of shape {shape}")
    if not namespace(vector).isfinite(vector).all():
        raise ValueError(f"{what} has numbers that are not finite: look for them in the input")
    return vector
