"""Do features tell environments apart? Tests for the choice of symmetry functions."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

from skatom._typing import ArrayLike, StructuresLike
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.neighbors import neighbor_list
from skatom.structures import as_structures


def insufficient_pairs(
    features: AtomicFeatures,
    forces: ArrayLike,
    n_pairs: int = 10,
    *,
    n_neighbors: int = 5,
    floor: float = 1e-3,
) -> tuple:
    r"""Pairs of atoms whose features are alike although their forces are not.

    .. math:: \frac{\big|\, |F_i| - |F_j| \,\big|}{|G_i - G_j| / s + \epsilon}, \qquad Z_i = Z_j

    The features G of two atoms of the same element that feel different forces must differ; if
    they do not, no model of these features can be right for both, and the features must be
    extended [1]_. Lengths of forces are compared, since features do not rotate; s is the root mean
    square of :math:`|G - \bar G|` over the atoms of the element.

    Parameters
    ----------
    features : AtomicFeatures
        Features of the n_atoms atoms; scale them first (`FeatureScaler`) if their units differ.
    forces : array-like of float, shape (n_atoms, 3), eV/Å
    n_pairs : int, default=10
        Number of pairs to return.
    n_neighbors : int, default=5
        Each atom is compared with so many others that are nearest to it in the features.
    floor : float, default=0.001
        ε, below which differences of features, in units of s, count as none.

    Returns
    -------
    pairs : ndarray of int, shape (n_pairs or fewer, 2)
        Indices of atoms, the worst pair first.
    ratios : ndarray of float, shape (n_pairs or fewer,), eV/Å
        The expression above.

    Raises
    ------
    ValueError
        If the forces are not those of the atoms of the features.

    References
    ----------
    .. [1] J. Behler, J. Chem. Phys. 134, 074106 (2011).

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import ACSF
    >>> from skatom.descriptors.sufficiency import insufficient_pairs
    >>> data = load_ethanol()
    >>> structures, forces = data.structures[:50], data.targets[:50].forces
    >>> few, many = ACSF(g2=[(0.01, 0)], g4=()), ACSF()
    >>> _, ratios = insufficient_pairs(few.fit_transform(structures), forces)
    >>> _, better = insufficient_pairs(many.fit_transform(structures), forces)
    >>> bool(ratios[0] > 3 * better[0])
    True
    """
    if not isinstance(features, AtomicFeatures):
        raise ValueError(
            f"features are {type(features).__name__}: give AtomicFeatures, from a descriptor "
            "without pool"
        )
    forces = np.asarray(forces, float)
    if forces.shape != (len(features.numbers), 3):
        raise ValueError(
            f"forces have the shape {forces.shape}, and the features are those of "
            f"{len(features.numbers)} atoms: give one force for each"
        )
    lengths = np.linalg.norm(forces, axis=1)
    pairs, ratios = [np.empty((0, 2), int)], [np.empty(0)]
    for z in np.unique(features.numbers):
        atoms = np.flatnonzero(features.numbers == z)
        if len(atoms) > 1:
            found = _of_one_element(features.values[atoms], lengths[atoms], n_neighbors, floor)
            pairs.append(atoms[found[0]])
            ratios.append(found[1])
    pairs, ratios = np.concatenate(pairs), np.concatenate(ratios)
    worst = np.argsort(-ratios, kind="stable")[:n_pairs]
    return pairs[worst], ratios[worst]


def _of_one_element(values, lengths, n_neighbors, floor):
    spread = np.sqrt(np.sum((values - values.mean(axis=0)) ** 2, axis=1).mean())
    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(values) - 1)).fit(values)
    distances, others = search.kneighbors()
    pairs = np.stack([np.broadcast_to(np.arange(len(values))[:, None], others.shape), others], -1)
    pairs = np.sort(pairs.reshape(-1, 2), axis=1)
    pairs, first = np.unique(pairs, axis=0, return_index=True)
    relative = distances.ravel()[first] / (spread if spread > 0 else 1.0)
    return pairs, np.abs(np.diff(lengths[pairs], axis=1)[:, 0]) / (relative + floor)


def largest_eta(X: StructuresLike, cutoff: float = 6.0) -> dict:
    r"""The largest useful exponent η of G2 functions without a shift, for each pair of elements.

    .. math:: \eta_{max} = \frac{1}{2 r_{min}^2}

    A Gaussian :math:`e^{-\eta r^2}` falls fastest at :math:`r = 1/\sqrt{2\eta}`. If that is below
    the shortest distance :math:`r_{min}` of two elements in the data, the function is small and
    flat wherever there are atoms [1]_.

    Parameters
    ----------
    X : Structures or list of ase.Atoms
        Structures, for example those for training.
    cutoff : float, default=6.0
        Distances above this are ignored, Å.

    Returns
    -------
    dict of (int, int) to float
        η in Å⁻² by the atomic numbers of two elements, the smaller one first.

    References
    ----------
    .. [1] J. Behler, Int. J. Quantum Chem. 115, 1032 (2015).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors.sufficiency import largest_eta
    >>> {pair: round(eta, 2) for pair, eta in largest_eta([molecule("H2O")]).items()}
    {(1, 1): 0.21, (1, 8): 0.53}
    """
    structures = as_structures(X)
    pairs = neighbor_list(structures, cutoff)
    numbers = np.stack(
        [structures.numbers[pairs.centers], structures.numbers[pairs.indices]], axis=1
    )
    squares = np.einsum("pa,pa->p", pairs.vectors, pairs.vectors)
    kinds, place = np.unique(np.sort(numbers, axis=1), axis=0, return_inverse=True)
    shortest = np.full(len(kinds), np.inf)
    np.minimum.at(shortest, place.ravel(), squares)
    return {(int(a), int(b)): float(0.5 / r2) for (a, b), r2 in zip(kinds, shortest, strict=True)}
