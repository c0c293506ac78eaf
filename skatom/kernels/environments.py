"""Atoms of structures grouped by species, with their Jacobians in a small basis."""

import numpy as np

from skatom.kernels._cpu.covariance import Side, scatter
from skatom.kernels.base import squared_norms
from skatom.memory import check_memory
from skatom.parallel import threads_over_blas
from skatom.structures import offsets_from_counts

# Components of the Jacobians smaller than rounding errors, as a part of the largest squared.
_NEGLIGIBLE = 1e-14
# Numbers in the Jacobians of the structures that are handled at a time.
_BATCH = 2**24


class Environments:
    r"""What covariances need of a batch of structures.

    The Jacobians J of the atoms of one species span few dimensions of the feature space: they are
    kept as :math:`P^\top J` in an orthonormal basis P of those dimensions, in which
    :math:`J^\top J' = (P^\top J)^\top (P^\top J')` and :math:`J^\top x = (P^\top J)^\top P^\top x`
    hold to rounding errors.

    Parameters
    ----------
    features : AtomicFeatures
    bases : dict of int to ndarray of shape (n_features, rank), default=None
        P of each species, see `jacobian_bases`. None: no derivatives are needed.
    coordinates : list of ndarray of int, default=None
        Along which of its 3N coordinates each structure is derived; an empty array for none.
        None: all.

    Attributes
    ----------
    features : AtomicFeatures
    n_dof : ndarray of int, shape (n,)
        Number of coordinates of each structure.
    sides : dict of int to Side
        The atoms of each species.
    values, norms : dict of int to ndarray
        Features (n_atoms of the species, n_features) and their squared norms.
    """

    def __init__(self, features, bases=None, coordinates=None):
        self.features = features
        n_atoms = features.n_atoms
        if bases is None:
            coordinates = [np.arange(0)] * len(features)
        elif coordinates is None:
            coordinates = [np.arange(3 * n) for n in n_atoms]
        self.n_dof = np.array([len(c) for c in coordinates], np.int64)
        structure_of_atom = np.repeat(np.arange(len(features)), n_atoms)
        self._atoms, self.values, self.norms, self._starts = {}, {}, {}, {}
        for z in features.species:
            atoms = np.flatnonzero(features.numbers == z)
            self._atoms[z] = atoms
            self.values[z] = features.values[atoms]
            self.norms[z] = squared_norms(self.values[z])
            counts = np.bincount(structure_of_atom[atoms], minlength=len(features))
            self._starts[z] = offsets_from_counts(counts)
        self.sides = self._without_jacobians() if bases is None else self._sides(bases, coordinates)

    @classmethod
    def of_single_atoms(cls, features, bases):
        """Every atom as a structure of its own, without derivatives: a basis of environments."""
        environments = cls(features, bases, [np.arange(0)] * len(features))
        n_dof = np.zeros(len(features.numbers), np.int64)
        nowhere = np.zeros(len(n_dof) + 1, np.int64)
        environments.n_dof = n_dof
        environments.sides = {
            z: side._replace(
                starts=offsets_from_counts(features.numbers == z),
                own_starts=nowhere,
                jacobian_starts=nowhere,
                n_dof=n_dof,
            )
            for z, side in environments.sides.items()
        }
        return environments

    @property
    def projected(self):
        """Features (n_atoms of the species, rank) in the basis, by species."""
        return {z: side.projected for z, side in self.sides.items()}

    def _without_jacobians(self):
        nothing, zeros = np.zeros(0), np.zeros(len(self.n_dof) + 1, np.int64)
        return {
            z: Side(starts, np.zeros((starts[-1], 1)), nothing, zeros, nothing, zeros, self.n_dof)
            for z, starts in self._starts.items()
        }

    def _sides(self, bases, coordinates):
        bases = {z: bases[z] for z in self._starts}
        sides = {}
        total = 0.0
        for z, starts in self._starts.items():
            widths = np.diff(starts) * self.n_dof
            total += 8.0 * bases[z].shape[1] * widths.sum()
        check_memory(
            total,
            f"the array of Jacobians of {len(self.n_dof)} structures",
            "take fewer structures, or fewer features",
        )
        for z, starts in self._starts.items():
            own_starts = offsets_from_counts(np.diff(starts) * self.n_dof)
            rank = bases[z].shape[1]
            sides[z] = Side(
                starts, self.values[z] @ bases[z], np.zeros(own_starts[-1]), own_starts,
                np.empty(rank * own_starts[-1]), rank * own_starts, self.n_dof,
            )  # fmt: skip
        with threads_over_blas() as pool:
            for batch in _batches(self.features):
                if self.n_dof[batch].any():
                    jacobian = self.features.jacobian(batch)

                    def fill(z, batch=batch, jacobian=jacobian):
                        _fill_jacobians(
                            self.features, batch, jacobian, bases[z], coordinates, sides[z],
                            self._atoms[z],
                        )  # fmt: skip

                    list(pool.map(fill, sides))
        return sides


