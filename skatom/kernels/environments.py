"""Rows of features grouped by species, with their Jacobians in a small basis."""

from contextlib import contextmanager
from copy import copy
from functools import partial
from importlib import import_module
from itertools import pairwise

import numpy as np

from skatom._device import beside, device_of, is_tensor, namespace
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.kernels._cpu import covariance as _cpu
from skatom.kernels._cpu.covariance import STRAINS, Side
from skatom.kernels.base import squared_norms
from skatom.kernels.feature_rows import rows_of
from skatom.memory import check_memory
from skatom.parallel import threads_over_blas
from skatom.structures import groups_by_size, offsets_from_counts

# Components of the Jacobians below this share of the largest squared are rounding error.
_NEGLIGIBLE = 1e-14
# Fewer rows than this have no basis.
_ROWS_PER_FEATURE = 1
# Numbers in the Jacobians of the structures that a thread handles at a time, or a device.
_BATCH, _TENSOR_BATCH = 2**20, 2**26


def loops_of(array):
    """The module of the loops for arrays, or for tensors."""
    return import_module("skatom.kernels._torch.covariance") if is_tensor(array) else _cpu


class Environments:
    r"""The rows of the features of a batch of structures and their Jacobians, for covariances.

    A row is an atom, or the whole structure if its features are (`feature_rows.rows_of`). The
    Jacobians J of the rows of one species span few dimensions of the feature space: they are
    kept as :math:`P^\top J` in an orthonormal basis P of those dimensions, in which
    :math:`J^\top J' = (P^\top J)^\top (P^\top J')` and :math:`J^\top x = (P^\top J)^\top P^\top x`
    hold to rounding errors.

    Derivatives are taken with respect to 3N + 6 coordinates of a structure of N atoms: its
    positions, and the components of a strain with the opposite sign, in Voigt's order
    (`STRAINS`). A derivative with the opposite sign is then a force or a component of the virial.

    Parameters
    ----------
    features : AtomicFeatures or StructureFeatures
        The features of the rows.
    coordinates : list of ndarray of int, default=None
        The coordinates, of 3N + 6, with respect to which derivatives are taken, for each
        structure. None: no derivatives.
    bases : dict of int to ndarray of shape (n_features, rank), default=None
        The basis P of each species, see `jacobian_bases`. None: the unit matrix.

    Attributes
    ----------
    features : AtomicFeatures or StructureFeatures
    n_dof : ndarray of int, shape (n,)
        Number of coordinates of each structure.
    sides : dict of int to Side
        The rows of each species.
    values, norms : dict of int to ndarray
        Features (n_rows of the species, n_features) and their squared norms.
    whole : Environments
        The environments before `in_bases`, or themselves.
    """

    def __init__(self, features, coordinates=None, bases=None):
        self.features = features
        self.rows = rows_of(features)
        numbers = self.rows.numbers
        self.values = {z: features.values[np.flatnonzero(numbers == z)] for z in np.unique(numbers)}
        self.norms = {z: squared_norms(x) for z, x in self.values.items()}
        if coordinates is None:
            coordinates = [np.arange(0)] * len(features)
        self.n_dof = np.array([len(c) for c in coordinates], np.int64)
        self._structure = np.repeat(np.arange(len(features)), self.rows.counts)
        self.sides = self._empty_sides(bases)
        self.whole, self._made = self, {}
        if self.n_dof.any():
            self._fill_jacobians(coordinates, bases)

    @classmethod
    def of_single_rows(cls, features, bases):
        """Every row as a structure of its own, without derivatives: a basis of environments."""
        environments = cls(features, bases=bases)
        starts = {
            z: offsets_from_counts(environments.rows.numbers == z) for z in environments.sides
        }
        return environments._with_starts(starts)

    def without_derivatives(self):
        """The same rows and structures without derivatives."""
        return self._with_starts({z: side.starts for z, side in self.sides.items()})

    def part(self, structures):
        """The environments of some structures (sorted indices), in the same bases."""
        part = copy(self)
        part.features = self.features[structures]
        part.rows = rows_of(part.features)
        numbers = part.rows.numbers
        part.n_dof = self.n_dof[structures]
        part._structure = np.repeat(np.arange(len(structures)), part.rows.counts)
        part.values = {
            z: part.features.values[np.flatnonzero(numbers == z)] for z in np.unique(numbers)
        }
        part.norms = {z: squared_norms(x) for z, x in part.values.items()}
        part.sides = {z: _some_structures(self.sides[z], structures) for z in part.values}
        part.whole, part._made = part, {}
        return part

    def _with_starts(self, starts):
        """The same rows without derivatives, of structures that begin at other rows."""
        environments = copy(self)
        environments.whole, environments._made = environments, {}
        n_dof = np.zeros(max(len(first) for first in starts.values()) - 1, np.int64)
        environments.n_dof = n_dof
        environments.sides = {
            z: side._replace(
                starts=starts[z], row_starts=np.zeros(len(n_dof) + 1, np.int64), n_dof=n_dof
            )
            for z, side in self.sides.items()
        }
        return environments

    def once(self, key, make):
        """What ``make()`` returned when it was first called for this key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    @property
    def projected(self):
        """Features (n_rows of the species, rank) in the basis, by species."""
        return {z: side.projected for z, side in self.sides.items()}

    def in_bases(self, bases):
        """These environments in bases whose span need not hold their Jacobians.

        What the span leaves out does not matter to covariances with environments inside it.
        """
        if bases is None:
            return self
        projected = copy(self)
        projected.sides = {
            z: side._replace(
                projected=side.projected @ bases[z], jacobians=side.jacobians @ bases[z]
            )
            for z, side in self.sides.items()
            if z in bases
        }
        return projected

    def _empty_sides(self, bases):
        counts = {
            z: np.bincount(self._structure[self.rows.numbers == z], minlength=len(self.n_dof))
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
        if isinstance(self.features, AtomicFeatures):
            self._fill_from_pairs(coordinates, bases)
        else:
            self._fill_from_structures(coordinates, bases)
        loops = loops_of(self.features.values)
        with _mapper(self.features) as apply:
            list(apply(loops.fill_own, self.sides.values()))

    def _fill_from_structures(self, coordinates, bases):
        """Copy the rows of the dense Jacobians of structures."""
        (side,) = self.sides.values()
        for batch in _batches(self.features):
            if self.n_dof[batch].any():
                for s, dense in enumerate(_dense_jacobians(self.features, batch), batch.start):
                    dense = dense[coordinates[s]]
                    at = slice(side.row_starts[s], side.row_starts[s + 1])
                    side.jacobians[at] = dense if bases is None else dense @ bases[0]

    def _fill_from_pairs(self, coordinates, bases):
        """Collect the Jacobians of atoms along the vectors to their neighbours."""
        features, numbers = self.features, self.rows.numbers
        coordinate = np.full((len(numbers), 3), -1)
        strain = np.full((len(features), 6), -1)
        for s, kept in enumerate(coordinates):
            place = np.full(3 * features.n_atoms[s] + 6, -1)
            place[kept] = np.arange(len(kept))
            coordinate[features.offsets[s] : features.offsets[s + 1]] = place[:-6].reshape(-1, 3)
            strain[s] = place[-6:]
        atom = np.empty(len(numbers), np.int64)
        for z in self.sides:
            atom[numbers == z] = np.arange(len(self.values[z]))

        loops = loops_of(features.values)

        def fill(batch):
            jacobian, first = features.jacobian(batch), features.offsets[batch.start]
            centers, indices = (first + i for i in (jacobian.pairs.centers, jacobian.pairs.indices))
            for z, side in self.sides.items():
                mine = np.flatnonzero(numbers[centers] == z)
                slopes = jacobian.values[mine]
                if bases is not None:
                    projected = slopes.reshape(-1, len(bases[z])) @ bases[z]
                    slopes = projected.reshape(len(slopes), 3, bases[z].shape[1])
                loops.add_jacobians(
                    centers[mine], indices[mine], jacobian.pairs.vectors[mine], slopes, atom,
                    self._structure, coordinate, strain, side,
                )  # fmt: skip

        with _mapper(features) as apply:
            list(apply(fill, [b for b in _batches(features) if self.n_dof[b].any()]))


def _some_structures(side, structures):
    """The `Side` of some of its structures."""
    atoms, rows = (
        beside(np.concatenate([np.arange(ends[s], ends[s + 1]) for s in structures]), side.own)
        for ends in (side.starts, side.row_starts)
    )
    return Side(
        offsets_from_counts(np.diff(side.starts)[structures]), side.projected[atoms],
        offsets_from_counts(np.diff(side.row_starts)[structures]), side.jacobians[rows],
        side.own[rows], side.n_dof[structures],
    )  # fmt: skip


def coordinates_of(forces, virial, n_atoms):
    """The coordinates of the derivatives that are forces, the virial, or both.

    Parameters
    ----------
    forces : bool, or ndarray of int
        Whether forces are wanted, or which of their 3N components.
    virial : bool
    n_atoms : int

    Returns
    -------
    ndarray of int
    """
    if isinstance(forces, np.ndarray):
        positions = forces
    else:
        positions = np.arange(3 * n_atoms if forces else 0)
    return np.append(positions, 3 * n_atoms + np.arange(6 if virial else 0))


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
    with _mapper(batches[0]) as apply:
        for features in batches:
            numbers = rows_of(features).numbers
            for z in np.unique(numbers):
                rows = features.values[np.flatnonzero(numbers == z)]
                values[z] = values.get(z, 0.0) + rows.T @ rows
            for grams in apply(partial(_grams, features), _batches(features)):
                for z, gram in grams.items():
                    slopes[z] = slopes.get(z, 0.0) + gram
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


def _dense_jacobians(features, batch):
    """The Jacobian (3N + 6, n_features) of each structure of a batch of StructureFeatures."""
    jacobian = features.jacobian(batch)
    rows, columns = np.transpose(STRAINS)
    strains = -0.5 * (jacobian.strains[:, rows, columns] + jacobian.strains[:, columns, rows])
    n_features = strains.shape[2]
    for (first, last), strain in zip(pairwise(jacobian.offsets), strains, strict=True):
        gradients = jacobian.gradients[first:last].reshape(-1, n_features)
        yield namespace(strain).concatenate([gradients, strain])


def _grams(features, batch):
    """Σ JᵀJ of the structures of a batch, by species of the centre."""
    if not isinstance(features, AtomicFeatures):
        return {0: sum(dense.T @ dense for dense in _dense_jacobians(features, batch))}
    jacobian = features.jacobian(batch)
    numbers = features.structures[batch].numbers[jacobian.pairs.centers]
    found = {}
    for z in features.species:
        rows = jacobian.values[np.flatnonzero(numbers == z)]
        rows = rows.reshape(-1, rows.shape[2])
        found[z] = rows.T @ rows
    return found


def _leading_eigenvectors(grams):
    total = sum(gram / max(gram.trace(), np.finfo(float).tiny) for gram in grams)
    xp = namespace(total)
    # features that are zero everywhere, such as those of elements that are never near, are left out
    used = xp.nonzero(total.diagonal())
    used = used[:, 0] if is_tensor(total) else used[0]
    used = used if len(used) else xp.arange(1)
    lengths, vectors = xp.linalg.eigh(total[used][:, used])
    kept = lengths > _NEGLIGIBLE * lengths[-1]
    kept[-1] = True  # one at least, where all features are zero
    basis = xp.zeros_like(total[:, : int(kept.sum())])
    basis[used] = vectors[:, kept]
    return basis


def _batches(features):
    """Slices of structures whose Jacobians are small enough to hold at a time."""
    # for each feature, atoms have some 30 neighbours, and structures 3N + 9 derivatives
    per_atom = 3 * (30 if isinstance(features, AtomicFeatures) else 2)
    size = _TENSOR_BATCH if is_tensor(features.values) else _BATCH
    per_batch = max(1, size // (per_atom * features.values.shape[1]))
    return groups_by_size(features.structures.offsets, per_batch)
