"""Inverse interatomic distances, the descriptor of GDML and sGDML."""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from ase.geometry import find_mic
from sklearn.utils.validation import check_is_fitted

from skatom._device import DEVICES, beside, device_of, namespace, resolve
from skatom._typing import Array, ArrayLike, StructuresLike
from skatom.descriptors.one_composition import DescriptorOfOneComposition
from skatom.parallel import ThreadTeam, available_threads, split_rows
from skatom.structures import as_structures

# two atoms closer than this (Å) count as one: the closest nuclei in nature are 0.74 Å apart
COINCIDENT = 1e-3
# Structures that a thread works on at once.
_STRUCTURES = 128


class PairFeatures(NamedTuple):
    """Inverse distances of n frames and their Jacobian in compressed form.

    A feature depends on two atoms only, so the Jacobian ∂x/∂R has six non-zero numbers in a row,
    which are ±c_p.
    """

    values: np.ndarray  # x, shape (n, D), 1/Å
    gradients: np.ndarray  # c = (r_a - r_b) / d³, shape (n, D, 3): ∂x/∂r_a = -c, ∂x/∂r_b = +c


@cache
def pair_indices(n_atoms):
    """Atoms (a, b), a > b, of each pair in the order (1,0), (2,0), (2,1), (3,0) …"""
    first, second = np.tril_indices(n_atoms, k=-1)
    first.flags.writeable = second.flags.writeable = False  # shared by all callers
    return first, second


@cache
def incidence(n_atoms):
    """Signs (N, D) of the pair gradients: ∂x_p/∂r_a = incidence[a, p] c_p."""
    first, second = pair_indices(n_atoms)
    signs = np.zeros((n_atoms, len(first)))
    signs[first, np.arange(len(first))] = -1.0
    signs[second, np.arange(len(first))] = 1.0
    signs.flags.writeable = False  # shared by all callers
    return signs


def pair_vectors(structures):
    """r_a - r_b of all pairs (n, D, 3), to the nearest image in periodic directions.

    Raises
    ------
    ValueError
        If two atoms are at the same place.
    """
    return _vectors_and_squares(structures, slice(0, len(structures)))[0]


def pair_features(structures, device=None):
    """Inverse distances and their gradients, to the nearest image in periodic directions.

    Parameters
    ----------
    structures : Structures of one composition
    device : Device, default=None
        Where tensors are wanted. None: arrays of numpy.

    Returns
    -------
    PairFeatures
    """
    if device is not None:
        vectors = device.tensor(pair_vectors(structures))
        values = (vectors * vectors).sum(2) ** -0.5
        return PairFeatures(values, vectors * (values**3)[:, :, None])
    n = len(structures)
    pieces = split_rows(n, _STRUCTURES)
    if len(pieces) < 2:
        return _pair_features(structures, slice(0, n))
    n_pairs = len(pair_indices(structures.n_atoms[0])[0])
    found = PairFeatures(np.empty((n, n_pairs)), np.empty((n, n_pairs, 3)))

    def work(rows):
        found.values[rows], found.gradients[rows] = _pair_features(structures, rows)

    with ThreadTeam(available_threads()) as team:
        deque(team.map(work, pieces), 0)
    return found


def _pair_features(structures, rows):
    """`pair_features` of a slice of the structures."""
    vectors, squares = _vectors_and_squares(structures, rows)
    values = 1.0 / np.sqrt(squares)
    return PairFeatures(values, vectors * (values**3)[:, :, None])


def _vectors_and_squares(structures, rows):
    """`pair_vectors` of a slice of the structures, and their squared lengths."""
    positions = structures.positions.reshape(len(structures), -1, 3)[rows]
    first, second = pair_indices(positions.shape[1])
    vectors = positions[:, first] - positions[:, second]
    for s in _runs_of_one_cell(structures.cells[rows], structures.pbc[rows]):
        at = rows.start + s.start
        nearest = find_mic(vectors[s].reshape(-1, 3), structures.cells[at], structures.pbc[at])[0]
        vectors[s] = nearest.reshape(vectors[s].shape)
    squares = np.einsum("npx,npx->np", vectors, vectors)
    if squares.size and squares.min() < COINCIDENT**2:
        s, p = np.unravel_index(squares.argmin(), squares.shape)
        raise ValueError(
            f"atoms {second[p]} and {first[p]} of structure {rows.start + s} are "
            f"{np.sqrt(squares[s, p]):.1e} Å apart: no two atoms may share a place; remove one or "
            "repair the frame"
        )
    return vectors, squares


