"""Random Fourier features of stationary kernels."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from skatom._typing import FeaturesLike, RandomState
from skatom.base import BaseEstimator
from skatom.descriptors import AtomicFeatures
from skatom.descriptors.feature_transformer import FeatureTransformer, fit_table
from skatom.kernels import FeatureKernel, Gaussian
from skatom.memory import check_memory
from skatom.random_features.learnt_map import NumberedFeatures
from skatom.random_features.maps import Waves
from skatom.random_features.projections import (
    draw_hadamard,
    draw_normal,
    draw_orthogonal,
    scaled,
)

_DRAW = {"independent": draw_normal, "orthogonal": draw_orthogonal, "hadamard": draw_hadamard}


class RandomFourierFeatures(NumberedFeatures, FeatureTransformer, TransformerMixin, BaseEstimator):
    r"""Random features whose dot products approximate a stationary kernel.

    .. math::
        z_k(x) = \sqrt{\frac{2\, k(0)}{D}}\, \cos(\omega_k \cdot x + b_k), \qquad
        z(x) \cdot z(y) \approx k(x - y), \qquad
        \omega_k \sim \hat k,\; b_k \sim U(0, 2\pi)

    with frequencies ω drawn from the spectral density :math:`\hat k`, the Fourier transform of the
    kernel [1]_. The error of the kernel is proportional to :math:`1/\sqrt D`. A linear model of
    these features is an approximation of the kernel model, whose training grows linearly with the
    number of labels, and whose predictions cost the same whatever the number of labels. The
    features keep their derivatives, so that the model learns from forces.

    Frequencies that are orthogonal to each other lower the error for smooth kernels [2]_. Those
    made by Hadamard matrices [2]_ are about as accurate and need no matrix: their products
    take a time of D log(d) instead of D d for d features, which pays from some 200 features on.

    The atoms of each element have frequencies of their own, so that the sums of the features over
    atoms, ``features.pool("sum")``, approximate the kernel of structures that compares atoms of the
    same element, as in `ForceKernelRidge <skatom.models.ForceKernelRidge>`.

    Parameters
    ----------
    kernel : Kernel, default=None
        The kernel, one with a spectral density: `Gaussian`, `Matern`, `Laplacian`, or a sum or a
        multiple of these. None: ``Gaussian()``.
    n_features : int, default=1000
        Number D of random features.
    method : {"orthogonal", "independent", "hadamard"}, default="orthogonal"
        How frequencies are drawn: orthogonal to each other in blocks of d, independently, or by
        products of Hadamard matrices and random signs.
    by_element : bool, default=True
        Whether the atoms of each element have frequencies of their own. Features of structures and
        arrays have one set.
    random_state : int, RandomState or None, default=None
        Seed of the frequencies.

    Attributes
    ----------
    map_ : Waves
        The map of the features.
    species_ : ndarray of int, or None
        Sorted atomic numbers in the training data; None if all rows have the same frequencies.

    Raises
    ------
    ValueError
        If the kernel has no spectral density, or features have a species that was not in the
        training data.

    See Also
    --------
    PrincipalComponents : Fewer features, which makes this map faster.
    SampledNetworkFeatures : Random features whose weights come from the data.

    References
    ----------
    .. [1] A. Rahimi, B. Recht, Advances in Neural Information Processing Systems 20, 1177 (2007).
    .. [2] F. X. Yu, A. T. Suresh, K. Choromanski, D. Holtmann-Rice, S. Kumar, Advances in Neural
       Information Processing Systems 29, 1975 (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.kernels import Gaussian
    >>> from skatom.random_features import RandomFourierFeatures
    >>> X = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    >>> z = RandomFourierFeatures(Gaussian(2.0), 4000, random_state=0).fit_transform(X)
    >>> bool(abs(z @ z.T - Gaussian(2.0)(X)).max() < 0.05)
    True

    Features of atoms keep their derivatives:

    >>> from ase.build import molecule
    >>> from skatom.descriptors import FCHL19
    >>> features = FCHL19().fit_transform([molecule("CH3OH"), molecule("H2O")])
    >>> RandomFourierFeatures(n_features=50).fit_transform(features)
    AtomicFeatures(2 structures, 9 atoms, 50 features, species H C O)
    """

    _parameter_constraints = {
        "kernel": [FeatureKernel, None],
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "method": [StrOptions({*_DRAW})],
        "by_element": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        kernel: FeatureKernel | None = None,
        n_features: int = 1000,
        *,
        method: str = "orthogonal",
        by_element: bool = True,
        random_state: RandomState = None,
    ) -> None:
        self.kernel = kernel
        self.n_features = n_features
        self.method = method
        self.by_element = by_element
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: FeaturesLike, y: Any = None) -> Self:
        """Draw the frequencies; of the features, only their number and the species matter.

        Parameters
        ----------
        X : AtomicFeatures, StructureFeatures, or array-like of float, shape (n, n_features)
            The training data.
        y : ignored

        Returns
        -------
        self
        """
        n_in = fit_table(self, X).shape[1]
        by_element = self.by_element and isinstance(X, AtomicFeatures)
        self.species_ = X.species if by_element else None
        n_sets = len(self.species_) if by_element else 1
        kernel = Gaussian() if self.kernel is None else self.kernel
        kernel.check_parameters()
        check_memory(
            8.0 * ((n_sets + 2) * self.n_features + n_in) * n_in,  # two more are drawn from
            f"{n_sets} x {self.n_features} frequencies of {n_in} features",
            "lower n_features, or take PrincipalComponents first",
        )
        random = check_random_state(self.random_state)
        shape = self.n_features, n_in
        projections = [
            scaled(_DRAW[self.method](*shape, random), kernel.spectral_scales(shape, random))
            for _ in range(n_sets)
        ]
        phases = random.uniform(0, 2 * np.pi, (n_sets, self.n_features))
        variance = float(kernel.matrix_diagonal(np.zeros((1, n_in)))[0])
        amplitude = np.sqrt(2 * variance / self.n_features)
        self.map_ = Waves(projections, phases, amplitude, self.species_)
        return self
