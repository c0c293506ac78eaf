"""Matrices of the atoms of a crystal: sine, Ewald and screened Coulomb matrices."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval

from skatom._intervals import POSITIVE
from skatom.descriptors._cpu.pair_matrices import add_waves, images, sine
from skatom.descriptors.pair_matrix import LENGTHS, PairMatrix, check_crystals, half_charge_power

# Terms of the sum of one pair of atoms; more are a cell or a parameter in another unit
_MOST_TERMS = 1e6


class SineMatrix(PairMatrix):
    r"""The sine matrix of a crystal.

    .. math::
        C_{ii} = \tfrac12 Z_i^{2.4}, \qquad
        C_{ij} = Z_i Z_j \Big/ \Big|\sum_k \mathbf a_k \sin^2(\pi s_k)\Big|

    with the cell vectors **a** and the fractional coordinates **s** of r_i − r_j. It is periodic
    like the crystal and without sums over images, but depends on the choice of the cell: take
    reduced primitive cells.

    Parameters
    ----------
    permutation : {"sorted", "none", "random", "eigenvalues", "singular_values"}, default="sorted"
        The order of atoms, or the spectrum, see `CoulombMatrix`.
    n_realizations : int, default=10
        Number of matrices of "random".
    noise : float, default=1.0
        Standard deviation of the noise of "random", in the unit of the elements.
    max_atoms : int, default=None
        Rows of the matrices. None: atoms of the largest crystal given to `fit`.
    unit : {"angstrom", "bohr"}, default="angstrom"
        Unit of lengths in the elements.
    random_state : int, RandomState or None, default=None
        Seed of the noise of "random".

    Attributes
    ----------
    max_atoms_ : int
        Rows of the matrices.
    noise_ : ndarray of float, shape (n_realizations, max_atoms)
        Noise that is added to the k-th largest norm; zeros but for "random".

    Raises
    ------
    ValueError
        If a structure is not periodic in three directions, has more atoms than the matrices have
        rows, or two atoms at the same place.

    Notes
    -----
    On derivatives see `CoulombMatrix`. Elements have kinks where a fractional coordinate of all
    three directions is 0, which is where atoms coincide, and nowhere else.

    References
    ----------
    .. [1] F. Faber, A. Lindmaa, O. A. von Lilienfeld, R. Armiento, Int. J. Quantum Chem. 115, 1094
       (2015).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skatom.descriptors import SineMatrix
    >>> salt = bulk("NaCl", "rocksalt", a=5.64)
    >>> SineMatrix("none").fit_transform([salt]).values.round(4)
    array([[157.8747,  19.1426, 448.7944]])
    """

    def __init__(
        self,
        permutation: str = "sorted",
        *,
        n_realizations: int = 10,
        noise: float = 1.0,
        max_atoms: int | None = None,
        unit: str = "angstrom",
        random_state: Any = None,
    ) -> None:
        self.permutation = permutation
        self.n_realizations = n_realizations
        self.noise = noise
        self.max_atoms = max_atoms
        self.unit = unit
        self.random_state = random_state

    def _check_structures(self, structures):
        check_crystals(structures, "SineMatrix")
        super()._check_structures(structures)

    def _filler(self, structures):
        charges = structures.numbers.astype(float)
        diagonal, inverses = half_charge_power(charges), np.linalg.inv(structures.cells)

        def fill(rows, *arrays):
            return sine(
                rows.start, rows.stop, structures.offsets, structures.positions, charges,
                diagonal, LENGTHS[self.unit], structures.cells, inverses, *arrays,
            )  # fmt: skip

        return fill


class EwaldMatrix(PairMatrix):
    r"""The Ewald matrix of a crystal: the electrostatic energy of its nuclei, pair by pair.

    .. math::
        C_{ij} &= Z_i Z_j \Big[\sum_{\mathbf L} \frac{\mathrm{erfc}(a |\mathbf r_{ij} + \mathbf L|)}
            {|\mathbf r_{ij} + \mathbf L|} + \frac{4\pi}{V} \sum_{\mathbf G \neq 0}
            \frac{e^{-G^2/4a^2}}{G^2} \cos(\mathbf G \cdot \mathbf r_{ij})
            - \frac{\pi}{V a^2}\Big] \\
        C_{ii} &= \frac{Z_i^2}{2} \Big[\sum_{\mathbf L \neq 0}
            \frac{\mathrm{erfc}(a L)}{L} + \frac{4\pi}{V} \sum_{\mathbf G \neq 0}
            \frac{e^{-G^2/4a^2}}{G^2} - \frac{\pi}{V a^2}\Big] - \frac{a Z_i^2}{\sqrt\pi}

    The elements with i ≤ j add up to the energy of the cell, of nuclei in a uniform background, in
    e²/Å or hartree. No element depends on the screening a, which is chosen for speed, nor on the
    choice of the vectors of a lattice; a supercell has other elements.

    Parameters
    ----------
    permutation : {"sorted", "none", "random", "eigenvalues", "singular_values"}, default="sorted"
        The order of atoms, or the spectrum, see `CoulombMatrix`.
    accuracy : float, default=1e-8
        Relative size of the terms A at which sums end, √(−ln A)/a in real space and 2a√(−ln A) in
        reciprocal space.
    screening : float, default=None
        The screening a in 1/Å. None: √π (n / V²)^(1/6) for a cell of n atoms and the volume V.
    n_realizations : int, default=10
        Number of matrices of "random".
    noise : float, default=1.0
        Standard deviation of the noise of "random", in the unit of the elements.
    max_atoms : int, default=None
        Rows of the matrices. None: atoms of the largest crystal given to `fit`.
    unit : {"angstrom", "bohr"}, default="angstrom"
        Unit of lengths in the elements.
    random_state : int, RandomState or None, default=None
        Seed of the noise of "random".

    Attributes
    ----------
    max_atoms_ : int
        Rows of the matrices.
    noise_ : ndarray of float, shape (n_realizations, max_atoms)
        Noise that is added to the k-th largest norm; zeros but for "random".

    Raises
    ------
    ValueError
        If a structure is not periodic in three directions, has more atoms than the matrices have
        rows, or two atoms at the same place.

    Notes
    -----
    On derivatives see `CoulombMatrix`. The constants of elements off the diagonal are those of the
    energy; in the first publication they are others, with which elements depend on a.

    References
    ----------
    .. [1] F. Faber, A. Lindmaa, O. A. von Lilienfeld, R. Armiento, Int. J. Quantum Chem. 115, 1094
       (2015).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skatom.descriptors import EwaldMatrix
    >>> salt = bulk("NaCl", "rocksalt", a=5.64)
    >>> elements = EwaldMatrix("none").fit_transform([salt]).values[0]
    >>> elements.round(4)
    array([ -49.1816,  -36.1312, -117.4668])

    The Madelung constant, of charges 1 and −1 at the distance a/2:

    >>> charges = elements / [11 * 11, -11 * 17, 17 * 17]
    >>> print(f"{-charges.sum() * 5.64 / 2:.6f}")
    1.747565
    """

    _parameter_constraints = {
        **PairMatrix._parameter_constraints,
        "accuracy": [Interval(Real, 0, 0.1, closed="neither")],
        "screening": [POSITIVE, None],
    }

    def __init__(
        self,
        permutation: str = "sorted",
        *,
        accuracy: float = 1e-8,
        screening: float | None = None,
        n_realizations: int = 10,
        noise: float = 1.0,
        max_atoms: int | None = None,
        unit: str = "angstrom",
        random_state: Any = None,
    ) -> None:
        self.permutation = permutation
        self.accuracy = accuracy
        self.screening = screening
        self.n_realizations = n_realizations
        self.noise = noise
        self.max_atoms = max_atoms
        self.unit = unit
        self.random_state = random_state

    def _check_structures(self, structures):
        check_crystals(structures, "EwaldMatrix")
        super()._check_structures(structures)

    def _filler(self, structures):
        x, scale = structures, LENGTHS[self.unit]
        charges, inverses = x.numbers.astype(float), np.linalg.inv(x.cells)
        volumes = x.volumes()
        rates = math.sqrt(math.pi) * (x.n_atoms / volumes**2) ** (1 / 6)
        if self.screening is not None:
            rates = np.full(len(x), float(self.screening))
        reach = math.sqrt(-math.log(self.accuracy))
        _check_terms(x.cells, 2 * rates * reach / (2 * math.pi), "waves")
        _check_terms(np.swapaxes(inverses, 1, 2), reach / rates, "images")
        own = -scale * np.repeat(rates, x.n_atoms) * charges**2 / math.sqrt(math.pi)

        def fill(rows, *arrays):
            pair = images(
                rows.start, rows.stop, x.offsets, x.positions, charges, own, scale, x.cells,
                inverses, rates, reach / rates, False, *arrays,
            )  # fmt: skip
            add_waves(
                rows.start, rows.stop, x.offsets, x.positions, charges, scale, x.cells, inverses,
                volumes, rates, 2 * rates * reach, *arrays,
            )  # fmt: skip
            return pair

        return fill


class ExtendedCoulombMatrix(PairMatrix):
    r"""A screened Coulomb matrix of a crystal, with all images within a cutoff.

    .. math::
        C_{ij} = \frac{\delta_{ij}}2 Z_i^{2.4} + Z_i Z_j \sum_{\mathbf L}
            \frac{e^{-r/\ell}}{r} f(r), \qquad r = |\mathbf r_{ij} + \mathbf L| > 0, \quad
        f(r) = \tfrac12 [1 + \cos(\pi r/R)]

    The published matrix has a block of columns for every replica of the cell. Here the images of an
    atom are added up, which leaves one row and one column for each atom, and the interaction ends
    smoothly at the cutoff R, so that features have derivatives.

    Parameters
    ----------
    permutation : {"sorted", "none", "random", "eigenvalues", "singular_values"}, default="sorted"
        The order of atoms, or the spectrum, see `CoulombMatrix`.
    cutoff : float, default=8.0
        The cutoff R in Å.
    screening_length : float, default=2.0
        The length ℓ in Å.
    n_realizations : int, default=10
        Number of matrices of "random".
    noise : float, default=1.0
        Standard deviation of the noise of "random", in the unit of the elements.
    max_atoms : int, default=None
        Rows of the matrices. None: atoms of the largest crystal given to `fit`.
    unit : {"angstrom", "bohr"}, default="angstrom"
        Unit of distances in the elements.
    random_state : int, RandomState or None, default=None
        Seed of the noise of "random".

    Attributes
    ----------
    max_atoms_ : int
        Rows of the matrices.
    noise_ : ndarray of float, shape (n_realizations, max_atoms)
        Noise that is added to the k-th largest norm; zeros but for "random".

    Raises
    ------
    ValueError
        If a structure is not periodic in three directions, has more atoms than the matrices have
        rows, or two atoms at the same place.

    Notes
    -----
    On derivatives see `CoulombMatrix`.

    References
    ----------
    .. [1] F. Faber, A. Lindmaa, O. A. von Lilienfeld, R. Armiento, Int. J. Quantum Chem. 115, 1094
       (2015).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skatom.descriptors import ExtendedCoulombMatrix
    >>> crystals = [bulk("NaCl", "rocksalt", a=5.64), bulk("Si")]
    >>> ExtendedCoulombMatrix("eigenvalues").fit_transform(crystals).shape
    (2, 2)
    """

    _parameter_constraints = {
        **PairMatrix._parameter_constraints,
        "cutoff": [POSITIVE],
        "screening_length": [POSITIVE],
    }

    def __init__(
        self,
        permutation: str = "sorted",
        *,
        cutoff: float = 8.0,
        screening_length: float = 2.0,
        n_realizations: int = 10,
        noise: float = 1.0,
        max_atoms: int | None = None,
        unit: str = "angstrom",
        random_state: Any = None,
    ) -> None:
        self.permutation = permutation
        self.cutoff = cutoff
        self.screening_length = screening_length
        self.n_realizations = n_realizations
        self.noise = noise
        self.max_atoms = max_atoms
        self.unit = unit
        self.random_state = random_state

    def _check_structures(self, structures):
        check_crystals(structures, "ExtendedCoulombMatrix")
        super()._check_structures(structures)

    def _filler(self, structures):
        x = structures
        charges, inverses = x.numbers.astype(float), np.linalg.inv(x.cells)
        rates = np.full(len(x), 1 / self.screening_length)
        cutoffs, diagonal = np.full(len(x), float(self.cutoff)), half_charge_power(charges)
        _check_terms(np.swapaxes(inverses, 1, 2), cutoffs, "images")

        def fill(rows, *arrays):
            return images(
                rows.start, rows.stop, x.offsets, x.positions, charges, diagonal,
                LENGTHS[self.unit], x.cells, inverses, rates, cutoffs, True, *arrays,
            )  # fmt: skip

        return fill


def _check_terms(vectors, cutoffs, what):
    """Raise a ValueError if the box of a lattice sum, (2 cutoff |v_k| + 1) terms along k, is large.

    The vectors (n, 3, 3) are those of the reciprocal lattice.
    """
    lengths = np.linalg.norm(vectors, axis=2)
    terms = np.prod(2 * cutoffs[:, None] * lengths + 1, axis=1)
    most = int(terms.argmax())
    if not terms[most] <= _MOST_TERMS:
        raise ValueError(
            f"the sum over {what} of structure {most} has {terms[most]:.1e} terms for each pair of "
            f"atoms, and at most {_MOST_TERMS:.0e} are computed: check the unit of the cell, whose "
            "shape may need reduction, and of the lengths that are parameters"
        )
