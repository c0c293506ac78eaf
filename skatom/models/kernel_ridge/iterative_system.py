"""The linear system of energies and derivatives, solved without making its matrix."""

import numpy as np

from skatom._device import check_is_array
from skatom.kernels.blocks import fill_columns, layout
from skatom.kernels.environments import Environments
from skatom.memory import check_memory
from skatom.models.kernel_ridge.derivative_system import DerivativeSystem
from skatom.parallel import threads_over_blas
from skatom.solvers import NystromPreconditioner, conjugate_gradients


class IterativeSystem(DerivativeSystem):
    r"""(K + Λ) α = y, solved by conjugate gradients for :math:`\Lambda^{-1/2} (K + \Lambda)
    \Lambda^{-1/2}`.

    K times a vector is a prediction for the training structures, whose Jacobians are kept. All
    arithmetic is done in a basis of the span of these Jacobians.
    """

    def _coordinates(self, motions):
        return np.arange(len(motions))

    def _check_memory(self, size):
        """No check of memory: no array is quadratic in the number of rows."""
        check_is_array(self.features, "solver='cg' of ForceKernelRidge", "solver='cholesky' is")

    def solve(self, right_side, n_inducing, tol, max_iter, random_state, verbose=0):
        """Coefficients α, and the number of iterations.

        Parameters
        ----------
        right_side : ndarray of float, shape (n_rows,)
        n_inducing : int
            Number of columns of K, drawn at random, in the preconditioner.
        tol : float
        max_iter : int
        random_state : numpy.random.RandomState
        verbose : int, default=0

        Returns
        -------
        alpha : ndarray of float, shape (n_rows,)
        n_iter : int
        """
        self._scale = 1 / np.sqrt(self._noise())
        preconditioner = self._preconditioner(min(n_inducing, len(right_side)), random_state)
        solution, n_iter = conjugate_gradients(
            self, self._scale * right_side, preconditioner, tol, max_iter, verbose
        )
        return self._scale * solution, n_iter

    def product(self, v):
        """The scaled matrix times a vector."""
        return self._scale * self._kernel_product(self._scale * v) + v

    def columns(self, index):
        """Columns of the scaled matrix."""
        columns = self._kernel_columns(index)
        columns *= self._scale[:, None]
        columns *= self._scale[index]
        columns[index, np.arange(len(index))] += 1.0
        return columns

    def _noise(self):
        alphas, has = self.labels.alphas, self.labels.labelled
        noise = np.repeat(alphas["forces"], np.diff(self.layout.starts))
        noise[self.layout.starts[:-1][has["energy"]]] = alphas["energy"][has["energy"]]
        for s in np.flatnonzero(has["virial"]):
            stop = self.layout.starts[s + 1]
            noise[stop - 6 : stop] = alphas["virial"][s]
        return noise

    def _preconditioner(self, n_columns, random_state):
        n_rows = len(self._scale)
        check_memory(
            NystromPreconditioner.memory(n_rows, n_columns),
            f"the preconditioner of {n_columns} x {n_rows} numbers",
            "lower n_inducing",
            self.max_memory,
        )
        index = np.sort(random_state.choice(n_rows, n_columns, replace=False))
        return NystromPreconditioner.of(self, index)

    def _kernel_columns(self, index):
        """Columns of K of some rows."""
        starts, has_energy = self.layout
        # other structures would be compared, too, for columns that nobody asked for
        chosen = np.unique(np.searchsorted(starts, index, side="right") - 1)
        energies = np.isin(starts[chosen], index) & has_energy[chosen]
        coordinates = [
            self.coordinates[s][index[(index >= first) & (index < last)] - first]
            for s, first, last in zip(
                chosen, starts[chosen] + has_energy[chosen], starts[chosen + 1], strict=True
            )
        ]
        environments = Environments(self.features[chosen], coordinates, self._bases)
        out = np.empty((starts[-1], len(index)))
        with threads_over_blas() as pool:
            fill_columns(
                self.kernel, self._environments, environments, self.layout,
                layout(environments.n_dof, energies), (0, len(coordinates)), 0, False, out, pool,
            )  # fmt: skip
        return out

    def _kernel_product(self, v):
        """K v: the prediction for the training structures."""
        environments, expansion = self._environments, self.expansion(v)
        found = expansion.evaluate(
            {z: (x, environments.norms[z]) for z, x in expansion.values.items()},
            expansion.directions is not None,
        )
        rows = np.zeros(len(v))
        starts, has_energy = self.layout
        at_energy = starts[:-1][has_energy]
        for z, side in environments.sides.items():
            energies, along, own = found[z]
            counts = np.diff(side.starts)
            present = np.flatnonzero(counts)
            sums = np.zeros(len(counts))
            sums[present] = np.add.reduceat(energies, side.starts[present])
            rows[at_energy] += sums[has_energy]
            for s in np.flatnonzero(counts * side.n_dof):
                first = starts[s] + has_energy[s]
                atoms = slice(side.starts[s], side.starts[s + 1])
                slopes = along[atoms] + own[atoms, None] * side.projected[atoms]
                rows[first : first + side.n_dof[s]] -= np.tensordot(side.jacobian_of(s), slopes, 2)
        return rows
