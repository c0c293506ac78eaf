"""The two ways in which FCHL18 compares structures, with all derivatives."""

import numpy as np

from skatom.kernels.fchl18.blocks import gradient_block, kernel_block, self_slopes
from skatom.kernels.fchl18.global_blocks import global_block
from skatom.kernels.fchl18.second_derivatives import second_block


class LocalComparison:
    """All environments of one structure with all of the other.

    Parameters
    ----------
    form : Form
    sigma : float
    """

    def __init__(self, form, sigma):
        self.form = form
        self.sigma = sigma
        self._self_slopes = {}

    def prepare(self, batch, kind):
        """Compute what all blocks of a batch share, in advance."""
        if kind != "energy":
            strain = kind == "strain"
            self._self_slopes[id(batch), kind] = self_slopes(batch, self.form, strain)

    def block(self, rows, columns, row_kind, column_kind):
        """The kernel between the structures of two batches, or its derivatives.

        Parameters
        ----------
        rows, columns : Batch
            Batches that were prepared for these kinds.
        row_kind, column_kind : {"energy", "positions", "strain"}
            What to differentiate with respect to.

        Returns
        -------
        ndarray of float, shape (n_rows, n_columns)
        """
        if row_kind == column_kind == "energy":
            return kernel_block(rows, columns, self.form, self.sigma, per_atom=False)
        if row_kind == "energy":
            return self.block(columns, rows, column_kind, row_kind).T
        if column_kind == "energy":
            by_atom = self.gradients(rows, columns, row_kind)
            out = np.zeros((len(by_atom), len(columns.structures)))
            np.add.at(out.T, columns.owners, by_atom.T)
            return out
        return second_block(
            rows, columns, self.form, self.sigma, (row_kind == "strain", column_kind == "strain"),
            self._self_slopes[id(rows), row_kind], self._self_slopes[id(columns), column_kind],
        )  # fmt: skip

    def gradients(self, rows, columns, row_kind):
        """Derivatives for each environment of the columns, (n_rows, n_environments)."""
        own = self._self_slopes[id(rows), row_kind]
        return gradient_block(rows, columns, self.form, self.sigma, row_kind == "strain", own)


class GlobalComparison:
    """The sum over the environments of one structure with that of the other.

    Parameters
    ----------
    form : Form
    sigma : float
    """

    def __init__(self, form, sigma):
        self.form = form
        self.sigma = sigma

    def prepare(self, batch, kind):
        """Nothing to compute in advance."""

    def block(self, rows, columns, row_kind, column_kind):
        """See `LocalComparison.block`."""
        return global_block(rows, columns, self.form, self.sigma, row_kind, column_kind)


COMPARISONS = {"local": LocalComparison, "global": GlobalComparison}
