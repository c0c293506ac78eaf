"""Transformers of the inverse distances of a molecule."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from skatom._device import check_is_array
from skatom._intervals import POSITIVE
from skatom._typing import RandomState
from skatom.base import BaseEstimator
from skatom.descriptors import InverseDistances, Linear, Scale, StructureFeatures
from skatom.descriptors.feature_transformer import FeatureTransformer, fit_table
from skatom.random_features.activations import ACTIVATIONS
from skatom.random_features.learnt_map import NumberedFeatures
from skatom.random_features.molecules import (
    CoulombSpectrum,
    SetsOfRows,
    SortedCoulombMatrix,
    TripletFunctions,
)
from skatom.random_features.sampled_network import SampledNetworkFeatures


class _MoleculeTransformer(NumberedFeatures, FeatureTransformer, TransformerMixin, BaseEstimator):
    """A map of the features of `InverseDistances`; a subclass implements ``_make(X)``."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: StructureFeatures, y: Any = None) -> Self:
        """Make the map for the molecule of the features.

        Parameters
        ----------
        X : StructureFeatures
            Features of `InverseDistances <skatom.descriptors.InverseDistances>`.
        y : ignored

        Returns
        -------
        self
        """
        of_distances = isinstance(X, StructureFeatures) and isinstance(
            X.descriptor, InverseDistances
        )
        if not of_distances or X.derivatives.chain:
            raise TypeError(
                f"{type(self).__name__} is a map of inverse distances, and got "
                f"{type(X).__name__}: give it the features of InverseDistances as they are"
            )
        check_is_array(X, type(self).__name__, "RandomFourierFeatures is")
        fit_table(self, X)
        self.map_ = self._make(X)
        return self

    @abstractmethod
    def _make(self, X):
        """The map."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


class CoulombFeatures(_MoleculeTransformer):
    r"""Features of the Coulomb matrix of a molecule, from its inverse distances.

    .. math:: C_{ab} = \frac{Z_a Z_b}{|r_a - r_b|}\;(\text{e}^2/\text{Å}), \qquad
        C_{aa} = \tfrac12 Z_a^{2.4}

    "none": the elements of pairs, which depend on the order of the atoms. "sorted": the lower
    triangle after sorting rows and columns by the norms of the rows, which has steps. "eigenvalues"
    and "singular values": falling; N numbers. The last three do not depend on the order of like
    atoms [1]_ [2]_.

    Parameters
    ----------
    order : {"none", "sorted", "eigenvalues", "singular values"}, default="none"
        What makes the features independent of the order of the atoms.

    Attributes
    ----------
    map_ : FeatureMap
        The map of the inverse distances.

    Raises
    ------
    TypeError
        If the features are not those of `InverseDistances <skatom.descriptors.InverseDistances>`.

    References
    ----------
    .. [1] M. Rupp, A. Tkatchenko, K.-R. Müller, O. A. von Lilienfeld, Phys. Rev. Lett. 108, 058301
       (2012).
    .. [2] R. Manavalan, Machine learning potentials using higher order interactions, thesis,
       Technische Universität München (2023).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import InverseDistances
    >>> from skatom.random_features import CoulombFeatures
    >>> features = InverseDistances().fit_transform([molecule("H2O")])
    >>> CoulombFeatures().fit_transform(features).values.round(2)
    array([[8.26, 8.26, 0.66]])
    """

    _parameter_constraints = {
        "order": [StrOptions({"none", "sorted", "eigenvalues", "singular values"})]
    }

    def __init__(self, order: str = "none") -> None:
        self.order = order

    def _make(self, X):
        numbers = X.descriptor.numbers_
        if self.order == "none":
            pairs = np.tril_indices(len(numbers), k=-1)
            return Scale(0.0, 1.0 / (numbers[:, None] * numbers)[pairs])
        if self.order == "sorted":
            return SortedCoulombMatrix(numbers)
        return CoulombSpectrum(numbers, self.order == "singular values")


class TripletFeatures(_MoleculeTransformer):
    r"""Inverse distances of a molecule, followed by functions of its triangles of atoms.

    .. math::
        \cos\theta_a = \frac{r_{ab}^2 + r_{ac}^2 - r_{bc}^2}{2\, r_{ab}\, r_{ac}}, \qquad
        G_{abc} = \exp\!\left(-\frac{r_{ab}^2 + r_{bc}^2 + r_{ca}^2}{\sigma^2}\right)

    Parameters
    ----------
    kind : {"angles", "gaussians"}, default="angles"
        The cosines of all angles, or one Gaussian for each triangle, as in the generalised Coulomb
        matrix [1]_.
    sigma : float, default=2.0
        Width σ of the Gaussians in Å.

    Attributes
    ----------
    map_ : TripletFunctions
        The map of the inverse distances.

    Raises
    ------
    TypeError
        If the features are not those of `InverseDistances <skatom.descriptors.InverseDistances>`.

    References
    ----------
    .. [1] R. Manavalan, Machine learning potentials using higher order interactions, thesis,
       Technische Universität München (2023).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import InverseDistances
    >>> from skatom.random_features import TripletFeatures
    >>> features = InverseDistances().fit_transform([molecule("CH4")])
    >>> TripletFeatures().fit_transform(features)
    StructureFeatures(1 structures, 40 features)
    """

    _parameter_constraints = {"kind": [StrOptions({"angles", "gaussians"})], "sigma": [POSITIVE]}

    def __init__(self, kind: str = "angles", sigma: float = 2.0) -> None:
        self.kind = kind
        self.sigma = sigma

    def _make(self, X):
        n_atoms = len(X.descriptor.numbers_)
        return TripletFunctions(n_atoms, self.sigma if self.kind == "gaussians" else None)


class ShallowSetFeatures(_MoleculeTransformer):
    r"""Means of random functions of the elements of the Coulomb matrix, which is seen as a set.

    .. math::
        y = \frac1N \sum_a \varphi(\mathrm{sort}\, C_a) \quad\text{(nested)}, \qquad
        y = \frac1{N^2} \sum_{ab} \varphi(C_{ab}) \quad\text{(flat)}

    The rows of a nested set are sorted, each for itself, so that features depend neither on the
    order of like atoms nor, as those of columns would, on that within a row. φ is linear with
    normal weights, or a layer of neurons sampled from the elements of the training data [1]_. A
    linear φ of a flat set knows no more than the mean of the matrix.

    Parameters
    ----------
    n_features : int, default=100
        Number of functions φ.
    layout : {"nested", "flat"}, default="nested"
        The elements: sorted rows, or single numbers.
    projection : {"sampled", "normal"}, default="sampled"
        Whether φ is a layer of neurons, see `SampledNetworkFeatures`, or linear.
    activation : {"tanh", "gelu", "softplus", "relu"}, default="tanh"
        The activation function of the neurons.
    random_state : int, RandomState or None, default=None
        Seed of the weights.

    Attributes
    ----------
    map_ : SetsOfRows
        The map of the inverse distances.

    Raises
    ------
    TypeError
        If the features are not those of `InverseDistances <skatom.descriptors.InverseDistances>`.

    References
    ----------
    .. [1] R. Manavalan, Machine learning potentials using higher order interactions, thesis,
       Technische Universität München (2023).

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import InverseDistances
    >>> from skatom.random_features import ShallowSetFeatures
    >>> features = InverseDistances().fit_transform(load_ethanol().structures[:50])
    >>> ShallowSetFeatures(30, random_state=0).fit_transform(features)
    StructureFeatures(50 structures, 30 features)
    """

    _parameter_constraints = {
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "layout": [StrOptions({"nested", "flat"})],
        "projection": [StrOptions({"sampled", "normal"})],
        "activation": [StrOptions({*ACTIVATIONS})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_features: int = 100,
        *,
        layout: str = "nested",
        projection: str = "sampled",
        activation: str = "tanh",
        random_state: RandomState = None,
    ) -> None:
        self.n_features = n_features
        self.layout = layout
        self.projection = projection
        self.activation = activation
        self.random_state = random_state

    def _make(self, X):
        numbers, nested = X.descriptor.numbers_, self.layout == "nested"
        random = check_random_state(self.random_state)
        if self.projection == "normal":
            width = len(numbers) if nested else 1
            return SetsOfRows(numbers, Linear(random.normal(size=(self.n_features, width))), nested)
        whole = SetsOfRows(numbers, Linear(np.eye(len(numbers) if nested else 1)), nested)
        elements, _ = whole.elements(whole.matrices(X.values))
        layer = SampledNetworkFeatures(
            self.n_features, activation=self.activation, random_state=random
        )
        return SetsOfRows(numbers, layer.fit(elements).map_, nested)
