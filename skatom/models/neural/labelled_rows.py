"""What a network learns from: rows of features, their derivatives, and labels of their sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skatom._device import beside, is_tensor, namespace
from skatom.models.neural.derivative_blocks import Coordinates, blocks_of
from skatom.parallel import split_sizes

# Rows that one thread takes at once, and bytes that a device does.
_ROWS, _BYTES = 512, 2**28
# Arrays like the rows that are made of them.
_ARRAYS = 8


@dataclass(frozen=True)
class LabelledRows:
    """Rows of features of structures or samples, and labels of the energies and derivatives.

    Labels are divided by their noises, and those that are unknown have the inverse noise 0. Rows on
    a device are tensors, and so are the labels.

    Attributes
    ----------
    x : ndarray or Tensor of float, shape (n_rows, n_features)
    kinds : ndarray of int, shape (n_rows,)
        The network of each row.
    offsets : ndarray of int, shape (n + 1,)
        Where the rows of each structure begin.
    energy, energy_weights : ndarray or Tensor of float, shape (n,)
        Energies, and inverse noises.
    slopes, slope_weights : ndarray or Tensor of float, shape (n_coordinates,)
        dE/dR and dE/dε, and inverse noises.
    slope_offsets : ndarray of int, shape (n + 1,)
        Where the coordinates of each structure begin.
    blocks : list of DerivativeBlocks or TensorBlocks
    counts : ndarray of float, shape (n,)
        The weight of all labels of each structure.
    structures : Structures
        None for samples of a table.
    coordinates : Coordinates
        None for samples of a table.
    """

    x: np.ndarray
    kinds: np.ndarray
    offsets: np.ndarray
    energy: np.ndarray
    energy_weights: np.ndarray
    slopes: np.ndarray
    slope_weights: np.ndarray
    slope_offsets: np.ndarray
    blocks: list
    counts: np.ndarray
    structures: object = None
    coordinates: Coordinates | None = None

    def __len__(self):
        return len(self.energy)

    @classmethod
    def of_table(cls, x, n_groups, y, weights, noise):
        """Rows of samples, of which ``n_groups`` add up to labels of one noise."""
        n, none = len(y), np.zeros(0)
        return cls(
            x, np.zeros(len(x), np.int64), n_groups * np.arange(n + 1), y,
            np.sqrt(weights) / noise, none, none, np.zeros(n + 1, np.int64), [], weights,
        )  # fmt: skip

    @classmethod
    def of_structures(cls, X, rows, labels, energies, n_groups, weights, dtype=float):
        """Rows of features of structures.

        Parameters
        ----------
        X : AtomicFeatures or StructureFeatures
        rows : tuple of ndarray
            x, kinds and offsets.
        labels : Labels
        energies : ndarray of float, shape (n,)
            Energies that the networks shall give.
        n_groups : int
        weights : ndarray of float, shape (n,)
            Weights of the structures.
        dtype : {"float32", "float64"}
            Type of the derivatives of the features.
        """
        n_atoms = np.diff(labels.offsets)
        coordinates = Coordinates(labels.has_forces, labels.has_virial, n_atoms)
        slopes, inverse = _labels_of(labels, coordinates)
        counts = labels.has_energy + np.diff(coordinates.offsets)
        x, *places = rows
        energies = np.where(labels.has_energy, energies, 0.0)
        weighed = np.where(labels.has_energy, 1 / labels.noise_energy, 0.0)
        energies, weighed, slopes, inverse = (
            beside(part, x) for part in (energies, weighed, slopes, inverse)
        )
        return cls(
            x, *places, energies, weighed, slopes, inverse, coordinates.offsets,
            blocks_of(X, coordinates, n_groups, dtype), counts * weights, X.structures, coordinates,
        )  # fmt: skip

    def of(self, chosen):
        """The `ChosenRows` of some structures."""
        return ChosenRows(self, chosen)

    def pieces(self, chosen):
        """Chosen structures in parts that are worked on at once."""
        sizes, largest = np.diff(self.offsets), _ROWS
        if is_tensor(self.x):
            of_rows = _ARRAYS * 8.0 * self.x.shape[1] * sizes
            sizes, largest = sum((blocks.n_bytes for blocks in self.blocks), of_rows), _BYTES
        return [chosen[some] for some in split_sizes(sizes[chosen], largest)]


class ChosenRows:
    """The rows of some structures and their labels.

    Parameters
    ----------
    data : LabelledRows
    chosen : ndarray of int, shape (m,)
        The structures.

    Attributes
    ----------
    x : ndarray or Tensor of float, shape (n_rows, n_features)
    kinds : ndarray of int, shape (n_rows,)
    owners : ndarray or Tensor of int, shape (n_rows,)
        The structure of each row, 0 … m - 1.
    starts, firsts : ndarray of int, shape (m + 1,)
        Where the rows and the coordinates of each structure begin.
    energy, energy_weights, slopes, slope_weights : ndarray or Tensor of float
        As those of the data.
    """

    def __init__(self, data, chosen):
        self.chosen = chosen
        rows, self.starts = _ranges(data.offsets, chosen)
        coordinates, self.firsts = _ranges(data.slope_offsets, chosen)
        owners = np.repeat(np.arange(len(chosen)), np.diff(self.starts))
        self.kinds = data.kinds[rows]
        rows, coordinates, self.owners, structures = (
            beside(index, data.x) for index in (rows, coordinates, owners, chosen)
        )
        self.x = data.x[rows]
        self.energy, self.energy_weights = data.energy[structures], data.energy_weights[structures]
        self.slopes, self.slope_weights = data.slopes[coordinates], data.slope_weights[coordinates]
        starts = data.offsets[chosen] - self.starts[:-1]
        shifts = data.slope_offsets[chosen] - self.firsts[:-1]
        self._blocks = [blocks.of(chosen, starts, shifts) for blocks in data.blocks]

    @property
    def has_slopes(self):
        """Whether derivatives are labelled."""
        return len(self.slopes) > 0

    def along(self, slopes):
        """dE/dR and dE/dε from the slopes ∂E/∂x of the rows."""
        out = namespace(self.slopes).zeros_like(self.slopes)
        for blocks in self._blocks:
            blocks.add_along(slopes, out)
        return out

    def tangents(self, vector):
        """Changes of the rows along a vector of the coordinates."""
        out = namespace(self.x).zeros_like(self.x)
        for blocks in self._blocks:
            blocks.add_tangents(vector, out)
        return out


def _ranges(offsets, chosen):
    """Indices offsets[s] … offsets[s + 1] - 1 of the chosen s, and where those of each begin."""
    counts = np.diff(offsets)[chosen]
    starts = np.concatenate([[0], np.cumsum(counts)])
    return np.arange(starts[-1]) + np.repeat(offsets[chosen] - starts[:-1], counts), starts


def _labels_of(labels, coordinates):
    """dE/dR and dE/dε of the coordinates, and their inverse noises."""
    offsets = coordinates.offsets
    slopes, inverse = np.empty(offsets[-1]), np.empty(offsets[-1])
    for s in np.flatnonzero(np.diff(offsets)):
        own, atoms = slice(*offsets[s : s + 2]), slice(*labels.offsets[s : s + 2])
        parts, noises = [], []
        if coordinates.has_forces[s]:
            parts.append(-labels.forces[atoms].ravel())
            noises.append(np.repeat(labels.noise_forces[atoms], 3))
        if coordinates.has_virial[s]:
            parts.append(labels.virial[s])
            noises.append(np.full(6, labels.noise_virial[s]))
        slopes[own], inverse[own] = np.concatenate(parts), 1 / np.concatenate(noises)
    return slopes, inverse
