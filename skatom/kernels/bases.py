"""Bases of the span of the Jacobians of features, which tell apart what elements change."""

from contextlib import contextmanager
from functools import partial, reduce
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from skatom._cpu.voigt import VOIGT
from skatom._device import is_tensor, namespace, on_host
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.kernels._cpu.jacobians import pair_grams
from skatom.kernels.feature_rows import rows_of
from skatom.parallel import split_rows, threads_over_blas, tree_reduce
from skatom.structures import groups_by_size

# Components of the Jacobians below this share of the largest squared are rounding error.
_NEGLIGIBLE = 1e-14
# Elements that are told apart.
_ELEMENTS = 60
# Fewer rows than this have no basis.
_ROWS_PER_FEATURE = 1
# Numbers in the Jacobians of the structures that a thread handles at a time, or a device.
_BATCH, _TENSOR_BATCH = 2**20, 2**26
# Parts of the structures whose matrices of products are kept until they are added up.
_PARTS = 64
# Rows of features whose products one thread adds up.
_ROWS = 512


def jacobian_bases(*batches):
    """Orthonormal bases P (n_features, rank) of the span of the Jacobians of each species.

    For few rows there are no bases: finding them would cost more than they save.

    The features themselves are included in the span: what a basis leaves out is then small in
    features and Jacobians, and below rounding error in their products.

    Parameters
    ----------
    *batches : AtomicFeatures or StructureFeatures
        Features by the same descriptor.

    Returns
    -------
    dict of int to ndarray, or None
    """
    n_features = batches[0].values.shape[1]
    if sum(len(features.values) for features in batches) < _ROWS_PER_FEATURE * n_features:
        return None
    slopes, values = {}, {}
    with mapper(batches[0]) as apply:
        for features in batches:
            for z, gram in _value_grams(features, apply):
                values[z] = values.get(z, 0.0) + gram
            for z, moved, used, gram in _slope_grams(features, apply):
                of_z = slopes.setdefault(z, {})
                if moved not in of_z:
                    of_z[moved] = namespace(gram).zeros_like(values[z])
                of_z[moved][used] += gram
        grams = ((z, slopes.get(z, {}), values[z]) for z in values)
        return dict(zip(values, apply(_leading_eigenvectors, grams), strict=True))


@contextmanager
def mapper(features):
    """`map` of a pool of threads, or in this thread for features on a device, which is one."""
    if is_tensor(features.values):
        yield map
    else:
        with threads_over_blas() as pool:
            yield pool.map


def dense_jacobians(features, batch):
    """The Jacobian (3N + 6, n_features) of each structure of a batch of StructureFeatures."""
    jacobian = features.jacobian(batch)
    rows, columns = VOIGT
    strains = -0.5 * (jacobian.strains[:, rows, columns] + jacobian.strains[:, columns, rows])
    n_features = strains.shape[2]
    for (first, last), strain in zip(pairwise(jacobian.offsets), strains, strict=True):
        gradients = jacobian.gradients[first:last].reshape(-1, n_features)
        yield namespace(strain).concatenate([gradients, strain])


def _value_grams(features, apply):
    """Species, and XᵀX of the features of some rows of it."""
    numbers = rows_of(features).numbers
    size = len(numbers) if is_tensor(features.values) else _ROWS
    of_species = {z: np.flatnonzero(numbers == z) for z in np.unique(numbers)}
    parts = [
        (z, mine[part]) for z, mine in of_species.items() for part in split_rows(len(mine), size)
    ]

    def gram(part):
        rows = features.values[part[1]]
        return rows.T @ rows

    for (z, _), found in zip(parts, apply(gram, parts), strict=True):
        yield z, found


