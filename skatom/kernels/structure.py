"""Kernels of structures, from kernels of their atoms."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from scipy.optimize import linear_sum_assignment
from sklearn.utils._param_validation import Interval, StrOptions

from skatom._device import beside, check_is_array, is_tensor, namespace
from skatom._intervals import POSITIVE
from skatom._typing import Array, FeaturesLike
from skatom.kernels._cpu.matching import rematch
from skatom.kernels.atom_sums import (
    check_atomic_features,
    check_kernel_matrix,
    mirrored,
    own_sums,
    sums_of_atoms,
)
from skatom.kernels.base import Kernel
from skatom.kernels.blocks import feature_covariance
from skatom.kernels.dot_kernel import DotKernel
from skatom.kernels.dot_product import Cosine, Polynomial
from skatom.kernels.feature_kernel import FeatureKernel
from skatom.kernels.structure_blocks import composed_block
from skatom.parallel import split_rows, threads_over_blas

# Number of structures in one piece where all kernels of their atoms are needed.
_STRUCTURES = 16
_TOLERANCE = 1e-8
# Rows of the matrix of which a function is computed at once.
_ROWS = 128
# The ways to pair atoms that are sums with given weights.
_SUMS = ("sum", "average")


class StructureKernel(Kernel):
    r"""Similarity of structures from the similarities of their atoms.

    With the kernel :math:`k_{IJ} = \delta_{Z_I Z_J} k(q_I, q_J)` of the atoms I of A and J of B,

    .. math::
        \text{sum} &: \; \sum_{IJ} w_I w_J k_{IJ}

        \text{average} &: \; \sum_{IJ} \frac{w_I}{\sum_{I'} w_{I'}}
            \frac{w_J}{\sum_{J'} w_{J'}} k_{IJ}

        \text{best} &: \; \frac{1}{\max(N_A, N_B)} \max_{\pi} \sum_I k_{I \pi(I)}

        \text{rematch} &: \; \sum_{IJ} W_{IJ} k_{IJ}, \quad
            W = \arg\min \sum_{IJ} W_{IJ} \left[ 2 (1 - k_{IJ}) + \gamma \ln W_{IJ} \right]

    where w are weights of the elements, π pairs every atom of the smaller structure with a
    different atom of the larger one, and the rows and columns of W sum to :math:`1/N_A` and
    :math:`1/N_B`. The sum is extensive, as energies are; the others are intensive. REMatch lies
    between the average (γ → ∞) and the best match of structures of equal size (γ → 0). "best" and
    "rematch" need not be positive definite, and expect a kernel of atoms with k(q, q) = 1.

    The kernel is raised to the power ζ, or normalised,
    :math:`\big( K(A, B) / \sqrt{K(A, A) K(B, B)} \big)^\zeta`. "sum" and "average" of a `DotKernel`
    have derivatives, normalised or not, so `ForceKernelRidge` learns forces and stresses with them.
    For scikit-learn's estimators, `KernelMatrix` makes the matrix in a Pipeline. The inner average,
    of the density of neighbours before its invariants are taken, is the descriptor `AveragedSOAP`
    with a kernel of feature vectors such as `Cosine`.

    Parameters
    ----------
    kernel : FeatureKernel
        Kernel k of the features of atoms.
    match : {"sum", "average", "best", "rematch"}, default="sum"
        How atoms are paired.
    gamma : float, default=0.5
        Regularisation γ of REMatch; twice the γ of [1]_, whose d² is 1 − k.
    weights : dict of str to float, default=None
        Weights w of elements in "sum" and "average", as in ``{"H": 0.3}``; 1 for all others.
    normalize : bool, default=False
        Divide by :math:`\sqrt{K_{AA} K_{BB}}`, so that K = 1 for equal structures.
    zeta : float, default=1
        Exponent ζ, at least 1; an integer unless ``normalize``.

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
        "gamma": [POSITIVE],
        "weights": [dict, None],
        "normalize": ["boolean"],
        "zeta": [Interval(Real, 1, None, closed="left")],
    }

    def __init__(
        self,
        kernel: FeatureKernel,
        match: str = "sum",
        *,
        gamma: float = 0.5,
        weights: dict | None = None,
        normalize: bool = False,
        zeta: float = 1,
    ) -> None:
        self.kernel = kernel
        self.match = match
        self.gamma = gamma
        self.weights = weights
        self.normalize = normalize
        self.zeta = zeta

    def check_parameters(self) -> None:
        super().check_parameters()
        if not self.normalize and self.zeta != int(self.zeta):
            raise ValueError(
                f"zeta={self.zeta} must be an integer where the kernel is not normalised: round "
                "it, or use normalize=True"
            )
        if self.weights is None:
            return
        if self.match not in _SUMS:
            raise ValueError(
                f"weights are for match='sum' and 'average', but match={self.match!r} finds its "
                "own: leave them out"
            )
        unknown = [symbol for symbol in self.weights if symbol not in atomic_numbers]
        bad = [w for w in self.weights.values() if not (isinstance(w, Real) and 0 < w < np.inf)]
        if unknown or bad:
            raise ValueError(
                f"weights={self.weights!r} must be positive numbers of elements, such as "
                "{'H': 0.3}: correct " + ", ".join(map(repr, unknown + bad))
            )

    def __call__(self, X: FeaturesLike, Y: FeaturesLike | None = None) -> Array:
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
        left = right = 1.0
        if self.normalize:
            left = matrix.diagonal() + 0.0 if Y is None else self._own(X)  # a copy
            left, right = left[:, None], left if Y is None else self._own(Y)
        if is_tensor(matrix):
            return self.function.value(matrix, left, right)
        left = np.broadcast_to(left, (len(matrix), 1))
        for rows in split_rows(len(matrix), _ROWS):  # in its place
            matrix[rows] = self.function.value(matrix[rows], left[rows], right)
        return matrix

    def diagonal(self, X: FeaturesLike) -> Any:
        """The kernel of each structure with itself, shape (n,).

        Parameters
        ----------
        X : AtomicFeatures of n structures
        """
        own = self._own(X)
        if self.normalize:  # without rounding errors
            xp = namespace(own)
            return xp.where(own > 0, xp.ones_like(own), own)
        return self.function.value(own, own, own)

    @property
    def function(self) -> Any:
        """The function φ of the kernel and of those of both structures with themselves."""
        return Cosine(self.zeta) if self.normalize else Polynomial(int(self.zeta))

    @property
    def has_blocks(self) -> Any:
        """Whether the kernel follows from sums over atoms that have derivatives."""
        return self.match in _SUMS and isinstance(self.kernel, DotKernel)

    @property
    def n_derivatives(self) -> Any:
        return self.kernel.n_derivatives if self.has_blocks else 0

    @property
    def has_virials(self) -> Any:
        return self.has_blocks

    def covariance_blocks(
        self, X: FeaturesLike, Y: Any, rows: tuple[str, ...], columns: tuple[str, ...]
    ) -> Array:
        if rows == columns == ("energy",):
            return self(X, Y)
        check_atomic_features(X, Y)
        check_is_array(X, "a covariance of forces under StructureKernel", "that of energies is")
        return feature_covariance(self, X, Y, rows, columns)

    def block(
        self,
        rows: Any,
        columns: Any,
        row_layout: Any,
        column_layout: Any,
        piece: Any,
        group: Any,
        lower: Any,
    ) -> Any:
        """Covariances of some structures with others, see `skatom.kernels.blocks.block`."""
        return composed_block(self, rows, columns, row_layout, column_layout, piece, group)

    def factors(self, species: Any) -> Any:
        """The factor w² of the kernels of the atoms of each element, a dict by atomic number."""
        weights = self.weights or {}
        return {z: weights.get(chemical_symbols[z], 1.0) ** 2 for z in species}

    def scales(self, features: Any) -> Any:
        """The factor of each structure, 1/Σw or 1, shape (n,)."""
        if self.match == "sum":
            return np.ones(len(features))
        factors = self.factors(features.species)
        weights = np.sqrt([factors[z] for z in features.numbers])
        return 1 / np.add.reduceat(weights, features.offsets[:-1])

    def _unnormalized(self, X, Y):
        if self.match not in _SUMS:
            return self._matched(X, Y)
        matrix = sums_of_atoms(self.kernel.matrix, X, Y, self.factors(X.species))
        matrix *= beside(self.scales(X)[:, None], matrix)
        matrix *= beside(self.scales(X if Y is None else Y), matrix)
        return matrix

    def _own(self, X):
        if self.match in _SUMS:
            sums = own_sums(self.kernel.matrix, X, self.factors(X.species))
            return sums * beside(self.scales(X) ** 2, sums)
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
