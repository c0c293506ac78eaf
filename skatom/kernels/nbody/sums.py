"""Kernels of pairs and triangles of atoms."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, Options, StrOptions

from skatom.kernels.base import Kernel
from skatom.kernels.covariances import by_structure
from skatom.kernels.nbody import nplets
from skatom.kernels.nbody.expansion import NPletExpansion
from skatom.kernels.nbody.features import RadialBasis, interval, part_features
from skatom.memory import check_memory
from skatom.structures import as_structures

_POSITIVE = Interval(Real, 0, None, closed="neither")
# The largest ratio of a range of distances to sigma: the number of features of pairs grows with it,
# the number of features of triangles with its third power.
_LONGEST = {2: 500.0, 3: 45.0}


class NBodyKernel(Kernel):
    """Base class of kernels of structures that are sums over their n-plets or environments.

    A subclass implements ``rows(structures, what, atoms=None)``, which prepares the rows
    ``"energy"`` of structures, ``"local"`` of atoms, ``"forces"`` of atoms or ``"virial"`` of
    structures, ``cross`` and ``diagonal_blocks``. Kernels add up: ``NBody(order=2) +
    NBody(order=3)``.
    """

    @property
    def terms(self):
        """The kernels whose sum this is."""
        return [self]

    def __add__(self, other):
        return NBodySum(self, other) if isinstance(other, NBodyKernel) else super().__add__(other)

    def __call__(self, X, Y=None):
        """Covariances of the energies of structures.

        Parameters
        ----------
        X, Y : Structures or list of ase.Atoms, n and m of them
            Y=None: X.

        Returns
        -------
        ndarray of float, shape (n, m), eV²
        """
        self.check_parameters()
        return self.covariance_blocks(X, Y, ("energy",), ("energy",))

    def diagonal(self, X):
        """Variances of the energies of structures, shape (n,), eV²."""
        self.check_parameters()
        return self.diagonal_blocks(self.rows(as_structures(X), "energy"))[:, 0, 0]

    @property
    def n_derivatives(self):
        return 2

    def covariance_blocks(self, X, Y, rows, columns):
        X = as_structures(X)
        Y = X if Y is None else as_structures(Y)
        _check_matrix(X, Y, rows, columns)
        left = [self.rows(X, what) for what in rows]
        same = Y is X and rows == columns
        stacked = self.cross(left, None if same else [self.rows(Y, what) for what in columns])
        return by_structure(stacked, X, Y, rows, columns)

    def local(self, X, Y=None):
        """Covariances of the environments of single atoms.

        Parameters
        ----------
        X, Y : Structures or list of ase.Atoms
            Structures with n_atoms and m_atoms atoms in all. Y=None: X.

        Returns
        -------
        ndarray of float, shape (n_atoms, m_atoms), eV²
        """
        self.check_parameters()
        rows = [self.rows(as_structures(X), "local")]
        return self.cross(rows, None if Y is None else [self.rows(as_structures(Y), "local")])


class NBody(NBodyKernel):
    r"""Kernel of pairs or triangles of atoms.

    .. math::

        k(S, S') = \delta^2 \sum_{T \in S} \sum_{T' \in S'} f_c(T)\, f_c(T')
        \sum_P \exp\left(-\frac{|T - P T'|^2}{2 \sigma^2}\right)

    T runs over the pairs (``order=2``: T is a distance) or the triangles (``order=3``: T are three
    sides) of a structure whose sides are all within the cutoff, each counted once. Only n-plets of
    the same elements are compared; P runs over the permutations of their like atoms.
    :math:`f_c(T)` is the product of the cutoff functions of all sides. A Gaussian process with
    this kernel is a sum of arbitrary smooth functions of pairs or triangles. The kernel does not
    change under translation, rotation, reflection or exchange of like atoms.

    Kernels can be added, ``NBody(order=2) + NBody(order=3, sigma=1.0)``.

    Parameters
    ----------
    order : {2, 3}, default=2
        Pairs (2) or triangles (3).
    sigma : float, default=0.5
        Length scale σ in Å; usually 0.3 to 0.6 for pairs and 0.5 to 1.5 for triangles.
    cutoff : float or None, default=5.0
        Cutoff radius in Å, the longest side of an n-plet. None: no limit, for molecules and
        clusters.
    cutoff_function : {"cosine", "exponential"}, default="cosine"
        "cosine" is 1 up to ``cutoff - cutoff_width`` and falls to 0 as half a cosine;
        "exponential" is exp(-cutoff_width/(cutoff - r)), with continuous derivatives of any order.
    cutoff_width : float, default=1.0
        Width in Å of the transition.
    amplitude : float, default=1.0
        Prior standard deviation δ of the energy of an n-plet, in eV.

    References
    ----------
    .. [1] A. Glielmo, C. Zeni, A. De Vita, Phys. Rev. B 97, 184307 (2018).
    .. [2] A. Glielmo, C. Zeni, Á. Fekete, A. De Vita, in Machine Learning Meets Quantum Physics,
       Springer (2020), eqs. 5.28, 5.29 and 5.34 to 5.37, there with a factor of 2 for pairs of
       like atoms, and without cutoff functions.

    Examples
    --------
    >>> from ase.build import bulk, molecule
    >>> from skatom.kernels import NBody, covariance
    >>> kernel = NBody(order=3, sigma=0.8, cutoff=4.0)
    >>> kernel([molecule("H2O"), molecule("CH4"), bulk("Si")]).shape
    (3, 3)
    >>> covariance(kernel, [molecule("H2O")], [molecule("CH4")]).shape
    (10, 16)
    >>> covariance(kernel, [molecule("H2O")], rows=("forces",)).shape
    (9, 9)
    """

    _parameter_constraints = {
        "order": [Options(Integral, {2, 3})],
        "sigma": [_POSITIVE],
        "cutoff": [_POSITIVE, None],
        "cutoff_function": [StrOptions({"cosine", "exponential"})],
        "cutoff_width": [_POSITIVE],
        "amplitude": [_POSITIVE],
    }

    def __init__(
        self,
        order=2,
        sigma=0.5,
        cutoff=5.0,
        cutoff_function="cosine",
        cutoff_width=1.0,
        amplitude=1.0,
    ):
        self.order = order
        self.sigma = sigma
        self.cutoff = cutoff
        self.cutoff_function = cutoff_function
        self.cutoff_width = cutoff_width
        self.amplitude = amplitude

    @property
    def transition(self):
        """The cutoff function: a callable that gives values and slopes."""
        return nplets.Cutoff(self.cutoff, self.cutoff_width, self.cutoff_function)

    @property
    def scales(self):
        """σ and δ, over which the marginal likelihood is maximised."""
        return self.sigma, self.amplitude

    @property
    def smallest_sigma(self):
        """A length scale that is long enough for all distances up to the cutoff."""
        return 0.0 if self.cutoff is None else self.cutoff / _LONGEST[self.order]

    def rescaled(self, sigma, amplitude):
        """A copy with other scales."""
        return clone(self).set_params(sigma=sigma, amplitude=amplitude)

    def rows(self, structures, what, atoms=None):
        """The n-plets of some rows of a kernel matrix and their weights.

        Parameters
        ----------
        structures : Structures
        what : {"energy", "local", "forces", "virial"}
            Energies of structures, the sums around each atom, forces, or derivatives of energies
            with respect to strains, six for each structure (xx, yy, zz, yz, xz, xy).
        atoms : ndarray of int, default=None
            With "forces", the atoms of the batch whose forces are the rows. None: all.

        Returns
        -------
        NPletRows
        """
        if what == "forces":
            return nplets.force_rows(structures, self.order, self.transition, atoms)
        make = {
            "energy": nplets.energy_rows, "local": nplets.local_rows, "virial": nplets.virial_rows,
        }  # fmt: skip
        return make[what](structures, self.order, self.transition)

    def cross(self, rows, others=None):
        """The kernel matrix between rows.

        Parameters
        ----------
        rows, others : list of NPletRows
            others=None: the rows themselves.

        Returns
        -------
        ndarray of float, shape (n, m)
        """
        columns = rows if others is None else others
        matrix = np.zeros((_count(rows), _count(columns)))
        for elements in _combinations(rows) & _combinations(columns):
            basis = self._basis(elements, [*rows, *columns])
            if basis is None:
                continue
            index, features = _stacked(rows, elements, basis)
            if others is None:
                matrix[np.ix_(index, index)] += features @ features.T
            else:
                columns_index, column_features = _stacked(others, elements, basis)
                matrix[np.ix_(index, columns_index)] += features @ column_features.T
        matrix *= self.amplitude**2
        return matrix

    def diagonal_blocks(self, rows):
        """The kernel of each group of rows with itself, shape (n_groups, n_rows, n_rows)."""
        blocks = np.zeros((rows.n_groups, rows.n_rows, rows.n_rows))
        for elements, part in rows.parts.items():
            basis = self._basis(elements, [rows])
            if basis is not None:
                groups, features = part_features(part, elements, basis)
                blocks[groups] += np.matmul(features, features.transpose(0, 2, 1))
        blocks *= self.amplitude**2
        return blocks

    def _basis(self, elements, rows):
        """A basis for the distances that occur, or None if there are none."""
        limits = interval([(elements, r.parts[elements]) for r in rows if elements in r.parts])
        if limits is None:
            return None
        low, high = limits
        shortest = (high - low) / _LONGEST[self.order]
        if self.sigma < shortest:
            raise ValueError(
                f"sigma={self.sigma:.3g} Å is too short for distances from {low:.3g} to "
                f"{high:.3g} Å: raise it to {shortest:.3g} Å at least, or lower the cutoff"
            )
        return RadialBasis(low, high, float(self.sigma))

    def expand(self, rows, coefficients):
        """The mean of a Gaussian process with this kernel.

        Parameters
        ----------
        rows : list of NPletRows
            The training data.
        coefficients : list of ndarray of float, shapes (n_groups, n_rows)
            The weight of each row.

        Returns
        -------
        NPletExpansion
        """
        return NPletExpansion(self, rows, coefficients)


def _check_matrix(X, Y, rows, columns):
    n, m = (
        len(side) * ("energy" in kinds) + 3 * len(side.numbers) * ("forces" in kinds)
        for side, kinds in ((X, rows), (Y, columns))
    )
    check_memory(16.0 * n * m, f"the {n} x {m} covariance matrix", "use fewer structures")


def _combinations(rows):
    return set().union(*(block.parts for block in rows))


def _count(rows):
    return sum(block.n_groups * block.n_rows for block in rows)


def _stacked(rows, elements, basis):
    """The places and features of all rows that are not zero."""
    places, features, begin = [], [], 0
    for block in rows:
        if elements in block.parts:
            groups, values = part_features(block.parts[elements], elements, basis)
            rows_of_groups = groups[:, None] * block.n_rows + np.arange(block.n_rows)
            places.append(begin + rows_of_groups.ravel())
            features.append(values.reshape(len(places[-1]), -1))
        begin += block.n_groups * block.n_rows
    return np.concatenate(places), np.concatenate(features)


class NBodySum(NBodyKernel):
    """The sum of two kernels of structures, k₁(S, S') + k₂(S, S'), written ``left + right``.

    Parameters
    ----------
    left, right : NBody, ManyBody or NBodySum
        The two kernels.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.kernels import NBody
    >>> kernel = NBody(order=2) + NBody(order=3, sigma=1.0)
    >>> kernel([molecule("H2O"), molecule("CH4")]).shape
    (2, 2)
    """

    _parameter_constraints = {"left": [NBodyKernel], "right": [NBodyKernel]}

    def __init__(self, left, right):
        self.left = left
        self.right = right

    @property
    def terms(self):
        return [*self.left.terms, *self.right.terms]

    @property
    def n_derivatives(self):
        return min(self.left.n_derivatives, self.right.n_derivatives)

    def rows(self, structures, what, atoms=None):
        """The rows of each term, in a tuple."""
        return tuple(term.rows(structures, what, atoms) for term in self.terms)

    def cross(self, rows, others=None):
        """The sum of the kernel matrices of all terms."""
        return sum(
            term.cross([r[k] for r in rows], None if others is None else [r[k] for r in others])
            for k, term in enumerate(self.terms)
        )

    def diagonal_blocks(self, rows):
        """The sum of the diagonal blocks of all terms."""
        return sum(term.diagonal_blocks(a) for term, a in zip(self.terms, rows, strict=True))
