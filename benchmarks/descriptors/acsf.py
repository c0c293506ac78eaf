"""ACSF: speed and agreement beside dscribe and qmllib.

    python -m benchmarks acsf

Two sets of functions: 116 of G1, G2 and G4, as dscribe has them, and 102 with ANI angles, as
qmllib has them up to prefactors. Neither peer has a pullback; qmllib has values with explicit
gradients, dscribe finite differences only, left out here. Every measurement is a process of its
own, the packages take turns, and times are the fastest of all runs.
"""

import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io import read, write

from benchmarks.harness import (
    compare,
    own,
    peer_of,
    peer_script,
    ratios_header,
    repeated,
    run_process,
)
from benchmarks.structures import molecules

ROUNDS = 3
PEER = "descriptors"
SCRIPT = peer_script("acsf.py")
TASKS = [  # set of functions, task, data, and what a peer does in its place
    ("behler", "values", "molecules", [("dscribe", "values")]),
    ("behler", "pullback", "molecules", []),
    ("ani", "values", "molecules", [("qmllib", "values")]),
    ("ani", "pullback", "molecules", [("qmllib", "jacobian")]),
    ("ani", "jacobian", "molecules", [("qmllib", "jacobian")]),
    ("behler", "values", "silicon", [("dscribe", "values")]),
]


def parameters(functions):
    if functions == "behler":
        g4 = [(eta, zeta, sign) for eta in (0.01, 0.1) for zeta in (1, 4) for sign in (-1, 1)]
        g2 = [(eta, 0.0) for eta in np.geomspace(0.01, 4, 8)]
        return {"cutoff": 6.0, "g1": True, "g2": g2, "g4": g4}
    centers, thetas = np.linspace(0.8, 5, 3), np.linspace(0, np.pi, 3)
    ani = [(1, 1, center, theta) for center in centers for theta in thetas]
    return {"cutoff": 5.0, "g2": [(1, center) for center in centers], "g4": (), "ani": ani}


def measure(functions, task, data):
    """Seconds of each of some runs after a first one."""
    from skatom.descriptors import ACSF

    structures = read(data, ":")
    acsf = ACSF(**parameters(functions)).fit(structures)
    features = acsf.transform(structures)
    cotangent = np.random.default_rng(0).normal(size=features.values.shape)

    def jacobian():
        acsf.transform(structures)
        for start in range(0, len(features), 10):
            features.jacobian(slice(start, start + 10))

    run = {
        "values": lambda: acsf.transform(structures),
        "pullback": lambda: features.pullback(cotangent),
        "jacobian": jacobian,
    }[task]
    return repeated(run, 11)


def speed(folder, peer, threads):
    ratios_header()
    for functions, task, name, rivals in TASKS:
        data = folder / f"{name}.xyz"
        commands = {f"skatom {task}": own(measure, functions, task, data)}
        if peer:
            commands |= {f"{p} {t}": (peer, SCRIPT, p, t, data) for p, t in rivals}
        compare(f"{functions} {name} {task}", commands, ROUNDS, threads)


def agreement(folder, peer, threads):
    """Largest difference to dscribe, whose pairs of species are the lower triangle."""
    from skatom.descriptors import ACSF

    data = folder / "few.xyz"
    features = ACSF(**parameters("behler")).fit_transform(read(data, ":"))
    theirs = np.array(run_process((peer, SCRIPT, "dscribe", "print", data), threads))
    n = len(features.species)
    n_radial, n_angular = 9 * n, 8
    first, second = np.triu_indices(n)
    mine = features.values[:, n_radial:].reshape(len(features.values), -1, n_angular)
    mine = mine[:, np.lexsort((first, second))].reshape(len(features.values), -1)
    mine = np.hstack([features.values[:, :n_radial], mine])
    print(
        f"{len(mine)} environments: largest difference to dscribe {np.abs(mine - theirs).max():.1e}"
    )


def write_data(folder):
    rng = np.random.default_rng(0)
    batch = molecules(500, rng)
    silicon = bulk("Si", "diamond", a=5.431, cubic=True) * (4, 4, 4)
    silicon.positions += rng.normal(scale=0.05, size=silicon.positions.shape)
    for name, structures in [("molecules", batch), ("few", batch[:20]), ("silicon", silicon)]:
        write(folder / f"{name}.xyz", structures, format="extxyz")


def run(options):
    peer = peer_of(options, PEER)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_data(folder)
        speed(folder, peer, options.threads)
        if peer:
            agreement(folder, peer, options.threads)
