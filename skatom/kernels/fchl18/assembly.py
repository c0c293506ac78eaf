"""Matrices of the kernel FCHL18, filled batch by batch."""

import numpy as np

from skatom._progress import tqdm
from skatom.kernels.fchl18.blocks import charge_block, field_block, kernel_block
from skatom.kernels.fchl18.comparisons import COMPARISONS
from skatom.memory import check_memory
from skatom.parallel import threads_over_blas


class Assembly:
    """The kernel between all batches of two sets of environments, in threads.

    Parameters
    ----------
    X, Y : FCHL18Environments
        Of the rows and of the columns, with the same parameters.
    kernel : FCHL18
        ``sigma``, ``scope`` and ``verbose``.
    """

    def __init__(self, X, Y, kernel):
        self.X, self.Y, self.kernel = X, Y, kernel

    def of_structures(self, row_kind, column_kind, what="the covariance matrix"):
        """The kernel of structures, or its derivatives along positions or strains."""
        X, Y = self.X, self.Y
        out = _empty(X.n_rows(row_kind), Y.n_rows(column_kind), what)
        comparison = self._comparison((X, row_kind), (Y, column_kind))
        symmetric = X is Y and row_kind == column_kind

        def fill(rows, columns):
            places = rows.places(row_kind), columns.places(column_kind)
            block = comparison.block(rows, columns, row_kind, column_kind)
            out[np.ix_(*places)] = block
            if symmetric:
                out[np.ix_(*places[::-1])] = block.T

        self._run(fill, symmetric)
        return out

    def diagonal(self):
        """The kernel of each structure of X with itself."""
        out = np.empty(len(self.X))
        comparison = self._comparison((self.X, "energy"))

        def fill(batch):
            block = comparison.block(batch, batch, "energy", "energy")
            out[batch.structures] = block.diagonal()

        with threads_over_blas() as pool:
            list(pool.map(fill, self.X.batches))
        return out

    def of_atoms(self):
        """The sums of the kernel over the atoms of structures of X, for each atom of Y."""
        X = self.X
        out = _empty(len(X), self._n_columns, "the kernel matrix")

        def fill(rows, columns):
            block = kernel_block(rows, columns, X.form, self.kernel.sigma, per_atom=True)
            out[np.ix_(rows.structures, columns.atoms)] = block

        self._run(fill)
        return out

    def gradients(self, kind):
        """The derivatives of `of_atoms` along positions or strains of X."""
        out = _empty(self.X.n_rows(kind), self._n_columns, "the derivatives of the kernel")
        comparison = self._comparison((self.X, kind))

        def fill(rows, columns):
            block = comparison.gradients(rows, columns, kind)
            out[np.ix_(rows.places(kind), columns.atoms)] = block

        self._run(fill)
        return out

    def field_gradients(self, arms, of_charges):
        """The derivatives (3 n, n_atoms of Y) of `of_atoms` along a field that acts on arms."""
        X = self.X
        out = _empty(3 * len(X), self._n_columns, "the dipole kernel")
        out = out.reshape(len(X), 3, self._n_columns)

        def fill(rows, columns):
            if of_charges:
                block = charge_block(rows, columns, X.form, self.kernel.sigma, arms[rows.atoms])
            else:
                along_field = rows.field_features(arms[rows.atoms], X.form.terms)
                block = field_block(rows, columns, X.form, self.kernel.sigma, along_field)
            out[np.ix_(rows.structures, range(3), columns.atoms)] = block

        self._run(fill)
        return out.reshape(3 * len(X), self._n_columns)

    @property
    def _n_columns(self):
        return len(self.Y.structures.numbers)

    def _comparison(self, *sides):
        """The way to compare structures, prepared for (environments, kind) of both sides."""
        comparison = COMPARISONS[self.kernel.scope](self.X.form, self.kernel.sigma)
        tasks = {(id(batch), kind): batch for side, kind in sides for batch in side.batches}
        with threads_over_blas() as pool:
            list(pool.map(lambda key: comparison.prepare(tasks[key], key[1]), tasks))
        return comparison

    def _run(self, fill, symmetric=False):
        """Call ``fill`` with all pairs of batches, in threads."""
        pairs = [
            (rows, columns)
            for i, rows in enumerate(self.X.batches)
            for columns in (self.Y.batches[i:] if symmetric else self.Y.batches)
        ]
        with threads_over_blas() as pool:
            calls = pool.map(lambda pair: fill(*pair), pairs)
            for _ in tqdm(calls, "FCHL18", len(pairs), disable=not self.kernel.verbose):
                pass


def _empty(n_rows, n_columns, what):
    check_memory(
        8.0 * n_rows * n_columns, f"{what}, {n_rows} x {n_columns},", "use fewer structures"
    )
    return np.empty((n_rows, n_columns))
