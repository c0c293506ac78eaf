"""The rows of a least-squares problem, summed in jobs, in other processes or on a Dask cluster."""

from functools import partial

import numpy as np

from skatom.models.linear.rows import WeightedRows
from skatom.parallel import reduce_jobs, split_sizes, tree_reduce, works_elsewhere
from skatom.solvers import NormalEquations, StreamedQR

# A problem is cut into this many parts at most, none of fewer rows than the smallest.
_PARTS, _FEWEST_ROWS = 64, 2048
# Parts of a group, whose sums are merged where they were made.
_GROUP = 8


def rows_in_jobs(rows):
    """The rows as `RowsInJobs` if there are jobs elsewhere and two parts or more, else unchanged.

    Parameters
    ----------
    rows : WeightedRows

    Returns
    -------
    RowsInJobs or WeightedRows
    """
    parts = _parts(rows) if works_elsewhere() else []
    return RowsInJobs(rows, parts) if len(parts) > 1 else rows


class RowsInJobs:
    """Rows of which jobs make normal equations and triangles, a part of the samples each.

    Parameters
    ----------
    rows : WeightedRows
    parts : list of slice
        Slices of samples that have weight.
    """

    def __init__(self, rows, parts):
        self._rows = rows
        self._parts = parts

    def equations(self, with_constants=False):
        """The normal equations of all columns.

        Parameters
        ----------
        with_constants : bool, default=False
            Whether the columns of an intercept stand at the right, see `WeightedRows.all_blocks`.

        Returns
        -------
        NormalEquations
        """
        return tree_reduce(self._reduced(partial(_equations, with_constants)))

    def blocks(self, columns):
        """Yield blocks ``(A, b)`` of a triangle each, which have the products of the rows."""
        if isinstance(columns, slice):
            yield from self._rows.blocks(columns)
            return
        for qr in self._reduced(partial(_triangle, columns)):
            rest = np.sqrt(qr.residuals)
            yield (
                np.vstack([qr.triangle, np.zeros(len(columns))]),
                np.append(qr.projections[:, 0], rest),
            )

    def _reduced(self, function):
        parts = (_part(self._rows, samples) for samples in self._parts)
        return reduce_jobs(function, parts, _GROUP)


def _equations(with_constants, rows):
    return NormalEquations.of(rows.all_blocks() if with_constants else rows.blocks(slice(None)))


def _triangle(columns, rows):
    return StreamedQR(len(columns)).take(rows, columns)


def _part(rows, samples):
    problem = rows.problem.part(samples)
    return WeightedRows(problem, rows.sample_weight[samples], rows.constants)


def _parts(rows):
    """Slices of samples with about as many rows each, for any number of workers."""
    n_rows = rows.problem.rows_of_samples(rows.sample_weight)
    size = max(_FEWEST_ROWS, -(-int(n_rows.sum()) // _PARTS))
    return [part for part in split_sizes(n_rows, size) if n_rows[part].any()]
