"""Sines and cosines by which spectra become fields, and fields spectra, as matrix products."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np


class AxisWaves(NamedTuple):
    """The products along the axes of a transform, see `skatom.descriptors._cpu.scattering_maps`.

    Along the first two axes points are counted from the centre of the grid, and matrices have rows
    of points and columns of frequencies, or, for transforms to spectra, the reverse.
    """

    cosines: tuple  # of two axes; points on one side of the centre, frequencies from zero
    sines: tuple  # the same, frequencies from one
    lines: np.ndarray  # real and imaginary parts of the third axis
    phases: np.ndarray  # what the centre adds along the first axis, frequencies from zero
    more_phases: np.ndarray  # along the second, positive frequencies before negative ones


@lru_cache(maxsize=256)
def to_points(band, shape):
    """The `AxisWaves` from spectra to points; frequencies not resolved are left out."""
    highest = resolved(band, shape)
    tables = [_centred(shape[a], 1 / shape[a], highest[a]) for a in (0, 1)]
    angles = 2 * np.pi * np.outer(np.arange(highest[2] + 1), np.arange(shape[2]) / shape[2])
    weights = np.where(np.arange(highest[2] + 1) > 0, 2.0, 1.0)[:, None]
    lines = np.concatenate([weights * np.cos(angles), -weights * np.sin(angles)])
    middle = [0.5 * (n - 1) / n for n in shape]
    return AxisWaves(
        tuple(np.ascontiguousarray(cosine) for cosine, _ in tables),
        tuple(np.ascontiguousarray(sine) for _, sine in tables),
        lines,
        _phases(middle[0], np.arange(highest[0] + 1)),
        _phases(middle[1], _both_signs(highest[1])),
    )


def to_spectra(shape, steps, shifts, highest):
    """The `AxisWaves` of a transform of points to spectra.

    Parameters
    ----------
    shape : tuple of int
        Numbers of points.
    steps : sequence of float
        Distances of the points along each axis, in lengths of the box of the spectra.
    shifts : sequence of float
        Their first point, in the same box.
    highest : sequence of int
        The highest frequencies.
    """
    tables = [_centred(shape[a], steps[a], highest[a]) for a in (0, 1)]
    middle = [shifts[a] + 0.5 * (shape[a] - 1) * steps[a] for a in (0, 1)]
    points = shifts[2] + steps[2] * np.arange(shape[2])
    angles = 2 * np.pi * np.outer(points, np.arange(highest[2] + 1))
    return AxisWaves(
        tuple(np.ascontiguousarray(cosine.T) for cosine, _ in tables),
        tuple(np.ascontiguousarray(sine.T) for _, sine in tables),
        np.concatenate([np.cos(angles), -np.sin(angles)], axis=1),
        _phases(-middle[0], np.arange(highest[0] + 1)),
        _phases(-middle[1], _both_signs(highest[1])),
    )


@lru_cache(maxsize=256)
def of_cell(shape, highest):
    """`to_spectra` for a box that is that of the points."""
    return to_spectra(shape, [1 / n for n in shape], (0.0, 0.0, 0.0), highest)


def resolved(band, shape):
    """The highest frequency of each axis that is below both Nyquist frequencies."""
    return [(min(a, b) - 1) // 2 for a, b in zip(band, shape, strict=True)]


def _centred(n_points, step, highest):
    """Cosines and sines, (points on one side of the centre, frequencies)."""
    points = step * (np.arange((n_points + 1) // 2) + 0.5 * (n_points % 2 == 0))
    angles = 2 * np.pi * np.outer(points, np.arange(highest + 1))
    return np.cos(angles), np.sin(angles)[:, 1:]


def _phases(place, frequencies):
    return np.exp(2j * np.pi * place * frequencies)


def _both_signs(highest):
    """0, 1 … highest, -1 … -highest."""
    return np.concatenate([np.arange(highest + 1), -np.arange(1, highest + 1)])
