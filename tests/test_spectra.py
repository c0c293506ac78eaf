"""Spectra of trajectories: lines of known oscillators, in their places and with their intensity."""

import numpy as np
import pytest
from ase import Atoms, units

from skatom.simulation import infrared_spectrum, vibrational_density_of_states
from skatom.vibrations import infrared_intensities, normal_modes

# 1/fs for 1/cm
LIGHT = units._c * 100 * 1e-15
KM_PER_MOL = 974.8801  # for 1 e²/amu


def wave(wavenumber, times, phase=0.3):
    return np.cos(2 * np.pi * LIGHT * wavenumber * times + phase)


def area(x, y, low=-np.inf, high=np.inf):
    inside = (x >= low) & (x <= high)
    return np.trapezoid(y[inside], x[inside])


@pytest.mark.parametrize("timestep", [0.5, 2.0, 4.0])
def test_a_vibration_is_a_line_of_its_intensity_whatever_the_time_between_frames(timestep):
    times = timestep * np.arange(int(40000 / timestep))
    dipoles = 0.02 * wave(1500, times)[:, None] * [0.6, 0.0, 0.8]
    x, y = infrared_spectrum(dipoles, timestep, 300, resolution=8)
    assert x[np.argmax(y)] == pytest.approx(1500, abs=x[1])
    omega = 2 * np.pi * LIGHT * 1500 / units.fs
    expected = KM_PER_MOL * 0.5 * (0.02 * omega) ** 2 / (units.kB * 300)
    assert area(x, y) == pytest.approx(expected, rel=2e-3)
    half = x[y > 0.5 * y.max()]
    assert half[-1] - half[0] == pytest.approx(8, abs=2 * x[1])
    assert x[-1] == pytest.approx(0.5 / timestep / LIGHT, rel=1e-12)


def test_intensities_grow_with_the_squares_of_frequency_and_amplitude():
    times = 0.5 * np.arange(60000)
    dipoles = np.zeros((60000, 3))
    dipoles[:, 0] = wave(1000, times) + 5.0  # a permanent dipole does not absorb
    dipoles[:, 1] = 2 * wave(3000, times, 1.0)
    x, y = infrared_spectrum(dipoles, 0.5, 300)
    low, high = area(x, y, 900, 1100), area(x, y, 2900, 3100)
    assert high / low == pytest.approx(4 * 9, rel=5e-3)
    assert area(x, y) == pytest.approx(low + high, rel=5e-3)


def test_the_whole_spectrum_is_the_mean_square_of_the_dipole_s_rate():
    rng = np.random.default_rng(0)
    times = np.arange(20000)
    phases, lines = rng.uniform(0, 6, (5, 3)), rng.uniform(300, 3500, 5)
    dipoles = sum(wave(v, times[:, None], p) for v, p in zip(lines, phases, strict=True))
    x, y = infrared_spectrum(dipoles, 1.0, 500)
    squares = 1.5 * np.sum((2 * np.pi * LIGHT * lines / units.fs) ** 2)
    assert area(x, y) == pytest.approx(KM_PER_MOL * squares / (units.kB * 500), rel=1e-2)
    assert y.min() > -1e-6 * y.max()


def test_several_trajectories_are_averaged_and_orientation_does_not_matter():
    times = np.arange(8000)
    first = wave(700, times)[:, None] * [1.0, 0.0, 0.0]
    second = 3 * wave(700, times)[:, None] * [0.0, 0.0, 1.0]
    spectra = [infrared_spectrum(d, 1.0, 300)[1] for d in (first, second, [first, second])]
    np.testing.assert_allclose(spectra[2], 0.5 * (spectra[0] + spectra[1]), atol=1e-10)


CHARGES = np.array([-0.8, 0.4, 0.4])


def springs(positions):
    """Energies and forces of springs between the three atoms of structures."""
    energy, forces = np.zeros(len(positions)), np.zeros(positions.shape)
    for i, j, length, k in ((0, 1, 0.96, 50.0), (0, 2, 0.96, 50.0), (1, 2, 1.52, 12.0)):
        bond = positions[:, j] - positions[:, i]
        r = np.sqrt(np.sum(bond**2, axis=1))
        energy += 0.5 * k * (r - length) ** 2
        pull = (k * (r - length) / r)[:, None] * bond
        forces[:, i] += pull
        forces[:, j] -= pull
    return energy, forces


