"""Kernels of structures, from kernels of their atoms."""

from numbers import Real

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.utils._param_validation import Interval, StrOptions, validate_parameter_constraints

from skatom.base import BaseEstimator
from skatom.kernels._cpu.matching import rematch
from skatom.kernels.base import Kernel
from skatom.memory import check_memory
from skatom.parallel import split_rows, threads_over_blas
from skatom.structures import groups_by_size, offsets_from_counts

# Atoms of the rows and of the columns in one piece: its kernel values stay in the cache.
_ROWS, _COLUMNS = 128, 1024
# Structures in one piece where all kernels of their atoms are needed.
_STRUCTURES = 16
_TOLERANCE = 1e-8


class StructureKernel(BaseEstimator):
    r"""Similarity of structures from the similarities of their atoms.

    With the kernel :math:`k_{IJ} = \delta_{Z_I Z_J} k(q_I, q_J)` of the atoms I of A and J of B,

    .. math::
        \text{sum} &: \; \sum_{IJ} k_{IJ}

        \text{average} &: \; \frac{1}{N_A N_B} \sum_{IJ} k_{IJ}

        \text{best} &: \; \frac{1}{\max(N_A, N_B)} \max_{\pi} \sum_I k_{I \pi(I)}

        \text{rematch} &: \; \sum_{IJ} W_{IJ} k_{IJ}, \quad
            W = \arg\min \sum_{IJ} W_{IJ} \left[ 2 (1 - k_{IJ}) + \gamma \ln W_{IJ} \right]

    where π pairs every atom of the smaller structure with another one, and the rows and columns of
    W sum up to :math:`1/N_A` and :math:`1/N_B`. The sum grows with the structure, as energies do;
    the others do not. REMatch lies between the average (γ → ∞) and the best match of structures
    of equal size (γ → 0). The last two need not be positive definite, and expect a kernel of atoms
    with k(q, q) = 1.

    Parameters
    ----------
    kernel : Kernel
        Of the features of atoms.
    match : {"sum", "average", "best", "rematch"}, default="sum"
        How atoms are paired.
    gamma : float, default=0.5
        γ of REMatch; twice the γ of [1]_, whose d² is 1 − k.
    normalize : bool, default=False
        Divide by :math:`\sqrt{K_{AA} K_{BB}}`, so that every structure has K = 1 with itself.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    MemoryError
        If the matrix would not fit.

    References
    ----------
    .. [1] S. De, A. P. Bartók, G. Csányi, M. Ceriotti, Phys. Chem. Chem. Phys. 18, 13754 (2016).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import SOAP
    >>> from skatom.kernels import Cosine, StructureKernel
    >>> features = SOAP(n_max=4, l_max=3).fit_transform([molecule("CH4"), molecule("C2H6")])
    >>> StructureKernel(Cosine(2), match="average", normalize=True)(features).round(2)
    array([[1.  , 0.73],
           [0.73, 1.  ]])
    """

    _parameter_constraints = {
        "kernel": [Kernel],
        "match": [StrOptions({"sum", "average", "best", "rematch"})],
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "normalize": ["boolean"],
    }

    def __init__(self, kernel, match="sum", *, gamma=0.5, normalize=False):
        self.kernel = kernel
        self.match = match
        self.gamma = gamma
        self.normalize = normalize

    def __call__(self, X, Y=None):
        """The matrix of kernel values.

        Parameters
        ----------
        X : AtomicFeatures of n structures
        Y : AtomicFeatures of m structures, default=None
            None: X.

        Returns
        -------
        ndarray of float, shape (n, m)
        """
        self.check_parameters()
        check_memory(
            8.0 * len(X) * len(X if Y is None else Y),
            f"the kernel matrix of {len(X)} x {len(X if Y is None else Y)} structures",
            "take fewer structures",
        )
        matrix = self._unnormalized(X, Y)
        if self.normalize:
            left = np.sqrt(matrix.diagonal() if Y is None else self._own(X))
            right = left if Y is None else np.sqrt(self._own(Y))
            matrix /= left[:, None] * right
        return matrix

    def diagonal(self, X):
        """K of each structure with itself, shape (n,).

        Parameters
        ----------
        X : AtomicFeatures of n structures
        """
        return np.ones(len(X)) if self.normalize else self._own(X)

    def check_parameters(self):
        """Raise a ValueError if a parameter is out of range."""
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), type(self).__name__
        )
        self.kernel.check_parameters()

    def _unnormalized(self, X, Y):
        if self.match in {"best", "rematch"}:
            return self._matched(X, Y)
        matrix = _sums(self.kernel, X, X if Y is None else Y, Y is None)
        if self.match == "average":
            matrix /= X.n_atoms[:, None] * (X if Y is None else Y).n_atoms
        return matrix

    def _own(self, X):
        pieces = split_rows(len(X), _STRUCTURES)
        return np.concatenate([self._unnormalized(X[p], None).diagonal() for p in pieces])

    def _matched(self, X, Y):
        symmetric = Y is None
        Y = X if symmetric else Y
        matrix = np.empty((len(X), len(Y)))

        def work(rows):
            first = rows.start if symmetric else 0
            x, y = X[rows], Y[first:]
            atoms = self.kernel._matrix(x.values, y.values) * (x.numbers[:, None] == y.numbers)
            for i in range(len(x)):
                of_x = slice(x.offsets[i], x.offsets[i + 1])
                for j in range(len(y)):
                    block = atoms[of_x, y.offsets[j] : y.offsets[j + 1]]
                    matrix[rows.start + i, first + j] = self._match(block)

        with threads_over_blas() as pool:
            list(pool.map(work, split_rows(len(X), _STRUCTURES)))
        return _mirrored(matrix) if symmetric else matrix

    def _match(self, block):
        if self.match == "best":
            return block[linear_sum_assignment(block, maximize=True)].sum() / max(block.shape)
        return rematch(np.ascontiguousarray(block), float(self.gamma), _TOLERANCE)


