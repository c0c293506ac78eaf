"""Adaptive sampling: several simulations that are stopped, batches, resumption, bad input."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.calculator import CalculationFailed
from ase.calculators.emt import EMT
from ase.io import read
from ase.md.verlet import VelocityVerlet
from sklearn.pipeline import make_pipeline

from skatom.active import AdaptiveSampling
from skatom.descriptors import MomentTensor
from skatom.models import LinearPotential
from skatom.selection import MaxVol

TENSORS = MomentTensor(cutoff=4.5, level=6)
MODEL = make_pipeline(TENSORS, LinearPotential(alpha=1e-8))
GRADES = MaxVol(TENSORS, rows="atom")


class CountingEMT(EMT):
    """The reference, which may fail at a call."""

    def __init__(self, fails_at=None):
        super().__init__()
        self.labelled, self.fails_at = [], fails_at

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        self.labelled.append(atoms.positions.copy())
        if len(self.labelled) == self.fails_at:
            raise CalculationFailed("no convergence")
        super().calculate(atoms, properties, system_changes)


def dynamics(seed, steps=10, element="Cu"):
    """A simulation with velocities of its own, which returns the last positions."""

    def simulation(calculator):
        atoms = bulk(element, a=3.61, cubic=True)
        atoms.set_velocities(np.random.default_rng(seed).normal(0, 0.03, (4, 3)))
        atoms.calc = calculator
        VelocityVerlet(atoms, 5 * units.fs).run(steps)
        return atoms.positions

    return simulation


def sampling(folder, reference=None, **kwargs):
    start = [bulk("Cu", a=3.61, cubic=True)]
    return AdaptiveSampling(
        MODEL, reference or EMT(), GRADES, folder=folder, initial=start, **kwargs
    )


def test_simulations_end_where_the_reference_ends(tmp_path):
    replicas = [dynamics(seed) for seed in range(3)]
    found = sampling(tmp_path).run(replicas)
    assert found.n_stopped_[0] == 3
    assert found.n_stopped_[-1] == 0
    for replica, positions in zip(replicas, found.results_, strict=True):
        assert np.abs(positions - replica(EMT())).max() < 0.05
    assert "labels, " in found.summary()


def test_a_batch_has_no_more_than_was_asked_for(tmp_path):
    found = sampling(tmp_path, n_labels=1).run([dynamics(seed, steps=4) for seed in range(2)])
    rounds = [frame.info["call"] for frame in found.frames_]
    assert rounds == [0, *range(1, len(rounds))]
    assert len(found.n_stopped_) == len(rounds)


@pytest.mark.thorough
def test_processes_find_what_one_does(tmp_path):
    replicas = [dynamics(seed, steps=5) for seed in range(2)]
    one = sampling(tmp_path / "one").run(replicas)
    two = sampling(tmp_path / "two", n_jobs=2).run(replicas)
    np.testing.assert_allclose(one.results_, two.results_, atol=1e-12)


@pytest.mark.parametrize("fails_at", [3, 4])
def test_a_reference_that_fails_loses_neither_labels_nor_the_batch(tmp_path, fails_at):
    reference = CountingEMT(fails_at)
    replicas = [dynamics(seed) for seed in range(3)]
    with pytest.raises(RuntimeError, match=r"no convergence.*failed\.traj.*same folder"):
        sampling(tmp_path, reference).run(replicas)
    failed = read(tmp_path / "failed.traj")
    again = sampling(tmp_path, reference)
    assert len(again.frames_) == fails_at - 1
    again.run(replicas)
    assert np.allclose(again.frames_[fails_at - 1].positions, failed.positions)
    kept = [tuple(p.ravel()) for k, p in enumerate(reference.labelled, 1) if k != fails_at]
    assert len(set(kept)) == len(kept) == len(again.frames_)
    assert not (tmp_path / "candidates.traj").exists()


def test_a_species_that_is_not_known_is_labelled(tmp_path):
    found = sampling(tmp_path).run([dynamics(0, steps=2), dynamics(0, steps=2, element="Ag")])
    assert found.model_[-1].species_.tolist() == [29, 47]


def test_a_threshold_that_is_never_reached_needs_no_label(tmp_path):
    found = sampling(tmp_path, threshold=np.inf).run([dynamics(0, steps=2)])
    assert found.n_stopped_ == [0]
    assert len(found.frames_) == 1
    assert "no simulation was stopped at threshold=inf: a lower" in found.summary()


def test_a_threshold_that_is_always_exceeded_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="labelled already, .* raise the threshold"):
        sampling(tmp_path, threshold=0.0).run([dynamics(0)])


def test_limits_are_told(tmp_path):
    with pytest.raises(RuntimeError, match="after 2 rounds 1 of 1 simulations are still stopped"):
        sampling(tmp_path).run([dynamics(0)], max_rounds=2)
    assert len(sampling(tmp_path).frames_) == 3
    with pytest.raises(RuntimeError, match="max_labels=3 are used up"):
        sampling(tmp_path, max_labels=3).run([dynamics(0)])


def test_errors_of_simulations_are_their_own(tmp_path):
    def broken(calculator):
        raise ZeroDivisionError("my own")

    with pytest.raises(ZeroDivisionError, match="my own"):
        sampling(tmp_path).run([broken])


def test_bad_input_is_told(tmp_path):
    with pytest.raises(ValueError, match="no label to begin with: give some structures"):
        AdaptiveSampling(MODEL, EMT(), GRADES, folder=tmp_path)
    with pytest.raises(ValueError, match="n_labels=0: label at least 1"):
        sampling(tmp_path, n_labels=0)
    with pytest.raises(ValueError, match="there are no simulations"):
        sampling(tmp_path).run([])
