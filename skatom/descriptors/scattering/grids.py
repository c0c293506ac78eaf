"""Grids on which maps are evaluated, and the transfer of spectra and fields between them.

A field on the box of a grid is f(u) = 1/V Σ_ω F(ω) exp(iω(u − o)), where o is its first point.
Spectra F are in those units, of real fields, and kept as the half with m3 >= 0, shape (..., n_ω).
A field needs few frequencies, the band of its grid; its modulus has kinks and needs more points.
"""

from functools import cached_property
from math import ceil, prod
from typing import NamedTuple

import numpy as np
from scipy.fft import next_fast_len

from skatom.descriptors._cpu.scattering_maps import band_spectra
from skatom.descriptors._cpu.scattering_tables import densities
from skatom.descriptors.scattering import products
from skatom.descriptors.scattering.fourier import crop, even_size, to_points, to_spectra


class Level(NamedTuple):
    """A grid whose band has the spacing 2^octaves, and whose points are 2^finer times denser."""

    octaves: int
    finer: float = 0.0


class Grid:
    """Points o + f·box of a box, and the Fourier transforms between them and the spectrum.

    Parameters
    ----------
    shape : tuple of int
        Numbers of points.
    box : ndarray of float, shape (3, 3)
    origin : ndarray of float, shape (3,)
        The first point.
    tables : Tables
        The tables of the box, whose shape is the band: the frequencies of spectra.
    """

    def __init__(self, shape, box, origin, tables):
        self.shape = shape
        self.sizes = np.array(shape)
        self.box = box
        self.origin = origin
        self.tables = tables
        self.n_points = prod(shape)
        self.volume = abs(np.linalg.det(box))
        self.voxel = self.volume / self.n_points

    @cached_property
    def spectrum(self):
        """What grids of the same spectra have in common."""
        return self.tables, self.origin.tobytes()

    @cached_property
    def waves(self):
        """The products by which spectra become fields, see `products.to_points`."""
        return products.to_points(self.tables.shape, self.shape)

    def fields(self, spectra):
        """Fields V f (..., n_points) of spectra (..., n_ω), which are overwritten."""
        whole = spectra.reshape(-1, *self.tables.half_shape)
        f = to_points(whole, self.tables.shape, self.shape)
        return f.reshape(*spectra.shape[:-1], self.n_points)

    def cotangent_spectra(self, cotangents):
        """Σ_u g(u) exp(−iω(u − o)): the transpose of `fields`, fields being overwritten."""
        whole = cotangents.reshape(-1, *self.shape)
        g = to_spectra(whole, self.shape, self.tables.shape)
        return g.reshape(*cotangents.shape[:-1], -1)

    def phases(self, positions):
        """exp(−iω(R − o)) as a product of one factor (frequencies, N) for each axis."""
        fractional = (positions - self.origin) @ np.linalg.inv(self.box)
        return [_waves(self.tables.frequencies(axis), fractional[:, axis]) for axis in range(3)]

    def densities(self, positions, species, charges):
        """Σ_k c_k exp(−iω(R_k − o)) over all atoms, (n_channels, n_ω)."""
        # the inverse of the box, without the system's small routines
        places = (positions - self.origin) @ self.tables.reciprocal.T / (2 * np.pi)
        spectra = np.empty((len(charges), self.tables.size), complex)
        densities(places, species, charges, self.tables.sizes, spectra)
        return spectra

    def phase_gradients(self, positions, cotangents):
        """dE/dR (n, N, 3) of n energies δE = Re Σ_ω conj(A) δ exp(−iω(R − o)), ω of both halves.

        ``cotangents``: A, (n, n_ω).
        """
        t = self.tables
        a, b, c = self.phases(positions)
        m1, m2, m3 = (t.frequencies(axis)[:, None] for axis in range(3))
        weighted = np.conj(cotangents * t.weights).reshape(-1, t.half_shape[2])
        # contract the third axis with the phases and with their derivatives
        inner = weighted @ np.concatenate([c, m3 * c], axis=1)
        inner = inner.reshape(-1, *t.half_shape[:2], 2, len(positions))
        plain, along = inner[:, :, :, 0], inner[:, :, :, 1]
        rows = [
            np.einsum("nabk,bk->nak", *factors)
            for factors in ((plain, b), (plain, m2 * b), (along, b))
        ]
        slopes = [
            np.einsum("nak,ak->nk", row, factor)
            for row, factor in zip(rows, (m1 * a, a, a), strict=True)
        ]
        return np.stack(slopes, axis=-1).imag @ t.reciprocal


