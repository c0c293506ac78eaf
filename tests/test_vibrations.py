"""Normal modes and infrared intensities."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.optimize import BFGS
from ase.vibrations import Infrared, VibrationsData
from sklearn.pipeline import make_pipeline

from skatom import Targets
from skatom.calculators import SkatomCalculator
from skatom.descriptors import FCHL19, LambdaSOAP
from skatom.kernels import Gaussian
from skatom.models import SGDML, ForceKernelRidge, TensorKernelRidge
from skatom.vibrations import infrared_intensities, normal_modes


class ChargedSprings:
    """Two charges on a harmonic spring of unit length, as a model with energy, forces, dipole."""

    def __init__(self, stiffness, charges):
        self.stiffness = stiffness
        self.charges = np.array(charges)

    def predict(self, X, return_forces=False, return_dipole=False):
        positions = X.positions.reshape(len(X), 2, 3)
        bond = positions[:, 1] - positions[:, 0]
        length = np.linalg.norm(bond, axis=1)
        answer = [0.5 * self.stiffness * (length - 1) ** 2]
        pull = (self.stiffness * (length - 1) / length)[:, None] * bond
        if return_forces:
            answer.append(np.stack([pull, -pull], axis=1).reshape(-1, 3))
        if return_dipole:
            answer.append(np.einsum("a,nax->nx", self.charges, positions))
        return answer[0] if len(answer) == 1 else tuple(answer)


def test_diatomic_is_the_harmonic_oscillator():
    model = ChargedSprings(stiffness=30.0, charges=(0.3, -0.3))
    atoms = Atoms("HF", [[0, 0, 0], [0, 0, 1.0]])
    vibrations = normal_modes(model, atoms)
    reduced = np.prod(atoms.get_masses()) / atoms.get_masses().sum()
    omega = np.sqrt(30.0 * units._e / units._amu / reduced) * 1e10
    expected = omega / (2 * np.pi * units._c * 100)
    np.testing.assert_allclose(vibrations.wavenumbers, [expected], rtol=1e-6)
    slope = 0.3 / np.sqrt(reduced) / units.Debye
    intensity = infrared_intensities(model, vibrations)
    np.testing.assert_allclose(intensity, [42.2561 * slope**2], rtol=1e-6)


@pytest.fixture(scope="module")
def relaxed_water(water):
    structures, targets = water
    model = SGDML(random_state=0).fit(structures[:20], targets[:20])
    atoms = molecule("H2O")
    atoms.calc = SkatomCalculator(model)
    BFGS(atoms, logfile=None).run(fmax=1e-5)
    return model, atoms


def test_modes_agree_with_ase(relaxed_water):
    model, atoms = relaxed_water
    ours = normal_modes(model, atoms)
    theirs = VibrationsData.from_2d(atoms, model.hessian([atoms])[0]).get_frequencies()
    np.testing.assert_allclose(ours.wavenumbers, theirs[-3:].real, rtol=1e-6)


def test_differences_of_forces_equal_the_models_own_hessian(relaxed_water):
    model, atoms = relaxed_water

    class WithoutHessian:
        def predict(self, X, return_forces=False):
            return model.predict(X, return_forces=return_forces)

    exact, differences = normal_modes(model, atoms), normal_modes(WithoutHessian(), atoms)
    np.testing.assert_allclose(differences.hessian, exact.hessian, atol=2e-3)


def test_modes_are_orthonormal_and_free_of_rigid_motions(relaxed_water):
    model, atoms = relaxed_water
    vibrations = normal_modes(model, atoms)
    masses = atoms.get_masses()
    weighted = (np.sqrt(masses)[:, None] * vibrations.modes).reshape(3, 9)
    np.testing.assert_allclose(weighted @ weighted.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.einsum("a,kax->kx", masses, vibrations.modes), 0, atol=1e-12)
    spin = np.cross(atoms.positions - atoms.get_center_of_mass(), vibrations.modes)
    np.testing.assert_allclose(np.einsum("a,kax->kx", masses, spin), 0, atol=1e-10)


@pytest.mark.parametrize(
    ("atoms", "n_modes"),
    [(molecule("CO2"), 4), (molecule("H2O"), 3), (bulk("C", "diamond", a=3.57), 3)],
    ids=["linear", "bent", "crystal"],
)
def test_number_of_modes(atoms, n_modes):
    targets = Targets(energy=[0.0], forces=np.zeros((1, len(atoms), 3)))
    features = FCHL19(n_r2=6, n_r3=5, cutoff=4.0)
    model = make_pipeline(features, ForceKernelRidge(Gaussian(2.0))).fit([atoms], targets)
    assert len(normal_modes(model, atoms).wavenumbers) == n_modes


@pytest.fixture(scope="module")
def dipole_model(water):
    """A model of dipoles of charges that change with the surroundings."""
    structures = water[0]
    dipoles = []
    for atoms in structures.to_ase():
        bonds = atoms.positions[1:] - atoms.positions[0]
        dipoles.append(0.4 * np.exp(-np.sum(bonds**2, axis=1)) @ bonds + 0.2 * bonds.sum(axis=0))
    soap = LambdaSOAP(cutoff=3.0, n_max=4, l_max=3)
    return make_pipeline(soap, TensorKernelRidge("dipole", alpha=1e-6)).fit(structures, dipoles)


def test_intensities_are_slopes_of_the_dipole_along_the_modes(relaxed_water, dipole_model):
    """Cartesian derivatives of the dipole, contracted with the mass-weighted modes."""
    model, atoms = relaxed_water
    vibrations, step = normal_modes(model, atoms), 1e-3
    derivatives = np.empty((3, 3, 3))  # atom, axis, component of the dipole
    for a in range(3):
        for x in range(3):
            ends = [atoms.copy(), atoms.copy()]
            ends[0].positions[a, x] += step
            ends[1].positions[a, x] -= step
            plus, minus = dipole_model.predict(ends)
            derivatives[a, x] = (plus - minus) / (2 * step)
    masses = atoms.get_masses()
    modes = np.sqrt(masses)[:, None] * vibrations.modes
    slopes = np.einsum("axc,kax,a->kc", derivatives, modes, 1 / np.sqrt(masses)) / units.Debye
    expected = 42.2561 * np.sum(slopes**2, axis=1)
    found = infrared_intensities(dipole_model, vibrations, step=step)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found.max() > 10.0


def test_intensities_agree_with_ase(relaxed_water, dipole_model, tmp_path):
    """One calculator of a force field and a model of dipoles, as ASE's infrared spectra need it."""
    model, atoms = relaxed_water
    ours = normal_modes(model, atoms)
    both = atoms.copy()
    both.calc = SkatomCalculator(model, dipole_model)
    theirs = Infrared(both, name=str(tmp_path / "ir"), delta=0.005)
    theirs.run()
    np.testing.assert_allclose(ours.wavenumbers, theirs.get_frequencies()[-3:].real, rtol=1e-3)
    # in (D/Å)²/amu
    expected = 42.2561 * theirs.intensities[-3:]
    np.testing.assert_allclose(infrared_intensities(dipole_model, ours), expected, rtol=1e-2)


def test_bad_input(relaxed_water):
    model, atoms = relaxed_water
    with pytest.raises(ValueError, match="a single atom does not vibrate"):
        normal_modes(model, Atoms("H"))
    with pytest.raises(ValueError, match="but no dipole"):
        infrared_intensities(model, normal_modes(model, atoms))
