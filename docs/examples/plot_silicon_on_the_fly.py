"""
Silicon on the fly
==================

A potential that knows next to nothing melts a crystal of silicon. Wherever a structure is new to it,
a reference computes energy and forces, and the potential learns them before the dynamics go on. Labels
are asked for where something happens; sampling at fixed intervals spends them evenly.
"""

# %%
# The reference
# -------------
#
# Tersoff's potential stands for a quantum-chemical code here.
from ase.build import bulk
from ase.calculators.tersoff import Tersoff, TersoffParameters

# Tersoff, Phys. Rev. B 38, 9902 (1988): Si(C)
silicon = TersoffParameters(
    A=1830.8, B=471.18, lambda1=2.4799, lambda2=1.7322, lambda3=0.0, beta=1.1e-6, gamma=1.0, m=3,
    n=0.78734, c=100390.0, d=16.217, h=-0.59825, R=2.85, D=0.15,
)  # fmt: skip
reference = Tersoff({("Si", "Si", "Si"): silicon})


def crystal(amplitude, seed=0):
    atoms = bulk("Si", "diamond", a=5.432, cubic=True) * 2
    atoms.rattle(amplitude, seed=seed)
    return atoms


# %%
# What is new
# -----------
#
# On the fly, a structure is new if an atom has a grade above 2: the linear model extrapolates there.
# For fixed intervals, a measure of our own says that a structure is new some steps after the last
# label, whatever it is.
from tempfile import mkdtemp

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

from skatom.active import LearningOnTheFly
from skatom.descriptors import MomentTensor
from skatom.models import LinearPotential
from skatom.selection import MaxVol


class EveryFew(BaseEstimator):
    def __init__(self, interval):
        self.interval = interval

    def fit(self, X, y=None):
        self.n_ = 0
        return self

    partial_fit = fit

    def score(self, X):
        self.n_ += 1
        return np.array([np.inf if self.n_ > self.interval else 0.0])


tensors = MomentTensor(cutoff=4.0, level=10)
start = [crystal(0.02), crystal(0.1, seed=1)]


def learner(measure):
    return LearningOnTheFly(
        make_pipeline(tensors, LinearPotential(alpha=1e-8)), reference, measure,
        folder=mkdtemp(), initial=start, update="partial_fit",
    )  # fmt: skip


# %%
# Melting
# -------
#
# A crystal at 1000 K, 5000 K until it has melted, and the liquid at 3000 K. The folder of the labels
# and trajectories that go on (``resume=True``) let a run survive that its process is killed.
from ase.io import read

from skatom.simulation import molecular_dynamics

stages = [(1000, 400), (5000, 500), (3000, 300)]  # temperature in K, steps of 1 fs


def simulate(calculator):
    atoms, frames = crystal(0.02), []
    for temperature, steps in stages:
        file = f"{mkdtemp()}/{temperature}.traj"
        found = molecular_dynamics(
            calculator, atoms, steps, ensemble="nvt", temperature=temperature, interval=50,
            seed=temperature, trajectory=file,
        )  # fmt: skip
        atoms = found.atoms
        frames += read(file, "1:")  # the first is the last of the stage before
    return frames


runs = {"on the fly": learner(MaxVol(tensors, rows="atom"))}
runs |= {f"every {n} fs": learner(EveryFew(n)) for n in (50, 400)}
frames = {}
for name, calculator in runs.items():
    try:
        frames[name] = simulate(calculator)
        print(f"{name:12} {calculator.summary()}")
    except (ValueError, RuntimeError) as error:
        print(f"{name:12} {calculator.summary()}; it ended: {error}")

# %%
# Errors of forces in the frames of the first run, by what each run has learnt. They are large, and
# alike: this small model does not resolve the switch of Tersoff's potential between 2.7 and 3.0 Å,
# where atoms of the liquid are, and a few labels show all that it can learn. A potential for use
# needs more functions; labels at fixed intervals need somebody who knows the interval.
from skatom import Structures

test = frames["on the fly"]
true = np.concatenate([reference.get_forces(atoms.copy()) for atoms in test])
for name, calculator in runs.items():
    _, forces = calculator.model_.predict(Structures.from_ase(test), return_forces=True)
    print(f"{name:12} {np.sqrt(np.mean((forces - true) ** 2)):.3f} eV/Å")

# %%
# When it asked
# -------------
#
# The grades tell the heating and the melting, where the labels of the first run are, and the liquid
# asks for few.
import matplotlib.pyplot as plt

fig, (top, below) = plt.subplots(2, sharex=True, layout="constrained")
for name, calculator in runs.items():
    calls = [frame.info["call"] for frame in calculator.frames_]
    numbers = [*range(1, len(calls) + 1), len(calls)]
    top.step([*calls, calculator.n_calls_], numbers, where="post", label=name)
top.set_ylabel("calls of the reference")
top.legend()
scores = runs["on the fly"].scores_
below.plot(np.arange(len(scores)), scores, ".", ms=3)
below.axhline(2, color="k", lw=0.8)
below.set_ylabel("grade")
below.set_xlabel("step (fs)")
end = 0
for temperature, steps in stages:
    place = end + steps / 2, 1.03  # above the axes
    top.text(
        *place, f"{temperature} K", ha="center", transform=top.get_xaxis_transform()
    )
    end += steps
    for axes in (top, below):
        axes.axvline(end, color="0.8", lw=1, zorder=-1)
plt.show()
