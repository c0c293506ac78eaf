"""What a network learns from: rows of features, their derivatives, and labels of their sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skatom.models._cpu.derivative_blocks import slopes_along, tangents_of
from skatom.models.neural.derivative_blocks import Coordinates, blocks_of


@dataclass(frozen=True)
class LabelledRows:
    """Rows of features of structures or samples, and labels of the energies and derivatives.

    Labels are divided by their noises, and those that are unknown have the inverse noise 0.

    Attributes
    ----------
    x : ndarray of float, shape (n_rows, n_features)
    kinds : ndarray of int, shape (n_rows,)
        The network of each row.
    offsets : ndarray of int, shape (n + 1,)
        Where the rows of each structure begin.
    energy, energy_weights : ndarray of float, shape (n,)
        Energies, and inverse noises.
    slopes, slope_weights : ndarray of float, shape (n_coordinates,)
        dE/dR and dE/dε, and inverse noises.
    slope_offsets : ndarray of int, shape (n + 1,)
        Where the coordinates of each structure begin.
    blocks : list of DerivativeBlocks
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
        return cls(
            *rows, np.where(labels.has_energy, energies, 0.0),
            np.where(labels.has_energy, 1 / labels.noise_energy, 0.0), slopes, inverse,
            coordinates.offsets, blocks_of(X, coordinates, n_groups, dtype),
            counts * weights, X.structures, coordinates,
        )  # fmt: skip

    def rows_of(self, chosen):
        """Indices of the rows of chosen structures, and where those of each begin."""
        return _ranges(self.offsets, chosen)

    def slopes_of(self, chosen):
        """Indices of the coordinates of chosen structures, and where those of each begin."""
        return _ranges(self.slope_offsets, chosen)

    def along(self, chosen, starts, firsts, slopes):
        """dE/dR and dE/dε of chosen structures from the slopes ∂E/∂x of their rows."""
        out = np.zeros(firsts[-1])
        for blocks in self.blocks:
            slopes_along(
                blocks.arrays, chosen, self.offsets[chosen] - starts[:-1],
                self.slope_offsets[chosen] - firsts[:-1], slopes, out,
            )  # fmt: skip
        return out

    def tangents(self, chosen, starts, firsts, vector):
        """Changes of the rows of chosen structures along a vector of their coordinates."""
        out = np.zeros((starts[-1], self.x.shape[1]))
        for blocks in self.blocks:
            tangents_of(
                blocks.arrays, chosen, self.offsets[chosen] - starts[:-1],
                self.slope_offsets[chosen] - firsts[:-1], vector, out,
            )  # fmt: skip
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
