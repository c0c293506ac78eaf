"""Spectra of trajectories: infrared absorption and the density of vibrational states."""

from __future__ import annotations

import numpy as np
from ase.units import _c, fs, kB

from skatom._typing import Array, ArrayLike
from skatom._units import INFRARED_INTENSITY

# 1/cm for a frequency of 1/fs
_WAVENUMBER = 1e15 / (100 * _c)
# The window of the correlation is cut where it is exp(-_END² / 2), below rounding.
_END = 8.0


def infrared_spectrum(
    dipoles: ArrayLike, timestep: float, temperature: float, *, resolution: float = 10.0
) -> tuple[Array, Array]:
    r"""Infrared absorption of a molecule, from the dipoles of a trajectory.

    .. math::
        A(\tilde\nu) = \frac{N_A}{12\, \varepsilon_0 c^2 k T}\; 2c \int_{-\infty}^{\infty}
            \big\langle \dot\mu(0) \cdot \dot\mu(t) \big\rangle\, w(t)\,
            \cos(2 \pi c \tilde\nu t)\, \mathrm{d}t

    with a Gaussian window w, which makes of each line a Gaussian with the ``resolution`` as its
    full width at half maximum. The integral over a line is its intensity in km/mol; for harmonic
    vibrations at the temperature T these are the intensities of
    `skatom.vibrations.infrared_intensities`.

    The classical correlation becomes the absorption of quantum oscillators by the harmonic
    correction factor :math:`\beta\hbar\omega / (1 - e^{-\beta\hbar\omega})`, which is within this
    equation [1]_. Differences of the dipoles between frames give the derivatives; what they lack at
    high frequencies is put back, so that vibrations below half of the frequency of the frames have
    their intensity.

    Parameters
    ----------
    dipoles : array-like of float, shape (n_frames, 3) or (n_trajectories, n_frames, 3)
        Dipoles in e·Å at equal times, of one trajectory or of several of the same length. Those of
        charged molecules refer to the centre of mass. In periodic cells they must not jump when
        atoms cross a border.
    timestep : float
        Time from frame to frame in fs.
    temperature : float
        Temperature T in K.
    resolution : float, default=10.0
        Width of a line in 1/cm. Lines are no narrower than 1 / (c t) in trajectories of length t.

    Returns
    -------
    wavenumbers : ndarray of float, shape (n_points,)
        Wavenumbers from 0 to half of the frequency of the frames, in 1/cm.
    absorption : ndarray of float, shape (n_points,)
        Absorption in km/mol per 1/cm.

    Raises
    ------
    ValueError
        If the dipoles have another shape or are not finite, a number is not positive, or the
        trajectory is too short for the resolution.

    See Also
    --------
    vibrational_density_of_states : All vibrations, whether or not they absorb.
    skatom.vibrations.infrared_intensities : Intensities of normal modes.

    References
    ----------
    .. [1] R. Ramírez, T. López-Ciudad, P. Kumar, D. Marx, J. Chem. Phys. 121, 3973 (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.simulation import infrared_spectrum
    >>> times = 0.5 * np.arange(20000)  # fs
    >>> phases = 2 * np.pi * 2.99792e-5 * 1500 * times  # of a vibration of 1500 1/cm
    >>> dipoles = 0.01 * np.cos(phases)[:, None] * [0.0, 0.0, 1.0]
    >>> wavenumbers, absorption = infrared_spectrum(dipoles, 0.5, temperature=300)
    >>> bool(abs(wavenumbers[np.argmax(absorption)] - 1500) < 2)
    True
    """
    dipoles = _trajectories("dipoles", dipoles, 2, "(n_frames, 3)")
    _check(timestep=timestep, temperature=temperature, resolution=resolution)
    slopes = np.diff(dipoles, axis=1) / (timestep * fs)
    wavenumbers, density = _spectral_density(slopes, timestep, resolution)
    # the spectrum of differences is that of derivatives times sin²(x) / x², x half of a phase
    density /= np.sinc(wavenumbers / _WAVENUMBER * timestep) ** 2
    return wavenumbers, INFRARED_INTENSITY / (kB * temperature) * density