class CellGrids:
    """Grids of a periodic cell, which they share.

    Parameters
    ----------
    cell : ndarray of float, shape (3, 3)
    spacing : float
        That of ``Level(0)``, Å.
    shape : tuple of int or None
        Points of ``Level(0)``, instead of ``spacing``.
    make_tables : callable (shape, box) -> Tables
    """

    periodic = True

    def __init__(self, cell, spacing, shape, make_tables):
        self.cell = cell
        self.spacing = spacing
        self.own_shape = shape
        self.make_tables = make_tables
        self._grids, self._tables = {}, {}

    def shape(self, level):
        """Points along each axis."""
        octaves = level.octaves - level.finer
        if self.own_shape is None:
            sizes = np.linalg.norm(self.cell, axis=1) / (self.spacing * 2.0**octaves)
            return tuple(even_size(size, 8 if level.finer >= 1 else 4) for size in sizes)
        if octaves == 0:
            return tuple(int(size) for size in self.own_shape)
        return tuple(next_fast_len(ceil(n / 2**octaves), real=True) for n in self.own_shape)

    def estimate(self, level, reach):
        """Number of points of `grid`."""
        return float(np.prod(self.shape(level), dtype=float))

    def grid(self, level, reach):
        """The grid of a level; ``reach`` does not matter in a cell."""
        if level not in self._grids:
            if level.octaves not in self._tables:
                band = self.shape(Level(level.octaves))
                self._tables[level.octaves] = self.make_tables(band, self.cell)
            shape = self.shape(level)
            tables = self._tables[level.octaves]
            self._grids[level] = Grid(shape, self.cell, np.zeros(3), tables)
        return self._grids[level]

    def prepare(self, source, target, values):
        """Do nothing: `spectra` needs only the FFT."""

    def band_spectra(self, fields, wanted, source, target):
        """What `spectra` gives for one target and some fields (C,), by products."""
        highest = tuple(products.resolved(target.tables.shape, source.shape))
        return _band_spectra(
            fields, wanted, source, target, products.of_cell(source.shape, highest)
        )

    def spectra(self, fields, source, targets):
        """Spectra (C, n_ω of the target) of fields (C, points of source), for each target."""
        bands = [target.tables.shape for target in targets]
        widest = max(bands)
        whole = to_spectra(fields.reshape(-1, *source.shape), source.shape, widest)
        whole *= source.voxel
        return [crop(whole, widest, band).reshape(len(fields), -1) for band in bands]

    def adjoint_spectra(self, cotangents, source, target):
        """The transpose of `spectra` of one target: (C, n_ω of target) -> (C, points of source)."""
        whole = cotangents.reshape(-1, *target.tables.half_shape).copy()
        fields = to_points(whole, target.tables.shape, source.shape)
        return source.voxel * fields.reshape(len(cotangents), -1)