def _sums(kernel, X, Y, symmetric):
    """Σ_IJ k_IJ of all pairs of structures, element by element."""
    matrix = np.zeros((len(X), len(Y)))
    of_x, of_y = _by_species(X), _by_species(Y)

    def work(rows):
        first = rows.start if symmetric else 0
        for z in of_x.keys() & of_y.keys():
            x, row_starts, row_places = _part(*of_x[z], rows)
            if len(x) == 0:
                continue
            for columns in groups_by_size(Y.offsets, _COLUMNS, first):
                y, starts, places = _part(*of_y[z], columns)
                if len(y):
                    pairs = np.add.reduceat(kernel._matrix(x, y), row_starts, axis=0)
                    matrix[np.ix_(row_places, places)] += np.add.reduceat(pairs, starts, axis=1)

    with threads_over_blas() as pool:
        list(pool.map(work, groups_by_size(X.offsets, _ROWS)))
    return _mirrored(matrix) if symmetric else matrix


def _by_species(features):
    """Of each species the features, and where those of each structure begin."""
    structure_of_atom = np.repeat(np.arange(len(features)), features.n_atoms)
    found = {}
    for z in features.species:
        mine = features.numbers == z
        counts = np.bincount(structure_of_atom[mine], minlength=len(features))
        found[z] = (features.values[mine], offsets_from_counts(counts))
    return found


def _part(values, starts, structures):
    """The atoms of some structures, where those of each begin, and of which they are."""
    edges = starts[structures.start : structures.stop + 1]
    present = np.flatnonzero(np.diff(edges))
    return (
        values[edges[0] : edges[-1]],
        edges[present] - edges[0],
        structures.start + present,
    )


def _mirrored(matrix):
    upper = np.triu(matrix)
    return upper + np.triu(matrix, 1).T