def vibrational_density_of_states(
    velocities: ArrayLike,
    masses: ArrayLike,
    timestep: float,
    temperature: float,
    *,
    resolution: float = 10.0,
) -> tuple[Array, Array]:
    r"""Density of the vibrational states of a structure, from the velocities of a trajectory.

    .. math::
        D(\tilde\nu) = \frac{2c}{k T} \int_{-\infty}^{\infty} \sum_i m_i
            \big\langle v_i(0) \cdot v_i(t) \big\rangle\, w(t)\,
            \cos(2 \pi c \tilde\nu t)\, \mathrm{d}t

    with the window w of `infrared_spectrum`. The integral is twice the kinetic energy over k T: the
    number of degrees of freedom.

    Parameters
    ----------
    velocities : array-like of float, shape (n_frames, n_atoms, 3), or several such
        Velocities at equal times in ASE's unit, √(eV/amu), as ``atoms.get_velocities()`` gives
        them, of one trajectory or of several of the same length.
    masses : array-like of float, shape (n_atoms,)
        Masses in amu.
    timestep : float
        Time from frame to frame in fs.
    temperature : float
        Temperature T in K.
    resolution : float, default=10.0
        Width of a line in 1/cm. Lines are no narrower than 1 / (c t) in trajectories of length t.

    Returns
    -------
    wavenumbers : ndarray of float, shape (n_points,)
        Wavenumbers from 0 to half of the frequency of the frames, in 1/cm.
    density : ndarray of float, shape (n_points,)
        States per 1/cm.

    Raises
    ------
    ValueError
        If the velocities have another shape or are not finite, a number is not positive, or the
        trajectory is too short for the resolution.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.units import kB
    >>> from skatom.simulation import vibrational_density_of_states
    >>> times = np.arange(4000)  # fs
    >>> speeds = np.sqrt(2 * kB * 300) * np.cos(2 * np.pi * 2.998e-5 * 500 * times)
    >>> velocities = speeds[:, None, None] * [[1.0, 0.0, 0.0]]
    >>> wavenumbers, density = vibrational_density_of_states(velocities, [1.0], 1.0, 300)
    >>> round(float(wavenumbers[np.argmax(density)]), -1)
    500.0
    >>> round(float(np.trapezoid(density, wavenumbers)), 2)
    1.0
    """
    velocities = _trajectories("velocities", velocities, 3, "(n_frames, n_atoms, 3)")
    _check(timestep=timestep, temperature=temperature, resolution=resolution)
    masses = np.asarray(masses, float)
    if masses.shape != velocities.shape[2:3]:
        raise ValueError(
            f"masses of shape {masses.shape}: give one for each of the {velocities.shape[2]} atoms"
        )
    weighted = np.sqrt(masses)[:, None] * velocities
    weighted = weighted.reshape(*weighted.shape[:2], -1)
    wavenumbers, density = _spectral_density(weighted, timestep, resolution)
    return wavenumbers, density / (kB * temperature)


def _spectral_density(series, timestep, resolution):
    """The one-sided density along wavenumbers whose integral is the mean square of the series.

    Parameters
    ----------
    series : ndarray of float, shape (n_trajectories, n_frames, n_components)
    timestep, resolution : float

    Returns
    -------
    wavenumbers, density : ndarray of float, shape (n_points,)
    """
    n_frames = series.shape[1]
    shortest = _WAVENUMBER / resolution
    if n_frames * timestep < shortest:
        raise ValueError(
            f"resolution={resolution} 1/cm needs trajectories of {shortest:.0f} fs, and these have "
            f"{n_frames * timestep:.0f}: give longer ones, or a resolution of "
            f"{np.ceil(_WAVENUMBER / (n_frames * timestep)):.0f}"
        )
    # standard deviations of a line in 1/fs and, in time, of the window, in steps
    line = resolution / _WAVENUMBER / np.sqrt(8 * np.log(2))
    width = 1 / (2 * np.pi * line * timestep)
    n_lags = min(n_frames, int(np.ceil(_END * width)))
    size = 2 ** int(np.ceil(np.log2(n_frames + n_lags)))
    power = np.zeros(size // 2 + 1)
    for trajectory in series:
        power += np.sum(np.abs(np.fft.rfft(trajectory, size, axis=0)) ** 2, axis=1)
    lags = np.arange(n_lags + 1)
    window = np.exp(-0.5 * (lags / width) ** 2)
    correlation = np.fft.irfft(power, size)[: n_lags + 1] / (len(series) * n_frames) * window
    # an even function of the lag: its cosine transform
    whole = np.concatenate([correlation, correlation[-2:0:-1]])
    density = 2 * timestep / _WAVENUMBER * np.fft.rfft(whole).real
    return _WAVENUMBER * np.fft.rfftfreq(len(whole), timestep), density


def _trajectories(name, values, n_axes, shape):
    """Values as trajectories of finite numbers."""
    values = np.asarray(values, float)
    if values.ndim == n_axes:
        values = values[None]
    if values.ndim != n_axes + 1 or values.shape[-1] != 3 or values.shape[1] < 3:
        raise ValueError(
            f"{name} of shape {values.shape}: give {shape} of a trajectory of three frames or "
            "more, or several of the same length"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite: leave out frames without them, or predict them")
    return values


def _check(**numbers):
    for name, value in numbers.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}={value} must be a positive number")
