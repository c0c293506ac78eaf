"""FCHL19: speed and agreement beside qmllib and kernelforge.

    python -m benchmarks fchl19

Peers have no pullback: beside values with pullback stand their values with explicit gradients,
which is what forces cost with them. Every measurement is a process of its own, the packages take
turns, and times are the fastest of all runs.
"""

import tempfile
from pathlib import Path

import numpy as np
from ase.build import molecule
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
from benchmarks.structures import ASPIRIN, configurations, molecules

ROUNDS = 3
PEER = "descriptors"
SCRIPT = peer_script("fchl19.py")
TASKS = [  # data, task, peers
    ("molecules", "values", ("qmllib", "kernelforge")),
    ("molecules", "gradients", ("qmllib",)),
    ("ethanol", "values", ("qmllib", "kernelforge")),
    ("ethanol", "gradients", ("qmllib", "kernelforge")),
    ("aspirin", "values", ("qmllib", "kernelforge")),
    ("aspirin", "gradients", ("qmllib", "kernelforge")),
]


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


def speed(folder, peer, threads):
    ratios_header()
    for name, task, rivals in TASKS:
        data = folder / f"{name}.xyz"
        commands = {"skatom": own(measure, task, data)}
        if peer:
            commands |= {package: (peer, SCRIPT, package, task, data) for package in rivals}
        compare(f"{name} {task}", commands, ROUNDS, threads)


def agreement(folder, peer, threads):
    """Largest differences of features, and of their derivatives contracted with a cotangent."""
    from skatom.descriptors import FCHL19

    data = folder / "few_molecules.xyz"
    run_process((peer, SCRIPT, "qmllib", "features", data), threads)
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


def run(options):
    peer = peer_of(options, PEER)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_data(folder)
        speed(folder, peer, options.threads)
        if peer:
            agreement(folder, peer, options.threads)
