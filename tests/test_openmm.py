"""Fitted models in OpenMM, through OpenMM-ML and the calculator."""

import numpy as np
import pytest

from skatom.calculators import SkatomCalculator
from skatom.datasets import load_ethanol
from skatom.models import SGDML

openmm = pytest.importorskip("openmm", reason="OpenMM is not installed")
openmmml = pytest.importorskip("openmmml", reason="OpenMM-ML is not installed")


def test_energies_and_forces_equal_predict_and_energy_is_conserved():
    from openmm import app, unit

    data = load_ethanol()
    model = SGDML(random_state=0).fit(data.structures[:100], data.targets[:100])
    atoms = data.structures[300:301].to_ase()[0]
    topology = app.Topology()
    residue = topology.addResidue("ETH", topology.addChain())
    for symbol in atoms.symbols:
        topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
    potential = openmmml.MLPotential("ase")
    system = potential.createSystem(topology, calculator=SkatomCalculator(model))
    integrator = openmm.VerletIntegrator(0.1 * unit.femtoseconds)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(atoms.positions * unit.angstrom)
    context.setVelocitiesToTemperature(300 * unit.kelvin, 7)

    def state():
        return context.getState(energy=True, forces=True, positions=True)

    def electronvolts(energy):
        joules = energy.value_in_unit(unit.kilojoules_per_mole) * 1000
        return joules / 6.02214076e23 / 1.602176634e-19

    first = state()
    energy, forces = model.predict([atoms], return_forces=True)
    assert electronvolts(first.getPotentialEnergy()) == pytest.approx(energy[0], rel=1e-8)
    found = first.getForces(asNumpy=True).value_in_unit(
        unit.kilojoules_per_mole / unit.angstrom
    ) * electronvolts(1 * unit.kilojoules_per_mole)
    np.testing.assert_allclose(found, forces, atol=1e-7)
    totals = []
    for _ in range(10):
        integrator.step(20)
        now = state()
        totals.append(electronvolts(now.getPotentialEnergy() + now.getKineticEnergy()))
    assert np.ptp(totals) < 1e-4 * len(atoms)
    assert not np.allclose(
        now.getPositions(asNumpy=True).value_in_unit(unit.angstrom), atoms.positions, atol=1e-2
    )
