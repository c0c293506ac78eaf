"""ACSF: speed and agreement against dscribe and qmllib, in one run, two threads each.

    python benchmarks/acsf.py

Two sets of functions: 116 of G1, G2 and G4, as dscribe has them, and 102 with ANI angles, as
qmllib has them up to prefactors. Neither peer has a pullback; qmllib has values with explicit
gradients, dscribe finite differences only, left out here. Every measurement is a process of its
own, the packages take turns, and times are the fastest of all runs. With ``--alone``
only this package is measured.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io import read, write
from descriptors import THREADS, in_process, molecules
from harness import peer_python, repeated, take_turns

ROUNDS = 3
PEERS = Path(__file__).parent / "peers" / "acsf.py"
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


def compare(folder, peers):
    print(f"{'':36s}{'seconds':>8s}{'ratio':>8s}")
    for functions, task, name, rivals in TASKS:
        data = folder / f"{name}.xyz"
        runs = [("skatom", task, sys.executable, (__file__, "--measure", functions, task, data))]
        runs += [(p, t, peers, (PEERS, p, t, data)) for p, t in rivals if peers]
        commands = {(p, t): (python, *arguments) for p, t, python, arguments in runs}
        best = take_turns(commands, ROUNDS, THREADS)
        for (package, variant), seconds in best.items():
            label = f"{functions} {name} {variant}"
            ratio = seconds / best["skatom", task]
            print(f"{label:28s}{package:8s}{seconds:8.4f}{ratio:8.2f}", flush=True)


def agreement(folder, peers):
    """Largest difference to dscribe, whose pairs of species are the lower triangle."""
    from skatom.descriptors import ACSF

    data = folder / "few.xyz"
    features = ACSF(**parameters("behler")).fit_transform(read(data, ":"))
    theirs = np.array(in_process(peers, PEERS, "dscribe", "print", data))
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alone", action="store_true", help="measure no peers")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    peers = None if options.alone else peer_python("descriptors")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_data(folder)
        compare(folder, peers)
        if peers:
            agreement(folder, peers)


if __name__ == "__main__":
    main()