def _slope_grams(features, apply):
    """Σ JᵀJ of all structures, by species of the centre and of the atom that moves.

    Yields
    ------
    tuple
        The two species, where the elements of the matrix are that are given, and these.
    """
    batches = jacobian_batches(features)
    if is_tensor(features.values) or not isinstance(features, AtomicFeatures):
        for found in apply(partial(_dense_grams, features), batches):
            yield from found
        return
    size = -(-len(batches) // _PARTS)
    parts = [batches[first : first + size] for first in range(0, len(batches), size)]
    if parts:
        yield from tree_reduce(apply(partial(_part_grams, features), parts)).of(features.species)


def _dense_grams(features, batch):
    """`_slope_grams` of a batch."""
    if not isinstance(features, AtomicFeatures):
        return [(0, 0, ..., sum(dense.T @ dense for dense in dense_jacobians(features, batch)))]
    jacobian = features.jacobian(batch)
    centers = features.structures[batch].numbers[jacobian.pairs.centers]
    found = []
    for z in features.species:  # one large product is faster than many small ones
        rows = jacobian.values[np.flatnonzero(centers == z)].flatten(0, 1)
        found.append((z, 0, ..., rows.T @ rows))
    return found


def _part_grams(features, batches):
    """The `_PairGrams` of some batches."""
    species = features.species

    def of_batch(batch):
        jacobian = features.jacobian(batch)
        of_atom = np.searchsorted(species, features.structures[batch].numbers)
        pairs = jacobian.pairs
        return _PairGrams(*pair_grams(
            jacobian.values, of_atom[pairs.centers], of_atom[pairs.indices], len(species)
        ))  # fmt: skip

    return reduce(_PairGrams.merge, map(of_batch, batches))


class _PairGrams(NamedTuple):
    """Matrices of all pairs of species, of the features that are not zero: see `pair_grams`."""

    used: np.ndarray
    grams: np.ndarray

    def merge(self, other):
        if np.array_equal(self.used, other.used):
            self.grams[:] += other.grams
            return self
        used, parts = self.used | other.used, [np.empty(0)]
        for both, *of_each in zip(used, self.matrices(), other.matrices(), strict=True):
            total = np.zeros([both.sum()] * 2)
            for own, gram in of_each:
                at = own[both]
                total[np.ix_(at, at)] += gram
            parts.append(total.ravel())
        return _PairGrams(used, np.concatenate(parts))

    def matrices(self):
        """The features and the matrix of each pair of species."""
        ends = np.cumsum(self.used.sum(axis=1) ** 2)
        for used, gram in zip(self.used, np.split(self.grams, ends[:-1]), strict=True):
            yield used, gram.reshape([used.sum()] * 2)

    def of(self, species):
        """What `_slope_grams` yields."""
        pairs = product(species, species)
        for (z, moved), (used, gram) in zip(pairs, self.matrices(), strict=True):
            if gram.size:
                yield z, moved, np.ix_(used, used), gram


def _leading_eigenvectors(grams):
    """Orthonormal vectors that span the features of a species, each of one group of features.

    Features of a group change with atoms of the same elements: so a basis keeps what is zero.
    """
    species, slopes, values = grams
    total = values / max(values.trace(), np.finfo(float).tiny)
    if slopes:
        of_all = sum(slopes.values())
        total = total + of_all / max(of_all.trace(), np.finfo(float).tiny)
    xp = namespace(total)
    # features that are zero everywhere, such as those of elements that are never near, are left out
    used = on_host(total.diagonal()) > 0
    # atoms of the element itself change all features: the central atom is one
    changes = [on_host(gram.diagonal()) > 0 for z, gram in slopes.items() if z != species]
    bits = np.array(changes, int).reshape(len(changes), len(used))[:_ELEMENTS]
    signature = (1 << np.arange(len(bits))) @ bits
    found = []
    for code in sorted(np.unique(signature[used]), key=_gray_place):
        group = np.flatnonzero(used & (signature == code))
        found.append((group, *xp.linalg.eigh(total[group][:, group])))
    if not found:  # one vector at least, where all features are zero
        basis = xp.zeros_like(total[:, :1])
        basis[0] = 1.0
        return basis
    largest = max(float(lengths[-1]) for _, lengths, _ in found)
    parts = []
    for group, lengths, vectors in found:
        vectors = vectors[:, lengths > _NEGLIGIBLE * largest]
        basis = xp.zeros_like(total[:, : vectors.shape[1]])
        basis[group] = vectors
        parts.append(basis)
    return xp.concatenate(parts, 1)


def _gray_place(code):
    """The place of a number in Gray's code, in which neighbours differ in one bit."""
    place = 0
    while code:
        place, code = place ^ code, code >> 1
    return place


def jacobian_batches(features):
    """Slices of structures whose Jacobians are small enough to hold at a time."""
    # for each feature, atoms have some 30 neighbours, and structures 3N + 9 derivatives
    per_atom = 3 * (30 if isinstance(features, AtomicFeatures) else 2)
    size = _TENSOR_BATCH if is_tensor(features.values) else _BATCH
    per_batch = max(1, size // (per_atom * features.values.shape[1]))
    return groups_by_size(features.structures.offsets, per_batch)
