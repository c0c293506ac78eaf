"""Kernels of structures, from kernels of their atoms."""

from numbers import Real

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.utils._param_validation import Interval, StrOptions

from skatom._device import beside, check_is_array
from skatom.kernels._cpu.matching import rematch
from skatom.kernels.atom_sums import (
    check_atomic_features,
    check_kernel_matrix,
    mirrored,
    own_sums,
    sums_of_atoms,
)
from skatom.kernels.base import Kernel
from skatom.kernels.feature_kernel import FeatureKernel
from skatom.parallel import split_rows, threads_over_blas

# Number of structures in one piece where all kernels of their atoms are needed.
_STRUCTURES = 16
_TOLERANCE = 1e-8


class StructureKernel(Kernel):
    r"""Similarity of structures from the similarities of their atoms.

    With the kernel :math:`k_{IJ} = \delta_{Z_I Z_J} k(q_I, q_J)` of the atoms I of A and J of B,

    .. math::
        \text{sum} &: \; \sum_{IJ} k_{IJ}

        \text{average} &: \; \frac{1}{N_A N_B} \sum_{IJ} k_{IJ}

        \text{best} &: \; \frac{1}{\max(N_A, N_B)} \max_{\pi} \sum_I k_{I \pi(I)}

        \text{rematch} &: \; \sum_{IJ} W_{IJ} k_{IJ}, \quad
            W = \arg\min \sum_{IJ} W_{IJ} \left[ 2 (1 - k_{IJ}) + \gamma \ln W_{IJ} \right]

    where π pairs every atom of the smaller structure with a different atom of the larger one, and
    the rows and columns of W sum to :math:`1/N_A` and :math:`1/N_B`. The sum is extensive, as
    energies are; the others are intensive. REMatch lies between the average (γ → ∞) and the best
    match of structures of equal size (γ → 0). "best" and "rematch" need not be positive definite,
    and expect a kernel of atoms with k(q, q) = 1.

    Parameters
    ----------
    kernel : FeatureKernel
        Kernel k of the features of atoms.
    match : {"sum", "average", "best", "rematch"}, default="sum"
        How atoms are paired.
    gamma : float, default=0.5
        Regularisation γ of REMatch; twice the γ of [1]_, whose d² is 1 − k.
    normalize : bool, default=False
        Divide by :math:`\sqrt{K_{AA} K_{BB}}`, so that K = 1 for equal structures.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    MemoryError
        If the matrix would not fit in memory.

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
        "kernel": [FeatureKernel],
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
            The rows.
        Y : AtomicFeatures of m structures, default=None
            The columns. None: X.

        Returns
        -------
        ndarray of float, shape (n, m)
        """
        self.check_parameters()
        check_atomic_features(X, Y)
        check_kernel_matrix(len(X), len(X if Y is None else Y))
        matrix = self._unnormalized(X, Y)
        if self.normalize:
            left = (matrix.diagonal() if Y is None else self._own(X)) ** 0.5
            right = left if Y is None else self._own(Y) ** 0.5
            matrix /= left[:, None] * right
        return matrix

    def diagonal(self, X):
        """The kernel of each structure with itself, shape (n,).

        Parameters
        ----------
        X : AtomicFeatures of n structures
        """
        return np.ones(len(X)) if self.normalize else self._own(X)

    @property
    def n_derivatives(self):
        return self.kernel.n_derivatives if self.match == "sum" and not self.normalize else 0

    def covariance_blocks(self, X, Y, rows, columns):
        if self.n_derivatives:
            return self.kernel.covariance_blocks(X, Y, rows, columns)
        return self(X, Y)

    def _unnormalized(self, X, Y):
        if self.match in {"best", "rematch"}:
            return self._matched(X, Y)
        matrix = sums_of_atoms(self.kernel.matrix, X, Y)
        if self.match == "average":
            matrix /= beside(X.n_atoms[:, None] * (X if Y is None else Y).n_atoms, matrix)
        return matrix

    def _own(self, X):
        if self.match == "sum":
            return own_sums(self.kernel.matrix, X)
        if self.match == "average":
            own = own_sums(self.kernel.matrix, X)
            return own / beside(X.n_atoms**2, own)
        pieces = (self._matched(X[rows], None) for rows in split_rows(len(X), _STRUCTURES))
        return np.concatenate([np.empty(0), *(piece.diagonal() for piece in pieces)])

    def _matched(self, X, Y):
        check_is_array(X, f"match={self.match!r} of StructureKernel", "'sum' and 'average' are")
        symmetric = Y is None
        Y = X if symmetric else Y
        matrix = np.empty((len(X), len(Y)))

        def work(rows):
            first = rows.start if symmetric else 0
            x, y = X[rows], Y[first:]
            atoms = self.kernel.matrix(x.values, y.values) * (x.numbers[:, None] == y.numbers)
            for i in range(len(x)):
                of_x = slice(x.offsets[i], x.offsets[i + 1])
                for j in range(len(y)):
                    block = atoms[of_x, y.offsets[j] : y.offsets[j + 1]]
                    matrix[rows.start + i, first + j] = self._match(block)

        with threads_over_blas() as pool:
            list(pool.map(work, split_rows(len(X), _STRUCTURES)))
        return mirrored(matrix) if symmetric else matrix

    def _match(self, block):
        if self.match == "best":
            return block[linear_sum_assignment(block, maximize=True)].sum() / max(block.shape)
        return rematch(np.ascontiguousarray(block), float(self.gamma), _TOLERANCE)
