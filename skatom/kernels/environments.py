"""Atoms of structures grouped by species, with their Jacobians in a small basis."""

from contextlib import contextmanager
from importlib import import_module
from itertools import repeat

import numpy as np

from skatom._device import device_of, is_tensor, namespace
from skatom.kernels._cpu import covariance as _cpu
from skatom.kernels._cpu.covariance import Side
from skatom.kernels.base import squared_norms
from skatom.memory import check_memory
from skatom.parallel import threads_over_blas
from skatom.structures import groups_by_size, offsets_from_counts

# Components of the Jacobians below this share of the largest squared are rounding error.
_NEGLIGIBLE = 1e-14
# Fewer atoms than this have no basis.
_ATOMS_PER_FEATURE = 2
# Numbers in the Jacobians of the structures that are handled at a time, of arrays and of tensors.
_BATCH, _TENSOR_BATCH = 2**24, 2**26


def loops_of(array):
    """The module of the loops for arrays, or for tensors."""
    return import_module("skatom.kernels._torch.covariance") if is_tensor(array) else _cpu


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
        self.values = {
            z: features.values[np.flatnonzero(features.numbers == z)] for z in features.species
        }
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
        device = device_of(self.features.values)
        check = check_memory if device is None else device.check_memory
        check(
            sum(8.0 * x.shape[1] * np.dot(counts[z], self.n_dof) for z, x in projected.items()),
            f"the array of Jacobians of {len(self.n_dof)} structures",
            "use fewer structures, or fewer features",
        )
        sides = {}
        for z, x in projected.items():
            rows = offsets_from_counts(counts[z] * self.n_dof)
            shape = int(rows[-1]), x.shape[1]
            jacobians, own = (
                (np.zeros(shape), np.empty(shape[0]))
                if device is None
                else (device.zeros(*shape), device.empty(shape[0]))
            )
            sides[z] = Side(offsets_from_counts(counts[z]), x, rows, jacobians, own, self.n_dof)
        return sides

    def _fill_jacobians(self, coordinates, bases):
        features, numbers = self.features, self.features.numbers
        coordinate = np.full(3 * len(numbers), -1)
        for start, kept in zip(features.offsets, coordinates, strict=False):
            coordinate[3 * start + kept] = np.arange(len(kept))
        atom = np.empty(len(numbers), np.int64)
        for z in self.sides:
            atom[numbers == z] = np.arange(len(self.values[z]))

        loops = loops_of(features.values)

        def fill(z, jacobian, first):
            mine = np.flatnonzero(numbers[first + jacobian.pairs.centers] == z)
            slopes = jacobian.values[mine]
            if bases is not None:
                projected = slopes.reshape(-1, len(bases[z])) @ bases[z]
                slopes = projected.reshape(len(slopes), 3, bases[z].shape[1])
            loops.add_jacobians(
                first + jacobian.pairs.centers[mine], first + jacobian.pairs.indices[mine], slopes,
                atom, self._structure, coordinate.reshape(-1, 3), self.sides[z],
            )  # fmt: skip

        with _mapper(features) as apply:
            for batch in _batches(features):
                if self.n_dof[batch].any():
                    jacobian, first = features.jacobian(batch), features.offsets[batch.start]
                    list(apply(fill, self.sides, repeat(jacobian), repeat(first)))
            list(apply(loops.fill_own, self.sides.values()))


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
    with _mapper(batches[0]) as apply:
        for features in batches:
            for z in features.species:
                _add_gram(values, z, features.values[np.flatnonzero(features.numbers == z)])
            for batch in _batches(features):
                jacobian = features.jacobian(batch)
                numbers = features.structures[batch].numbers[jacobian.pairs.centers]

                def add(z, jacobian=jacobian, numbers=numbers):
                    rows = jacobian.values[np.flatnonzero(numbers == z)]
                    _add_gram(slopes, z, rows.reshape(-1, rows.shape[2]))

                list(apply(add, features.species))
        grams = ((slopes[z], values[z]) for z in values)
        return dict(zip(values, apply(_leading_eigenvectors, grams), strict=True))


@contextmanager
def _mapper(features):
    """`map` of a pool of threads, or in this thread for features on a device, which is one."""
    if is_tensor(features.values):
        yield map
    else:
        with threads_over_blas() as pool:
            yield pool.map


def _add_gram(grams, z, rows):
    grams[z] = grams.get(z, 0.0) + rows.T @ rows


def _leading_eigenvectors(grams):
    total = sum(gram / max(gram.trace(), np.finfo(float).tiny) for gram in grams)
    xp = namespace(total)
    lengths, vectors = xp.linalg.eigh(total)
    kept = lengths > _NEGLIGIBLE * lengths[-1]
    kept[-1] = True  # one at least, where all features are zero
    kept = vectors[:, kept]
    return kept.contiguous() if is_tensor(kept) else np.ascontiguousarray(kept)


def _batches(features):
    """Slices of structures whose Jacobians are small enough to hold at a time."""
    n_features = features.values.shape[1]
    size = _TENSOR_BATCH if is_tensor(features.values) else _BATCH
    per_batch = max(1, size // (3 * 30 * n_features))  # some 30 neighbours an atom
    return groups_by_size(features.offsets, per_batch)
