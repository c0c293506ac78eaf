"""Rows and columns of the periodic table on the sites of a crystal structure."""

from __future__ import annotations

from functools import lru_cache
from string import ascii_uppercase

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from sklearn.utils._param_validation import StrOptions

from skatom._intervals import POSITIVE
from skatom._typing import Array, StructuresLike
from skatom.descriptors.site_matching import Sites
from skatom.descriptors.without_positions import PositionFreeDescriptor
from skatom.elements import group, period
from skatom.structures import Structures, as_structures

# Names of the sites, of each atom; fractional coordinates; cells. An element for each site.
_PROTOTYPES = {
    "perovskite": (
        "ABXXX",
        [[0, 0, 0], [0.5, 0.5, 0.5], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
        np.eye(3),
    ),
    "elpasolite": (
        "ABCCDDDDDD",
        [
            [0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75],
            [0.75, 0.25, 0.25], [0.25, 0.75, 0.75], [0.25, 0.75, 0.25], [0.75, 0.25, 0.75],
            [0.25, 0.25, 0.75], [0.75, 0.75, 0.25],
        ],
        (1 - np.eye(3)) / 2,
    ),
}  # fmt: skip
_MIXED = "set mixed=True, which has features of every atom"


class PrototypeEncoder(PositionFreeDescriptor):
    r"""Rows and columns of the periodic table of the elements on the sites of a prototype.

    .. math:: \mathbf x = (r_1, c_1, r_2, c_2, \dots, r_p, c_p)

    with the row r (the period, from 1) and the column c (the group) of the element on each of the p
    sites. Positions do not enter: the energy that belongs to **x** is that of the crystal after
    relaxation in its prototype. Derivatives are zero.

    Parameters
    ----------
    prototype : {"perovskite", "elpasolite"} or ase.Atoms or Structures, default="perovskite"
        The cubic perovskite A B X₃, the elpasolite A B C₂ D₆, or one primitive cell of another
        crystal, in which atoms of one element are one site.
    mixed : bool, default=False
        Whether the atoms of a site may be different elements. Then each atom has a row and a
        column, in the order of the atomic numbers within a site.
    columns : {"long", "short"}, default="long"
        Columns from 1 to 18, or from 1 to 8 as in the short form of the table, without the elements
        of columns 3 to 12.
    tolerance : float, default=0.3
        Largest distance of an atom from its ideal site, in units of the cube root of the volume of
        an atom, and largest difference of the products of cell vectors in units of the square of
        the cube root of the volume of the cell.

    Attributes
    ----------
    sites_ : list of str
        Names of the sites, or of the atoms where ``mixed`` is given.
    n_features_out_ : int
        Number of features.

    Raises
    ------
    ValueError
        If a structure is not like the prototype, a site is mixed without ``mixed``, or an element
        is in no column of the short form.

    Notes
    -----
    ``transform`` takes structures, in any cell and order of atoms, or a table: the atomic numbers
    or symbols on the p sites, (n, p), as for millions of substitutions without a structure.
    Sites that a symmetry of the prototype without its elements exchanges, such as A and B of
    elpasolites, are one another's equals: of all ways to name them the one with the smallest atomic
    numbers counts.

    References
    ----------
    .. [1] F. A. Faber, A. Lindmaa, O. A. von Lilienfeld, R. Armiento, Phys. Rev. Lett. 117, 135502
       (2016).

    Examples
    --------
    >>> from ase.spacegroup import crystal
    >>> from skatom.descriptors import PrototypeEncoder
    >>> titanate = crystal(
    ...     ["Sr", "Ti", "O"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], spacegroup=221,
    ...     cellpar=[3.9, 3.9, 3.9, 90, 90, 90],
    ... )
    >>> encoder = PrototypeEncoder()
    >>> encoder.fit_transform([titanate]).values
    array([[ 5.,  2.,  4.,  4.,  2., 16.]])
    >>> encoder.get_feature_names_out()[:3]
    array(['row(A)', 'column(A)', 'row(B)'], dtype=object)

    Caesium on the A site in place of strontium, and a halide:

    >>> encoder.transform([["Cs", "Ti", "O"], ["Cs", "Pb", "I"]])
    array([[ 6.,  1.,  4.,  4.,  2., 16.],
           [ 6.,  1.,  6., 14.,  5., 17.]])
    """

    _parameter_constraints = {
        "prototype": [StrOptions(set(_PROTOTYPES)), Atoms, Structures],
        "mixed": ["boolean"],
        "columns": [StrOptions({"long", "short"})],
        "tolerance": [POSITIVE],
    }

    def __init__(
        self,
        prototype: str | StructuresLike = "perovskite",
        *,
        mixed: bool = False,
        columns: str = "long",
        tolerance: float = 0.3,
    ) -> None:
        self.prototype = prototype
        self.mixed = mixed
        self.columns = columns
        self.tolerance = tolerance

    def elements_of(self, X: StructuresLike) -> Array:
        """The elements on the sites.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The n structures.

        Returns
        -------
        ndarray of int, shape (n, p)
            Atomic numbers in the order of ``sites_``, a table for ``transform``.

        Examples
        --------
        >>> from ase import Atoms
        >>> from skatom.descriptors import PrototypeEncoder
        >>> salt = Atoms("CsCl", cell=3 * [4.1], scaled_positions=[3 * [0], 3 * [0.5]], pbc=True)
        >>> PrototypeEncoder(salt).fit([salt]).elements_of([salt])
        array([[17, 55]])
        """
        structures = as_structures(X)
        sites, n_atoms = self._sites(), structures.n_atoms
        size = len(sites.labels)
        others = np.flatnonzero((n_atoms != size) | ~structures.pbc.all(axis=1))
        if len(others):
            s = others[0]
            raise ValueError(
                f"structure {s} has {n_atoms[s]} atoms and pbc={structures.pbc[s].tolist()}, but "
                f"the prototype is a crystal of {size} atoms: give primitive cells of such crystals"
            )
        scaled = structures.positions.reshape(-1, size, 3) @ np.linalg.inv(structures.cells)
        atoms, displacements, strains = sites.find(scaled, structures.cells)
        self._check_match(displacements, strains)
        numbers = np.take_along_axis(structures.numbers.reshape(-1, size), atoms, axis=1)
        return self._canonical(self._on_sites(numbers))

    def _check_match(self, displacements, strains):
        for what, found in (("cell vectors", strains), ("atoms", displacements)):
            s = int(found.argmax())
            if found[s] > self.tolerance:
                raise ValueError(
                    f"structure {s} is not like the prototype: its {what} are off by "
                    f"{found[s]:.2f} (tolerance={self.tolerance}): give transform the elements on "
                    "the sites, leave the structure out, or raise the tolerance"
                )

    def _check_fit(self):
        self._sites()
        self.sites_ = self._site_names()

    def _sites(self):
        if isinstance(self.prototype, str):
            names, scaled, cell = _PROTOTYPES[self.prototype]
            return _made(tuple(names), np.array(scaled, float).tobytes(), cell.tobytes())
        prototype = self.prototype if isinstance(self.prototype, Structures) else [self.prototype]
        prototype = as_structures(prototype)
        if len(prototype) != 1 or not prototype.pbc.all() or len(prototype.species) > 26:
            raise ValueError(
                f"the prototype has {len(prototype)} structures, {len(prototype.species)} elements "
                f"and pbc={prototype.pbc[0].tolist()}: give one crystal of at most 26 elements"
            )
        scaled = prototype.positions @ np.linalg.inv(prototype.cells[0])
        return _made(tuple(prototype.numbers), scaled.tobytes(), prototype.cells[0].tobytes())

    def _site_names(self):
        labels = self._sites().labels
        names = list(ascii_uppercase[: labels.max() + 1])
        if isinstance(self.prototype, str):
            names = list(dict.fromkeys(_PROTOTYPES[self.prototype][0]))
        if not self.mixed:
            return names
        counts = np.bincount(labels)
        return [
            names[site] + (str(k + 1) if counts[site] > 1 else "")
            for site in range(len(names))
            for k in range(counts[site])
        ]

    def _names(self):
        return [f"{what}({site})" for site in self._site_names() for what in ("row", "column")]

    def _on_sites(self, numbers):
        """Atomic numbers in the order of ``sites_`` from those in the order of the prototype."""
        labels = self._sites().labels
        blocks = [np.sort(numbers[:, labels == site], axis=1) for site in range(labels.max() + 1)]
        if self.mixed:
            return np.concatenate(blocks, axis=1)
        for site, block in enumerate(blocks):
            mixed = np.flatnonzero(block[:, 0] != block[:, -1])
            if len(mixed):
                found = ", ".join(chemical_symbols[z] for z in np.unique(block[mixed[0]]))
                raise ValueError(
                    f"site {self._site_names()[site]} of structure {mixed[0]} has {found}: {_MIXED}"
                )
        return np.stack([block[:, 0] for block in blocks], axis=1)

    def _canonical(self, numbers):
        """Of the names that symmetries give the sites, those with the smallest numbers first."""
        sites = self._sites()
        counts = np.bincount(sites.labels) if self.mixed else np.ones(sites.labels.max() + 1, int)
        ends = np.cumsum(counts)
        blocks = [np.sort(numbers[:, end - n : end]) for end, n in zip(ends, counts, strict=True)]
        smallest = None
        for exchange in sites.exchanges:
            table = np.concatenate([blocks[site] for site in exchange], axis=1)
            if smallest is None:
                smallest = table
                continue
            differ = table != smallest
            first = differ.argmax(axis=1)[:, None]
            less = np.take_along_axis(table, first, 1) < np.take_along_axis(smallest, first, 1)
            smallest = np.where(less, table, smallest)
        return smallest

    def _is_table(self, X):
        if isinstance(X, np.ndarray):
            return X.ndim == 2
        return hasattr(X, "to_numpy") or (
            isinstance(X, list | tuple)
            and len(X) > 0
            and isinstance(X[0], list | tuple | np.ndarray)
        )

    def _of_table(self, X):
        return self._encoded(self._canonical(self._checked(X)))

    def _of_structures(self, structures):
        return self._encoded(self.elements_of(structures))

    def _checked(self, X):
        """The atomic numbers of a table of numbers or symbols."""
        names = self._site_names()
        if not hasattr(X, "shape") and len({len(row) for row in X}) > 1:
            raise ValueError(
                f"rows of the table have different lengths: give one element for each of the sites "
                f"{', '.join(names)}"
            )
        table = np.asarray(X)
        if table.ndim != 2 or table.shape[1] != len(names):
            raise ValueError(
                f"the table of elements has the shape {table.shape}, but there are {len(names)} "
                f"sites ({', '.join(names)}): give one atomic number or symbol for each"
            )
        if table.dtype.kind in "OU":
            table = np.vectorize(_number)(table)
        wrong = np.argwhere(~np.isin(table, np.arange(1, 119)))
        if len(wrong):
            row, column = wrong[0]
            raise ValueError(
                f"row {row} of the table has no element on site {names[column]}: give "
                "atomic numbers from 1 to 118 or symbols"
            )
        return table.astype(int)

    def _encoded(self, numbers):
        rows, columns = (np.array([0, *map(f, range(1, 119))]) for f in (period, group))
        if self.columns == "short":
            outside = np.argwhere((columns[numbers] > 2) & (columns[numbers] < 13))
            if len(outside):
                row, site = outside[0]
                raise ValueError(
                    f"{chemical_symbols[numbers[row, site]]} on site {self._site_names()[site]} of "
                    f"row {row} is in column {columns[numbers[row, site]]}, which the short form "
                    "does not have: set columns='long'"
                )
            columns = np.where(columns > 12, columns - 10, columns)
        both = np.stack([rows[numbers], columns[numbers]], axis=2)
        return both.reshape(len(numbers), -1).astype(float)


def _number(element):
    """The atomic number of a symbol, 0 of other text."""
    return atomic_numbers.get(element, 0) if isinstance(element, str) else element


@lru_cache(maxsize=16)
def _made(elements, scaled, cell):
    """The sites of a prototype, whose symmetries are looked for once."""
    scaled, cell = (np.frombuffer(data).reshape(-1, 3) for data in (scaled, cell))
    return Sites(np.array(elements), scaled, cell)
