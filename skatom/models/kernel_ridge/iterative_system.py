"""The linear system of energies and derivatives, solved without making its matrix."""

from itertools import pairwise

import numpy as np

from skatom._device import beside, device_of, namespace, on_host
from skatom.kernels.blocks import fill_columns, layout, row_groups
from skatom.kernels.environments import Environments
from skatom.memory import check_memory
from skatom.models._environment_expansion import EnvironmentExpansion
from skatom.models.kernel_ridge.derivative_system import DerivativeSystem
from skatom.parallel import threads_over_blas
from skatom.solvers import NystromPreconditioner, conjugate_gradients
from skatom.solvers.nystrom import add_to_diagonal

# Target width of the diagonal blocks of the preconditioner, which are whole structures.
_BLOCK_ROWS = 500


class IterativeSystem(DerivativeSystem):
    r"""(K + Λ) α = y, solved by conjugate gradients for :math:`\Lambda^{-1/2} (K + \Lambda)
    \Lambda^{-1/2}`.

    K times a vector is a prediction for the training structures, whose Jacobians are kept. All
    arithmetic is done in a basis of the span of these Jacobians, where the features are: with
    numpy, or with tensors. The preconditioner approximates K by some of its columns, and is exact
    within the diagonal blocks of a few structures.
    """

    def _coordinates(self, motions):
        return np.arange(len(motions))

    def _check_memory(self, size):
        """No check of memory: no array is quadratic in the number of rows."""

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
        self._scale = beside(1 / np.sqrt(self._noise()), self.features.values)
        preconditioner = self._preconditioner(min(n_inducing, len(right_side)), random_state)
        right_side = self._scale * beside(right_side, self._scale)
        solution, n_iter = conjugate_gradients(
            self, right_side, preconditioner, tol, max_iter, verbose
        )
        return on_host(self._scale * solution), n_iter

    def product(self, v):
        """The scaled matrix times a vector."""
        return self._scale * self._kernel_product(self._scale * v) + v

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
        groups = row_groups(self.layout.starts, min(_BLOCK_ROWS, n_columns))
        widest = max(int(np.diff(self.layout.starts[[*group]])[0]) for group in groups)
        device = device_of(self._scale)
        check = check_memory if device is None else device.check_memory
        check(
            NystromPreconditioner.memory(n_rows, n_columns, widest),
            f"the preconditioner of {n_columns} x {n_rows} numbers and blocks of {widest} rows",
            "lower n_inducing",
            self.max_memory,
        )
        index = np.sort(random_state.choice(n_rows, n_columns, replace=False))
        columns = self._kernel_columns(index)
        columns *= self._scale[:, None]
        columns *= self._scale[index]
        edges = [self.layout.starts[first] for first, _ in groups] + [n_rows]
        return NystromPreconditioner(columns, index, edges, self._block)

    def _block(self, start, stop):
        """A diagonal block of the scaled matrix; above the diagonal it has no meaning."""
        environments, rows = self._environments, slice(start, stop)
        group = tuple(np.searchsorted(self.layout.starts, [start, stop]).tolist())
        block = self.kernel.block(
            environments, environments, self.layout, self.layout, group, group, True
        )
        block *= self._scale[rows, None] * self._scale[rows]
        return add_to_diagonal(block, 1.0)

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
        device, shape = device_of(self._scale), (int(starts[-1]), len(index))
        out = np.empty(shape) if device is None else device.empty(*shape)
        with threads_over_blas() as pool:
            fill_columns(
                self.kernel, self._environments, environments, self.layout,
                layout(environments.n_dof, energies), (0, len(coordinates)), 0, False, out, pool,
            )  # fmt: skip
        return out

    def _kernel_product(self, v):
        """K v: the prediction for the training structures."""
        environments, expansion = self._environments, self._expansion_here(v)
        found = expansion.evaluate(
            {z: (x, environments.norms[z]) for z, x in expansion.values.items()},
            expansion.directions is not None,
        )
        rows = namespace(v).zeros_like(v)
        starts, has_energy = self.layout
        labelled = np.flatnonzero(has_energy)
        for z, side in environments.sides.items():
            energies, along, own = found[z]
            rows[starts[labelled]] += _sums(energies, side.starts)[labelled]
            slopes = along + own[:, None] * side.projected
            for jacobians, atoms, places in self._alike(z):
                of_atoms = slopes[atoms].reshape(len(atoms), -1, 1)
                rows[places] -= (jacobians @ of_atoms)[:, :, 0]
        return rows

    def _expansion_here(self, v):
        """`expansion` of a vector where the features are."""
        environments = self._environments
        of_structure = namespace(v).zeros_like(v[: len(self.features)])
        labelled = np.flatnonzero(self.layout.has_energy)
        of_structure[labelled] = v[self.layout.starts[labelled]]
        of_row = of_structure[np.repeat(np.arange(len(self.features)), environments.rows.counts)]
        numbers = environments.rows.numbers
        coefficients = {z: of_row[np.flatnonzero(numbers == z)] for z in environments.values}
        directions = self._directions(v)
        return EnvironmentExpansion(
            self.kernel, environments.projected, coefficients, directions, self._bases
        )

    def _directions(self, v):
        """-PᵀJα of every row, by species, or None."""
        if not self._environments.n_dof.any():
            return None
        directions = {}
        for z, side in self._environments.sides.items():
            directions[z] = namespace(side.projected).zeros_like(side.projected)
            v = beside(v, side.projected)
            for jacobians, atoms, places in self._alike(z):
                along = v[places][:, None] @ jacobians
                directions[z][atoms] = -along.reshape(*atoms.shape, -1)
        return directions

    def _alike(self, z):
        """Jacobians of structures with equal numbers of rows and of atoms of a species.

        Returns
        -------
        list of tuple
            Jacobians (s, n_dof, n_atoms · rank), indices of the atoms (s, n_atoms), and of the rows
            of the matrix (s, n_dof).
        """
        return self._environments.once(("alike", z), lambda: list(self._runs(z)))

    def _runs(self, z):
        side = self._environments.sides[z]
        counts, n_dof = np.diff(side.starts), side.n_dof
        changes = np.flatnonzero((np.diff(counts) != 0) | (np.diff(n_dof) != 0)) + 1
        edges = [0, *changes.tolist(), len(counts)]
        for first, last in pairwise(edges):
            n_atoms, size = int(counts[first]), int(n_dof[first])
            if not n_atoms * size:
                continue
            rows = slice(int(side.row_starts[first]), int(side.row_starts[last]))
            jacobians = side.jacobians[rows].reshape(last - first, size, -1)
            atoms = side.starts[first:last, None] + np.arange(n_atoms)
            firsts = self.layout.starts[:-1] + self.layout.has_energy
            places = firsts[first:last, None] + np.arange(size)
            yield jacobians, beside(atoms, jacobians), beside(places, jacobians)


def _sums(values, starts):
    """Sums over the atoms of each structure, of arrays or tensors."""
    if device_of(values) is None:
        counts = np.diff(starts)
        present = np.flatnonzero(counts)
        sums = np.zeros(len(counts))
        sums[present] = np.add.reduceat(values, starts[:-1][present])
        return sums
    structure = beside(np.repeat(np.arange(len(starts) - 1), np.diff(starts)), values)
    return values.new_zeros(len(starts) - 1).index_add_(0, structure, values)
