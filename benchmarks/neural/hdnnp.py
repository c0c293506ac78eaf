"""HDNNP: an iteration of its training, predictions, memory, and charges beyond the cutoff.

    python -m benchmarks hdnnp                       silicon, two minutes on two cores
    python -m benchmarks hdnnp --element Cu
    python -m benchmarks hdnnp --device cuda         features, steps and predictions on a card
    python -m benchmarks recipes Si Cu --model hdnnp --tune 0     errors on the test parts, longer

The charges are those of rock salt of Gaussian charges of 0.5 e, moved at random: errors with and
without `electrostatics`, both with a cutoff of 3 Å.
"""

import time

import numpy as np
from ase.build import bulk

from benchmarks.harness import DATA, repeated, table
from skatom import Structures, Targets, recipes
from skatom.datasets import read
from skatom.descriptors import ACSF
from skatom.metrics import evaluate
from skatom.models import HDNNP
from skatom.models.neural.electrostatics import electrostatic_sums

TASKS = ("iteration", "prediction", "charges")


def add_arguments(parser):
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--element", default="Si", help="of the mlearn data")
    parser.add_argument("--device", default="cpu", help="of all but charges [cpu]")


def run(options):
    data = read(DATA / "mlearn" / f"mlearn_{options.element}_train.xyz.xz")
    y = data.targets
    data = data.structures, Targets(y.energy, y.forces, offsets=y.offsets)
    for task in options.tasks:
        globals()[f"_{task}"](*data, options.device)


def _model(X, device, **settings):
    if settings.get("electrostatics"):
        device = "cpu"
    return recipes.make("hdnnp", X, device=device, **settings)


def _iteration(X, y, device):
    """Time of an iteration over all frames, as the difference of fits of some and of more."""
    rows, n_atoms = [], len(X.numbers)
    acsf = _model(X, "cpu")[0].fit(X)
    pairs = acsf.transform(X).neighbors
    for name, settings in (
        ("half of the memory", {}),
        ("double precision", {"dtype": "float64"}),
        ("with charges", {"electrostatics": True}),
    ):
        seconds = []
        for n in (2, 12):
            model = _model(X, device, max_iter=n, solver="adam", **settings)
            begin = time.perf_counter()
            model.fit(X, y)
            seconds.append(time.perf_counter() - begin)
        size = 8 if "dtype" in settings else 4
        derivatives = 3 * size * acsf.n_features_out_ * (len(pairs) + n_atoms) / n_atoms
        rows.append([name, f"{100 * (seconds[1] - seconds[0]):.0f}", f"{derivatives / 1024:.0f}"])
    table(
        f"{len(X)} frames of {n_atoms} atoms, {acsf.n_features_out_} features, device={device!r}",
        ["", "iteration, ms", "derivatives of an atom, KiB, at most"], rows,
    )  # fmt: skip


def _prediction(X, y, device):
    """Time of energies, forces and stresses of an atom."""
    rows = []
    for name, electrostatics in (("without charges", False), ("with charges", True)):
        model = _model(X, device, max_iter=1, electrostatics=electrostatics).fit(X[:20], y[:20])
        for atoms in (X[0].to_ase()[0], X[0].to_ase()[0].repeat((3, 3, 3))):
            one = Structures.from_ase([atoms])
            best = min(repeated(lambda m=model, s=one: m.predict(s, return_forces=True), 3))
            rows.append([name, str(len(atoms)), f"{1e6 * best / len(atoms):.0f}"])
    table(f"prediction with forces, device={device!r}", ["", "atoms", "µs/atom"], rows)


def _charges(X, y, device):
    """Errors of forces of charges, which act beyond the cutoff."""
    (train, labels), (test, expected) = salt(40, 0), salt(20, 1)
    rows = []
    for electrostatics in (False, True):
        model = HDNNP(
            ACSF(3.0, g2=[(1.0, 1.5), (1.0, 2.5)], g4=()), hidden_layer_sizes=(8,),
            electrostatics=electrostatics, solver="lbfgs", max_iter=300, noise_forces=1e-2,
            noise_energy=1e-2, random_state=0,
        ).fit(train, labels)  # fmt: skip
        errors = evaluate(model, test, expected)
        figures = errors["energy_mae_per_atom"], errors["force_mae"]
        rows.append([str(electrostatics), *(f"{1e3 * e:.2f}" for e in figures)])
    rows.append(["spread of the labels", "", f"{1e3 * np.abs(expected.forces).mean():.2f}"])
    table(
        "charges beyond the cutoff", ["electrostatics", "energy, meV/atom", "forces, meV/Å"], rows
    )


def salt(n, seed):
    """Cells of rock salt of 16 atoms, moved at random, of charges ±0.5 e of the width 1 Å."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(n):
        atoms = bulk("NaCl", "rocksalt", a=5.64).repeat(2)
        atoms.positions += rng.normal(scale=0.25, size=(len(atoms), 3))
        found.append(atoms)
    structures = Structures.from_ase(found)
    charges = np.where(structures.numbers == 11, 0.5, -0.5)
    potentials, gradient, _ = electrostatic_sums(structures, charges, 1.0, True)
    energies = np.add.reduceat(0.5 * charges * potentials, structures.offsets[:-1])
    return structures, Targets(energies, -gradient, offsets=structures.offsets)
