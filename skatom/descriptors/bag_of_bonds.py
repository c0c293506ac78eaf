"""The bag of bonds of a molecule."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from ase.data import chemical_symbols
from sklearn.base import _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._typing import ArrayLike, StructuresLike
from skatom.descriptors._cpu.pair_bags import bonds
from skatom.descriptors.base import StructureDescriptor
from skatom.descriptors.pair_matrix import (
    LENGTHS,
    check_molecules,
    check_places,
    half_charge_power,
    in_pieces,
)
from skatom.elements import species_index
from skatom.memory import check_memory
from skatom.structures import as_structures

_NOTHING = np.empty((0, 0))


class BagOfBonds(StructureDescriptor):
    r"""The elements of a Coulomb matrix, sorted within one bag for each pair of elements.

    .. math::
        \mathbf x = \bigoplus_{a} \mathrm{sort}\big\{\tfrac12 Z_i^{2.4} : Z_i = a\big\} \oplus
        \bigoplus_{a \leq b} \mathrm{sort}\Big\{\frac{Z_i Z_j}{|\mathbf r_i - \mathbf r_j|} :
        i < j,\ \{Z_i, Z_j\} = \{a, b\}\Big\}

    Bags are in the order of atomic numbers, those of atoms first. Each has the size of the largest
    one of the molecules given to `fit`, begins with the largest number and is filled with zeros.
    Features do not depend on the numbering of atoms; where two numbers of a bag cross they are
    continuous, with a kink. Kernels of the sum of absolute differences (Laplacian) suit them.

    Parameters
    ----------
    unit : {"angstrom", "bohr"}, default="angstrom"
        Unit of distances in the elements.

    Attributes
    ----------
    species_ : ndarray of int
        Sorted atomic numbers seen in `fit`.
    sizes_ : ndarray of int, shape (n_bags,)
        Sizes of the bags.

    Raises
    ------
    ValueError
        If a structure is periodic, has more atoms or pairs of some elements than the molecules
        given to `fit`, an element that none of them has, or two atoms at the same place.

    References
    ----------
    .. [1] K. Hansen et al., J. Phys. Chem. Lett. 6, 2326 (2015).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import BagOfBonds
    >>> bags = BagOfBonds()
    >>> bags.fit_transform([molecule("H2O"), molecule("H2")]).values.round(2)
    array([[ 0.5 ,  0.5 , 73.52,  0.66,  8.26,  8.26],
           [ 0.5 ,  0.5 ,  0.  ,  1.36,  0.  ,  0.  ]])
    >>> bags.get_feature_names_out()
    array(['H[0]', 'H[1]', 'O[0]', 'H-H[0]', 'H-O[0]', 'H-O[1]'], dtype=object)
    """

    _parameter_constraints = {"unit": [StrOptions(set(LENGTHS))]}

    def __init__(self, unit: str = "angstrom") -> None:
        self.unit = unit

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: StructuresLike, y: Any = None) -> Self:
        """Learn the elements and the sizes of their bags.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The structures.
        y : ignored

        Returns
        -------
        self
        """
        structures = as_structures(X)
        check_molecules(structures, "BagOfBonds")
        species = structures.species
        self.sizes_ = _bag_sizes(structures, species).max(axis=0)
        self.species_ = species
        return self

    @property
    def n_features_out_(self) -> Any:
        """Number of features."""
        check_is_fitted(self)
        return int(self.sizes_.sum())

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``C[0]`` of atoms and ``C-H[12]`` of pairs."""
        check_is_fitted(self)
        return np.array(
            [
                f"{bag}[{k}]"
                for bag, size in zip(_bag_names(self.species_), self.sizes_, strict=True)
                for k in range(size)
            ],
            object,
        )

    def _check_structures(self, structures):
        check_molecules(structures, "BagOfBonds")
        species_index(structures, self.species_)
        excess = _bag_sizes(structures, self.species_) - self.sizes_
        s, bag = np.unravel_index(excess.argmax(), excess.shape)
        if excess[s, bag] > 0:
            name = _bag_names(self.species_)[bag]
            raise ValueError(
                f"structure {s} has {self.sizes_[bag] + excess[s, bag]} entries in the bag {name}, "
                f"but fit saw at most {self.sizes_[bag]}: fit on the largest structures, too"
            )

    def _values(self, structures):
        values = self._unsorted(structures)
        for bag in self._slices():
            values[:, bag] = np.sort(values[:, bag], axis=1)[:, ::-1]
        return values

    def _pullback(self, structures, cotangent):
        unsorted, placed = self._unsorted(structures), np.empty(cotangent.shape)
        for bag in self._slices():
            order = np.argsort(-unsorted[:, bag], axis=1, kind="stable")
            np.put_along_axis(placed[:, bag], order, cotangent[:, bag], axis=1)
        gradient = np.zeros((len(structures.numbers), 3))
        virial = np.zeros((len(structures), 3, 3))
        self._run(structures, _NOTHING, placed, gradient, virial)
        return gradient, virial

    def _slices(self):
        """The columns of every bag."""
        ends = np.cumsum(self.sizes_)
        return [slice(b - n, b) for b, n in zip(ends, self.sizes_, strict=True)]

    def _unsorted(self, structures):
        """Values in the order of atoms in every bag."""
        shape = (len(structures), self.n_features_out_)
        check_memory(
            8.0 * shape[0] * shape[1],
            f"the array of {shape[0]} x {shape[1]} features",
            "transform fewer structures at a time",
        )
        values = np.zeros(shape)
        self._run(structures, values, _NOTHING, _NOTHING, np.empty((0, 0, 0)))
        return values

    def _run(self, structures, *arrays):
        x, species = structures, species_index(structures, self.species_)
        n, charges = len(self.species_), x.numbers.astype(float)
        bags = np.empty((n, n + 1), np.int64)
        bags[:, -1] = np.arange(n)
        first, second = np.triu_indices(n)
        bags[first, second] = bags[second, first] = n + np.arange(len(first))
        starts = np.cumsum(self.sizes_) - self.sizes_
        slots = np.zeros((len(x), len(self.sizes_)), np.int64)
        pair = in_pieces(
            bonds, x, x.positions, species, charges, half_charge_power(charges), bags, starts,
            LENGTHS[self.unit], slots, *arrays,
        )  # fmt: skip
        check_places(x, pair)


def _bag_names(species):
    symbols = [chemical_symbols[z] for z in species]
    pairs = zip(*np.triu_indices(len(symbols)), strict=True)
    return symbols + [f"{symbols[a]}-{symbols[b]}" for a, b in pairs]


def _bag_sizes(structures, species):
    """Entries of each structure in the bags of atoms and of pairs of elements, (n, n_bags)."""
    owners = np.repeat(np.arange(len(structures)), structures.n_atoms)
    counts = np.zeros((len(structures), len(species)), int)
    np.add.at(counts, (owners, species_index(structures, species)), 1)
    first, second = np.triu_indices(len(species))
    others = counts[:, second] - (first == second)
    pairs = counts[:, first] * others // np.where(first == second, 2, 1)
    return np.concatenate([counts, pairs], axis=1)
