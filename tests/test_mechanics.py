"""Bulk moduli, barriers and supercells of models and of ASE's calculators."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from pair_model import binding_pair_potential

from skatom import Structures, Targets
from skatom.calculators import SkatomCalculator
from skatom.datasets import load_boron_nitride
from skatom.mechanics import barrier, bulk_modulus, tile


@pytest.mark.parametrize("equation", ["birchmurnaghan", "vinet", "sj"])
def test_bulk_modulus_is_the_curvature_at_the_lowest_energy(equation):
    found = bulk_modulus(EMT(), bulk("Cu", a=3.6), equation=equation)

    def energy(volume):
        atoms = bulk("Cu", a=(4 * volume) ** (1 / 3))
        atoms.calc = EMT()
        return atoms.get_potential_energy()

    h = 1e-3 * found.volume
    below, middle, above = (energy(found.volume + k * h) for k in (-1, 0, 1))
    curvature = (below - 2 * middle + above) / h**2
    assert found.value == pytest.approx(found.volume * curvature * 160.21766, rel=0.01)
    assert found.energy == pytest.approx(middle, abs=1e-5)
    assert middle < below
    assert middle < above
    assert len(found.volumes) == len(found.energies) == 9


def test_models_and_their_calculators_have_the_same_bulk_modulus():
    model, atoms = binding_pair_potential(), bulk("Ar", a=2.45)
    found = bulk_modulus(model, atoms)
    again = bulk_modulus(SkatomCalculator(model), atoms * (2, 1, 1))
    assert found.value > 10
    assert again.value == pytest.approx(found.value, rel=1e-6)
    assert again.volume == pytest.approx(2 * found.volume, rel=1e-6)


def passing(z):
    """An atom above or below the middle of three others."""
    angles = np.radians([0, 120, 240])
    base = 1.1 * np.column_stack([np.cos(angles), np.sin(angles), 0 * angles])
    return Atoms("Ar4", [*base, [0, 0, z]])


def test_barrier_of_an_atom_that_passes_between_three_is_that_of_the_flat_star():
    """In the plane the slope is zero by symmetry, so the energy of the saddle is known."""
    model = binding_pair_potential()
    ends = passing(-1.4), passing(1.4)
    path = barrier(model, *ends, n_images=5, fmax=0.002)
    assert path.converged
    assert path.forward == pytest.approx(path.backward, abs=1e-4)
    stars = [passing(0.0) for _ in range(401)]
    for star, scale in zip(stars, np.linspace(1.2, 2.0, 401), strict=True):
        star.positions *= scale
    assert path.energies.max() == pytest.approx(model.predict(stars).min(), abs=1e-3)
    assert np.linalg.matrix_rank(np.diff(path.images[2].positions, axis=0), tol=0.02) == 2
    assert path.forward > 0.05
    np.testing.assert_array_equal(ends[0].positions, passing(-1.4).positions)


def test_a_band_that_is_not_converged_is_a_warning():
    with pytest.warns(UserWarning, match="not converged to fmax=1e-05 eV/Å in 2 steps"):
        path = barrier(MorsePotential(), passing(-1.0), passing(1.0), 3, 1e-5, max_steps=2)
    assert not path.converged
    assert path.forward == path.energies.max() - path.energies[0]


def test_supercells_have_the_labels_of_their_cells():
    data = load_boron_nitride()
    structures, targets = data.structures[:2], data.targets[:2]
    tiled, labels = tile(structures, targets, (2, 1, 2))
    assert isinstance(tiled, Structures)
    np.testing.assert_array_equal(labels.energy, 4 * targets.energy)
    np.testing.assert_array_equal(labels.stress, targets.stress)
    for atoms, again, forces in zip(
        structures.to_ase(), tiled.to_ase(), labels.forces.reshape(2, 4, 64, 3), strict=True
    ):
        assert again.get_volume() == pytest.approx(4 * atoms.get_volume())
        np.testing.assert_array_equal(again.numbers, np.tile(atoms.numbers, 4))
        np.testing.assert_array_equal(forces, np.tile(forces[0], (4, 1, 1)))
    np.testing.assert_array_equal(labels.forces[:64], targets.forces[:64])
    assert len(tile(structures[:1]).numbers) == 128


def test_a_sum_over_atoms_has_the_energies_forces_and_stress_of_supercells():
    model, atoms = binding_pair_potential(), bulk("Ar", a=2.5) * (2, 1, 1)
    atoms.rattle(0.05, seed=0)
    energy, forces, stress = model.predict([atoms], return_forces=True, return_stress=True)
    tiled, labels = tile([atoms], Targets(energy, forces, stress, offsets=[0, 2]), (1, 2, 2))
    found = model.predict(tiled, return_forces=True, return_stress=True)
    for a, b in zip(found, (labels.energy, labels.forces, labels.stress), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_bad_input_is_refused():
    model, crystal = binding_pair_potential(), bulk("Ar", a=2.45)
    with pytest.raises(ValueError, match="periodic in three directions: set pbc=True"):
        bulk_modulus(model, passing(0.5))
    with pytest.raises(ValueError, match="no minimum between .* relax the cell first"):
        bulk_modulus(model, bulk("Ar", a=2.9))
    with pytest.raises(ValueError, match="n_points=3 and strain=0.03 must be at least 5"):
        bulk_modulus(model, crystal, n_points=3)
    with pytest.raises(ValueError, match="n_images=2 must be 3 or more"):
        barrier(model, passing(-1), passing(1), n_images=2)
    with pytest.raises(ValueError, match="atoms Ar4 and Ar2: give the same atoms"):
        barrier(model, passing(-1), passing(1)[:2])
    with pytest.raises(ValueError, match="structure 1 is not periodic along a direction"):
        tile([crystal, passing(0.5)])
    with pytest.raises(ValueError, match=r"repeats=\[2, 0, 1\] must be three integers"):
        tile([crystal], repeats=(2, 0, 1))
    dipole = Targets(energy=[1.0], dipole=np.zeros((1, 3)))
    with pytest.raises(ValueError, match="labels of dipole cannot be repeated"):
        tile([crystal], dipole)
