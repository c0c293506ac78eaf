"""Errors on published data. `python -m benchmarks sgdml` prints more of them."""

import numpy as np
import pytest

from skatom.datasets import read
from skatom.metrics import energy_mae, force_mae
from skatom.model_selection import energy_stratified_sample
from skatom.models import GDML, SGDML

KCAL = 23.060548  # kcal/mol in an eV


def errors(model, train, test):
    """Mean absolute errors of energies (eV) and force components (eV/Å)."""
    model.fit(*train)
    energies, forces = model.predict(test[0], return_forces=True)
    return energy_mae(test[1], energies), force_mae(test[1], forces)


@pytest.fixture
def rmd17_ethanol(reference_data):
    """Training and test frames of the revised MD17 ethanol."""
    files = [
        reference_data / "molecules" / f"rmd17_ethanol_{part}.npz" for part in ("train", "test")
    ]
    return [(data.structures, data.targets) for data in map(read, files)]


@pytest.mark.thorough
def test_symmetry_is_worth_frames(rmd17_ethanol):
    (X, y), test = rmd17_ethanol
    train = X[:150], y[:150]
    with_symmetry = errors(SGDML(), train, test)
    without = errors(GDML(), train, test)
    # Chmiela 2018: ethanol's errors fall by 53 % (energies) and 58 % (forces) at 1000 frames
    assert with_symmetry[0] < 0.65 * without[0]
    assert with_symmetry[1] < 0.65 * without[1]


@pytest.mark.slow
def test_rmd17_ethanol(rmd17_ethanol):
    energy, force = errors(SGDML(sigma=10.0), *rmd17_ethanol)
    # Kovács et al., J. Chem. Theory Comput. 17, 7696 (2021): sGDML 2.4 meV and 16.0 meV/Å
    assert 1e3 * energy <= 2.4
    assert 1e3 * force <= 16.0


@pytest.mark.slow
def test_md17_ethanol(reference_data):
    data = read(reference_data / "molecules" / "md17_ethanol.npz")
    train = energy_stratified_sample(data.targets, 1000, random_state=0)
    test = np.setdiff1d(np.arange(2000), train)
    energy, force = errors(
        SGDML(sigma=10.0),
        (data.structures[train], data.targets[train]),
        (data.structures[test], data.targets[test]),
    )
    # Published: 0.07 kcal/mol and 0.33 kcal/mol/Å (Chmiela 2018), from a larger pool of frames.
    # With the 2000 frames at hand, 0.073 and 0.34 are reached.
    assert KCAL * energy <= 0.075
    assert KCAL * force <= 0.345
