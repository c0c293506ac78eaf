"""Pairs and triangles of atoms, and the rows of a kernel matrix that sum over them."""

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np

from skatom._cpu import cutoffs
from skatom.base import TupleKeys
from skatom.kernels._cpu import nbody as _cpu
from skatom.neighbors import neighbor_list
from skatom.parallel import run_in_threads
from skatom.structures import offsets_from_counts

# Longer than any difference that rounding leaves between two images, shorter than any cell.
_TIE = 1e-6
# The axes of the components of a symmetric matrix in Voigt's order.
VOIGT = [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]
# The place of each component of a symmetric matrix in that order.
FROM_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


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


@dataclass(frozen=True)
class Part:
    """The n-plets of one combination of elements in some rows, for compiled functions.

    Attributes
    ----------
    starts : ndarray of int, shape (n_groups + 1,)
    sides : ndarray of float, shape (3, n)
    coefficients : ndarray of float, shape (n_rows, 4, n)
        a and c of each row of the group to which the n-plet belongs.
    """

    starts: np.ndarray
    sides: np.ndarray
    coefficients: np.ndarray

    def of_groups(self, groups):
        """The n-plets of some groups."""
        counts = np.diff(self.starts)[groups]
        starts = offsets_from_counts(counts)
        chosen = np.arange(starts[-1]) + np.repeat(self.starts[groups] - starts[:-1], counts)
        return Part(starts, self.sides[:, chosen], self.coefficients[..., chosen])

    def weights(self, alpha):
        """Σ_r alpha_r (a_r, c_r) over the rows of each n-plet, shape (4, n)."""
        owners = np.repeat(np.arange(len(alpha)), np.diff(self.starts))
        return np.einsum("nr,rkn->kn", alpha[owners], self.coefficients)


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


@dataclass(frozen=True)
class NPletRows(TupleKeys):
    """Rows of a kernel matrix: energies of structures or atoms, forces on atoms, or virials.

    Attributes
    ----------
    n_groups : int
        Structures, or atoms.
    n_rows : int
        1 for energies, 3 for forces, 6 for virials.
    parts : dict of tuple of int to Part
        The n-plets by their sorted atomic numbers.
    """

    n_groups: int
    n_rows: int
    parts: dict

    _keyed_by_tuples = ("parts",)

    def of_groups(self, groups):
        """The rows of some groups."""
        parts = {key: part.of_groups(groups) for key, part in self.parts.items()}
        return NPletRows(len(groups), self.n_rows, parts)


def energy_rows(structures, order, cutoff):
    """The energy of each structure, every n-plet counted once."""
    plets = find_n_plets(structures, order, cutoff, half=True)
    owners = np.repeat(np.arange(len(structures)), structures.n_atoms)[plets.centers]
    return make_rows(plets, cutoff, owners, len(structures))


def local_rows(structures, order, cutoff):
    """The sum over the n-plets around each atom."""
    plets = find_n_plets(structures, order, cutoff, half=False)
    return make_rows(plets, cutoff, plets.centers, len(structures.numbers))


def force_rows(structures, order, cutoff, atoms=None):
    """The forces on some atoms, by default all.

    All sides are within the cutoff, so every n-plet of an atom is found around it, and the force
    on the atom is the derivative with the neighbours fixed.
    """
    plets = find_n_plets(structures, order, cutoff, half=False, atoms=atoms)
    atoms = np.arange(len(structures.numbers)) if atoms is None else atoms
    owners = np.full(len(structures.numbers), -1)
    owners[atoms] = np.arange(len(atoms))
    return make_rows(plets, cutoff, owners[plets.centers], len(atoms), corner_directions(plets, 0))


def virial_rows(structures, order, cutoff):
    """The virial of each structure, six components in Voigt's order."""
    plets = find_n_plets(structures, order, cutoff, half=True)
    owners = np.repeat(np.arange(len(structures)), structures.n_atoms)[plets.centers]
    return make_rows(plets, cutoff, owners, len(structures), virial_directions(plets))


def make_rows(plets, cutoff, owners, n_groups, directions=None):
    """Rows of some n-plets.

    Parameters
    ----------
    plets : NPlets
    cutoff : Cutoff
    owners : ndarray of int, shape (n,)
        The group of each n-plet; -1: none.
    n_groups : int
    directions : ndarray of float, shape (n_rows, 3 sides, n), default=None
        How the sides change along each row. None: energies.

    Returns
    -------
    NPletRows
    """
    parts = {}
    for elements, chosen in plets.by_elements():
        chosen = chosen[owners[chosen] >= 0]
        chosen = chosen[np.argsort(owners[chosen], kind="stable")]
        sides = np.ascontiguousarray(plets.sides[:, chosen])
        parts[elements] = Part(
            offsets_from_counts(np.bincount(owners[chosen], minlength=n_groups)), sides,
            _coefficients(
                sides, cutoff, len(elements),
                None if directions is None else directions[:, :, chosen],
            ),
        )  # fmt: skip
    return NPletRows(n_groups, 1 if directions is None else len(directions), parts)


