"""Atomic charges from the equalisation of electronegativities."""

from __future__ import annotations

import numpy as np
from ase.data import chemical_symbols
from scipy.spatial.distance import pdist, squareform

from skatom._typing import Array, StructuresLike
from skatom.structures import as_structures, structure_of

_COULOMB = 14.399645  # e²/4πε₀, eV Å
# Electronegativity χ and self-Coulomb integral J in eV: table 1 of Rappé and Goddard (1991).
_ELEMENTS = {
    1: (4.5280, 13.8904), 3: (3.006, 4.772), 6: (5.343, 10.126), 7: (6.899, 11.760),
    8: (8.741, 13.364), 9: (10.874, 14.948), 11: (2.843, 4.592), 14: (4.168, 6.974),
    15: (5.463, 8.000), 16: (6.928, 8.972), 17: (8.564, 9.892), 19: (2.421, 3.840),
    35: (7.790, 8.850), 37: (2.331, 3.692), 53: (6.822, 7.524), 55: (2.183, 3.422),
}  # fmt: skip


def equalized_charges(structures: StructuresLike) -> Array:
    r"""Charges q of neutral molecules by equalisation of electronegativities.

    .. math::
        \chi_a + J_a q_a + \sum_{b \neq a} J_{ab} q_b = \mu \text{ for all } a,
        \quad \sum_a q_a = 0, \quad
        J_{ab} = \frac{k}{\sqrt{r_{ab}^2 + \left(\frac{k}{2 J_a} + \frac{k}{2 J_b}\right)^2}}

    with the electronegativities χ and self-Coulomb integrals J of [1]_ and the screened repulsion
    of [2]_; k is Coulomb's constant. This is a fast estimate, sufficient where a model learns
    corrections.

    Parameters
    ----------
    structures : Structures or list of ase.Atoms
        Molecules, not periodic, of the elements H, Li, C, N, O, F, Na, Si, P, S, Cl, K, Br, Rb, I
        and Cs.

    Returns
    -------
    ndarray of float, shape (n_atoms,)
        Charges in e.

    Raises
    ------
    ValueError
        If a structure is periodic or has another element.

    References
    ----------
    .. [1] A. K. Rappé, W. A. Goddard, J. Phys. Chem. 95, 3358 (1991), table 1.
    .. [2] G. Klopman, J. Am. Chem. Soc. 86, 4550 (1964); K. Ohno, Theor. Chim. Acta 2, 219 (1964).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.kernels.charges import equalized_charges
    >>> equalized_charges([molecule("H2O")]).round(2)
    array([-1.02,  0.51,  0.51])
    """
    structures = as_structures(structures)
    _check(structures)
    charges = np.empty(len(structures.numbers))
    for start, stop in zip(structures.offsets[:-1], structures.offsets[1:], strict=True):
        atoms = slice(start, stop)
        charges[atoms] = _equalize(structures.numbers[atoms], structures.positions[atoms])
    return charges


def arms_of_atoms(structures):
    """r_a - r_c of each atom, from the centre of the nuclear charges, (n_atoms, 3)."""
    if structures.pbc.any():
        raise ValueError(
            f"structure {np.flatnonzero(structures.pbc.any(axis=1))[0]} is periodic: it has no "
            "dipole; field_gradients takes molecules only"
        )
    starts, weights = structures.offsets[:-1], structures.numbers[:, None]
    sums = np.add.reduceat(weights * structures.positions, starts)
    centers = sums / np.add.reduceat(weights, starts)
    return structures.positions - np.repeat(centers, structures.n_atoms, axis=0)


def fictitious_charges(structures, charges):
    """Charges given by the user, checked, or `equalized_charges`."""
    if charges is None:
        return equalized_charges(structures)
    charges, n_atoms = np.asarray(charges, float), len(structures.numbers)
    if charges.shape != (n_atoms,) or not np.isfinite(charges).all():
        raise ValueError(
            f"charges of the shape {charges.shape} must be {n_atoms} finite numbers, one for "
            "each atom"
        )
    return charges


def _equalize(numbers, positions):
    chi, hardness = np.array([_ELEMENTS[z] for z in numbers]).T
    radii = _COULOMB / (2 * hardness)
    distances = squareform(pdist(positions))
    n = len(numbers)
    system = np.ones((n + 1, n + 1))
    # on the diagonal, where the distance is zero, this is J_a itself
    system[:n, :n] = _COULOMB / np.hypot(distances, radii[:, None] + radii)
    system[n, n] = 0.0
    return np.linalg.solve(system, np.append(-chi, 0.0))[:n]


def _check(structures):
    if structures.pbc.any():
        s = np.flatnonzero(structures.pbc.any(axis=1))[0]
        raise ValueError(
            f"structure {s} is periodic: charges are equalised in molecules only; give charges"
        )
    for z in structures.species:
        if z not in _ELEMENTS:
            s = structure_of(structures.offsets, np.argmax(structures.numbers == z))
            known = " ".join(chemical_symbols[known] for known in _ELEMENTS)
            raise ValueError(
                f"structure {s} has {chemical_symbols[z]}, whose electronegativity is not "
                f"tabulated (known: {known}); give charges"
            )
