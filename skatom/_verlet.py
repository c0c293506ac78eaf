"""Neighbours of moving atoms, found again only when an atom has moved far enough."""

import numpy as np

from skatom._cpu.neighbors import complete_lattice
from skatom._cpu.verlet import near_pairs
from skatom.neighbors import NeighborList, concatenate, neighbor_list


class VerletList:
    r"""The neighbours of one structure in simulations: Verlet's list with a skin.

    All pairs closer than the cutoff :math:`r_c` and a skin :math:`\delta` are searched once. In the
    next steps those within the cutoff are picked from them, as long as no other pair can have come
    within the cutoff: if the cell is deformed by F and atoms have moved by at most d beside that,

    .. math:: \sigma_{\min}(F)\,(r_c + \delta) - 2 d \ge r_c .

    Atoms may be wrapped to the other side of the cell between steps.

    Parameters
    ----------
    skin : float, default=0.5
        δ in Å.

    Attributes
    ----------
    n_searches : int
        How often the neighbours were searched.
    """

    def __init__(self, skin=0.5):
        self.skin = skin
        self.n_searches = 0
        self._lists = {}

    def find(self, structure, cutoff):
        """The neighbours of a structure within the cutoff.

        Parameters
        ----------
        structure : Structures
            A single one.
        cutoff : float

        Returns
        -------
        NeighborList
        """
        pairs = self._lists.get(cutoff)
        images = None if pairs is None else pairs.images_at(structure)
        if images is None:
            self.n_searches += 1
            pairs = self._lists[cutoff] = _PairsWithSkin(structure, cutoff, self.skin)
            images = pairs.images
        return pairs.near(structure, images)


class _PairsWithSkin:
    """The pairs of a structure within a cutoff and a skin."""

    def __init__(self, structure, cutoff, skin):
        self.cutoff, self.reach = cutoff, cutoff + skin
        self.structure = structure
        self.lattice = _lattice(structure)
        found = neighbor_list(structure, self.reach)
        self.starts, self.indices = found.offsets, found.indices
        positions = structure.positions
        apart = found.vectors - (positions[found.indices] - positions[found.centers])
        self.numbers_of_images = np.rint(np.linalg.solve(self.lattice.T, apart.T).T)
        self.numbers_of_images[:, ~structure.pbc[0]] = 0.0
        self.images = self.numbers_of_images @ self.lattice

    def images_at(self, structure):
        """The lattice vectors of the pairs now, or None if pairs may be missing."""
        before = self.structure
        if len(structure.numbers) != len(before.numbers) or (structure.pbc != before.pbc).any():
            return None
        same_cell = (structure.cells == before.cells).all()
        if same_cell:
            lattice, shrunk = self.lattice, 1.0
            moved = structure.positions - before.positions
        else:
            lattice = _lattice(structure)
            deformation = np.linalg.solve(self.lattice, lattice)
            shrunk = np.linalg.svd(deformation, compute_uv=False).min()
            moved = structure.positions - before.positions @ deformation
        pbc = structure.pbc[0]
        wrapped = None
        if pbc.any():
            wrapped = np.rint(np.linalg.solve(lattice.T, moved.T).T)
            wrapped[:, ~pbc] = 0.0
            if wrapped.any():
                moved = moved - wrapped @ lattice
            else:
                wrapped = None
        farthest = np.sqrt(np.einsum("ax,ax->a", moved, moved).max(initial=0.0))
        if not shrunk * self.reach - 2 * farthest >= self.cutoff:
            return None
        if same_cell and wrapped is None:
            return self.images
        numbers = self.numbers_of_images
        if wrapped is not None:
            centers = np.repeat(np.arange(len(structure.numbers)), np.diff(self.starts))
            numbers = numbers + wrapped[centers] - wrapped[self.indices]
        return numbers @ lattice

    def near(self, structure, images):
        offsets = np.empty(len(self.starts), np.int64)
        near = np.empty(len(self.indices) + 1, np.int64)
        vectors = np.empty((len(self.indices) + 1, 3))
        n = near_pairs(
            self.starts, self.indices, images, structure.positions, self.cutoff, offsets, near,
            vectors,
        )  # fmt: skip
        return NeighborList(offsets, near[:n], vectors[:n], self.cutoff)


def _lattice(structure):
    lattice = np.empty((3, 3))
    complete_lattice(structure.cells[0], structure.pbc[0], lattice)
    return lattice


class FollowedNeighbors:
    """The neighbours of a batch of moving structures, each with a `VerletList`.

    It takes the place of a `NeighborList` in ``structures.with_neighbors``, for any cutoff: the
    lists are made when a model asks for them.

    Parameters
    ----------
    structures : Structures
    lists : list of VerletList
        One for each structure.
    """

    def __init__(self, structures, lists):
        self.atoms = range(len(structures.numbers))
        n = len(structures)
        self._parts = [structures] if n == 1 else [structures[s] for s in range(n)]
        self._lists = lists
        self._found = {}

    def within(self, cutoff):
        """The `NeighborList` of all structures within a cutoff."""
        if cutoff not in self._found:
            self._found[cutoff] = concatenate([
                pairs.find(part, cutoff)
                for pairs, part in zip(self._lists, self._parts, strict=True)
            ])  # fmt: skip
        return self._found[cutoff]

    def of_structures(self, offsets, key):
        """The neighbours of some of the structures."""
        chosen = np.atleast_1d(np.arange(len(offsets) - 1)[key])
        part = object.__new__(type(self))
        part._parts = [self._parts[s] for s in chosen]
        part._lists = [self._lists[s] for s in chosen]
        part._found = {}
        part.atoms = range(sum(len(each.numbers) for each in part._parts))
        return part
