"""The neighbours of each atom, alone or two by two, in coordinates that a kernel chooses.

`NBody` has n-plets without a centre. Averages over the rotations around an atom, and kernels that
are not averaged, have one: each environment is a sum over its neighbours or its pairs of them.
"""

from dataclasses import dataclass

import numpy as np

from skatom._cpu.voigt import VOIGT
from skatom.kernels.nbody import functionals, nplets
from skatom.structures import offsets_from_counts


@dataclass(frozen=True)
class CenteredPlets:
    """Neighbours or pairs of neighbours of centres, in three coordinates T.

    Attributes
    ----------
    keys : ndarray of int, shape (n, order)
        Atomic numbers, that of the centre first.
    members : ndarray of int, shape (order, n)
        The atoms, the centre first.
    sides : ndarray of float, shape (3, n)
        The coordinates T, padded with zeros.
    weight : ndarray of float, shape (n,)
        The factor F(T) of the plet, with the cutoff functions.
    weight_slopes : ndarray of float, shape (3, n)
        ∂F/∂T.
    directions : ndarray of float, shape (order, 3 axes, 3 coordinates, n)
        -∂T/∂r of each member.
    strains : ndarray of float, shape (6, 3 coordinates, n)
        ∂T/∂strain in Voigt's order.
    """

    keys: np.ndarray
    members: np.ndarray
    sides: np.ndarray
    weight: np.ndarray
    weight_slopes: np.ndarray
    directions: np.ndarray
    strains: np.ndarray

    def rows(self, structures, what, atoms=None):
        """Energies of structures, sums around atoms, forces or virials; see `NBody.rows`."""
        n_atoms = len(structures.numbers)
        owners = np.repeat(np.arange(len(structures)), structures.n_atoms)[self.members[0]]
        if what == "local":
            return self._of_groups(self.members[:1], n_atoms)
        if what == "energy":
            return self._of_groups(owners[None], len(structures))
        if what == "virial":
            return self._of_groups(owners[None], len(structures), self.strains[None])
        atoms = np.arange(n_atoms) if atoms is None else atoms
        places = np.full(n_atoms, -1)
        places[atoms] = np.arange(len(atoms))
        return self._of_groups(places[self.members], len(atoms), self.directions)

    def slopes(self, structures, what, atoms=None):
        """Derivatives of each environment, see `NBody.slopes`."""
        n_atoms = len(structures.numbers)
        if what == "virial":
            rows = self._of_groups(self.members[:1], n_atoms, self.strains[None])
            owners = np.repeat(np.arange(len(structures)), structures.n_atoms)
            return rows, np.arange(n_atoms), owners
        places = np.full(n_atoms, -1)
        atoms = np.arange(n_atoms) if atoms is None else atoms
        places[atoms] = np.arange(len(atoms))
        pairs = np.where(places[self.members] < 0, -1, self.members[0] * n_atoms + self.members)
        found = np.unique(pairs)
        found = found[found >= 0]
        owners = np.where(pairs < 0, -1, np.searchsorted(found, pairs))
        rows = self._of_groups(owners, len(found), self.directions)
        return rows, found // n_atoms, places[found % n_atoms]

    def _of_groups(self, owners, n_groups, directions=None):
        """Rows of groups: ``owners`` (k, n), -1 for none, of k ways in which a plet changes."""
        k, n = owners.shape
        plets, ways = np.tile(np.arange(n), k), np.repeat(np.arange(k), n)
        owners = owners.ravel()
        order = np.argsort(owners, kind="stable")
        order = order[np.searchsorted(owners[order], 0) :]
        owners, plets, ways = owners[order], plets[order], ways[order]
        sides = self.sides[:, plets]
        if directions is None:
            coefficients = np.zeros((1, 4, len(plets)))
            coefficients[0, 0] = self.weight[plets]
        else:
            along = np.moveaxis(directions, 0, -1)[..., plets, ways]
            coefficients = np.empty((len(along), 4, len(plets)))
            coefficients[:, 0] = np.einsum("rkn,kn->rn", along, self.weight_slopes[:, plets])
            coefficients[:, 1:] = along * self.weight[plets]
        return split_by_keys(self.keys[plets], owners, n_groups, sides, coefficients)


def split_by_keys(keys, owners, n_groups, sides, coefficients):
    """Rows with a part for each combination of elements; ``owners`` are sorted."""
    parts = {}
    for key in np.unique(keys, axis=0):
        chosen = np.flatnonzero((keys == key).all(axis=1))
        starts = offsets_from_counts(np.bincount(owners[chosen], minlength=n_groups))
        parts[tuple(key.tolist())] = functionals.Part(
            starts, np.ascontiguousarray(sides[:, chosen]), coefficients[..., chosen]
        )
    return functionals.NPletRows(n_groups, len(coefficients), parts)


def neighbors_by_vector(structures, cutoff):
    """The neighbours of each atom; T is the vector r_j - r_i."""
    pairs = nplets.find_pairs(structures, cutoff.reach(structures), half=False)
    vectors, units = pairs.vectors.T, (pairs.vectors / pairs.distances[:, None]).T
    f, slopes = cutoff(pairs.distances)
    members, n = (pairs.centers, pairs.neighbors), len(f)
    eye = np.broadcast_to(np.eye(3)[..., None], (3, 3, n))
    return CenteredPlets(
        _numbers(structures, *members), np.stack(members),
        vectors, f, slopes * units, np.stack([eye, -eye]), _strains([vectors], [eye]),
    )  # fmt: skip


