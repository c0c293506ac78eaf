"""The rows of a kernel matrix: linear functionals of functions of pairs and triangles."""

from dataclasses import dataclass

import numpy as np

from skatom._cpu.voigt import VOIGT
from skatom.base import TupleKeys
from skatom.kernels.nbody.nplets import find_n_plets
from skatom.structures import offsets_from_counts


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
    by_place, (rows, columns) = np.zeros((6, 3, len(plets.centers))), VOIGT
    vectors = [plets.vectors[slot] for slot in plets.slots.T]
    lengths = [plets.distances[slot] for slot in plets.slots.T]
    if len(vectors) == 2:
        third, length = plets.third_sides
        vectors, lengths = [*vectors, third], [*lengths, length]
    for place, vector, length in zip((2, 1, 0), vectors, lengths, strict=False):
        by_place[:, place] = (vector[:, rows] * vector[:, columns] / length[:, None]).T
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
