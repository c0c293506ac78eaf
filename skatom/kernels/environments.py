"""Rows of features grouped by species, with their Jacobians in a small basis."""

from collections import deque
from copy import copy
from importlib import import_module

import numpy as np

from skatom._device import beside, device_of, is_tensor, on_host
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.kernels._cpu import covariance as _cpu
from skatom.kernels._cpu.covariance import Side
from skatom.kernels._cpu.jacobians import add_jacobians, fill_own
from skatom.kernels.base import squared_norms
from skatom.kernels.bases import dense_jacobians, jacobian_batches
from skatom.kernels.coordinates import runs_of_classes
from skatom.kernels.feature_rows import rows_of
from skatom.memory import check_memory
from skatom.parallel import run_in_threads, split_rows, threads_over_blas
from skatom.structures import offsets_from_counts

# Rows of features that a thread multiplies with a basis at once.
_ROWS = 512


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
    positions, and the components of a strain with the opposite sign, in Voigt's
    order. A derivative with the opposite sign is then a force or a component of the virial.

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
        self._runs = runs_of_classes(features, coordinates)
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
        none = np.zeros(len(n_dof) + 1, np.int64)
        environments.sides = {
            z: side._replace(starts=starts[z], row_starts=none, n_dof=n_dof, run_starts=none)
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
                projected=side.projected @ bases[z],
                jacobians=side.jacobians @ bases[z],
                support=side.support @ np.abs(on_host(bases[z])),
            )  # fmt: skip
            for z, side in self.sides.items()
            if z in bases
        }
        return projected

    def _empty_sides(self, bases):
        counts = {
            z: np.bincount(self._structure[self.rows.numbers == z], minlength=len(self.n_dof))
            for z in self.values
        }
        projected = {
            z: x if bases is None else _in_basis(x, bases[z]) for z, x in self.values.items()
        }
        device = device_of(self.features.values)
        check = check_memory if device is None else device.check_memory
        check(
            sum(8.0 * x.shape[1] * np.dot(counts[z], self.n_dof) for z, x in projected.items()),
            f"the array of Jacobians of {len(self.n_dof)} structures",
            "use fewer structures, or fewer features",
        )
        sides = {}
        run_starts, runs, n_classes = self._runs
        longest = int((runs[:, 1] - runs[:, 0]).max(initial=0))
        for z, x in projected.items():
            rows = offsets_from_counts(counts[z] * self.n_dof)
            shape = int(rows[-1]), x.shape[1]
            jacobians, own = (
                (np.zeros(shape), np.empty(shape[0]))
                if device is None
                else (device.zeros(*shape), device.empty(shape[0]))
            )
            sides[z] = Side(
                offsets_from_counts(counts[z]), x, rows, jacobians, own, self.n_dof, run_starts,
                runs, np.zeros((n_classes, x.shape[1])), longest,
            )  # fmt: skip
        return sides

    def _fill_jacobians(self, coordinates, bases):
        if isinstance(self.features, AtomicFeatures):
            self._fill_from_pairs(coordinates, bases)
        else:
            self._fill_from_structures(coordinates, bases)

    def _fill_from_structures(self, coordinates, bases):
        """Copy the rows of the dense Jacobians of structures."""
        (side,) = self.sides.values()
        for batch in jacobian_batches(self.features):
            if self.n_dof[batch].any():
                for s, dense in enumerate(dense_jacobians(self.features, batch), batch.start):
                    dense = dense[coordinates[s]]
                    at = slice(side.row_starts[s], side.row_starts[s + 1])
                    side.jacobians[at] = dense if bases is None else dense @ bases[0]
        if is_tensor(side.own):
            loops_of(side.own).fill_own(side)
        else:
            run_in_threads(fill_own, len(self.features), side)

    def _fill_from_pairs(self, coordinates, bases):
        """Collect the Jacobians of atoms along the vectors to their neighbours."""
        features = self.features
        places = self._places(coordinates)
        batches = [b for b in jacobian_batches(features) if self.n_dof[b].any()]
        if is_tensor(features.values):
            loops = loops_of(features.values)
            for batch in batches:
                self._add_tensors(loops, batch, places, bases)
            for side in self.sides.values():
                loops.fill_own(side)
            return
        bases = bases or {z: np.empty((0, 0)) for z in self.sides}

        def fill(batch):
            jacobian, first = features.jacobian(batch), features.offsets[batch.start]
            pairs = (first + jacobian.pairs.centers, first + jacobian.pairs.indices)
            pairs = *pairs, jacobian.pairs.vectors
            for species, (z, side) in enumerate(self.sides.items()):
                add_jacobians(jacobian.values, pairs, places, species, bases[z], side)
                fill_own(batch.start, batch.stop, side)

        with threads_over_blas() as pool:
            deque(pool.map(fill, batches), 0)

    def _places(self, coordinates):
        """What `add_jacobians` has to know of all atoms and structures."""
        features, numbers = self.features, self.rows.numbers
        coordinate = np.full((len(numbers), 3), -1)
        strain = np.full((len(features), 6), -1)
        for s, kept in enumerate(coordinates):
            place = np.full(3 * features.n_atoms[s] + 6, -1)
            place[kept] = np.arange(len(kept))
            coordinate[features.offsets[s] : features.offsets[s + 1]] = place[:-6].reshape(-1, 3)
            strain[s] = place[-6:]
        species, atom = np.empty((2, len(numbers)), np.int64)
        for index, z in enumerate(self.sides):
            mine = np.flatnonzero(numbers == z)
            species[mine], atom[mine] = index, np.arange(len(mine))
        return species, atom, self._structure, coordinate, strain

    def _add_tensors(self, loops, batch, places, bases):
        """`add_jacobians` for the Jacobians of a batch that are tensors."""
        jacobian, first = self.features.jacobian(batch), self.features.offsets[batch.start]
        centers, indices = (first + i for i in (jacobian.pairs.centers, jacobian.pairs.indices))
        of_atom, *others = places
        for species, (z, side) in enumerate(self.sides.items()):
            mine = np.flatnonzero(of_atom[centers] == species)
            slopes = jacobian.values[mine]
            if bases is not None:
                slopes = (slopes.flatten(0, 1) @ bases[z]).unflatten(0, (len(mine), 3))
            loops.add_jacobians(
                centers[mine], indices[mine], jacobian.pairs.vectors[mine], slopes, *others, side
            )


def _in_basis(rows, basis):
    """The product ``rows @ basis``, in threads, those of BLAS taking no time from later work."""
    if is_tensor(rows):
        return rows @ basis
    out = np.empty((len(rows), basis.shape[1]))
    pieces = split_rows(len(rows), _ROWS)
    with threads_over_blas() as team:
        deque(team.map(lambda part: np.matmul(rows[part], basis, out=out[part]), pieces), 0)
    return out


def _some_structures(side, structures):
    """The `Side` of some of its structures."""
    runs = [np.arange(*side.run_starts[s : s + 2]) for s in structures]
    atoms, rows = (
        beside(np.concatenate([np.arange(ends[s], ends[s + 1]) for s in structures]), side.own)
        for ends in (side.starts, side.row_starts)
    )
    return Side(
        offsets_from_counts(np.diff(side.starts)[structures]), side.projected[atoms],
        offsets_from_counts(np.diff(side.row_starts)[structures]), side.jacobians[rows],
        side.own[rows], side.n_dof[structures],
        offsets_from_counts([len(of_one) for of_one in runs]), side.runs[np.concatenate(runs)],
        side.support, side.longest,
    )  # fmt: skip
