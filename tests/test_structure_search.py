"""Searches of crystal structures: random starts, minima of the reference, what is left out."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from sklearn.pipeline import make_pipeline

from skatom.active import AdaptiveSampling, find_minima, random_crystals
from skatom.descriptors import MomentTensor
from skatom.models import LinearPotential
from skatom.selection import MaxVol
from skatom.simulation import relax

TENSORS = MomentTensor(cutoff=5.0, level=8)


def search(starts, folder, **kwargs):
    sampling = AdaptiveSampling(
        make_pipeline(TENSORS, LinearPotential(alpha=1e-8)), EMT(), MaxVol(TENSORS, rows="atom"),
        threshold=5.0, folder=folder, initial=starts,
    )  # fmt: skip
    return sampling, find_minima(sampling, starts, **kwargs)


def test_random_crystals_keep_their_distances_and_volume():
    crystals = random_crystals("Cu3Au", 5, volume=14.0, min_distance=2.1, seed=1)
    for atoms in crystals:
        supercell = atoms * 3
        distances = supercell.get_all_distances(mic=True)
        assert distances[np.triu_indices(len(supercell), 1)].min() >= 2.1 - 1e-9
        assert atoms.get_volume() == pytest.approx(56.0)
        assert atoms.cell.angles() == pytest.approx(90, abs=30.001)
        assert atoms.symbols.formula.count() == {"Cu": 3, "Au": 1}
    again = random_crystals("Cu3Au", 5, volume=14.0, min_distance=2.1, seed=1)
    assert all(a == b for a, b in zip(crystals, again, strict=True))
    assert len({atoms.positions.tobytes() for atoms in crystals}) == 5


def test_crystals_without_room_are_told():
    with pytest.raises(ValueError, match="4 atoms at least 9 Å apart find no room in 40 Å³"):
        random_crystals("Cu4", 1, volume=10.0, min_distance=9.0)
    with pytest.raises(ValueError, match="n=0.*must be positive"):
        random_crystals("Cu4", 0, volume=10.0, min_distance=2.0)


def test_minima_are_those_of_the_reference(tmp_path):
    starts = [bulk("Cu", a=3.5), bulk("Cu", "hcp", a=2.6, c=4.3)]
    sampling, minima = search(starts, tmp_path)
    assert sampling.n_stopped_[0] > sampling.n_stopped_[-1] == 0
    assert [atoms.info["starts"] for atoms in minima] == [[1], [0]]
    energies = [atoms.get_potential_energy() / len(atoms) for atoms in minima]
    assert energies == sorted(energies)
    for atoms, energy in zip(minima, energies, strict=True):
        true = relax(EMT(), atoms, cell=True).atoms.get_potential_energy() / len(atoms)
        assert true == pytest.approx(energy, abs=2e-3)


def test_equal_minima_are_one_and_others_are_not(tmp_path):
    starts = [bulk("Cu", a=3.5), bulk("Cu", a=3.55, cubic=True), bulk("Cu", "bcc", a=2.9)]
    _, minima = search(starts, tmp_path)
    assert [atoms.info["starts"] for atoms in minima] == [[0, 1], [2]]


def test_relaxations_that_do_not_end_are_told(tmp_path):
    starts = [bulk("Cu", a=3.4)]
    with pytest.warns(UserWarning, match="1 of 1 relaxations .* max_steps=1, .* starts 0"):
        _, minima = search(starts, tmp_path, max_steps=1, fmax=1e-6)
    assert minima == []