class BoxGrids:
    """Grids of a molecule: each box just holds it and the reach of the wavelets.

    All points lie on lattices anchored at the mean position of the atoms.

    Parameters
    ----------
    positions : ndarray of float, shape (N, 3)
    spacing : float
        That of ``Level(0)``, Å.
    make_tables : callable (shape, box) -> Tables
    """

    periodic = False

    def __init__(self, positions, spacing, make_tables):
        self.centre = positions.mean(axis=0)
        self.low = positions.min(axis=0) - self.centre
        self.high = positions.max(axis=0) - self.centre
        self.spacing = spacing
        self.make_tables = make_tables
        self._grids = {}
        self._factors, self._waves = {}, {}

    def estimate(self, level, reach):
        """Approximate number of points of `grid`."""
        edges = self.high - self.low + 2 * reach
        return float(np.prod(edges / self._step(level) + 2))

    def grid(self, level, reach):
        """The grid of a level whose box ends ``reach`` Å beyond the molecule."""
        key = level, reach
        if key not in self._grids:
            # boxes change in the steps of the band, which denser points would make more frequent
            wide, step = self.spacing * 2.0**level.octaves, self._step(level)
            start = np.floor((self.low - reach) / wide).astype(int)
            stop = np.ceil((self.high + reach) / wide).astype(int)
            shape = tuple(
                next_fast_len(ceil(next_fast_len(int(size), real=True) * wide / step), real=True)
                for size in stop - start
            )
            band = tuple(next_fast_len(ceil(n * step / wide), real=True) for n in shape)
            first = np.floor(start * wide / step)
            box = np.diag(step * np.array(shape))
            tables = self.make_tables(band, box)
            self._grids[key] = Grid(shape, box, self.centre + step * first, tables)
        return self._grids[key]

    def _step(self, level):
        return self.spacing * 2.0 ** (level.octaves - level.finer)

    def spectra(self, fields, source, targets):
        """Spectra (C, n_ω of the target) of fields (C, points of source), for each target.

        The boxes differ, so this is no FFT but a product with a matrix along each axis, which at
        these sizes is as fast.
        """
        return [self._spectra(fields, source, target) for target in targets]

    def _spectra(self, fields, source, target):
        a, b, c = self.factors(source, target)
        half = len(c)
        # real fields: cosines and sines side by side in one real product
        x = fields.reshape(-1, source.shape[2]) @ np.concatenate([c.real, c.imag]).T
        y = np.empty((len(x), half), complex)
        y.real, y.imag = x[:, :half], x[:, half:]
        y = b @ y.reshape(-1, source.shape[1], half)
        y = a @ y.reshape(len(fields), source.shape[0], -1)
        y *= source.voxel
        return y.reshape(len(fields), -1)

    def adjoint_spectra(self, cotangents, source, target):
        """The transpose of `spectra` of one target: (C, n_ω of target) -> (C, points of source)."""
        a, b, c = self.factors(source, target)
        x = (cotangents * target.tables.weights).reshape(-1, len(a), len(b) * len(c))
        x = (a.conj().T @ x).reshape(-1, len(b), len(c))
        x = (b.conj().T @ x).reshape(-1, len(c))
        x = x.real @ c.real + x.imag @ c.imag
        return source.voxel * x.reshape(len(cotangents), -1)

    def prepare(self, source, target, values):
        """Compute now what `spectra` or, for values, `band_spectra` will need."""
        (self.waves if values else self.factors)(source, target)

    def band_spectra(self, fields, wanted, source, target):
        """What `spectra` gives for one target and some fields (C,), by products."""
        return _band_spectra(fields, wanted, source, target, self.waves(source, target))

    def waves(self, source, target):
        """The products by which fields become spectra, see `products.to_spectra`."""
        key = source, target
        if key not in self._waves:
            box = np.diag(target.box)
            steps = np.diag(source.box) / source.shape / box
            shifts = (source.origin - target.origin) / box
            highest = [(size - 1) // 2 for size in target.tables.shape]
            self._waves[key] = products.to_spectra(source.shape, steps, shifts, highest)
        return self._waves[key]

    def factors(self, source, target):
        """exp(−iω(u − o)), a matrix (frequencies of target, points of source) for each axis."""
        key = source, target
        if key not in self._factors:
            self._factors[key] = [
                _waves(
                    target.tables.frequencies(axis) / target.box[axis, axis],
                    np.arange(source.shape[axis]) * source.box[axis, axis] / source.shape[axis]
                    + source.origin[axis] - target.origin[axis],
                )
                for axis in range(3)
            ]  # fmt: skip
        return self._factors[key]


def _band_spectra(fields, wanted, source, target, waves):
    spectra = np.empty((len(fields), target.tables.size), complex)
    band_spectra(
        fields, wanted, source.sizes, waves.cosines, waves.sines, waves.lines,
        waves.phases, waves.more_phases, source.voxel, target.tables.sizes, spectra,
    )  # fmt: skip
    return spectra


def _waves(frequencies, points):
    """exp(−2πi f u), (frequencies, points)."""
    return np.exp(-2j * np.pi * np.outer(frequencies, points))
