"""Fitted models in i-PI."""

import joblib
import numpy as np
import pytest
from ase import units
from sklearn.pipeline import make_pipeline
from sparse_systems import labels, salt

from skatom.datasets import load_ethanol
from skatom.descriptors import SOAP
from skatom.ipi import ModelDriver, driver_path
from skatom.kernels import Cosine
from skatom.models import SGDML, SparseGaussianProcess

pytest.importorskip("ipi", reason="i-PI is not installed")

INPUT = """
<simulation verbosity="quiet">
  <output prefix="run">
    <properties stride="5" filename="out"> [ step, conserved, potential ] </properties>
  </output>
  <total_steps> 100 </total_steps>
  <prng> <seed> 12 </seed> </prng>
  <ffdirect name="model">
    <pes> custom </pes>
    <pes_path> {path} </pes_path>
    <parameters> {{model: ethanol.joblib, template: ethanol.xyz}} </parameters>
    <batch_size> 4 </batch_size>
  </ffdirect>
  <system>
    <initialize nbeads="4">
      <file mode="ase"> ethanol.xyz </file>
      <velocities mode="thermal" units="kelvin"> 300 </velocities>
    </initialize>
    <forces> <force forcefield="model"/> </forces>
    <ensemble> <temperature units="kelvin"> 300 </temperature> </ensemble>
    <motion mode="dynamics">
      <dynamics mode="nve"> <timestep units="femtosecond"> 0.1 </timestep> </dynamics>
    </motion>
  </system>
</simulation>
"""


@pytest.fixture
def ethanol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = load_ethanol()
    model = SGDML(random_state=0).fit(data.structures[:100], data.targets[:100])
    joblib.dump(model, "ethanol.joblib")
    atoms = data.structures[300:301].to_ase()[0]
    atoms.set_cell([30, 30, 30])
    atoms.write("ethanol.xyz")
    return model, atoms


@pytest.fixture
def crystal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    structures = salt(6)
    model = make_pipeline(
        SOAP(cutoff=3.5, n_max=3, l_max=2), SparseGaussianProcess(Cosine(zeta=2), n_sparse=12)
    ).fit(structures, labels(structures))
    joblib.dump(model, "salt.joblib")
    atoms = salt(1, seed=5).to_ase()[0]
    atoms.write("salt.xyz")
    return model, atoms


def test_a_batch_has_the_energies_forces_and_virials_of_predict(crystal):
    from ipi.utils.units import unit_to_user

    bohr, hartree = unit_to_user("length", "angstrom", 1), unit_to_user("energy", "electronvolt", 1)
    model, atoms = crystal
    driver = ModelDriver("salt.joblib", "salt.xyz", verbosity="low")
    images = [atoms.copy() for _ in range(3)]
    for k, image in enumerate(images):
        image.set_cell((1 + 0.01 * k) * atoms.cell, scale_atoms=True)
        image.rattle(0.02, seed=k)
    energy, forces, stress = model.predict(images, return_forces=True, return_stress=True)
    cells = [image.cell.array.T / bohr for image in images]
    positions = [image.positions / bohr for image in images]
    for k, (e, f, w, extra) in enumerate(driver(cells, positions)):
        assert e * hartree == pytest.approx(energy[k], rel=1e-10)
        expected = forces[4 * k : 4 * k + 4]
        np.testing.assert_allclose(f * hartree / bohr, expected, atol=1e-8)
        expected = -stress[k] * images[k].get_volume()
        np.testing.assert_allclose(w * hartree, expected, atol=1e-8)
        assert extra == ""
    alone = driver(cells[1], positions[1])
    assert alone[0] * hartree == pytest.approx(energy[1], rel=1e-10)


def test_beads_conserve_their_energy(ethanol):
    from ipi.engine.simulation import Simulation

    simulation = Simulation.load_from_xml(INPUT.format(path=driver_path()))
    simulation.run()
    table = np.loadtxt("run.out")
    assert len(table) >= 20
    conserved = table[:, 1] * units.Hartree
    assert np.ptp(conserved) < 1e-4 * 9 * 4
    assert np.ptp(table[:, 2]) * units.Hartree > 0.01


def test_another_number_of_atoms_is_an_error_with_the_remedy(ethanol):
    driver = ModelDriver("ethanol.joblib", "ethanol.xyz")
    with pytest.raises(ValueError, match=r"i-PI has 8 atoms, but the template .* has 9: give"):
        driver(np.eye(3), np.zeros((8, 3)))