def _runs_of_one_cell(cells, pbc):
    """Slices of periodic structures that follow each other and have the same cell."""
    if not pbc.any():
        return
    same = (cells[1:] == cells[:-1]).all(axis=(1, 2)) & (pbc[1:] == pbc[:-1]).all(axis=1)
    starts = np.flatnonzero(np.append(True, ~same)).tolist()
    for start, stop in zip(starts, [*starts[1:], len(cells)], strict=True):
        if pbc[start].any():
            yield slice(start, stop)


class InverseDistances(DescriptorOfOneComposition):
    r"""Inverse interatomic distances of a molecule.

    .. math:: x_{ab} = \frac{1}{|\mathbf r_a - \mathbf r_b|}, \qquad a > b

    The features are invariant to translation, rotation and reflection, but not to permutation of
    like atoms. In periodic directions the nearest image is taken, so distances beyond half a cell
    are not smooth. The N (N - 1) / 2 features, in 1/Å, belong to the pairs (1,0), (2,0), (2,1),
    (3,0) …

    Parameters
    ----------
    device : {"cpu", "cuda", "auto", "torch"}, default="cpu"
        Where features and their derivatives are computed from the pair vectors: in numpy, by torch
        on a card ("cuda"; "auto" if there is one) or by torch on the CPU ("torch"). With torch the
        features are tensors, and stay on the device.

    Attributes
    ----------
    numbers_ : ndarray of int, shape (N,)
        Atomic numbers seen in ``fit``; every structure must have them in this order.

    Raises
    ------
    ValueError
        If structures differ in composition or atom order, or two atoms are at the same place.

    References
    ----------
    Chmiela et al., Sci. Adv. 3, e1603015 (2017), https://doi.org/10.1126/sciadv.1603015

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import InverseDistances
    >>> features = InverseDistances().fit_transform([molecule("H2O")])
    >>> features.values.round(3)
    array([[1.032, 1.032, 0.655]])
    >>> gradient, virial = features.pullback([1.0, 1.0, 0.0])
    """

    _parameter_constraints = {"device": [DEVICES]}

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def jacobian(self, X: StructuresLike) -> Array:
        r"""Gradients in compressed form.

        Parameters
        ----------
        X : Structures or list of ase.Atoms, n of them

        Returns
        -------
        ndarray of shape (n, N (N - 1) / 2, 3), 1/Å²
            :math:`\mathbf c_{ab} = (\mathbf r_a - \mathbf r_b) x_{ab}^3`. The non-zero elements of
            the Jacobian are :math:`\partial x_{ab}/\partial \mathbf r_a = -\mathbf c_{ab}` and
            :math:`\partial x_{ab}/\partial \mathbf r_b = +\mathbf c_{ab}`.
        """
        check_is_fitted(self)
        structures = as_structures(X)
        self._check_structures(structures)
        return pair_features(structures).gradients

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``1/d(H1,O0)``."""
        labels = self._atom_names()
        first, second = pair_indices(len(labels))
        return np.array(
            [f"1/d({labels[a]},{labels[b]})" for a, b in zip(first, second, strict=True)], object
        )

    @property
    def n_features_out_(self) -> Any:
        """Number of pairs."""
        check_is_fitted(self)
        return len(self.numbers_) * (len(self.numbers_) - 1) // 2

    def _values(self, structures):
        return pair_features(structures, resolve(self.device)).values

    def _pullback(self, structures, cotangent):
        values, gradients = pair_features(structures, device_of(cotangent))
        along, xp = cotangent[:, :, None] * gradients, namespace(cotangent)
        signs = beside(incidence(len(self.numbers_)), cotangent)
        gradient = xp.einsum("ap,npx->nax", signs, along)
        virial = xp.einsum("npx,npy->nxy", -along, gradients / (values**3)[:, :, None])
        return gradient.reshape(-1, 3), virial

    def _jacobian(self, structures, needed):
        values, c = pair_features(structures)
        gradients = np.einsum("ap,npx->naxp", incidence(len(self.numbers_)), c)
        strains = -np.einsum("npx,npy->nxyp", c, c / (values**3)[:, :, None])
        return gradients.reshape(-1, 3, c.shape[1]), strains
