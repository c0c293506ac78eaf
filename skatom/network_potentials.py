"""Potentials of sampled networks: compositions of features, neurons and least squares."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline

from skatom._typing import RandomState
from skatom.descriptors import FCHL19, CartesianCoordinates, FeatureScaler, InverseDistances
from skatom.models import LinearPotential
from skatom.random_features import (
    CoulombFeatures,
    SampledNetworkFeatures,
    ShallowSetFeatures,
    TripletFeatures,
)

__all__ = [
    "cartesian_potential",
    "extensive_potential",
    "higher_order_potential",
    "isometric_potential",
    "permutation_invariant_potential",
    "shallow_set_potential",
]


def cartesian_potential(n_features: int = 1000, random_state: RandomState = None) -> Pipeline:
    r"""Energy of a molecule as a sampled network of its Cartesian coordinates.

    .. math:: E = \sum_k a_k\, \sigma(w_k \cdot x + b_k) + \varepsilon

    with x the coordinates, a black box: it must see every position and orientation of the molecule
    in training. Forces are derivatives of the energy, as of all potentials here; fitted to forces,
    this is the conservative model of [1]_.

    Parameters
    ----------
    n_features : int, default=1000
        Number of neurons.
    random_state : int, RandomState or None, default=None
        Seed of the neurons.

    Returns
    -------
    Pipeline
        Of `CartesianCoordinates <skatom.descriptors.CartesianCoordinates>`,
        `SampledNetworkFeatures <skatom.random_features.SampledNetworkFeatures>` and
        `LinearPotential <skatom.models.LinearPotential>`.

    References
    ----------
    .. [1] R. Manavalan, Machine learning potentials using higher order interactions, thesis,
       Technische Universität München (2023).

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.network_potentials import cartesian_potential
    >>> data = load_ethanol()
    >>> model = cartesian_potential(50).fit(data.structures[:50], data.targets[:50])
    >>> model.predict(data.structures[:3], return_forces=True)[1].shape
    (27, 3)
    """
    return _potential(CartesianCoordinates(), None, n_features, random_state)


def isometric_potential(n_features: int = 1000, random_state: RandomState = None) -> Pipeline:
    """Energy of a molecule as a sampled network of its Coulomb matrix.

    It does not change when the molecule moves, turns or is reflected. See `cartesian_potential`.

    Parameters
    ----------
    n_features : int, default=1000
        Number of neurons.
    random_state : int, RandomState or None, default=None
        Seed of the neurons.

    Returns
    -------
    Pipeline
        Of `InverseDistances <skatom.descriptors.InverseDistances>`,
        `CoulombFeatures <skatom.random_features.CoulombFeatures>`, neurons and
        `LinearPotential <skatom.models.LinearPotential>`.

    Examples
    --------
    >>> from skatom.network_potentials import isometric_potential
    >>> [name for name, _ in isometric_potential().steps]
    ['descriptor', 'features', 'scaler', 'neurons', 'model']
    """
    return _potential(InverseDistances(), CoulombFeatures(), n_features, random_state)


def permutation_invariant_potential(
    n_features: int = 1000, order: str = "eigenvalues", random_state: RandomState = None
) -> Pipeline:
    """Energy of a molecule as a sampled network of a Coulomb matrix without the order of atoms.

    See `cartesian_potential`.

    Parameters
    ----------
    n_features : int, default=1000
        Number of neurons.
    order : {"sorted", "eigenvalues", "singular values"}, default="eigenvalues"
        See `CoulombFeatures <skatom.random_features.CoulombFeatures>`. Sorted matrices have steps,
        and so has the energy.
    random_state : int, RandomState or None, default=None
        Seed of the neurons.

    Returns
    -------
    Pipeline

    Examples
    --------
    >>> from skatom.network_potentials import permutation_invariant_potential
    >>> permutation_invariant_potential(order="sorted")["features"]
    CoulombFeatures(order='sorted')
    """
    return _potential(InverseDistances(), CoulombFeatures(order), n_features, random_state)


def higher_order_potential(
    n_features: int = 1000, kind: str = "angles", random_state: RandomState = None
) -> Pipeline:
    """Energy of a molecule as a sampled network of inverse distances and triplets of atoms.

    See `cartesian_potential`.

    Parameters
    ----------
    n_features : int, default=1000
        Number of neurons.
    kind : {"angles", "gaussians"}, default="angles"
        See `TripletFeatures <skatom.random_features.TripletFeatures>`.
    random_state : int, RandomState or None, default=None
        Seed of the neurons.

    Returns
    -------
    Pipeline

    Examples
    --------
    >>> from skatom.network_potentials import higher_order_potential
    >>> higher_order_potential()["features"]
    TripletFeatures()
    """
    return _potential(InverseDistances(), TripletFeatures(kind), n_features, random_state)


def shallow_set_potential(
    n_features: int = 1000,
    layout: str = "nested",
    projection: str = "sampled",
    n_functions: int = 100,
    random_state: RandomState = None,
) -> Pipeline:
    """Energy of a molecule as a sampled network of means over the Coulomb matrix as a set.

    It does not depend on the order of like atoms. See `cartesian_potential`.

    Parameters
    ----------
    n_features : int, default=1000
        Number of neurons.
    layout, projection : str
        See `ShallowSetFeatures <skatom.random_features.ShallowSetFeatures>`.
    n_functions : int, default=100
        Number of functions of the elements.
    random_state : int, RandomState or None, default=None
        Seed of the neurons and the functions.

    Returns
    -------
    Pipeline

    Examples
    --------
    >>> from skatom.network_potentials import shallow_set_potential
    >>> shallow_set_potential(layout="flat")["features"]
    ShallowSetFeatures(layout='flat')
    """
    sets = ShallowSetFeatures(
        n_functions, layout=layout, projection=projection, random_state=random_state
    )
    return _potential(InverseDistances(), sets, n_features, random_state)


def extensive_potential(
    n_features: int = 300, descriptor: Any = None, random_state: RandomState = None
) -> Pipeline:
    r"""Energy as a sum over atoms of sampled networks, one for each element.

    .. math:: E = \sum_i \Big[ \sum_k a^{Z_i}_k\, \sigma(w^{Z_i}_k \cdot x_i + b^{Z_i}_k)
        + \varepsilon_{Z_i} \Big]

    of features x of the neighbourhood of each atom. The energy does not depend on the order of like
    atoms, and is that of the parts for molecules far apart. The form of [1]_ has a network for
    each row of the Coulomb matrix instead, and neither property.

    Parameters
    ----------
    n_features : int, default=300
        Number of neurons for each element.
    descriptor : AtomicDescriptor, default=None
        The features x. None: ``FCHL19()``.
    random_state : int, RandomState or None, default=None
        Seed of the neurons.

    Returns
    -------
    Pipeline

    References
    ----------
    .. [1] R. Manavalan, Machine learning potentials using higher order interactions, thesis,
       Technische Universität München (2023).

    Examples
    --------
    >>> from skatom.network_potentials import extensive_potential
    >>> [name for name, _ in extensive_potential().steps]
    ['descriptor', 'neurons', 'model']
    """
    return Pipeline([
        ("descriptor", FCHL19() if descriptor is None else descriptor),
        ("neurons", SampledNetworkFeatures(n_features, random_state=random_state)),
        ("model", LinearPotential()),
    ])  # fmt: skip


def _potential(descriptor, features, n_features, random_state):
    steps = [("descriptor", descriptor)]
    if features is not None:
        steps.append(("features", features))
    return Pipeline([
        *steps,
        ("scaler", FeatureScaler("standard", out_of_range="ignore")),
        ("neurons", SampledNetworkFeatures(n_features, random_state=random_state)),
        ("model", LinearPotential()),
    ])  # fmt: skip
