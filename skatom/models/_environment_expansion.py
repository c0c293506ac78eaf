"""The predictor of kernel models of atoms: an expansion in environments, and its gradient."""

from collections import deque

import numpy as np

from skatom.base import Predictor
from skatom.kernels.base import squared_norms
from skatom.parallel import serial_blas, split_rows, threads_over_blas

# Numbers of atoms that a thread works on at once, and of environments that they are compared with:
# the arrays of kernel values stay in the cache.
_ATOMS, _ENVIRONMENTS = 64, 1024


class EnvironmentExpansion(Predictor):
    r"""Energies of atoms as sums over environments J of the same element.

    .. math:: \varepsilon(x) = \sum_J \big[ a_J + w_J \cdot \partial_y \big]\, k(x, y)
        \Big|_{y = y_J}

    The environments y and the directions w span few dimensions of the feature space. They are
    kept in a basis P of this span, in which :math:`x \cdot y = P^\top x \cdot P^\top y` for any x.

    Parameters
    ----------
    kernel : Kernel
    values : dict of int to ndarray of shape (m, rank)
        Pᵀy of each species.
    coefficients : dict of int to ndarray of shape (m,)
        a of each species.
    directions : dict of int to ndarray of shape (m, rank), default=None
        Pᵀw of each species. None: zero.
    bases : dict of int to ndarray of shape (n_features, rank), default=None
        P of each species. None: the unit matrix.
    """

    def __init__(self, kernel, values, coefficients, directions=None, bases=None):
        self.kernel = kernel
        self.values = values
        self.coefficients = coefficients
        self.directions = directions
        self.bases = bases
        self._norms = {z: squared_norms(y) for z, y in values.items()}
        self._along = None
        if directions is not None:
            self._along = {z: np.einsum("ij,ij->i", y, directions[z]) for z, y in values.items()}

    def energies(self, features):
        """Σ ε over the atoms of every structure, shape (n,)."""
        return np.add.reduceat(self.local_energies(features), features.offsets[:-1])

    def local_energies(self, features):
        """ε of every atom, shape (n_atoms,)."""
        return self.of_atoms(features, False)[0]

    def differentiate(self, features):
        """E = Σ ε of every structure (n,), ∂E/∂R (n_atoms, 3), ∂E/∂strain (n, 3, 3)."""
        energies, cotangent = self.of_atoms(features, True)
        return np.add.reduceat(energies, features.offsets[:-1]), *features.pullback(cotangent)

    def of_atoms(self, features, with_gradient):
        """ε of every atom (n_atoms,), and ∂ε/∂x (n_atoms, n_features) or None."""
        energies = np.zeros(len(features.numbers))
        cotangent = np.zeros(features.values.shape) if with_gradient else None
        atoms = {z: np.flatnonzero(features.numbers == z) for z in self.values}

        def work(z, rows):
            mine = atoms[z][rows]
            x = features.values[mine]
            query = x if self.bases is None else x @ self.bases[z]
            found, along, own = np.zeros(len(x)), np.zeros(query.shape), np.zeros(len(x))
            self._add_all(z, query, squared_norms(x), with_gradient, found, along, own)
            energies[mine] = found
            if with_gradient:
                slopes = along if self.bases is None else along @ self.bases[z].T
                slopes += own[:, None] * x
                cotangent[mine] = slopes

        _share({z: len(mine) for z, mine in atoms.items()}, work)
        return energies, cotangent

    def evaluate(self, queries, with_gradient):
        """ε of atoms given by species, and ∂ε/∂x = P along + own x.

        Parameters
        ----------
        queries : dict of int to (ndarray of shape (n_atoms, rank), ndarray of shape (n_atoms,))
            Pᵀx and |x|².
        with_gradient : bool

        Returns
        -------
        dict of int to (ndarray of shape (n_atoms,), ndarray of shape (n_atoms, rank), \
ndarray of shape (n_atoms,))
            ε, along and own. Without the gradient the last two are zero.
        """
        found = {
            z: (np.zeros(len(x)), np.zeros(x.shape), np.zeros(len(x)))
            for z, (x, _) in queries.items()
        }

        def work(z, rows):
            into = [array[rows] for array in found[z]]
            self._add_all(z, *(array[rows] for array in queries[z]), with_gradient, *into)

        _share({z: len(x) for z, (x, _) in queries.items()}, work)
        return found

    def _add_all(self, z, x, norms, with_gradient, energies, along, own):
        """`_add` of all environments."""
        for part in split_rows(len(self.values[z]), _ENVIRONMENTS):
            self._add(z, part, x, norms[:, None], with_gradient, energies, along, own)

    def _add(self, z, part, x, u, with_gradient, energies, along, own):
        y, v = self.values[z][part], self._norms[z][part]
        a = self.coefficients[z][part]
        s = x @ y.T
        if self.directions is None and not with_gradient:
            energies += self.kernel.value(s, u, v) @ a
            return
        phi = self.kernel.profile(s, u, v)
        energies += phi.value @ a
        if self.directions is None:
            along += (phi.s * a) @ y
            own += 2 * _row_sums(phi.u, a, s.shape)
            return
        w, t = self.directions[z][part], self._along[z][part]
        p = x @ w.T
        energies += np.einsum("ij,ij->i", np.broadcast_to(phi.s, s.shape), p)
        energies += 2 * _row_sums(phi.v, t, s.shape)
        if with_gradient:
            along += (phi.s * a + phi.ss * p + 2 * phi.sv * t) @ y
            along += np.broadcast_to(phi.s, s.shape) @ w
            own += 2 * _row_sums(phi.u, a, s.shape)
            own += 2 * np.einsum("ij,ij->i", np.broadcast_to(phi.su, s.shape), p)
            own += 4 * _row_sums(phi.uv, t, s.shape)


def _share(counts, work):
    """Call ``work(z, rows)`` for pieces of ``counts[z]`` atoms of each species, in threads."""
    jobs = [(z, rows) for z, count in counts.items() for rows in split_rows(count, _ATOMS)]
    if sum(counts.values()) <= _ATOMS:  # threads cost more than they gain
        with serial_blas():
            for job in jobs:
                work(*job)
        return
    with threads_over_blas() as pool:
        deque(pool.map(work, *zip(*jobs, strict=True)), 0)


def _row_sums(f, weights, shape):
    """Σ_j f_ij weights_j."""
    return np.broadcast_to(f, shape) @ weights
