"""Pairs and triangles of atoms."""

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np

from skatom._cpu import cutoffs
from skatom.kernels._cpu import nbody as _cpu
from skatom.neighbors import neighbor_list
from skatom.parallel import run_in_threads
from skatom.structures import offsets_from_counts

# Longer than any difference that rounding leaves between two images, shorter than any cell.
_TIE = 1e-6


@dataclass(frozen=True)
class Cutoff:
    """f_c(r): its radius, transition width and kind."""

    radius: float | None
    width: float
    kind: str

    @property
    def code(self):
        if self.radius is None:
            return cutoffs.NO_CUTOFF
        return cutoffs.EXPONENTIAL if self.kind == "exponential" else cutoffs.COSINE

    @property
    def compiled(self):
        """Parameters of compiled functions: kind, radius, width."""
        return self.code, np.inf if self.radius is None else float(self.radius), float(self.width)

    def __call__(self, r):
        """Values and slopes, of the shape of ``r``."""
        f, slopes = cutoffs.cutoff_functions(*self.compiled, np.ravel(r))
        return f.reshape(np.shape(r)), slopes.reshape(np.shape(r))

    def reach(self, structures):
        """Distance within which atoms interact; without a cutoff, longer than any molecule."""
        if self.radius is not None:
            return float(self.radius)
        if structures.pbc.any():
            raise ValueError(
                "cutoff=None is for molecules and clusters: periodic structures have neighbours "
                "at any distance; give a cutoff in Å"
            )
        edges = structures.offsets[:-1]
        low = np.minimum.reduceat(structures.positions, edges)
        high = np.maximum.reduceat(structures.positions, edges)
        return float(np.linalg.norm(high - low, axis=1).max()) + 1.0


@dataclass(frozen=True)
class Pairs:
    """Neighbours j of each atom i: see `NPlets`."""

    starts: np.ndarray
    centers: np.ndarray
    neighbors: np.ndarray
    vectors: np.ndarray
    distances: np.ndarray


@dataclass(frozen=True)
class NPlets:
    """Pairs or triangles around centres.

    Attributes
    ----------
    starts : ndarray of int, shape (n_atoms + 1,)
        Where the neighbours of each atom begin.
    neighbors, vectors, distances : ndarrays, shapes (n_pairs,), (n_pairs, 3), (n_pairs,)
        The atoms j, r_j - r_i and its length.
    centers : ndarray of int, shape (n,)
        The atom i of each n-plet.
    slots : ndarray of int, shape (n, order - 1)
        Its pairs (i, j), and (i, k).
    sides : ndarray of float, shape (3, n)
        The side opposite to each atom; atoms in the order of their atomic numbers. For a pair: its
        distance and zeros.
    places : ndarray of int, shape (3, n)
        Which sides these are: 0 is opposite to i, that is r_jk; 1 is r_ik and 2 is r_ij.
    elements : ndarray of int, shape (n, order)
        The sorted atomic numbers.
    """

    starts: np.ndarray
    neighbors: np.ndarray
    vectors: np.ndarray
    distances: np.ndarray
    centers: np.ndarray
    slots: np.ndarray
    sides: np.ndarray
    places: np.ndarray
    elements: np.ndarray

    def by_elements(self):
        """Elements, as a tuple, and the indices of their n-plets, for each combination."""
        keys = self.elements @ 1000 ** np.arange(self.elements.shape[1])
        for key in np.unique(keys):
            chosen = np.flatnonzero(keys == key)
            yield tuple(int(z) for z in self.elements[chosen[0]]), chosen

    @cached_property
    def third_sides(self):
        """Vectors r_jk (n, 3) of triangles and their lengths (n,)."""
        vectors = self.vectors[self.slots[:, 1]] - self.vectors[self.slots[:, 0]]
        return vectors, np.linalg.norm(vectors, axis=1)

    def pair_gradients(self, slopes):
        """dE/dr_ij (n_pairs, 3) from dE/dT (3, n), to be added up by `collect`."""
        out = np.zeros_like(self.vectors)
        units = self.vectors / self.distances[:, None]
        first = self.slots[:, 0]
        if self.slots.shape[1] == 1:
            np.add.at(out, first, slopes[0][:, None] * units[first])
            return out
        by_place = np.empty_like(slopes)
        np.put_along_axis(by_place, self.places, slopes, axis=0)
        second = self.slots[:, 1]
        vectors, lengths = self.third_sides
        third = (by_place[0] / lengths)[:, None] * vectors
        np.add.at(out, first, by_place[2][:, None] * units[first] - third)
        np.add.at(out, second, by_place[1][:, None] * units[second] + third)
        return out


