"""The predictor of kernel models of features: an expansion in environments, and its gradient."""

from collections import deque

import numpy as np

from skatom._device import device_of, is_tensor, namespace, on_host
from skatom.base import Predictor
from skatom.kernels.base import squared_norms
from skatom.kernels.feature_rows import rows_of
from skatom.parallel import serial_blas, split_rows, threads_over_blas

# Numbers of atoms that a thread works on at once, and of environments that they are compared with:
# the arrays of kernel values stay in the cache, and threads seldom need the interpreter.
_ATOMS, _ENVIRONMENTS = 128, 512
# The same on a device, where few large operations are fast: environments, and numbers in arrays.
_TENSOR_ENVIRONMENTS, _TENSOR_NUMBERS = 8192, 2**24


class EnvironmentExpansion(Predictor):
    r"""Energies of atoms as sums over environments J of the same element.

    The features may be those of structures, each of which is then a single row.

    .. math:: \varepsilon(x) = \sum_J \big[ a_J + w_J \cdot \partial_y \big]\, k(x, y)
        \Big|_{y = y_J}

    The environments y and the directions w span few dimensions of the feature space. They are
    kept in a basis P of this span, in which :math:`x \cdot y = P^\top x \cdot P^\top y` for any x.
    They are arrays of numpy; for features on a device, copies there are kept.

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
        self._copies = {}
        self._norms = {z: squared_norms(y) for z, y in values.items()}
        self._along = None
        if directions is not None:
            self._along = {
                z: namespace(y).einsum("ij,ij->i", y, directions[z]) for z, y in values.items()
            }

    def __getstate__(self):
        return {**vars(self), "_copies": {}}

    def _beside(self, features):
        """This expansion where the features are."""
        device = device_of(features.values)
        if device is None:
            return self
        if device not in self._copies:
            arrays = (
                None if arrays is None else {z: device.tensor(x) for z, x in arrays.items()}
                for arrays in (self.values, self.coefficients, self.directions, self.bases)
            )
            self._copies[device] = EnvironmentExpansion(self.kernel, *arrays)
        return self._copies[device]

    def energies(self, features):
        """Σ ε over the atoms of every structure, shape (n,)."""
        return np.add.reduceat(self.local_energies(features), rows_of(features).offsets[:-1])

    def local_energies(self, features):
        """ε of every atom, shape (n_atoms,), or of every structure for its own features."""
        return on_host(self.of_atoms(features, False)[0])

    def differentiate(self, features):
        """E = Σ ε of every structure (n,), ∂E/∂R (n_atoms, 3), ∂E/∂strain (n, 3, 3)."""
        energies, cotangent = self.of_atoms(features, True)
        energies = np.add.reduceat(on_host(energies), rows_of(features).offsets[:-1])
        return energies, *map(on_host, features.pullback(cotangent))

    def of_atoms(self, features, with_gradient):
        """ε of every atom (n_atoms,), and ∂ε/∂x (n_atoms, n_features) or None.

        They are tensors for features on a device.
        """
        here = self._beside(features)
        energies = _zeros_like(features.values[:, 0])
        cotangent = _zeros_like(features.values) if with_gradient else None
        numbers = rows_of(features).numbers
        atoms = {z: np.flatnonzero(numbers == z) for z in self.values}

        def work(z, rows):
            mine = atoms[z][rows]
            x = features.values[mine]
            query = x if here.bases is None else x @ here.bases[z]
            norms = squared_norms(x)
            found, along, own = (_zeros_like(like) for like in (norms, query, norms))
            here._add_all(z, query, norms, with_gradient, found, along, own)
            energies[mine] = found
            if with_gradient:
                slopes = along if here.bases is None else along @ here.bases[z].T
                slopes += own[:, None] * x
                cotangent[mine] = slopes

        counts = {z: len(mine) for z, mine in atoms.items()}
        _share(counts, work, self._at_once(is_tensor(features.values)))
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
        tensors = any(is_tensor(x) for x, _ in queries.values())
        found = {
            z: tuple(namespace(x).zeros_like(y) for y in (u, x, u)) for z, (x, u) in queries.items()
        }

        def work(z, rows):
            into = [array[rows] for array in found[z]]
            self._add_all(z, *(array[rows] for array in queries[z]), with_gradient, *into)

        counts = {z: len(x) for z, (x, _) in queries.items()}
        _share(counts, work, self._at_once(tensors))
        return found

    def _at_once(self, tensors):
        """How many atoms a device works on at once; None for threads."""
        most = max(map(len, self.values.values()), default=1)
        return max(1, _TENSOR_NUMBERS // min(most, _TENSOR_ENVIRONMENTS)) if tensors else None

    def _add_all(self, z, x, norms, with_gradient, energies, along, own):
        """`_add` of all environments."""
        size = _TENSOR_ENVIRONMENTS if is_tensor(x) else _ENVIRONMENTS
        for part in split_rows(len(self.values[z]), size):
            self._add(z, part, x, norms[:, None], with_gradient, energies, along, own)

    def _add(self, z, part, x, u, with_gradient, energies, along, own):
        y, v = self.values[z][part], self._norms[z][part]
        a = self.coefficients[z][part]
        s = x @ y.T
        if self.directions is None and not with_gradient:
            energies += self.kernel.value(s, u, v) @ a
            return
        if self.directions is None:
            value, slope, of_norm = self.kernel.first_derivatives(s, u, v)
            energies += value @ a
            along += (slope * a) @ y
            own += 2 * _row_sums(of_norm, a, s.shape)
            return
        phi = self.kernel.profile(s, u, v)
        energies += phi.value @ a
        w, t = self.directions[z][part], self._along[z][part]
        p, xp = x @ w.T, namespace(x)
        energies += xp.einsum("ij,ij->i", xp.broadcast_to(phi.s, s.shape), p)
        energies += 2 * _row_sums(phi.v, t, s.shape)
        if with_gradient:
            along += (phi.s * a + phi.ss * p + 2 * phi.sv * t) @ y
            along += xp.broadcast_to(phi.s, s.shape) @ w
            own += 2 * _row_sums(phi.u, a, s.shape)
            own += 2 * xp.einsum("ij,ij->i", xp.broadcast_to(phi.su, s.shape), p)
            own += 4 * _row_sums(phi.uv, t, s.shape)


def _share(counts, work, at_once):
    """Call ``work(z, rows)`` for pieces of ``counts[z]`` atoms of each species.

    They are worked on in threads, or one after the other if their size ``at_once`` is given.
    """
    size = at_once or _ATOMS
    jobs = [(z, rows) for z, count in counts.items() for rows in split_rows(count, size)]
    if at_once is not None:
        for job in jobs:
            work(*job)
    elif sum(counts.values()) <= _ATOMS:  # threads cost more than they gain
        with serial_blas():
            for job in jobs:
                work(*job)
    else:
        with threads_over_blas() as pool:
            deque(pool.map(work, *zip(*jobs, strict=True)), 0)


def _zeros_like(array):
    """Zeros which, for numpy, are first touched by the thread that adds to them."""
    return namespace(array).zeros_like(array) if is_tensor(array) else np.zeros(array.shape)


def _row_sums(f, weights, shape):
    """Σ_j f_ij weights_j."""
    return namespace(weights).broadcast_to(f, shape) @ weights
