"""The predictor of kernel models of atoms: an expansion in environments, and its gradient."""

import numpy as np

from skatom.kernels.base import squared_norms
from skatom.parallel import serial_blas, split_rows, threads_over_blas

# Atoms that a thread works on at once, and environments they are compared with: the arrays of
# their kernel values stay in the cache.
_ATOMS, _ENVIRONMENTS = 64, 1024


class EnvironmentExpansion:
    r"""Energies of atoms, summed over environments J of the same element.

    .. math:: \varepsilon(x) = \sum_J \big[ a_J + w_J \cdot \partial_y \big]\, k(x, y)
        \Big|_{y = y_J}

    Parameters
    ----------
    kernel : Kernel
    values : dict of int to ndarray of shape (m, n_features)
        The environments y of each species.
    coefficients : dict of int to ndarray of shape (m,)
        a of each species.
    directions : dict of int to ndarray of shape (m, n_features), default=None
        w of each species. None: zero.
    """

    def __init__(self, kernel, values, coefficients, directions=None):
        self.kernel = kernel
        self.values = values
        self.coefficients = coefficients
        self.directions = directions
        self._norms = {z: squared_norms(y) for z, y in values.items()}
        self._along = None
        if directions is not None:
            self._along = {z: np.einsum("ij,ij->i", y, directions[z]) for z, y in values.items()}

    def structure_energies(self, features):
        """Σ ε over the atoms of every structure, shape (n,)."""
        energies = np.zeros(len(features.numbers))
        for atoms, found, _ in self._of_features(features, False):
            energies[atoms] = found
        return np.add.reduceat(energies, features.offsets[:-1])

    def differentiate(self, features):
        """E = Σ ε of every structure (n,), ∂E/∂R (n_atoms, 3), ∂E/∂strain (n, 3, 3)."""
        energies, cotangent = np.zeros(len(features.numbers)), np.zeros(features.values.shape)
        for atoms, found, gradient in self._of_features(features, True):
            energies[atoms] = found
            cotangent[atoms] = gradient
        return np.add.reduceat(energies, features.offsets[:-1]), *features.pullback(cotangent)

    def _of_features(self, features, with_gradient):
        species = [z for z in features.species if z in self.values]
        atoms = {z: np.flatnonzero(features.numbers == z) for z in species}
        found = self.evaluate({z: features.values[atoms[z]] for z in species}, with_gradient)
        return [(atoms[z], *found[z]) for z in species]

    def evaluate(self, queries, with_gradient):
        """ε and ∂ε/∂x of atoms given by species.

        Parameters
        ----------
        queries : dict of int to ndarray of shape (n_atoms, n_features)
        with_gradient : bool

        Returns
        -------
        dict of int to (ndarray of shape (n_atoms,), ndarray of shape (n_atoms, n_features))
            None in the place of the second without the gradient.
        """
        found = {
            z: (np.zeros(len(x)), np.zeros(x.shape) if with_gradient else None)
            for z, x in queries.items()
        }
        jobs = [(z, part) for z, x in queries.items() for part in split_rows(len(x), _ATOMS)]

        def work(job):
            z, rows = job
            x = queries[z][rows]
            u = squared_norms(x)[:, None]
            energies, gradient = found[z]
            for part in split_rows(len(self.values[z]), _ENVIRONMENTS):
                self._add(z, part, x, u, energies[rows], gradient[rows] if with_gradient else None)

        if sum(map(len, queries.values())) <= _ATOMS:  # threads would cost more than they gain
            with serial_blas():
                list(map(work, jobs))
        else:
            with threads_over_blas() as pool:
                list(pool.map(work, jobs))
        return found

    def _add(self, z, part, x, u, energies, gradient):
        y, v = self.values[z][part], self._norms[z][part]
        a = self.coefficients[z][part]
        s = x @ y.T
        if self.directions is None and gradient is None:
            energies += self.kernel.value(s, u, v) @ a
            return
        phi = self.kernel.profile(s, u, v)
        if self.directions is None:
            energies += phi.value @ a
            gradient += (phi.s * a) @ y
            gradient += 2 * _row_sums(phi.u, a, s.shape) * x
            return
        w, t = self.directions[z][part], self._along[z][part]
        p = x @ w.T
        energies += phi.value @ a + np.einsum("ij,ij->i", phi.s, p)
        energies += 2 * _row_sums(phi.v, t, s.shape)[:, 0]
        if gradient is not None:
            along_y = phi.s * a + phi.ss * p + 2 * phi.sv * t
            along_x = phi.u * a + phi.su * p + 2 * phi.uv * t
            gradient += along_y @ y
            gradient += np.broadcast_to(phi.s, s.shape) @ w
            gradient += 2 * along_x.sum(axis=1, keepdims=True) * x


def _row_sums(f, weights, shape):
    """Σ_j f_ij weights_j as a column."""
    return (np.broadcast_to(f, shape) @ weights)[:, None]