def force_slopes(plets, cutoff, n_atoms, atoms):
    """-∂/∂r_p of the features of each environment with p, for the atoms p."""
    wanted = np.full(n_atoms, -1)
    wanted[atoms] = np.arange(len(atoms))
    corners = [plets.centers, *plets.neighbors[plets.slots].T]
    keys = [np.where(wanted[p] < 0, -1, plets.centers * n_atoms + p) for p in corners]
    found = np.unique(np.concatenate(keys))
    found = found[found >= 0]
    total = None
    for corner, key in enumerate(keys):
        owners = np.where(key < 0, -1, np.searchsorted(found, key))
        directions = corner_directions(plets, corner)
        rows = make_rows(plets, cutoff, owners, len(found), directions)
        total = rows if total is None else _merged(total, rows)
    return total, found // n_atoms, wanted[found % n_atoms]


def _merged(a, b):
    """Rows whose groups have the n-plets of both."""
    parts = {}
    for elements in a.parts:
        p, q = a.parts[elements], b.parts[elements]
        owners = np.concatenate([
            np.repeat(np.arange(a.n_groups), np.diff(part.starts)) for part in (p, q)
        ])  # fmt: skip
        order = np.argsort(owners, kind="stable")
        parts[elements] = Part(
            p.starts + q.starts, np.concatenate([p.sides, q.sides], axis=1)[:, order],
            np.concatenate([p.coefficients, q.coefficients], axis=2)[:, :, order],
        )  # fmt: skip
    return NPletRows(a.n_groups, a.n_rows, parts)


def corner_directions(plets, corner):
    """-dT_k/dr of i (corner 0), j (1) or k (2), shape (3 axes, 3 sides, n)."""
    by_place = np.zeros((3, 3, len(plets.centers)))
    units = (plets.vectors / plets.distances[:, None]).T
    first = units[:, plets.slots[:, 0]]
    if corner < 2:
        by_place[:, 2] = first if corner == 0 else -first
    if plets.slots.shape[1] == 2:
        if corner != 1:
            second = units[:, plets.slots[:, 1]]
            by_place[:, 1] = second if corner == 0 else -second
        if corner > 0:
            vectors, lengths = plets.third_sides
            third = (vectors / lengths[:, None]).T
            by_place[:, 0] = third if corner == 1 else -third
    return np.take_along_axis(by_place, plets.places[None], axis=1)


def virial_directions(plets):
    """dT_k/dstrain, shape (6, 3 sides, n), for the components xx, yy, zz, yz, xz, xy."""
    by_place = np.zeros((6, 3, len(plets.centers)))
    vectors = [plets.vectors[slot] for slot in plets.slots.T]
    lengths = [plets.distances[slot] for slot in plets.slots.T]
    if len(vectors) == 2:
        third, length = plets.third_sides
        vectors, lengths = [*vectors, third], [*lengths, length]
    for place, vector, length in zip((2, 1, 0), vectors, lengths, strict=False):
        by_place[:, place] = (vector[:, VOIGT[0]] * vector[:, VOIGT[1]] / length[:, None]).T
    return np.take_along_axis(by_place, plets.places[None], axis=1)


def _coefficients(sides, cutoff, order, directions):
    """a and c of F(T) S(T), F the product of the cutoff functions, along the directions."""
    total, gradient = cutoff_product(sides, cutoff, order)
    if directions is None:
        coefficients = np.zeros((1, 4, sides.shape[1]))
        coefficients[0, 0] = total
        return coefficients
    coefficients = np.empty((len(directions), 4, sides.shape[1]))
    coefficients[:, 0] = np.einsum("xkn,kn->xn", directions, gradient)
    coefficients[:, 1:] = directions * total
    return coefficients


def cutoff_product(sides, cutoff, order):
    """F(T) (n,) and ∂F/∂T (3, n) of the product of the cutoff functions of all sides."""
    n_sides = 1 if order == 2 else 3
    f, slopes = cutoff(sides[:n_sides])
    gradient = np.zeros_like(sides)
    for k in range(n_sides):
        gradient[k] = slopes[k] * np.prod(np.delete(f, k, axis=0), axis=0)
    return np.prod(f, axis=0), gradient
