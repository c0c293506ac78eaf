"""Sums of inverse powers of distances over the pairs and triples of a molecule."""

from __future__ import annotations

from itertools import combinations_with_replacement, product
from numbers import Integral
from typing import Any, Self

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, StructuresLike
from skatom.descriptors._cpu.pair_bags import powers
from skatom.descriptors.base import StructureDescriptor
from skatom.descriptors.pair_matrix import check_molecules, check_places, in_pieces
from skatom.elements import species_index
from skatom.memory import check_memory
from skatom.structures import as_structures

_NOTHING = np.empty((0, 0))
_COUNT = Interval(Integral, 0, 30, closed="both")


class ManyBodyExpansion(StructureDescriptor):
    r"""Sums of inverse powers of distances over pairs and triples of elements.

    .. math::
        F_{ab,m} &= \sum_{i<j:\ \{Z_i, Z_j\} = \{a, b\}} r_{ij}^{-m} \\
        F_{abc,mnp} &= \sum_{(i,j,k):\ (Z_i, Z_j, Z_k) = (a, b, c)}
            r_{ij}^{-m} r_{ik}^{-n} r_{jk}^{-p}

    with a ≤ b ≤ c and all exponents from 1; the second sum runs over ordered triples of different
    atoms, so that features do not depend on the numbering of atoms. They are smooth functions of
    positions, unless ``bond_factor`` is given, and differ by orders of magnitude: scale them by
    `FeatureScaler` before a kernel.

    Parameters
    ----------
    pair_powers : int, default=15
        Largest power of pairs. 0: no pairs.
    triple_powers : int, default=3
        Largest power of the three distances of triples. 0: no triples.
    bond_factor : float, default=None
        Count triples with two bonds only, where a distance is a bond if it is below ``bond_factor``
        times the sum of the covalent radii (1.2 is usual). Features jump where a bond breaks, and
        derivatives are those between such places. None: all triples.

    Attributes
    ----------
    species_ : ndarray of int
        Sorted atomic numbers seen in `fit`.

    Raises
    ------
    ValueError
        If a structure is periodic, has an element that was not in the data of `fit`, or two atoms
        at the same place, or if there are neither pairs nor triples.

    References
    ----------
    .. [1] W. Pronobis, A. Tkatchenko, K.-R. Müller, J. Chem. Theory Comput. 14, 2991 (2018).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import ManyBodyExpansion
    >>> sums = ManyBodyExpansion(pair_powers=1, triple_powers=1)
    >>> sums.fit_transform([molecule("H2O")]).values.round(4)
    array([[0.6551, 2.0649, 0.    , 0.    , 1.3966, 0.    , 0.    ]])
    >>> sums.get_feature_names_out()[[1, 4]]
    array(['H-O:1', 'H-H-O:1,1,1'], dtype=object)
    """

    _parameter_constraints = {
        "pair_powers": [_COUNT],
        "triple_powers": [_COUNT],
        "bond_factor": [POSITIVE, None],
    }

    def __init__(
        self, pair_powers: int = 15, triple_powers: int = 3, *, bond_factor: float | None = None
    ) -> None:
        self.pair_powers = pair_powers
        self.triple_powers = triple_powers
        self.bond_factor = bond_factor

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: StructuresLike, y: Any = None) -> Self:
        """Learn the elements.

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
        if self.pair_powers + self.triple_powers == 0:
            raise ValueError(
                "pair_powers=0 and triple_powers=0 leave no features: set one of them to 1 or more"
            )
        check_molecules(structures, "ManyBodyExpansion")
        self.species_ = structures.species
        return self

    @property
    def n_features_out_(self) -> Any:
        """Number of features."""
        check_is_fitted(self)
        n = len(self.species_)
        pairs, triples = n * (n + 1) // 2, n * (n + 1) * (n + 2) // 6
        return pairs * self.pair_powers + triples * self.triple_powers**3

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``C-H:6`` and ``C-H-H:1,3,2``: elements and powers."""
        check_is_fitted(self)
        symbols = [chemical_symbols[z] for z in self.species_]
        names = []
        for order, most in ((2, self.pair_powers), (3, self.triple_powers)):
            exponents = range(1, most + 1)
            n_distances = order * (order - 1) // 2
            for elements in combinations_with_replacement(symbols, order):
                for chosen in product(exponents, repeat=n_distances):
                    names.append("-".join(elements) + ":" + ",".join(map(str, chosen)))
        return np.array(names, object)

    def _check_structures(self, structures):
        check_molecules(structures, "ManyBodyExpansion")
        species_index(structures, self.species_)

    def _values(self, structures):
        shape = (len(structures), self.n_features_out_)
        check_memory(
            8.0 * shape[0] * shape[1],
            f"the array of {shape[0]} x {shape[1]} features",
            "transform fewer structures at a time, or reduce pair_powers or triple_powers",
        )
        values = np.zeros(shape)
        self._run(structures, values, _NOTHING, _NOTHING, np.empty((0, 0, 0)))
        return values

    def _pullback(self, structures, cotangent):
        gradient = np.zeros((len(structures.numbers), 3))
        virial = np.zeros((len(structures), 3, 3))
        self._run(structures, _NOTHING, np.require(cotangent, float, ["C", "W"]), gradient, virial)
        return gradient, virial

    def _run(self, structures, *arrays):
        n = len(self.species_)
        pairs, triples = np.empty((n, n), np.int64), np.zeros((n, n, n), np.int64)
        first, second = np.triu_indices(n)
        pairs[first, second] = pairs[second, first] = np.arange(len(first))
        for k, (a, b, c) in enumerate(combinations_with_replacement(range(n), 3)):
            triples[a, b, c] = k * self.triple_powers**3
        radii = np.full(len(structures.numbers), np.inf)
        if self.bond_factor is not None:
            radii = self.bond_factor * covalent_radii[structures.numbers]
        pair = in_pieces(
            powers, structures, structures.positions, species_index(structures, self.species_),
            radii, self.pair_powers, self.triple_powers, pairs, triples,
            len(first) * self.pair_powers, *arrays,
        )  # fmt: skip
        check_places(structures, pair)
