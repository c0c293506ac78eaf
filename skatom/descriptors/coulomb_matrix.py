"""The Coulomb matrix of a molecule."""

from __future__ import annotations

from typing import Any

from skatom.descriptors._cpu.pair_matrices import coulomb
from skatom.descriptors.pair_matrix import LENGTHS, PairMatrix, check_molecules, half_charge_power


class CoulombMatrix(PairMatrix):
    r"""The Coulomb matrix of a molecule.

    .. math::
        C_{ii} = \tfrac12 Z_i^{2.4}, \qquad
        C_{ij} = \frac{Z_i Z_j}{|\mathbf r_i - \mathbf r_j|}

    Matrices of smaller molecules are padded with zeros. Features are the elements with i ≤ j, row
    after row, after the atoms have been put into an order that does not depend on how they are
    numbered, or the spectrum of the matrix, sorted by magnitude.

    Parameters
    ----------
    permutation : {"sorted", "none", "random", "eigenvalues", "singular_values"}, default="sorted"
        "sorted": atoms in the order of the norms of their rows, the largest first. "none": in their
        order in the structure, for molecules of one composition. "random": a row has several
        matrices, each sorted by norms to which noise has been added (see Notes). "eigenvalues": the
        eigenvalues of the matrix, the largest magnitude first. "singular_values": the magnitudes.
    n_realizations : int, default=10
        Number of matrices of "random".
    noise : float, default=1.0
        Standard deviation of the noise of "random", in the unit of the elements.
    max_atoms : int, default=None
        Rows of the matrices. None: atoms of the largest molecule given to `fit`.
    unit : {"angstrom", "bohr"}, default="angstrom"
        Unit of the distances in the elements. It matters, as the diagonal does not depend on it;
        in bohr the elements are in hartree, as in the QM7 data.
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
        If a structure is periodic, has more atoms than the matrices have rows, or two atoms at the
        same place.

    Notes
    -----
    *Random orders.* One matrix in several orders is one molecule seen from several sides. The noise
    belongs to places in the order of norms, so that features do not depend on the numbering of
    atoms or on other molecules. Reshaped to (n n_realizations, −1), the values are an augmented
    training set, over whose predictions one averages; the average of a kernel over all pairs of
    orders does the same with n rows, see `AverageOverParts <skatom.kernels.AverageOverParts>`.

    *Derivatives.* The order of atoms is constant in derivatives. Sorted elements jump or have kinks
    where two norms cross, and eigenvalues have kinks where two magnitudes cross, so forces of
    models of these features are exact only between such places; with "none" they are smooth.
    Eigenvectors are not unique where eigenvalues coincide, as in symmetric molecules: derivatives
    of single eigenvalues are arbitrary there.

    References
    ----------
    .. [1] M. Rupp, A. Tkatchenko, K.-R. Müller, O. A. von Lilienfeld, Phys. Rev. Lett. 108, 058301
       (2012).
    .. [2] G. Montavon et al., Advances in Neural Information Processing Systems 25 (2012).
    .. [3] K. Hansen et al., J. Chem. Theory Comput. 9, 3404 (2013).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import CoulombMatrix
    >>> molecules = [molecule("H2O"), molecule("H2")]
    >>> CoulombMatrix().fit_transform(molecules).values.round(2)
    array([[73.52,  8.26,  8.26,  0.5 ,  0.66,  0.5 ],
           [ 0.5 ,  1.36,  0.  ,  0.5 ,  0.  ,  0.  ]])
    >>> spectra = CoulombMatrix("eigenvalues", unit="bohr").fit_transform(molecules)
    >>> spectra.values.round(3)
    array([[74.039,  0.325,  0.153],
           [ 1.218, -0.218,  0.   ]])

    The kernel of molecules, averaged over all pairs of their random orders:

    >>> from skatom.kernels import AverageOverParts, Laplacian
    >>> random = CoulombMatrix("random", n_realizations=4, random_state=0)
    >>> kernel = AverageOverParts(Laplacian(sigma=10.0), n_parts=4)
    >>> kernel(random.fit_transform(molecules)).shape
    (2, 2)
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
        check_molecules(structures, "CoulombMatrix")
        super()._check_structures(structures)

    def _filler(self, structures):
        charges = structures.numbers.astype(float)
        diagonal = half_charge_power(charges)

        def fill(rows, *arrays):
            return coulomb(
                rows.start, rows.stop, structures.offsets, structures.positions, charges,
                diagonal, LENGTHS[self.unit], *arrays,
            )  # fmt: skip

        return fill
