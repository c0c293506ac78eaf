"""FCHL19: speed and agreement against qmllib and kernelforge, in one run, two threads each.

    python benchmarks/fchl19.py

Peers have no pullback: beside values with pullback stand their values with explicit gradients,
which is what forces cost with them. As in descriptors.py, every measurement is a process of its
own, the packages take turns, and times are the fastest of all runs. With ``--alone``
only this package is measured.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from descriptors import THREADS, in_process, molecules
from harness import peer_python, repeated, take_turns

ROUNDS = 3
PEERS = Path(__file__).parent / "peers" / "fchl19.py"
TASKS = [  # data, task, peers
    ("molecules", "values", ("qmllib", "kernelforge")),
    ("molecules", "gradients", ("qmllib",)),
    ("ethanol", "values", ("qmllib", "kernelforge")),
    ("ethanol", "gradients", ("qmllib", "kernelforge")),
    ("aspirin", "values", ("qmllib", "kernelforge")),
    ("aspirin", "gradients", ("qmllib", "kernelforge")),
]
# Å, to two digits
ASPIRIN = Atoms("C7O3C2OH8", [
    [2.14, -1.10, -0.19], [0.88, 1.10, -1.53], [2.73, -0.64, -1.36], [2.05, 0.43, -1.98],
    [-3.13, 1.31, 0.61], [0.86, -0.60, 0.24], [0.33, 0.53, -0.36], [-1.12, -1.12, 1.68],
    [-2.24, 0.60, -1.57], [1.13, -1.50, 2.41], [0.13, -1.14, 1.50], [-2.01, 1.07, -0.44],
    [-0.74, 1.18, 0.14], [0.81, -1.88, 3.20], [2.64, -1.87, 0.45], [0.45, 1.81, -2.20],
    [3.57, -1.10, -1.78], [2.42, 0.73, -2.93], [-4.22, 1.13, 0.30], [-2.94, 0.69, 1.51],
    [-2.90, 2.30, 1.11],
])  # fmt: skip


def configurations(atoms, n, rng):
    """Copies of a molecule, each rattled by 0.05 Å."""
    copies = [atoms.copy() for _ in range(n)]
    for copy in copies:
        copy.positions += rng.normal(scale=0.05, size=copy.positions.shape)
    return copies


def write_data(folder):
    rng = np.random.default_rng(0)
    for name, structures in [
        ("molecules", molecules(500, rng)),
        ("ethanol", configurations(molecule("CH3CH2OH"), 200, rng)),
        ("aspirin", configurations(ASPIRIN, 200, rng)),
        ("few_molecules", molecules(20, rng)),
    ]:
        write(folder / f"{name}.xyz", structures, format="extxyz")


def measure(task, data):
    """Seconds of each of some runs after a first one."""
    from skatom.descriptors import FCHL19

    structures = read(data, ":")
    descriptor = FCHL19().fit(structures)
    cotangent = np.random.default_rng(0).normal(size=descriptor.transform(structures).values.shape)

    def run():
        features = descriptor.transform(structures)
        if task == "gradients":
            features.pullback(cotangent)

    return repeated(run, 19)


def compare(folder, peers):
    print(f"{'':24s}{'':14s}{'seconds':>8s}{'ratio':>8s}")
    for name, task, rivals in TASKS:
        data = folder / f"{name}.xyz"
        runs = {"skatom": (sys.executable, __file__, "--measure", task, data)}
        if peers:
            runs |= {peer: (peers, PEERS, peer, task, data) for peer in rivals}
        best = take_turns(runs, ROUNDS, THREADS)
        for package, seconds in best.items():
            ratio = seconds / best["skatom"]
            print(f"{name + ' ' + task:24s}{package:14s}{seconds:8.4f}{ratio:8.2f}", flush=True)


def agreement(folder, peers):
    """Largest differences of features, and of their derivatives contracted with a cotangent."""
    from skatom.descriptors import FCHL19

    data = folder / "few_molecules.xyz"
    in_process(peers, PEERS, "qmllib", "features", data)
    features = FCHL19().fit_transform(read(data, ":"))
    cotangent = np.random.default_rng(0).normal(size=features.values.shape)
    gradient, _ = features.pullback(cotangent)
    value_error, gradient_error = 0.0, 0.0
    with np.load(data.with_suffix(".npz")) as theirs:
        for s, (start, stop) in enumerate(
            zip(features.offsets[:-1], features.offsets[1:], strict=True)
        ):
            rows = slice(start, stop)
            values, jacobian = theirs[f"values{s}"], theirs[f"gradients{s}"]
            pulled = np.einsum("if,ifax->ax", cotangent[rows], jacobian)
            value_error = max(value_error, np.abs(values - features.values[rows]).max())
            gradient_error = max(gradient_error, np.abs(pulled - gradient[rows]).max())
    print(f"{len(features.values)} environments: largest difference to qmllib "
          f"{value_error:.1e} in features, {gradient_error:.1e} in gradients")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alone", action="store_true", help="measure no peers")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
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
