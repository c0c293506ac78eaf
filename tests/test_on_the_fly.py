"""Learning on the fly: labels, resumption, failing references, unknown species."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.calculator import CalculationFailed
from ase.calculators.emt import EMT
from ase.io import read
from ase.md.verlet import VelocityVerlet
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from skatom.active import LearningOnTheFly
from skatom.descriptors import MomentTensor
from skatom.models import Committee, LinearPotential
from skatom.selection import MaxVol, NearestDistance
from skatom.simulation import molecular_dynamics

TENSORS = MomentTensor(cutoff=4.5, level=8)
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


def copper(seed=0):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=seed)
    atoms.set_velocities(np.random.default_rng(seed).normal(0, 0.03, (4, 3)))
    return atoms


def moved(atoms, steps):
    VelocityVerlet(atoms, 4 * units.fs).run(steps)
    return atoms


def test_dynamics_follow_the_reference_with_few_labels(tmp_path):
    reference = CountingEMT()
    ours = copper()
    ours.calc = LearningOnTheFly(MODEL, reference, GRADES, folder=tmp_path)
    moved(ours, 60)
    theirs = copper()
    theirs.calc = EMT()
    moved(theirs, 60)
    assert len(reference.labelled) == len(ours.calc.frames_) <= 20
    assert ours.calc.n_calls_ == 61
    assert np.abs(ours.positions - theirs.positions).max() < 0.1
    calls = [frame.info["call"] for frame in ours.calc.frames_]
    assert np.median(calls) < 20  # fewer and fewer
    assert "labels, 61 structures judged" in ours.calc.summary()


def test_labels_are_those_of_the_reference_and_say_why(tmp_path):
    atoms = copper()
    atoms.calc = LearningOnTheFly(MODEL, EMT(), GRADES, folder=tmp_path)
    moved(atoms, 20)
    frames = read(tmp_path / "labels.traj", ":")
    assert len(frames) == len(atoms.calc.frames_)
    assert np.isinf(frames[0].info["score"])
    assert all(frame.info["score"] > 2 for frame in frames)
    calls = [frame.info["call"] for frame in frames]
    assert calls == sorted(calls)
    for frame in frames:
        again = frame.copy()
        again.calc = EMT()
        np.testing.assert_allclose(frame.get_forces(), again.get_forces(), atol=1e-12)
        assert frame.get_potential_energy() == pytest.approx(again.get_potential_energy())


@pytest.mark.parametrize("update", ["fit", "partial_fit"])
def test_the_same_folder_gives_the_same_model(tmp_path, update):
    fitted = TENSORS.fit([copper()])  # what it learns of distances is the same in all fits
    model = make_pipeline(FrozenEstimator(fitted), LinearPotential(alpha=1e-8))
    measure = MaxVol(fitted, rows="atom")
    atoms = copper()
    atoms.calc = LearningOnTheFly(model, EMT(), measure, folder=tmp_path, update=update)
    moved(atoms, 30)
    again = LearningOnTheFly(model, EMT(), measure, folder=tmp_path)
    assert len(again.frames_) == len(atoms.calc.frames_) > 1
    np.testing.assert_allclose(again.model_[-1].coef_, atoms.calc.model_[-1].coef_, rtol=1e-6)


def test_dynamics_go_on_with_a_model_that_has_learnt_meanwhile(tmp_path):
    def run(steps, reference=None):
        calculator = LearningOnTheFly(MODEL, reference or EMT(), GRADES, folder=tmp_path)
        file = tmp_path / "steps.traj"
        return molecular_dynamics(
            calculator, copper(), steps, timestep=5.0, interval=2, trajectory=file, resume=True
        )

    with pytest.raises(RuntimeError, match="reference failed"):
        run(4, CountingEMT(fails_at=2))  # after the first frame
    first = run(4)
    assert first.steps.tolist() == [0, 2, 4]
    calculator = first.atoms.calc
    n_labels = len(calculator.frames_)
    later = copper()
    later.rattle(0.4, seed=1)
    calculator.calculate(later)
    assert len(calculator.frames_) > n_labels
    assert run(6).steps.tolist() == [0, 2, 4, 6]


def test_the_same_warning_of_many_fits_is_given_once(tmp_path):
    class Reversed(EMT):
        """A reference whose forces have the wrong sign."""

        def calculate(self, atoms=None, properties=("energy",), system_changes=()):
            super().calculate(atoms, properties, system_changes)
            self.results["forces"] = -self.results["forces"]

    start = [copper(seed) for seed in range(10)]
    with pytest.warns(UserWarning) as caught:
        calculator = LearningOnTheFly(MODEL, Reversed(), GRADES, folder=tmp_path, initial=start)
        for seed in range(3):
            atoms = copper()
            atoms.rattle(0.2 + 0.1 * seed, seed=seed)
            calculator.calculate(atoms)
    assert len(calculator.frames_) > 11
    texts = [str(each.message) for each in caught]
    assert sum("wrong sign" in text for text in texts) == 1


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from test_on_the_fly import *

class Logged(CountingEMT):
    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        with open(sys.argv[1] + "/asked.txt", "a") as file:
            print(atoms.positions.tobytes().hex(), file=file)
        super().calculate(atoms, properties, system_changes)

calculator = LearningOnTheFly(MODEL, Logged(), GRADES, folder=sys.argv[1])
print("begun", flush=True)
molecular_dynamics(
    calculator, copper(), 600, timestep=5.0, ensemble="nvt", temperature=900, interval=5,
    trajectory=sys.argv[1] + "/steps.traj", resume=True,
)
"""


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_a_process_that_is_killed_ten_times_labels_nothing_twice(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = sys.executable, "-c", KILLED, tmp_path, Path(__file__).parent
    rng, kills = random.Random(0), 10
    for _ in range(kills):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "begun\n"
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    labels = [frame.positions.tobytes().hex() for frame in read(tmp_path / "labels.traj", ":")]
    asked = (tmp_path / "asked.txt").read_text().split()
    assert len(set(labels)) == len(labels) > 3
    # a label that was being computed, or written, at a kill is asked for again
    assert len(asked) <= len(labels) + kills
    assert set(labels) <= set(asked)
    steps = [frame.info["step"] for frame in read(tmp_path / "steps.traj", ":")]
    assert steps == list(range(0, 601, 5))


@pytest.mark.parametrize("fails_at", [1, 2, 4])
def test_a_reference_that_fails_loses_nothing(tmp_path, fails_at):
    reference = CountingEMT(fails_at)
    atoms = copper()
    atoms.calc = LearningOnTheFly(MODEL, reference, GRADES, folder=tmp_path)
    with pytest.raises(RuntimeError, match=r"no convergence.*failed\.traj.*same folder"):
        moved(atoms, 60)
    failed = read(tmp_path / "failed.traj")
    np.testing.assert_allclose(failed.positions, atoms.positions, atol=1e-12)
    again = copper()
    again.calc = LearningOnTheFly(MODEL, reference, GRADES, folder=tmp_path)
    assert len(again.calc.frames_) == fails_at - 1
    moved(again, 60)
    kept = [positions for k, positions in enumerate(reference.labelled, 1) if k != fails_at]
    different = {tuple(positions.ravel().round(6)) for positions in kept}
    assert len(different) == len(kept) == len(again.calc.frames_)


def test_the_models_own_deviations(tmp_path):
    member = LinearPotential(alpha=1e-6)
    committee = make_pipeline(TENSORS, Committee(member, n_models=3, random_state=0))
    start = [copper(seed) for seed in range(6)]
    atoms = copper(9)
    atoms.calc = LearningOnTheFly(committee, EMT(), threshold=0.002, folder=tmp_path, initial=start)
    assert len(atoms.calc.frames_) == 6
    moved(atoms, 10)
    assert len(atoms.calc.frames_) > 6


def test_a_species_that_is_not_known_is_labelled(tmp_path):
    start = copper()
    calculator = LearningOnTheFly(MODEL, EMT(), GRADES, folder=tmp_path, initial=[start])
    alloy = copper()
    alloy.symbols[0] = "Au"
    alloy.calc = calculator
    alloy.get_forces()
    assert len(calculator.frames_) == 2
    assert calculator.model_[-1].species_.tolist() == [29, 79]


def test_initial_structures_with_labels_are_not_labelled_again(tmp_path):
    start = copper()
    start.calc = EMT()
    start.get_forces()
    reference = CountingEMT()
    LearningOnTheFly(MODEL, reference, GRADES, folder=tmp_path, initial=[start])
    assert not reference.labelled


def test_a_structure_is_not_labelled_twice_however_low_the_threshold(tmp_path):
    reference = CountingEMT()
    start = [copper(seed) for seed in range(3)]
    calculator = LearningOnTheFly(
        MODEL, reference, GRADES, threshold=0.0, folder=tmp_path, initial=start
    )
    calculator.calculate(start[1])
    assert calculator.scores_[0] > 0
    assert len(reference.labelled) == 3


def test_a_threshold_that_is_never_reached_is_told(tmp_path):
    atoms = copper()
    atoms.calc = LearningOnTheFly(
        MODEL, EMT(), GRADES, threshold=1e9, folder=tmp_path, initial=[copper(3)]
    )
    moved(atoms, 5)
    assert "none was newer than threshold=1e+09" in atoms.calc.summary()


def test_a_threshold_that_is_always_exceeded_is_told(tmp_path):
    measure = NearestDistance(TENSORS)
    atoms = copper()
    atoms.calc = LearningOnTheFly(
        MODEL, EMT(), measure, threshold=-1.0, folder=tmp_path, max_labels=3
    )
    with (
        pytest.warns(UserWarning, match="score 0 after it has been learnt.*raise the threshold"),
        pytest.raises(RuntimeError, match="max_labels=3 are used up"),
    ):
        moved(atoms, 10)
    assert len(atoms.calc.frames_) == 3


def test_a_model_without_partial_fit_is_told(tmp_path):
    model = make_pipeline(TENSORS, Committee(LinearPotential(alpha=1e-6), random_state=0))
    start = [copper(seed) for seed in range(6)]
    atoms = copper(9)
    atoms.calc = LearningOnTheFly(
        model, EMT(), threshold=1e-4, folder=tmp_path, initial=start, update="partial_fit"
    )
    with pytest.raises(ValueError, match="Committee has no partial_fit: take update='fit'"):
        atoms.get_forces()
