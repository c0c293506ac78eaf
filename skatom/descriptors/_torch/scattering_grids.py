"""Grids of several structures whose shapes agree, on a device: tables, fields and spectra.

All tensors begin with the structure, or with one row where all structures share a box. What they
hold, their units and their adjoints are those of `skatom.descriptors.scattering.grids` and
`skatom.descriptors.scattering.transform`.
"""

from math import pi

import numpy as np
import torch

from skatom.descriptors._cpu.harmonics import normalization
from skatom.descriptors._torch.harmonics import harmonics_with_gradients
from skatom.descriptors.scattering.products import resolved

# σ² below this is zero
_FLOOR = 2.0**-600


class TensorGrid:
    """The grids of some structures, which have the same numbers of points and frequencies.

    Parameters
    ----------
    grids : list of Grid
        One for each structure, with `Outline` as tables.
    beta : float
        Base width, Å.
    l_max : int
    device : Device
    """

    def __init__(self, grids, beta, l_max, device):
        self.shape, self.band = grids[0].shape, grids[0].tables.shape
        self.half = (*self.band[:2], self.band[2] // 2 + 1)
        self.beta, self.device = beta, device
        self.boxes = np.array([grid.box for grid in grids])
        self.origins = np.array([grid.origin for grid in grids])
        same = (self.boxes == self.boxes[0]).all()
        boxes = self.boxes[:1] if same else self.boxes
        self.volume = device.tensor(np.abs(np.linalg.det(boxes)))
        self.voxel = self.volume / np.prod(self.shape)
        self.reciprocal = device.tensor(2 * pi * np.linalg.inv(boxes).transpose(0, 2, 1))
        self._tables(l_max)
        self._filters = {}

    def _tables(self, l_max):
        tensor = self.device.tensor
        self.m = [tensor(_frequencies(self.band, axis).astype(float)) for axis in range(3)]
        self.places = [2 * pi * m for m in self.m]
        grid = torch.stack(torch.meshgrid(*self.m, indexing="ij"), -1).reshape(-1, 3)
        self.omega = grid @ self.reciprocal
        squares = (self.omega * self.omega).sum(-1)
        self.squares = squares
        inside = np.ones(self.half, bool)
        for axis, size in enumerate(self.band):
            if size % 2 == 0:
                inside[(slice(None),) * axis + (size // 2,)] = False
        inside = tensor(inside.ravel().astype(float))
        weights = np.full(self.half, 2.0)
        weights[:, :, 0] = 1.0
        self.weights = tensor(weights.ravel())
        length = squares.sqrt()
        unit = self.omega / torch.where(length > 0, length, 1.0)[..., None]
        # at ω = 0 only l = 1 has a slope, which is the same in all directions
        unit[..., 2] += (length == 0).to(unit.dtype)
        rows = len(unit)
        values, slopes = harmonics_with_gradients(
            unit.reshape(-1, 3), tensor(normalization(l_max)), l_max
        )
        self.harmonics = values.reshape(-1, rows, len(grid)).transpose(0, 1) * inside
        self.gradients = slopes.reshape(3, -1, rows, len(grid)).permute(2, 0, 1, 3) * inside
        power = torch.ones_like(length)
        for l in range(1, l_max + 1):
            lm = slice(l * l, (l + 1) ** 2)
            self.gradients[:, :, lm] *= power[:, None, None]
            power = power * length
            self.harmonics[:, lm] *= power[:, None]

    def radial(self, wavelet):
        """ψ̂ divided by i^l R_lm, (n, n_ω)."""
        n, l, j = wavelet
        norm = (4 * pi / (2 * l + 1)) ** 0.5 * 2.0 ** (j * wavelet.power)
        gaussian = torch.exp(-0.5 * self.beta**2 * 4.0**j * self.squares)
        return norm * self.squares ** (n - 1 - l) * gaussian

    def gaussian(self, width):
        """Transform (n, n_ω) of a normalised Gaussian."""
        return torch.exp(-0.5 * width**2 * self.squares)

    def filter(self, wavelet):
        """i^l ψ̂_m / V up to a sign, (n, 2l + 1, n_ω)."""
        if wavelet not in self._filters:
            lm = slice(wavelet.l**2, (wavelet.l + 1) ** 2)
            scaled = (self.radial(wavelet) / self.volume[:, None])[:, None] * self.harmonics[:, lm]
            self._filters[wavelet] = scaled * (1j if wavelet.l % 2 else 1.0 + 0j)
        return self._filters[wavelet]

    # --- fields and spectra ---------------------------------------------------------------------

    def filtered(self, spectra, wavelet):
        """Fields (n, C, 2l + 1, n_points) of spectra (n, C, n_ω) convolved with a wavelet."""
        return self.fields(spectra[:, :, None] * self.filter(wavelet)[:, None])

    def filter_adjoint(self, cotangents, wavelet):
        """The transpose of the filter: (n, C, 2l + 1, n_ω) -> (n, C, n_ω)."""
        return (cotangents * self.filter(wavelet).conj()[:, None]).sum(2)

    def filter_strain(self, spectra, cotangents, wavelet, blur=0.0):
        """∂E/∂ε (n, C, 3, 3) of the filter alone; ``blur``: a further exp(−blur |ω|²)."""
        s = (spectra * 1j if wavelet.l % 2 else spectra)[:, :, None]
        overlap = cotangents.real * s.real + cotangents.imag * s.imag
        lm = slice(wavelet.l**2, (wavelet.l + 1) ** 2)
        along = (overlap * self.harmonics[:, None, lm]).sum(2)
        k = wavelet.n - 1 - wavelet.l
        inverse = 1 / torch.where(self.squares > 0, self.squares, 1.0)
        slope = k * inverse - 0.5 * self.beta**2 * 4.0**wavelet.j - blur
        factor = -self.weights * self.radial(wavelet) / self.volume[:, None]
        parts = []
        for b in range(3):
            turn = (overlap * self.gradients[:, None, b, lm]).sum(2)
            p = 2 * (slope * self.omega[..., b])[:, None] * along + turn
            parts.append((factor[:, None] * p) @ self.omega.expand(len(p), -1, -1))
        return torch.stack(parts, -1)

    def fields(self, spectra):
        """Σ_ω F(ω) exp(iω(u − o)): (..., n_ω) -> (..., n_points)."""
        whole = resized(spectra.reshape(*spectra.shape[:-1], *self.half), self.band, self.shape)
        found = torch.fft.irfftn(whole, s=self.shape, dim=(-3, -2, -1), norm="forward")
        return found.flatten(-3)

    def cotangent_spectra(self, fields):
        """The transpose of `fields`: Σ_u g(u) exp(−iω(u − o))."""
        whole = torch.fft.rfftn(fields.reshape(*fields.shape[:-1], *self.shape), dim=(-3, -2, -1))
        return resized(whole, self.shape, self.band).flatten(-3)

    def phases(self, positions):
        """exp(−iω(R − o)) as one factor (n, frequencies, N) for each axis."""
        offsets = (positions - self.origins[:, None]) @ np.linalg.inv(self.boxes)
        fractions = self.device.tensor(offsets)
        return [
            _waves(place[None, :, None] * fractions[:, None, :, axis])
            for axis, place in enumerate(self.places)
        ]

    def density(self, positions, charges):
        """Spectra (n, C, n_ω) of pseudo-densities with charges (n, C, N)."""
        a, b, c = self.phases(positions)
        plane = (a[:, :, None] * b[:, None]).flatten(1, 2)
        rows = [(plane * charge[:, None]) @ c.transpose(1, 2) for charge in charges.unbind(1)]
        return torch.stack(rows, 1).flatten(2)

    def density_gradient(self, positions, cotangents):
        """dE/dR (n, C, N, 3) of unit charges for cotangents (n, C, n_ω) of their densities."""
        a, b, c = self.phases(positions)
        m = [m[None, :, None] for m in self.m]
        both = torch.cat([c, m[2] * c], 2)
        found = []
        for cotangent in cotangents.unbind(1):
            weighted = (cotangent * self.weights).conj().unflatten(1, self.half)
            inner = (weighted.flatten(1, 2) @ both).unflatten(1, self.half[:2])
            plain, along = inner.chunk(2, 3)
            rows = [
                (part * factor[:, None]).sum(2)
                for part, factor in ((plain, b), (plain, m[1] * b), (along, b))
            ]
            slopes = [
                (row * factor).sum(1) for row, factor in zip(rows, (m[0] * a, a, a), strict=True)
            ]
            found.append(torch.stack(slopes, -1).imag @ self.reciprocal)
        return torch.stack(found, 1)


class CellTransfer:
    """The transfer of maps between grids of the same periodic cells."""

    def __init__(self, source, target):
        self.source, self.target = source, target

    def spectra(self, fields):
        """Spectra (n, C, n_ω of the target) of fields (n, C, points of the source)."""
        shape = self.source.shape
        whole = torch.fft.rfftn(fields.unflatten(-1, shape), dim=(-3, -2, -1))
        found = resized(whole, shape, self.target.band).flatten(-3)
        return self.source.voxel[:, None, None] * found

    def adjoint(self, cotangents):
        """The transpose of `spectra`."""
        whole = resized(cotangents.unflatten(-1, self.target.half), self.target.band,
                        self.source.shape)  # fmt: skip
        found = torch.fft.irfftn(whole, s=self.source.shape, dim=(-3, -2, -1), norm="forward")
        return self.source.voxel[:, None, None] * found.flatten(-3)


class BoxTransfer:
    """The transfer of maps between the boxes of molecules, a product along each axis."""

    def __init__(self, source, target):
        self.source, self.target = source, target
        self.factors = []
        for axis in range(3):
            step = source.boxes[:, axis, axis] / source.shape[axis]
            places = step[:, None] * np.arange(source.shape[axis])
            places += (source.origins - target.origins)[:, axis, None]
            places /= target.boxes[:, axis, axis, None]
            places = source.device.tensor(places)
            self.factors.append(_waves(target.places[axis][None, :, None] * places[:, None]))

    def spectra(self, fields):
        """Spectra (n, C, n_ω of the target) of fields (n, C, points of the source)."""
        a, b, c = (factor[:, None] for factor in self.factors)
        x = fields.unflatten(-1, (-1, self.source.shape[2]))
        x = torch.complex(x @ c.real.transpose(-1, -2), x @ c.imag.transpose(-1, -2))
        x = b[:, :, None] @ x.unflatten(2, self.source.shape[:2])
        x = a @ x.flatten(-2)
        return self.source.voxel[:, None, None] * x.flatten(-2)

    def adjoint(self, cotangents):
        """The transpose of `spectra`."""
        a, b, c = (factor[:, None] for factor in self.factors)
        x = (cotangents * self.target.weights).unflatten(-1, self.target.half).flatten(-2)
        x = (a.mH @ x).unflatten(-1, self.target.half[1:])
        x = b.mH[:, :, None] @ x
        x = x.flatten(2, 3)
        x = x.real @ c.real + x.imag @ c.imag
        return self.source.voxel[:, None, None] * x.flatten(-2)


def power_sums(squares, exponents):
    """Σ_u σ^q, (..., n_q), of σ² (..., n_points)."""
    return torch.stack([_power(squares, 0.5 * q).sum(-1) for q in exponents], -1)


def power_slopes(squares, exponents, bars):
    """h (..., n_points), the fields' cotangents being h f_m, for cotangents (..., n_q) of sums."""
    total = torch.zeros_like(squares)
    for k, q in enumerate(exponents):
        if q == 2:
            total += 2 * bars[..., k, None]
        else:
            total += q * bars[..., k, None] * _power(squares, 0.5 * q - 1)
    return total


def _power(squares, power):
    if power == 1:
        return squares
    if power == 0.5:
        return squares.sqrt()
    return squares.clamp(min=_FLOOR) ** power


def resized(x, source, target):
    """The frequencies of half spectra (..., *half of source) that another size resolves."""
    if source == target:
        return x
    highest = resolved(source, target)
    found = x.new_zeros((*x.shape[:-3], *target[:2], target[2] // 2 + 1))
    of_source, of_target = (
        [torch.as_tensor([*range(h + 1), *range(n - h, n)], device=x.device)
         for h, n in zip(highest[:2], sizes[:2], strict=True)]
        for sizes in (source, target)
    )  # fmt: skip
    last = slice(0, highest[2] + 1)
    part = x[..., last].index_select(-3, of_source[0]).index_select(-2, of_source[1])
    found[..., of_target[0][:, None], of_target[1], last] = part
    return found


def _waves(angles):
    """exp(−i angle)."""
    return torch.complex(angles.cos(), -angles.sin())


def _frequencies(band, axis):
    if axis == 2:
        return np.arange(band[2] // 2 + 1)
    return np.rint(np.fft.fftfreq(band[axis], 1 / band[axis]))
