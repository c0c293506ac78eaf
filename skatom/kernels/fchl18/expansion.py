"""Energies expanded in local FCHL18 kernels of environments, and their derivatives."""

import numpy as np

from skatom.base import Predictor
from skatom.kernels._cpu.fchl18 import expansions, sums
from skatom.kernels.fchl18.blocks import environment_slopes, row_targets, self_slopes
from skatom.parallel import threads_over_blas


class FCHL18Expansion(Predictor):
    r"""Energies of structures as sums over the environments J of a basis.

    .. math:: E(A) = \sum_{I \in A} \sum_J \Big[ c_J + \sum_{a \in J} d_a \cdot
        \frac{\partial}{\partial R_a} + \eta \cdot \frac{\partial}{\partial \varepsilon} \Big]\,
        \kappa(I, J)

    The derivatives of E with respect to all scalar products of an environment I add up to one
    vector, which is taken back to its pairs: a prediction with forces costs four matrix products
    and one pass over its own pairs, for a basis of any size.

    Parameters
    ----------
    kernel : FCHL18
        Kernel with ``scope="local"``.
    basis : FCHL18Environments
        Environments J, of n_atoms atoms.
    coefficients : ndarray of float, shape (n_atoms,)
        Coefficient c of the environment of each atom.
    directions : ndarray of float, shape (n_atoms, 3), default=None
        Direction d of each atom. None: 0.
    strains : ndarray of float, shape (n, 3, 3), default=None
        Direction η of the strain ε of each structure. None: 0.
    """

    def __init__(self, kernel, basis, coefficients, directions=None, strains=None):
        self.kernel = kernel
        self.basis = basis
        self.coefficients = coefficients
        self.directions = directions
        self.strains = strains

    def energies(self, X):
        """E of every structure, shape (n,)."""
        X = self.kernel.environments(X)
        out = np.empty(len(X))

        def fill(batch):
            out[batch.structures] = self._sums(batch)[0]

        with threads_over_blas() as pool:
            list(pool.map(fill, X.batches))
        return out

    def differentiate(self, X):
        """E (n,), ∂E/∂R (n_atoms, 3), ∂E/∂strain (n, 3, 3)."""
        X = self.kernel.environments(X)
        energies, virials = np.empty(len(X)), np.zeros((len(X), 3, 3))
        gradient = np.zeros((len(X.structures.numbers), 3))

        def fill(batch):
            energies[batch.structures], cotangents = self._sums(batch, derivatives=True)
            along_atoms, virials[batch.structures] = self._pull_back(batch, cotangents)
            gradient[batch.atoms] = along_atoms

        with threads_over_blas() as pool:
            list(pool.map(fill, X.batches))
        return energies, gradient, virials

    @property
    def _grid(self):
        """Points under all overlaps of the basis with distances below the cutoff."""
        spans = [batch.span for batch in self.basis.batches if batch.span]
        shortest = min((span[0] for span in spans), default=0.0)
        longest = max((span[1] for span in spans), default=0.0)
        return self.basis.form.grid(0.5 * shortest, 0.5 * (longest + self.kernel.cutoff))

    def _sums(self, batch, derivatives=False):
        """Energies of the structures of a batch, and ∂E/∂expansion of their environments."""
        form, grid, rate = self.basis.form, self._grid, 1 / self.kernel.sigma**2
        alike = form.overlap(batch.species, batch.species)
        own = form.expanded(batch, np.eye(len(alike)), grid)
        flat = own.reshape(len(batch), -1)
        energies, selves = np.zeros((2, len(batch)))
        cotangents = np.zeros(flat.shape)
        for part in self.basis.batches:
            values, directions, constants = self._prepared(part, batch.species, grid)
            overlap = form.overlap(batch.species, part.species)
            weights, pulls = np.empty((2, len(batch), len(part)))
            along = np.zeros(weights.shape) if directions is None else flat @ directions.T
            sums.expansion_sums(
                flat @ values.T, along, overlap[np.ix_(batch.centers, part.centers)],
                batch.self_products, part.self_products, self.coefficients[part.atoms],
                constants, 0.5 * rate, energies, weights, pulls, selves,
            )  # fmt: skip
            if derivatives:
                cotangents += weights @ values
                if directions is not None:
                    cotangents += pulls @ directions
        of_structures = np.bincount(batch.owners, energies, len(batch.structures))
        if not derivatives:
            return of_structures, None
        selves = (selves * np.diag(alike)[batch.centers])[:, None]
        cotangents -= selves * form.expanded(batch, alike, grid).reshape(len(batch), -1)
        return of_structures, cotangents.reshape(own.shape)

    def _pull_back(self, batch, cotangents):
        """∂E/∂R of the atoms, in the order of the environments, and ∂E/∂strain of structures."""
        pulls = np.empty((len(batch.channels), batch.features.shape[1] + 1))
        expansions.pull_pairs(
            batch.starts, batch.distances, batch.channels, batch.features, self._grid, cotangents,
            pulls,
        )  # fmt: skip
        gradient, virials = np.zeros(3 * len(batch)), np.zeros((len(batch.structures), 3, 3))
        for e in range(len(batch)):
            pairs = slice(batch.starts[e], batch.starts[e + 1])
            slopes = environment_slopes(batch, e, self.basis.form, False)[:-1]
            along = slopes @ pulls[pairs].ravel()
            np.add.at(gradient, row_targets(batch, e, False), along)
            # the last three rows are those of the centre
            virials[batch.owners[e]] += along[:-3].reshape(-1, 3).T @ batch.vectors[pairs]
        return gradient.reshape(-1, 3), virials

    def _prepared(self, part, species, grid):
        """Vectors of a batch of the basis in the channels of some elements, kept for later."""
        kept = vars(self).setdefault("_kept", {})
        key = (id(part), species.tobytes())
        if key not in kept:
            kept[key] = self._prepare(part, species, grid)
        return kept[key]

    def _prepare(self, part, species, grid):
        form = self.basis.form
        mixing = form.overlap(species, part.species)
        values = form.expanded(part, mixing, grid)
        if self.directions is None and self.strains is None:
            return values.reshape(len(part), -1), None, np.zeros(len(part))
        slopes, constants = self._along_directions(part)
        mixed = np.hstack([form.mixed(slopes[:, :-1], mixing), slopes[:, -1:]])
        features = form.mixed(part.features, mixing)
        along = np.empty(values.shape)
        expansions.expand_directions(
            part.starts, part.distances, part.channels, features, mixed, mixing, grid, along
        )
        return values.reshape(len(part), -1), along.reshape(len(part), -1), constants

    def _along_directions(self, part):
        """Slopes along d and η of the pairs of a batch, and half of those of its ⟨J, J⟩."""
        slopes = np.zeros((len(part.channels), part.features.shape[1] + 1))
        constants = np.zeros(len(part))
        if self.directions is not None:
            self._add_along(part, False, self.directions[part.atoms].ravel(), slopes, constants)
        if self.strains is not None:
            self._add_along(part, True, self.strains[part.structures].ravel(), slopes, constants)
        return slopes, constants

    def _add_along(self, part, strain, directions, slopes, constants):
        if not part.span:
            return
        halves = self_slopes(part, self.basis.form, strain)
        for e in range(len(part)):
            here = directions[row_targets(part, e, strain)]
            pairs = slice(part.starts[e], part.starts[e + 1])
            found = here @ environment_slopes(part, e, self.basis.form, strain)[:-1]
            slopes[pairs] += found.reshape(-1, slopes.shape[1])
            constants[e] += here @ halves[e]

    def dipoles(self, X):
        """-∂E/∂field, shape (n, 3), of an expansion without directions."""
        slopes = self.kernel.field_gradients(X, self.basis) @ self.coefficients
        return -slopes.reshape(-1, 3)

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_kept"}