def find_n_plets(structures, order, cutoff, half, atoms=None):
    """All pairs (order 2) or triangles (order 3) whose sides are within the cutoff.

    Parameters
    ----------
    structures : Structures
    order : {2, 3}
    cutoff : Cutoff
    half : bool
        Whether to list every n-plet once, around the first of its atoms, rather than around each
        of them.
    atoms : ndarray of int, default=None
        The centres. None: all.

    Returns
    -------
    NPlets
    """
    reach = cutoff.reach(structures)
    pairs = find_pairs(structures, reach, half, atoms)
    starts, centers, neighbors, vectors, distances = (
        pairs.starts, pairs.centers, pairs.neighbors, pairs.vectors, pairs.distances
    )  # fmt: skip
    numbers = structures.numbers
    if order == 2:
        slots = np.arange(len(centers))[:, None]
        sides = np.zeros((3, len(centers)))
        sides[0] = distances
        places = np.broadcast_to(np.array([[2], [1], [0]]), sides.shape)
        elements = np.sort(np.stack([numbers[centers], numbers[neighbors]], axis=1), axis=1)
        return NPlets(
            starts, neighbors, vectors, distances, centers, slots, sides, places, elements
        )
    slots = _triangles(starts, vectors, reach)
    apexes = centers[slots[:, 0]]
    first, second = slots.T
    third = np.linalg.norm(vectors[second] - vectors[first], axis=1)
    elements = np.stack([numbers[apexes], numbers[neighbors[first]], numbers[neighbors[second]]])
    sides = np.stack([third, distances[second], distances[first]])
    places = np.argsort(elements, axis=0, kind="stable")
    return NPlets(
        starts, neighbors, vectors, distances, apexes, slots,
        np.take_along_axis(sides, places, axis=0), places,
        np.take_along_axis(elements, places, axis=0).T,
    )  # fmt: skip


def find_pairs(structures, reach, half, atoms=None):
    """The neighbours of each atom.

    Parameters
    ----------
    structures : Structures
    reach : float
        Longest distance in Å.
    half : bool
        Whether to list every pair once, at the first of its atoms. Triangles of two such pairs of
        one centre are then found once too.
    atoms : ndarray of int, default=None
        The centres. None: all.

    Returns
    -------
    Pairs
    """
    full = neighbor_list(structures, reach)
    centers, neighbors, vectors = full.centers, full.indices, full.vectors
    if half:
        keep = (neighbors > centers) | ((neighbors == centers) & _is_after(vectors))
        centers, neighbors, vectors = centers[keep], neighbors[keep], vectors[keep]
    if atoms is not None:
        keep = np.zeros(len(structures.numbers), bool)
        keep[atoms] = True
        keep = keep[centers]
        centers, neighbors, vectors = centers[keep], neighbors[keep], vectors[keep]
    starts = offsets_from_counts(np.bincount(centers, minlength=len(structures.numbers)))
    return Pairs(starts, centers, neighbors, vectors, np.linalg.norm(vectors, axis=1))


def _is_after(vectors):
    """Whether an image of an atom comes after the atom itself: a half of all lattice vectors."""
    x, y, z = vectors.T
    return np.where(np.abs(x) > _TIE, x > 0, np.where(np.abs(y) > _TIE, y > 0, z > 0))


def _triangles(starts, vectors, reach):
    n_atoms = len(starts) - 1
    counts = np.empty(n_atoms, np.int64)
    run_in_threads(_cpu.count_triangles, n_atoms, starts, vectors, reach, counts)
    offsets = offsets_from_counts(counts)
    slots = np.empty((offsets[-1], 2), np.int64)
    run_in_threads(_cpu.fill_triangles, n_atoms, starts, vectors, reach, offsets, slots)
    return slots


def permute_sides(elements, sides, coefficients):
    """Sides (3, n) and a, c (…, 4, n) repeated for every permutation of like atoms."""
    orders = like_sides(elements)
    sides = np.stack([sides[p] for p in orders], axis=-1)
    rows = [[0, *(1 + k for k in p)] for p in orders]
    coefficients = np.stack([coefficients[..., r, :] for r in rows], axis=-1)
    return sides.reshape(3, -1), coefficients.reshape(*coefficients.shape[:-2], -1)


def like_sides(elements):
    """Permutations of the sides of an n-plet of these elements that exchange like atoms."""
    if len(elements) == 2:
        return [[0, 1, 2]]
    return [list(p) for p in permutations(range(3)) if [elements[k] for k in p] == list(elements)]
