"""Tables of the filters of wavelets on the half spectrum of a box."""

from functools import cached_property
from math import prod

import numpy as np

from skatom.descriptors._cpu.harmonics import normalization
from skatom.descriptors._cpu.scattering_tables import radial_part, solid_harmonics, wave_vectors
from skatom.descriptors.scattering.solid_harmonics import solid_harmonic_gradients


class Tables:
    """Tables of filters on the half spectrum of a box: |ω|², R_lm(ω), and radial parts.

    Parameters
    ----------
    shape : tuple of int
        Points along each axis.
    box : ndarray of float, shape (3, 3)
        Vectors of the box, rows, Å.
    beta : float
        Base width, Å.
    l_max : int
        The highest l.
    """

    def __init__(self, shape, box, beta, l_max):
        self.shape = shape
        self.half_shape = (*shape[:2], shape[2] // 2 + 1)
        self.sizes = np.array(shape)
        self.size = prod(self.half_shape)  # n_ω
        self.beta = beta
        self.l_max = l_max
        self.reciprocal = 2 * np.pi * np.linalg.inv(box).T
        self._radial, self._radials, self._gradient = {}, {}, {}

    @property
    def n_bytes(self):
        """Approximate size of the kept arrays."""
        numbers = 5 + len(self._radial) + (self.l_max + 1) ** 2
        numbers += sum(len(wavelets) for wavelets in self._radials if len(wavelets) > 1)
        numbers += sum(3 * (2 * l + 1) for l in self._gradient)
        return 8 * self.size * numbers

    @cached_property
    def _wave_vectors(self):
        omega, squares = np.empty((self.size, 3)), np.empty(self.size)
        reciprocal = np.ascontiguousarray(self.reciprocal)
        wave_vectors(self.sizes, reciprocal, omega, squares)
        return omega, squares

    @property
    def omega(self):
        """Wave vectors (n_ω, 3)."""
        return self._wave_vectors[0]

    @property
    def squares(self):
        """|ω|² (n_ω,)."""
        return self._wave_vectors[1]

    @cached_property
    def weights(self):
        """Multiplicity of the wave vectors of the half spectrum in the whole spectrum, (n_ω,)."""
        weights = np.full(self.half_shape, 2.0)
        weights[:, :, 0] = 1.0
        return weights.ravel()

    @property
    def _nyquist(self):
        """Where the Nyquist frequencies of even axes are in arrays (…, *half_shape)."""
        for axis, size in enumerate(self.shape):
            if size % 2 == 0:
                yield ..., size // 2, *[slice(None)] * (2 - axis)

    def prepare(self, wavelets, strain):
        """Compute now what wavelets will need; ``strain``: see `Scene.prepare`."""
        self.harmonics  # noqa: B018 - it is kept
        if strain is None:
            self.radials(wavelets)
            return
        self.weights  # noqa: B018
        for wavelet in wavelets:
            self.radial(wavelet)
            if strain:
                self.harmonic_gradient(wavelet.l)

    def frequencies(self, axis):
        """Integer frequencies m of an axis, in the order of the FFT."""
        size = self.shape[axis]
        if axis == 2:
            return np.arange(size // 2 + 1)
        return np.rint(np.fft.fftfreq(size, 1 / size)).astype(int)

    def radial(self, wavelet):
        """ψ̂ divided by i^l R_lm, (n_ω,)."""
        key = tuple(wavelet)
        if key not in self._radial:
            n, l, j = wavelet
            factor = np.sqrt(4 * np.pi / (2 * l + 1)) * 2.0 ** (j * wavelet.power)
            values, rate = np.empty(self.size), -0.5 * self.beta**2 * 4.0**j
            radial_part(self.squares, n - 1 - l, rate, float(factor), values)
            self._radial[key] = values  # other threads look for it: not before it is there
        return self._radial[key]

    def radials(self, wavelets):
        """`radial` of some wavelets, (n_wavelets, n_ω)."""
        if wavelets not in self._radials:
            rows = [self.radial(wavelet) for wavelet in wavelets]
            self._radials[wavelets] = np.stack(rows) if len(rows) > 1 else rows[0][None]
        return self._radials[wavelets]

    def gaussian(self, width):
        """Transform (n_ω,) of a normalised Gaussian of this width."""
        if width not in self._radial:
            self._radial[width] = np.exp(-0.5 * width**2 * self.squares)
        return self._radial[width]

    def radial_slope(self, wavelet):
        """The derivative of ln(radial) with respect to |ω|², (n_ω,)."""
        k = wavelet.n - 1 - wavelet.l
        # at ω = 0 the whole term is multiplied by ω, so any finite number will do
        inverse = 1.0 / np.where(self.squares > 0, self.squares, 1.0)
        return k * inverse - 0.5 * self.beta**2 * 4.0**wavelet.j

    @cached_property
    def harmonics(self):
        """R_lm(ω) of all l, (n_lm, n_ω), zero at the Nyquist frequencies of even axes."""
        values = np.empty(((self.l_max + 1) ** 2, self.size))
        solid_harmonics(self.omega, normalization(self.l_max), self.l_max, values)
        for place in self._nyquist:
            values.reshape(-1, *self.half_shape)[place] = 0.0
        return values

    def harmonic(self, l):
        """R_lm(ω) of one l, (2l + 1, n_ω)."""
        return self.harmonics[l * l : (l + 1) ** 2]

    def harmonic_gradient(self, l):
        """∂R_lm/∂ω of one l, (3, 2l + 1, n_ω)."""
        if l not in self._gradient:
            values = solid_harmonic_gradients(self.omega, l)
            for place in self._nyquist:
                values.reshape(3, -1, *self.half_shape)[place] = 0.0
            self._gradient[l] = values
        return self._gradient[l]