def jacobian_bases(*batches):
    """Orthonormal bases P (n_features, rank) of what the Jacobians of each species span.

    The features themselves belong to the span too: what is left out of them and of the Jacobians
    is then small in both, and smaller than rounding errors in their products.

    Parameters
    ----------
    *batches : AtomicFeatures
        Of the same descriptor.

    Returns
    -------
    dict of int to ndarray
    """
    slopes, values = {}, {}
    with threads_over_blas() as pool:
        for features in batches:
            for z in features.species:
                _add_gram(values, z, features.values[features.numbers == z])
            for batch in _batches(features):
                jacobian = features.jacobian(batch)
                numbers = features.structures[batch].numbers[jacobian.pairs.centers]

                def add(z, jacobian=jacobian, numbers=numbers):
                    rows = jacobian.values[numbers == z]
                    _add_gram(slopes, z, rows.reshape(-1, rows.shape[2]))

                list(pool.map(add, features.species))
        grams = ((slopes[z], values[z]) for z in values)
        return dict(zip(values, pool.map(_leading_eigenvectors, grams), strict=True))


def _add_gram(grams, z, rows):
    grams[z] = grams.get(z, 0.0) + rows.T @ rows


def _leading_eigenvectors(grams):
    total = sum(gram / max(gram.trace(), np.finfo(float).tiny) for gram in grams)
    lengths, vectors = np.linalg.eigh(total)
    kept = lengths > _NEGLIGIBLE * lengths[-1]
    kept[-1] = True  # one at least, where all features are zero
    return np.ascontiguousarray(vectors[:, kept])


def _batches(features):
    """Slices of structures whose Jacobians are small enough to hold at a time."""
    n_features = features.values.shape[1]
    per_batch = max(1, _BATCH // (3 * 30 * n_features))  # some 30 neighbours an atom
    edges = np.searchsorted(features.offsets, np.arange(0, features.offsets[-1], per_batch))
    edges = np.unique(np.append(edges, len(features)))
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def _fill_jacobians(features, batch, jacobian, basis, coordinates, side, atoms):
    """Write the Jacobians of one species in the structures of a batch."""
    offsets = features.offsets[batch.start : batch.stop + 1]
    starts = jacobian.pairs.offsets[offsets - offsets[0]]
    ranks = np.searchsorted(atoms, np.arange(offsets[0], offsets[-1]))
    is_mine = np.isin(np.arange(offsets[0], offsets[-1]), atoms)
    for s in range(batch.start, batch.stop):
        count = side.starts[s + 1] - side.starts[s]
        if count == 0 or side.n_dof[s] == 0:
            continue
        pairs = slice(starts[s - batch.start], starts[s - batch.start + 1])
        shift = offsets[s - batch.start] - offsets[0]
        centers = jacobian.pairs.centers[pairs] - shift
        mine = is_mine[centers + shift]
        slopes = jacobian.values[pairs][mine].reshape(-1, len(basis)) @ basis
        dense = np.zeros((count, 3 * features.n_atoms[s], slopes.shape[1]))
        scatter(
            centers[mine],
            jacobian.pairs.indices[pairs][mine] - shift,
            slopes.reshape(-1, 3, slopes.shape[1]),
            ranks[centers[mine] + shift] - side.starts[s],
            dense,
        )
        part = slice(side.jacobian_starts[s], side.jacobian_starts[s + 1])
        block = np.ascontiguousarray(dense[:, coordinates[s]].transpose(2, 0, 1))
        side.jacobians[part] = block.ravel()
        x = side.projected[side.starts[s] : side.starts[s + 1]]
        own = slice(side.own_starts[s], side.own_starts[s + 1])
        side.own[own] = np.einsum("id,dic->ic", x, block).ravel()
