"""Atoms of structures grouped by species, with their Jacobians in a small basis."""

from functools import partial

import numpy as np

from skatom.kernels._cpu.covariance import Side, add_jacobians, fill_own
from skatom.kernels.base import squared_norms
from skatom.memory import check_memory
from skatom.parallel import threads_over_blas
from skatom.structures import groups_by_size, offsets_from_counts

# Components of the Jacobians below this share of the largest squared are rounding error.
_NEGLIGIBLE = 1e-14
# Fewer atoms than this have no basis.
_ATOMS_PER_FEATURE = 2
# Numbers in the Jacobians of the structures that a thread handles at a time.
_BATCH = 2**20


class Environments:
    r"""The atoms of a batch of structures and their Jacobians, for covariances.

    The Jacobians J of the atoms of one species span few dimensions of the feature space: they are
    kept as :math:`P^\top J` in an orthonormal basis P of those dimensions, in which
    :math:`J^\top J' = (P^\top J)^\top (P^\top J')` and :math:`J^\top x = (P^\top J)^\top P^\top x`
    hold to rounding errors.

    Parameters
    ----------
    features : AtomicFeatures
        The features of the atoms.
    coordinates : list of ndarray of int, default=None
        The coordinates, of 3N, with respect to which derivatives are taken, for each structure.
        None: no derivatives.
    bases : dict of int to ndarray of shape (n_features, rank), default=None
        The basis P of each species, see `jacobian_bases`. None: the unit matrix.

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

    def __init__(self, features, coordinates=None, bases=None):
        self.features = features
        self.values = {z: features.values[features.numbers == z] for z in features.species}
        self.norms = {z: squared_norms(x) for z, x in self.values.items()}
        if coordinates is None:
            coordinates = [np.arange(0)] * len(features)
        self.n_dof = np.array([len(c) for c in coordinates], np.int64)
        self._structure = np.repeat(np.arange(len(features)), features.n_atoms)
        self.sides = self._empty_sides(bases)
        if self.n_dof.any():
            self._fill_jacobians(coordinates, bases)

    @classmethod
    def of_single_atoms(cls, features, bases):
        """Every atom as a structure of its own, without derivatives: a basis of environments."""
        environments = cls(features, bases=bases)
        n_dof = np.zeros(len(features.numbers), np.int64)
        nowhere = np.zeros(len(n_dof) + 1, np.int64)
        environments.n_dof = n_dof
        environments.sides = {
            z: side._replace(
                starts=offsets_from_counts(features.numbers == z),
                row_starts=nowhere,
                n_dof=n_dof,
            )
            for z, side in environments.sides.items()
        }
        return environments

    @property
    def projected(self):
        """Features (n_atoms of the species, rank) in the basis, by species."""
        return {z: side.projected for z, side in self.sides.items()}

    def _empty_sides(self, bases):
        counts = {
            z: np.bincount(self._structure[self.features.numbers == z], minlength=len(self.n_dof))
            for z in self.values
        }
        projected = {z: x if bases is None else x @ bases[z] for z, x in self.values.items()}
        check_memory(
            sum(8.0 * x.shape[1] * np.dot(counts[z], self.n_dof) for z, x in projected.items()),
            f"the array of Jacobians of {len(self.n_dof)} structures",
            "use fewer structures, or fewer features",
        )
        sides = {}
        for z, x in projected.items():
            rows = offsets_from_counts(counts[z] * self.n_dof)
            sides[z] = Side(
                offsets_from_counts(counts[z]), x, rows, np.zeros((rows[-1], x.shape[1])),
                np.empty(rows[-1]), self.n_dof,
            )  # fmt: skip
        return sides

    def _fill_jacobians(self, coordinates, bases):
        features, numbers = self.features, self.features.numbers
        coordinate = np.full(3 * len(numbers), -1)
        for start, kept in zip(features.offsets, coordinates, strict=False):
            coordinate[3 * start + kept] = np.arange(len(kept))
        atom = np.empty(len(numbers), np.int64)
        for z in self.sides:
            atom[numbers == z] = np.arange(len(self.values[z]))

        def fill(batch):
            jacobian, first = features.jacobian(batch), features.offsets[batch.start]
            centers, indices = (first + i for i in (jacobian.pairs.centers, jacobian.pairs.indices))
            for z, side in self.sides.items():
                mine = numbers[centers] == z
                slopes = jacobian.values[mine]
                if bases is not None:
                    projected = slopes.reshape(-1, len(bases[z])) @ bases[z]
                    slopes = projected.reshape(len(slopes), 3, bases[z].shape[1])
                add_jacobians(
                    centers[mine], indices[mine], slopes, atom, self._structure,
                    coordinate.reshape(-1, 3), side,
                )  # fmt: skip

        with threads_over_blas() as pool:
            list(pool.map(fill, [b for b in _batches(features) if self.n_dof[b].any()]))
            list(pool.map(fill_own, self.sides.values()))


def jacobian_bases(*batches):
    """Orthonormal bases P (n_features, rank) of the span of the Jacobians of each species.

    For few atoms there are no bases: finding them would cost more than they save.

    The features themselves are included in the span: what a basis leaves out is then small in
    features and Jacobians, and below rounding error in their products.

    Parameters
    ----------
    *batches : AtomicFeatures
        Features by the same descriptor.

    Returns
    -------
    dict of int to ndarray, or None
    """
    n_features = batches[0].values.shape[1]
    if sum(len(features.numbers) for features in batches) < _ATOMS_PER_FEATURE * n_features:
        return None
    slopes, values = {}, {}
    with threads_over_blas() as pool:
        for features in batches:
            for z in features.species:
                rows = features.values[features.numbers == z]
                values[z] = values.get(z, 0.0) + rows.T @ rows
            for grams in pool.map(partial(_grams, features), _batches(features)):
                for z, gram in grams.items():
                    slopes[z] = slopes.get(z, 0.0) + gram
        grams = ((slopes[z], values[z]) for z in values)
        return dict(zip(values, pool.map(_leading_eigenvectors, grams), strict=True))


def _grams(features, batch):
    """Σ JᵀJ over the pairs of the structures of a batch, for each species of the centre."""
    jacobian = features.jacobian(batch)
    numbers = features.structures[batch].numbers[jacobian.pairs.centers]
    found = {}
    for z in features.species:
        rows = jacobian.values[numbers == z].reshape(-1, jacobian.values.shape[2])
        found[z] = rows.T @ rows
    return found


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
    return groups_by_size(features.offsets, per_batch)