def neighbors_by_distance(structures, cutoff):
    """The neighbours of each atom; T is the distance."""
    pairs = nplets.find_pairs(structures, cutoff.reach(structures), half=False)
    members, n = (pairs.centers, pairs.neighbors), len(pairs.centers)
    units = np.zeros((3, 3, n))
    units[:, 0] = (pairs.vectors / pairs.distances[:, None]).T
    f, slopes = cutoff(pairs.distances)
    sides, weight_slopes = np.zeros((3, n)), np.zeros((3, n))
    sides[0], weight_slopes[0] = pairs.distances, slopes
    return CenteredPlets(
        _numbers(structures, *members), np.stack(members),
        sides, f, weight_slopes, np.stack([units, -units]), _strains([pairs.vectors.T], [units]),
    )  # fmt: skip


def neighbors_two_by_two(structures, cutoff):
    r"""Pairs (j, k) of neighbours of each atom; T = (r_ij, r_ik, cos θ).

    Each pair is listed once, with the lighter atom first, and each neighbour with itself, with half
    the weight.
    """
    pairs, first, second = two_of_one_center(structures, cutoff)
    first, second = first[first <= second], second[first <= second]
    numbers = structures.numbers[pairs.neighbors]
    swap = numbers[first] > numbers[second]
    first, second = np.where(swap, second, first), np.where(swap, first, second)
    r, units = pairs.distances, (pairs.vectors / pairs.distances[:, None]).T
    n_j, n_k, r_j, r_k = units[:, first], units[:, second], r[first], r[second]
    cosines = np.sum(n_j * n_k, axis=0)
    to_j, to_k = np.zeros((3, 3, len(first))), np.zeros((3, 3, len(first)))
    to_j[:, 0], to_j[:, 2] = n_j, (n_k - cosines * n_j) / r_j
    to_k[:, 1], to_k[:, 2] = n_k, (n_j - cosines * n_k) / r_k
    f, slopes = cutoff(r)
    half = np.where(first == second, 0.5, 1.0)
    weight_slopes = np.zeros((3, len(first)))
    weight_slopes[0] = half * slopes[first] * f[second]
    weight_slopes[1] = half * f[first] * slopes[second]
    centers, j, k = pairs.centers[first], pairs.neighbors[first], pairs.neighbors[second]
    return CenteredPlets(
        _numbers(structures, centers, j, k), np.stack([centers, j, k]),
        np.stack([r_j, r_k, cosines]), half * f[first] * f[second], weight_slopes,
        np.stack([to_j + to_k, -to_j, -to_k]),
        _strains([r_j * n_j, r_k * n_k], [to_j, to_k]),
    )  # fmt: skip


def vector_rows(structures, order, cutoff, atoms=None):
    """Unit vectors to the neighbours of atoms, or to ordered pairs of them, with their weights.

    Parameters
    ----------
    structures : Structures
    order : {2, 3}
    cutoff : Cutoff
    atoms : ndarray of int, default=None
        The atoms of the batch. None: all.

    Returns
    -------
    NPletRows
        Groups of three rows, the axes; see `harmonics.vectors` for the coefficients.
    """
    atoms = np.arange(len(structures.numbers)) if atoms is None else atoms
    owners = np.full(len(structures.numbers), -1)
    owners[atoms] = np.arange(len(atoms))
    pairs, first, second = two_of_one_center(structures, cutoff, atoms)
    if order == 2:
        first = second = np.arange(len(pairs.centers))
    units, (f, _) = (pairs.vectors / pairs.distances[:, None]).T, cutoff(pairs.distances)
    n_j, n_k = units[:, first], units[:, second]
    vectors = np.stack([n_j, n_k, np.cross(n_j, n_k, axis=0)], axis=1)
    weight = f[first] if order == 2 else f[first] * f[second]
    sides = np.stack([pairs.distances[first], pairs.distances[second], np.sum(n_j * n_k, axis=0)])
    centers = pairs.centers[first]
    members = [centers, pairs.neighbors[first], pairs.neighbors[second]][:order]
    by_owner = np.argsort(owners[centers], kind="stable")
    return split_by_keys(
        _numbers(structures, *members)[by_owner], owners[centers][by_owner], len(atoms),
        sides[:, by_owner], (weight * vectors)[..., by_owner],
    )  # fmt: skip


def two_of_one_center(structures, cutoff, atoms=None):
    """The neighbours of each atom, and the places p and q of each ordered pair of one atom's."""
    pairs = nplets.find_pairs(structures, cutoff.reach(structures), half=False, atoms=atoms)
    counts = np.diff(pairs.starts)[pairs.centers]
    first = np.repeat(np.arange(len(counts)), counts)
    begin = np.repeat(offsets_from_counts(counts)[:-1] - pairs.starts[pairs.centers], counts)
    return pairs, first, np.arange(len(first)) - begin


def _numbers(structures, *members):
    return np.stack([structures.numbers[m] for m in members], axis=1)


def _strains(vectors, slopes):
    """∂T/∂strain, symmetric, from the vectors of neighbours (3, n) and ∂T/∂r of these."""
    total = sum(np.einsum("bn,akn->abkn", v, s) for v, s in zip(vectors, slopes, strict=True))
    total = 0.5 * (total + total.swapaxes(0, 1))
    return total[VOIGT]
