"""A symmetric matrix in block columns, whose principal submatrices are systems."""

import numpy as np

from skatom._device import beside, is_tensor, resolve
from skatom.memory import check_memory
from skatom.solvers.cholesky import PackedCholesky

_WIDTH = 512
# A matrix is stored if it takes less work than those of the parts, by this factor.
_WORTHWHILE = 1.2


class StoredMatrix:
    """The lower triangle of a symmetric matrix, from which those of submatrices are copied.

    Parameters
    ----------
    system : object with the method ``fill``
        See `solver`.
    edges : array-like of int, shape (n_blocks + 1,)
        Where block columns begin, as in `PackedCholesky`.
    device : {"cpu", "cuda", "auto", "torch"}, default="cpu"
    """

    def __init__(self, system, edges, device="cpu"):
        self.edges, self._columns = np.asarray(edges, np.int64), []
        place, size = resolve(device), int(self.edges[-1])
        for start, stop in zip(self.edges[:-1].tolist(), self.edges[1:].tolist(), strict=True):
            shape = size - start, stop - start
            column = np.empty(shape) if place is None else place.empty(*shape)
            column[: stop - start] = 0.0
            system.fill(start, stop, column)
            self._columns.append(column)

    def copy(self, rows, start, stop, out):
        """The block column ``A[rows][:, rows][start:, start:stop]`` into ``out``.

        Parameters
        ----------
        rows : ndarray of int, sorted
            The rows and columns of the submatrix.
        start, stop : int
        out : ndarray or tensor
            What is above the diagonal of the submatrix is not written.
        """
        first, last = np.searchsorted(self.edges, rows[[start, stop - 1]], side="right")
        for block in range(first - 1, last):
            edge = self.edges[block]
            ends = np.searchsorted(rows, self.edges[block : block + 2])
            a, b = (int(end) for end in np.clip(ends, start, stop))
            # rows before a are above the diagonal
            found = _taken(self._columns[block], rows[a:] - edge, 0)
            out[a - start :, a - start : b - start] = _taken(found, rows[a:b] - edge, 1)


def is_worth_storing(n_models, sizes, size):
    """Whether one matrix of ``size`` structures saves work.

    Parameters
    ----------
    n_models : int
        Number of fits to each part.
    sizes : list of int
        Number of structures of each part.
    size : int
        Number of structures of all parts together.
    """
    return n_models * np.sum(np.square(sizes, dtype=float)) >= _WORTHWHILE * size**2


def fits_beside_factor(n_rows, n_rows_of_factor, max_memory, device):
    """Whether a stored matrix and the factor of a part fit in memory together.

    Parameters
    ----------
    n_rows, n_rows_of_factor : int
    max_memory : float or None
        In GiB.
    device : device or None
        What `skatom._device.resolve` gives; None is the CPU.
    """
    check = check_memory if device is None else device.check_memory
    n_bytes = sum(PackedCholesky.memory(n, _WIDTH) for n in (n_rows, n_rows_of_factor))
    try:
        check(n_bytes, "the matrix of all structures", "give fewer structures", max_memory)
    except MemoryError:
        return False
    return True


def _taken(array, index, axis):
    """``array`` at sorted indices along an axis, a view if they follow each other."""
    if len(index) and index[-1] - index[0] == len(index) - 1:
        some = slice(int(index[0]), int(index[-1]) + 1)
        return array[some] if axis == 0 else array[:, some]
    if is_tensor(array):
        return array.index_select(axis, beside(index, array))
    return np.take(array, index, axis=axis)