class Water:
    """Springs and charges, as a model with energy, forces, dipole."""

    def predict(self, X, return_forces=False, return_dipole=False):
        positions = X.positions.reshape(len(X), 3, 3)
        energy, forces = springs(positions)
        answer = [energy, forces.reshape(-1, 3)][: 1 + return_forces]
        if return_dipole:
            answer.append(np.einsum("a,nax->nx", CHARGES, positions))
        return answer[0] if len(answer) == 1 else tuple(answer)


@pytest.fixture(scope="module")
def water():
    high = np.sqrt(0.96**2 - 0.76**2)  # no spring is strained
    atoms = Atoms("OHH", [[0, 0, 0], [0, 0.76, -high], [0, -0.76, -high]])
    return Water(), normal_modes(Water(), atoms)


def test_harmonic_motion_has_the_lines_of_the_normal_modes(water):
    """Every mode with the energy k T: positions along straight normal coordinates."""
    model, vibrations = water
    times, temperature = np.arange(30000) * 0.5, 200.0
    omega = 2 * np.pi * LIGHT * vibrations.wavenumbers / units.fs
    amplitudes = np.sqrt(2 * units.kB * temperature) / omega
    waves = [a * wave(v, times, k) for k, (a, v) in
             enumerate(zip(amplitudes, vibrations.wavenumbers, strict=True))]  # fmt: skip
    moved = vibrations.atoms.positions + np.einsum("kt,kax->tax", waves, vibrations.modes)
    dipoles = np.einsum("a,tax->tx", CHARGES, moved)
    x, y = infrared_spectrum(dipoles, 0.5, temperature)
    expected = infrared_intensities(model, vibrations)
    assert expected.max() > 50
    for v, intensity in zip(vibrations.wavenumbers, expected, strict=True):
        assert area(x, y, v - 40, v + 40) == pytest.approx(intensity, rel=1e-2)


def test_cold_dynamics_vibrates_at_the_normal_modes(water):
    """Velocity Verlet of a model's forces at 1 K, from each mode's own velocity."""
    _, vibrations = water
    masses, step, n = vibrations.atoms.get_masses()[:, None], 0.5 * units.fs, 8000
    speeds = np.sqrt(units.kB * 1.0) * np.array([1.0, -1.0, 1.0])
    velocities = np.einsum("k,kax->ax", speeds, vibrations.modes)
    positions = vibrations.atoms.positions.copy()
    found, dipoles, force = np.empty((n, 3, 3)), np.empty((n, 3)), np.zeros((3, 3))
    for k in range(n):
        velocities += 0.5 * step * force / masses
        positions += step * velocities
        force = springs(positions[None])[1][0]
        velocities += 0.5 * step * force / masses
        found[k], dipoles[k] = velocities, CHARGES @ positions
    temperature = np.mean(np.sum(masses * found**2, axis=(1, 2))) / (3 * units.kB)
    x, states = vibrational_density_of_states(found, masses[:, 0], 0.5, temperature)
    y, absorption = infrared_spectrum(dipoles, 0.5, temperature)
    assert area(x, states) == pytest.approx(3, rel=1e-2)
    # where steps of this length have the lines of a harmonic oscillator
    half = np.pi * LIGHT * 0.5
    for v in np.arcsin(half * vibrations.wavenumbers) / half:
        for at, curve in ((x, states), (y, absorption)):
            near = np.abs(at - v) < 40
            assert at[near][np.argmax(curve[near])] == pytest.approx(v, abs=3)
        assert area(x, states, v - 60, v + 60) == pytest.approx(1, abs=0.05)


def test_bad_input():
    dipoles = np.zeros((1000, 3))
    with pytest.raises(
        ValueError, match=r"needs trajectories of 3336 fs, and these have 999: .*34"
    ):
        infrared_spectrum(dipoles, 1.0, 300)
    with pytest.raises(ValueError, match="timestep=0 must be a positive number"):
        infrared_spectrum(dipoles, 0, 300)
    with pytest.raises(ValueError, match=r"dipoles of shape \(1000,\): give"):
        infrared_spectrum(dipoles[:, 0], 1.0, 300)
    with pytest.raises(ValueError, match="dipoles must be finite"):
        infrared_spectrum(np.full((9, 3), np.nan), 1.0, 300)
    with pytest.raises(ValueError, match="give one for each of the 2 atoms"):
        vibrational_density_of_states(np.zeros((9, 2, 3)), [1.0], 1.0, 300)
