"""What solvers need from a system, and how much memory they take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skatom._typing import ArrayLike

# The ways in which a solver may access a system, each a method of the system.
WAYS = {
    "fill": ("fill(start, stop, out)", "block columns of its matrix"),
    "product": ("product(v)", "products of its matrix with vectors"),
    "columns": ("columns(index)", "some columns of its matrix"),
    "blocks": ("blocks(columns)", "its rows in blocks"),
}
# Every class and function that is declared a solver.
SOLVERS = []


def solver(needs, memory):
    r"""Declare a class or a function to be a solver: a decorator.

    A *system* is any object that represents :math:`A x = b` or :math:`\min_x |A x - b|^2` by one or
    more of these methods:

    ==========================  ==================================================================
    ``fill(start, stop, out)``  writes ``A[start:, start:stop]`` into ``out``; of a symmetric A
    ``product(v)``              :math:`A v`
    ``columns(index)``          ``A[:, index]``, a new array
    ``blocks(columns)``         yields ``(A[rows][:, columns], b[rows])`` for blocks of rows, anew
                                at each call; ``columns`` is an index array, or ``slice(None)``
    ==========================  ==================================================================

    A *solver* declares by this decorator which methods it needs and how much memory it takes. It
    checks the methods by `check_system`, before any work; a model checks the memory before it
    allocates, ``check_memory(PackedCholesky.memory(n, width), …)``. A solver does not know atoms.
    It raises an error for input that is not finite or has the wrong shape, and where it finds no
    solution.

    Parameters
    ----------
    needs : sequence of str
        Names of the methods of the system that the solver calls.
    memory : callable
        Function of the sizes of the problem that gives the peak memory of the solver in bytes,
        without what the system allocates.

    Returns
    -------
    callable
        The decorator. It sets the attributes ``needs`` and ``memory``.

    Examples
    --------
    >>> from skatom.solvers import PackedCholesky
    >>> PackedCholesky.needs
    ('fill',)
    >>> f"{PackedCholesky.memory(30_000, width=500) / 2**30:.1f} GiB"
    '3.4 GiB'
    """

    def declare(target):
        target.needs = tuple(needs)
        target.memory = staticmethod(memory) if isinstance(target, type) else memory
        SOLVERS.append(target)
        return target

    return declare


def check_system(target, system):
    """Raise TypeError if a system lacks what a solver needs of it.

    Parameters
    ----------
    target : class or function declared by `solver`
        The solver.
    system : object
        The system that it is given.
    """
    for need in target.needs:
        if not callable(getattr(system, need, None)):
            signature, what = WAYS[need]
            raise TypeError(
                f"{target.__name__} needs {what}, which {type(system).__name__} does not give: "
                f"write its method {signature}, or use another solver"
            )


class MatrixSystem:
    """A symmetric matrix in memory, as a system.

    Parameters
    ----------
    matrix : array-like of float, shape (n, n)
        The matrix A.

    Examples
    --------
    >>> from skatom.solvers import MatrixSystem, PackedCholesky
    >>> solver = PackedCholesky([0, 1, 2])
    >>> solver.factor(MatrixSystem([[4.0, 2.0], [2.0, 3.0]]))
    >>> solver.solve([8.0, 7.0])
    array([1.25, 1.5 ])
    """

    def __init__(self, matrix: ArrayLike) -> None:
        self.matrix = np.asarray(matrix, float)
        if self.matrix.ndim != 2 or self.matrix.shape[0] != self.matrix.shape[1]:
            raise ValueError(f"the matrix has shape {self.matrix.shape}: give a square one")

    def fill(self, start: int, stop: int, out: Any) -> None:
        """A[start:, start:stop] into ``out``."""
        out[:] = self.matrix[start:, start:stop]

    def product(self, v: Any) -> Any:
        """A v."""
        return self.matrix @ v

    def columns(self, index: Any) -> Any:
        """A[:, index]."""
        return self.matrix[:, index]


class LeastSquaresSystem:
    """A matrix and its targets in memory, as a least-squares system.

    Parameters
    ----------
    matrix : array-like of float, shape (n, m)
        The matrix A.
    targets : array-like of float, shape (n,)
        The targets b.

    Examples
    --------
    >>> from skatom.solvers import LeastSquaresSystem, StreamedQR
    >>> system = LeastSquaresSystem([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [1.0, 3.0, 5.0])
    >>> StreamedQR(n_columns=2).take(system).solve().round(6)
    array([1., 2.])
    """

    def __init__(self, matrix: ArrayLike, targets: ArrayLike) -> None:
        self.matrix, self.targets = np.asarray(matrix, float), np.asarray(targets, float)
        if self.matrix.ndim != 2 or len(self.matrix) != len(self.targets):
            raise ValueError(
                f"the matrix has shape {self.matrix.shape} and the targets {self.targets.shape}: "
                "give a row for each target"
            )

    def blocks(self, columns: Any = slice(None)) -> Iterator:
        """All rows in one block."""
        yield self.matrix[:, columns], self.targets
