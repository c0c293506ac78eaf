"""Maps of features to functions of random projections."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from skatom._device import beside, is_tensor, namespace
from skatom._layers import DenseLayer
from skatom._typing import Array, ArrayLike
from skatom.descriptors.maps import FeatureMap
from skatom.parallel import split_rows
from skatom.random_features.activations import ACTIVATIONS

# Tangents that are in memory beside the result of a pushforward.
_TANGENT_BYTES = 2**25


class ProjectedFunctions(FeatureMap):
    r"""Base class of functions of projections, :math:`y_k = f(w_k \cdot x + b_k)`.

    A subclass implements ``_functions(phases)`` and ``_slopes(phases)``, f and f′ of an array of
    w·x + b, with functions that numpy and torch have in common.

    Parameters
    ----------
    projections : list of DenseProjection or HadamardProjection
        The products with the matrices of the rows w, one for each species, or one for all rows.
    offsets : array-like of float, shape (n_species, n_features_out) or (n_features_out,)
        The offsets b.
    species : array-like of int, shape (n_species,), default=None
        Sorted atomic numbers. None: there is one projection for all rows.
    """

    def __init__(
        self, projections: list, offsets: ArrayLike, species: ArrayLike | None = None
    ) -> None:
        self.projections = list(projections)
        self.offsets = np.atleast_2d(np.asarray(offsets, dtype=float))
        self.species = None if species is None else np.asarray(species)
        self.n_features_out, self.n_features_in = projections[0].n_out, projections[0].n_in

    # whether f is a wave, of which a neuron has no shares
    oscillates = False

    def layer(self, number: int | None = None) -> DenseLayer:
        """The map of the atoms of an element as a layer of a network, for `skatom.attribution`.

        Parameters
        ----------
        number : int, default=None
            The atomic number; without one if the map is that of all rows.

        Returns
        -------
        DenseLayer
        """
        e = 0 if self.species is None else int(np.searchsorted(self.species, number))
        weights = self.projections[e].apply(np.eye(self.n_features_in))
        return DenseLayer(weights, self.offsets[e], self._functions, self._slopes, self.oscillates)

    @abstractmethod
    def _functions(self, phases):
        """f, which may overwrite the phases."""

    @abstractmethod
    def _slopes(self, phases):
        """f′, which may overwrite the phases."""

    def value(self, x: Any, numbers: ArrayLike | None = None) -> Any:
        return self._joined(
            x, numbers, self.n_features_out, lambda e, rows: self._functions(self._phases(e, rows))
        )

    def pullback(self, x: Any, cotangent: Any, numbers: ArrayLike | None = None) -> Any:
        def pull(e, rows, own):
            slopes = self._slopes(self._phases(e, rows))
            slopes *= own
            return self.projections[e].pull_back(slopes)

        return self._joined(x, numbers, self.n_features_in, pull, cotangent)

    def pushforward(self, x: Any, tangents: Any, numbers: ArrayLike | None = None) -> Any:
        n, k = tangents.shape[:2]
        xp = namespace(tangents)
        like = {"dtype": tangents.dtype, "device": tangents.device} if is_tensor(tangents) else {}
        out = xp.empty((n, k, self.n_features_out), **like)
        size = max(1, _TANGENT_BYTES // (8 * k * self.n_features_out))
        for e, rows in self._groups(numbers, n):
            for part in split_rows(n if rows is None else len(rows), size):
                chosen = part if rows is None else rows[part]
                out[chosen] = self._pushed(e, x[chosen], tangents[chosen])
        return out

    def _pushed(self, e, x, tangents):
        """The pushforward of rows of one species."""
        slopes = self._slopes(self._phases(e, *_without_repeats(x)))
        n, k, n_in = tangents.shape
        pushed = self.projections[e].apply(tangents.reshape(n * k, n_in)).reshape(n, k, -1)
        pushed *= slopes[:, None]
        return pushed

    def _phases(self, e, x, repeats=None):
        """w·x + b of rows of one species; each is repeated as often as ``repeats`` says."""
        phases = self.projections[e].apply(x)
        phases += beside(self.offsets[e], phases)
        return phases if repeats is None else phases[repeats]

    def _joined(self, x, numbers, width, function, *others):
        """The rows (n, width) of ``function(species, rows, …)`` of all species."""
        groups = self._groups(numbers, len(x))
        if len(groups) == 1 and groups[0][1] is None:
            return function(0, x, *others)
        out = x.new_empty((len(x), width)) if is_tensor(x) else np.empty((len(x), width))
        for e, rows in groups:
            out[rows] = function(e, x[rows], *(other[rows] for other in others))
        return out

    def _groups(self, numbers, n):
        """(index of a species, its rows); None stands for all rows."""
        if self.species is None:
            return [(0, None)]
        kinds = np.searchsorted(self.species, numbers)
        return [(e, np.flatnonzero(kinds == e)) for e in np.unique(kinds)]


class Waves(ProjectedFunctions):
    r"""Cosines of projections of the features, :math:`y_k = a \cos(\omega_k \cdot x + b_k)`.

    `RandomFourierFeatures` draws such maps.

    Parameters
    ----------
    projections : list of DenseProjection or HadamardProjection
        The products with the matrices of the frequencies ω, one for each species, or one for all.
    offsets : array-like of float, shape (n_species, n_features_out) or (n_features_out,)
        The phases b.
    amplitude : float
        The amplitude a.
    species : array-like of int, shape (n_species,), default=None
        Sorted atomic numbers. None: the frequencies are those of all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.random_features import DenseProjection, Waves
    >>> waves = Waves([DenseProjection(np.array([[0.0, 1.0]]))], [0.5], amplitude=2.0)
    >>> waves.value(np.array([[3.0, -0.5]]))
    array([[2.]])
    """

    oscillates = True

    def __init__(
        self,
        projections: list,
        offsets: ArrayLike,
        amplitude: float,
        species: ArrayLike | None = None,
    ) -> None:
        super().__init__(projections, offsets, species)
        self.amplitude = amplitude

    def _functions(self, phases: Array) -> Array:
        cosines = namespace(phases).cos(phases, out=phases)
        cosines *= self.amplitude
        return cosines

    def _slopes(self, phases: Array) -> Array:
        sines = namespace(phases).sin(phases, out=phases)
        sines *= -self.amplitude
        return sines


class Neurons(ProjectedFunctions):
    r"""A hidden layer of a network, :math:`y_k = \sigma(w_k \cdot x + b_k)`.

    `SampledNetworkFeatures` draws such maps.

    Parameters
    ----------
    projections : list of DenseProjection or HadamardProjection
        The products with the matrices of the weights w, one for each species, or one for all.
    offsets : array-like of float, shape (n_species, n_features_out) or (n_features_out,)
        The biases b.
    activation : {"tanh", "gelu", "softplus", "relu"}
        The function σ.
    species : array-like of int, shape (n_species,), default=None
        Sorted atomic numbers. None: the weights are those of all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.random_features import DenseProjection, Neurons
    >>> neurons = Neurons([DenseProjection(np.array([[1.0, 1.0]]))], [-2.0], activation="relu")
    >>> neurons.value(np.array([[3.0, 1.0], [0.0, 1.0]])).ravel()
    array([2., 0.])
    """

    def __init__(
        self,
        projections: list,
        offsets: ArrayLike,
        activation: str,
        species: ArrayLike | None = None,
    ) -> None:
        super().__init__(projections, offsets, species)
        self.activation = activation

    def _functions(self, phases: Array) -> Array:
        return ACTIVATIONS[self.activation].function(phases)

    def _slopes(self, phases: Array) -> Array:
        return ACTIVATIONS[self.activation].slope(phases)


def _without_repeats(x):
    """The rows of x without those that equal the row before, and the index of each row in them.

    The pairs of a centre follow one another: its projections are computed once.
    """
    if len(x) < 2:
        return x, None
    xp = namespace(x)
    new = xp.ones_like(x[:, 0], dtype=bool if xp is np else xp.bool)
    new[1:] = (x[1:] != x[:-1]).any(1)
    return x[new], xp.cumsum(new, 0) - 1
