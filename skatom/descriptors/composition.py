"""Moments of properties of the elements in a composition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from ase.data import (
    atomic_masses,
    atomic_numbers,
    chemical_symbols,
    covalent_radii,
    ground_state_magnetic_moments,
    missing,
    vdw_alvarez,
)

from skatom._compositions import amounts_of, is_formulas
from skatom._typing import Array
from skatom.datasets.free_atoms import free_atoms
from skatom.descriptors.without_positions import PositionFreeDescriptor
from skatom.elements import group, period, valence_electrons

_MOMENTS = ("mean", "std", "cov")


def elemental_properties(names: Sequence[str] | None = None) -> dict:
    """Properties of the elements that `CompositionDescriptors` has: numbers by symbol.

    ================= ==========================================================================
    number            atomic number
    row, column       place in the periodic table; column 3 for lanthanides and actinides
    s, p, d, f        electrons outside the last noble gas, by Madelung's rule
    valence           s + p + d + f
    mass              standard atomic weight, u [1]_
    covalent_radius   Å [2]_
    vdw_radius        Å [3]_
    unpaired          electrons of the free atom with unpaired spins, as in `ase.data`
    ionization_energy energy of the highest orbital with half an electron removed, eV
    electronegativity −∂E/∂N of the free atom, the energy of its highest orbital, eV
    s_radius          mean ⟨r⟩ of the s orbital of the period, Å
    ================= ==========================================================================

    Masses, radii and spins are those of `ase.data`; the last three properties were computed for
    skatom, in the local density approximation without spin polarisation
    (`skatom.datasets.free_atoms`). Elements without a value are left out: for vdw_radius Pm, Po,
    At, Rn, Fr, Ra and Fm and after, for covalent_radius Pa and Bk and after, for the last three Rf
    and after.

    Parameters
    ----------
    names : list of str, default=None
        Which of them. None: all.

    Returns
    -------
    dict of dict
        ``{name: {symbol: value}}``, to which further properties can be added.

    Raises
    ------
    ValueError
        If a name is not in the table.

    References
    ----------
    .. [1] J. Meija et al., Pure Appl. Chem. 88, 265 (2016).
    .. [2] B. Cordero et al., Dalton Trans. 2008, 2832.
    .. [3] S. Alvarez, Dalton Trans. 42, 8617 (2013).

    Examples
    --------
    >>> from skatom.descriptors import elemental_properties
    >>> table = elemental_properties(["row", "column", "valence"])
    >>> table["row"]["Ti"], table["column"]["Ti"], table["valence"]["Ti"]
    (4.0, 4.0, 4.0)
    """
    known = _table()
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ValueError(
            f"there is no property {unknown[0]!r}: choose from {', '.join(known)}, or give "
            "numbers by symbol"
        )
    return {name: dict(known[name]) for name in (known if names is None else names)}


@cache
def _table():
    numbers = range(1, 119)
    shells = {z: valence_electrons(z) for z in numbers}
    columns = {
        "number": {z: z for z in numbers},
        "row": {z: period(z) for z in numbers},
        "column": {z: group(z) for z in numbers},
        **{name: {z: shells[z][k] for z in numbers} for k, name in enumerate("spdf")},
        "valence": {z: sum(shells[z]) for z in numbers},
        "mass": dict(enumerate(atomic_masses)),
        "covalent_radius": {z: r for z, r in enumerate(covalent_radii) if r != missing},
        "vdw_radius": dict(enumerate(vdw_alvarez.vdw_radii)),
        "unpaired": dict(enumerate(ground_state_magnetic_moments)),
    }
    return {
        name: {chemical_symbols[z]: float(v) for z, v in column.items() if z and np.isfinite(v)}
        for name, column in columns.items()
    } | free_atoms()


class CompositionDescriptors(PositionFreeDescriptor):
    r"""Means, standard deviations and covariances of properties of the elements.

    .. math::
        \mu_a = \sum_k x_k f_a(k), \qquad
        \sigma_a^2 = \sum_k x_k (f_a(k) - \mu_a)^2, \qquad
        c_{ab} = \sum_k x_k (f_a(k) - \mu_a)(f_b(k) - \mu_b), \quad a < b

    with the fraction x_k of the atoms that are of element k, and its properties f_a(k). Features do
    not depend on positions, nor on the number of formula units; their derivatives are zero. With
    formulas in place of structures, a fitted model predicts compounds whose structure is not known.

    Parameters
    ----------
    properties : list of str or dict of dict, default=None
        Names from `elemental_properties`, or numbers by symbol, ``{name: {symbol: number}}``. None:
        all of `elemental_properties`.
    moments : tuple of {"mean", "std", "cov"}, default=("mean", "std", "cov")
        Which moments, in this order.

    Attributes
    ----------
    n_features_out_ : int
        Number of features.

    Raises
    ------
    ValueError
        If an element has no number for a property, or a name or formula is unknown.

    Notes
    -----
    ``transform`` takes structures or a table: a list of formulas, ``["NaCl", "SrTiO3"]``, or of
    dicts of amounts, ``[{"Ga": 0.7, "In": 0.3, "N": 1}]``; features of a table are an array.

    References
    ----------
    .. [1] A. Seko, H. Hayashi, K. Nakayama, A. Takahashi, I. Tanaka, Phys. Rev. B 95, 144110
       (2017).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skatom.descriptors import CompositionDescriptors
    >>> electronegativity = {"Na": 0.93, "Cl": 3.16}
    >>> moments = CompositionDescriptors({"electronegativity": electronegativity}, ("mean", "std"))
    >>> moments.fit_transform([bulk("NaCl", "rocksalt", a=5.64)]).values.round(3)
    array([[2.045, 1.115]])
    >>> CompositionDescriptors(["row", "column"]).fit_transform(["NaCl", "SrTiO3"]).round(2)
    array([[ 3.  ,  9.  ,  0.  ,  8.  ,  0.  ],
           [ 3.  , 10.8 ,  1.26,  6.4 , -8.  ]])
    """

    _parameter_constraints = {
        "properties": [list, tuple, Mapping, None],
        "moments": [tuple, list],
    }

    def __init__(
        self,
        properties: Sequence[str] | Mapping | None = None,
        moments: Sequence[str] = _MOMENTS,
    ) -> None:
        self.properties = properties
        self.moments = moments

    def _check_fit(self):
        if not len(self.moments) or not set(self.moments) <= set(_MOMENTS):
            raise ValueError(
                f"moments={self.moments!r} must be one or more of {', '.join(map(repr, _MOMENTS))}"
            )
        if len(set(self.moments)) < len(self.moments):
            raise ValueError(f"moments={self.moments!r} has a moment twice: name each once")
        table = self._properties()
        if not table or not self._names():
            raise ValueError(
                f"properties={self.properties!r} and moments={self.moments!r} leave no features: "
                "give one property or more, and two for covariances"
            )
        for name, numbers in table.items():
            if not isinstance(numbers, Mapping) or not set(numbers) <= set(atomic_numbers):
                raise ValueError(
                    f"the property {name!r} is not given as numbers by chemical symbol: write "
                    f"{{{name!r}: {{'Na': 0.93, 'Cl': 3.16}}}}"
                )

    def _properties(self):
        if isinstance(self.properties, Mapping):
            return self.properties
        return elemental_properties(self.properties)

    def _names(self):
        names = {}
        for moment in self.moments:
            if moment == "cov":
                pairs = combinations(self._properties(), 2)
                names |= dict.fromkeys(f"cov({a}, {b})" for a, b in pairs)
            else:
                names |= dict.fromkeys(f"{moment}({a})" for a in self._properties())
        return list(names)

    def _is_table(self, X):
        return is_formulas(X)

    def _of_table(self, X):
        return self._of_amounts(*amounts_of(X))

    def _of_structures(self, structures):
        return self._of_amounts(*amounts_of(structures))

    def _of_amounts(self, amounts, species):
        numbers = self._numbers(species)
        fractions = amounts / amounts.sum(axis=1, keepdims=True)
        means = fractions @ numbers
        first, second = np.triu_indices(numbers.shape[1], 1)
        blocks = []
        for moment in self.moments:
            if moment == "mean":
                blocks.append(means)
            elif moment == "std":
                blocks.append(np.sqrt(_centred(fractions, numbers, means, None)))
            else:
                blocks.append(_centred(fractions, numbers, means, (first, second)))
        return np.concatenate(blocks, axis=1)

    def _numbers(self, species):
        """The properties of the elements, (n_species, n_properties)."""
        table, found = self._properties(), []
        for z in species:
            symbol = chemical_symbols[z]
            lacking = [name for name, numbers in table.items() if symbol not in numbers]
            if lacking:
                raise ValueError(
                    f"there is no {lacking[0]} of {symbol}: leave out the property, "
                    "properties=[…], or give numbers by symbol"
                )
            found.append([float(numbers[symbol]) for numbers in table.values()])
        found = np.array(found)
        if not np.isfinite(found).all():
            z, k = np.argwhere(~np.isfinite(found))[0]
            raise ValueError(
                f"the {list(table)[k]} of {chemical_symbols[species[z]]} is {found[z, k]}: give a "
                "finite number, or leave out the property"
            )
        return found


def _centred(fractions: Array, numbers: Array, means: Array, pairs: Any) -> Array:
    """Σ_k x_k (f_a − μ_a)(f_b − μ_b) of pairs of properties, or of each with itself.

    Summed over elements from differences to the mean: moments of pure elements are exact zeros.
    """
    first = second = slice(None)
    if pairs is not None:
        first, second = pairs
    total = 0.0
    for weights, of_element in zip(fractions.T, numbers, strict=True):
        # of an element that is alone the mean is rounded, and the difference must not be seen
        rest = np.where(weights[:, None] == 1, 0.0, of_element - means)
        total = total + weights[:, None] * rest[:, first] * rest[:, second]
    return total
