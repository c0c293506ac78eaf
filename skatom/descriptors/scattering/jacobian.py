"""Derivatives of all features of one structure, which share the maps that they begin with."""

import numpy as np

from skatom.descriptors.scattering.transform import (
    TINY,
    field_slopes,
    filter_adjoint,
    filter_strain,
    filtered,
    integrals,
    pulled,
    spectra_on,
    squared,
)


class RawJacobian:
    """Derivatives of the integrals of the three orders, before normalisation; zero if not needed.

    Attributes
    ----------
    first, second : ndarray of float
        Integrals, of the shapes of `Paths`.
    rows : list of ndarray of float, shapes (*shape, N + 3, 3)
        For each order and integral, ∂/∂R_k in the first N rows and ∂/∂ε in the last three.
    """

    def __init__(self, scene):
        shapes, size = scene.paths.shapes, len(scene.positions) + 3
        self.first, self.second = np.zeros(shapes[1]), np.zeros(shapes[2])
        self.rows = [np.zeros((*shape, size, 3)) for shape in shapes]


def jacobian(scene, tasks, first, second, run):
    """Derivatives of the needed integrals with respect to positions and strain.

    Parameters
    ----------
    scene : Scene
    tasks : list of Task
        They must compute what is needed.
    first, second : ndarray of bool
        What is needed, of the shapes of `Paths`.
    run : callable (function, items) -> iterator

    Returns
    -------
    RawJacobian
    """
    scene.prepare(tasks, scene.grids.periodic)
    result = RawJacobian(scene)
    # each task writes places of its own
    for _ in run(lambda task: _Pass(scene, task).fill(first, second, result), tasks):
        pass
    if not scene.grids.periodic:
        for rows in result.rows:
            _follow_the_grid(rows, scene.positions)
    return result


def _follow_the_grid(rows, positions):
    """The grid of a molecule follows its mean position, and is not strained."""
    gradients = rows[..., :-3, :]
    gradients -= gradients.mean(axis=-2, keepdims=True)
    rows[..., -3:, :] = np.swapaxes(gradients, -1, -2) @ positions


class _Pass:
    """The maps of a task, from which each of its integrals is differentiated."""

    def __init__(self, scene, task):
        self.scene, self.task, self.paths = scene, task, scene.paths
        self.wavelet = scene.paths.wavelets[task.wavelet]
        self.grid = scene.first_grid(task.wavelet, task.level)
        self.spectra = scene.density(self.grid)[task.channels]
        self.fields = filtered(self.spectra, self.grid, self.wavelet)
        self.squares = squared(self.fields)
        self.modulus = self.squares.copy()
        self.sums = integrals(self.modulus, self.grid, scene.paths)

    def fill(self, first, second, result):
        """Write the needed integrals of the task and their derivatives."""
        task = self.task
        result.first[task.channels[task.first], task.wavelet] = self.sums[task.first]
        for q, rows in _chosen(first[task.channels[task.first], task.wavelet]):
            rows = task.first[rows]
            h = self._slopes(self.squares[rows], self.grid, q)
            found = self._derivatives(rows, h, self.sums[rows, q])
            result.rows[1][task.channels[rows], task.wavelet, q] = found
        spectra = spectra_on(self.scene, task, self.modulus, self.grid)
        for pair, rows in task.seconds:
            self._fill_pair(pair, rows, spectra[self.scene.second_grid(pair)], second, result)

    def _fill_pair(self, pair, rows, spectra, second, result):
        target, other = self.scene.second_grid(pair), self.paths.wavelets[self.paths.pairs[pair][1]]
        fields = filtered(spectra[rows], target, other)
        squares = squared(fields)
        sums = integrals(squares.copy(), target, self.paths)
        channels = self.task.channels
        result.second[channels[rows], pair] = sums
        for q, some in _chosen(second[channels[rows], pair]):
            own = rows[some]
            cotangent = pulled(self._slopes(squares[some], target, q), fields[some], target)
            back = filter_adjoint(cotangent, target, other)
            h = self.scene.grids.adjoint_spectra(back, self.grid, target)
            h /= np.maximum(self.modulus[own], TINY)
            found = self._derivatives(own, h, sums[some, q])
            if self.scene.grids.periodic:
                for k, row in enumerate(own):
                    one = slice(k, k + 1)
                    found[k, -3:] += filter_strain(
                        spectra[row : row + 1], cotangent[one], target, other
                    )
            result.rows[2][channels[own], pair, q] = found

    def _slopes(self, squares, grid, q):
        bars = np.zeros((len(squares), len(self.paths.exponents)))
        bars[:, q] = 1.0
        return field_slopes(squares, grid, self.scene.exponents, bars)

    def _derivatives(self, rows, h, sums):
        """(n_rows, N + 3, 3) of integrals whose cotangents of the fields are h f_m.

        ``sums``: the integrals, in which the voxel, unlike the fields, grows with the volume.
        """
        scene = self.scene
        cotangent = pulled(h, self.fields[rows], self.grid)
        result = np.zeros((len(rows), len(scene.positions) + 3, 3))
        back = filter_adjoint(cotangent, self.grid, self.wavelet)
        result[:, :-3] = scene.density_gradients(self.grid, self.task.channels[rows], back)
        if scene.grids.periodic:
            blur = 0.5 * scene.density_width**2
            growth = sums - np.einsum("cu,cu->c", h, self.squares[rows])
            for k, row in enumerate(rows):
                result[k, -3:] = growth[k] * np.eye(3) + filter_strain(
                    self.spectra[row : row + 1], cotangent[k : k + 1], self.grid, self.wavelet, blur
                )
        return result


def _chosen(needed):
    """(q, rows) of the exponents that some rows (n_rows, n_q) need."""
    for q in np.flatnonzero(needed.any(axis=0)):
        yield q, np.flatnonzero(needed[:, q])
