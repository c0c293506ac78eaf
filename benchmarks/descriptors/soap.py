"""SOAP: speed, agreement and scaling beside featomic and dscribe.

    python -m benchmarks soap

Peers have no pullback: beside it stand their values with explicit gradients, which is what
forces cost with them. Every measurement is a process of its own, and the packages take turns, so
that a machine whose speed drifts treats them alike. Times are the fastest of all runs.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io import read, write

from benchmarks.harness import (
    compare,
    own,
    peak_gib,
    peer_of,
    peer_script,
    ratios_header,
    repeated,
    run_process,
)
from benchmarks.structures import molecules

ROUNDS = 2
PEER = "descriptors"
SCRIPT = peer_script("soap.py")
TASKS = [  # task, data, and what the peers do in its place
    ("values", "molecules", [("featomic", "values"), ("featomic", "dense"), ("dscribe", "values")]),
    ("pullback", "molecules", [("featomic", "jacobian")]),
    ("jacobian", "few_molecules", [("featomic", "jacobian"), ("dscribe", "jacobian")]),
    ("values", "silicon", [("featomic", "values"), ("dscribe", "values")]),
    ("pullback", "silicon", [("featomic", "jacobian")]),
    ("jacobian", "silicon", [("featomic", "jacobian")]),
    ("values", "lithium_silicon", [("featomic", "values"), ("dscribe", "values")]),
    ("pullback", "lithium_silicon", [("featomic", "jacobian")]),
    ("jacobian", "lithium_silicon", [("featomic", "jacobian")]),
]


def write_data(folder):
    rng = np.random.default_rng(0)
    batch = molecules(500, rng)
    silicon = bulk("Si", "diamond", a=5.431, cubic=True) * (4, 4, 4)
    silicon.positions += rng.normal(scale=0.05, size=silicon.positions.shape)
    mixed = bulk("Si", "diamond", a=6.0, cubic=True) * (4, 4, 4)
    mixed.numbers[rng.permutation(512)[:256]] = 3
    mixed.positions += rng.normal(scale=0.05, size=mixed.positions.shape)
    for name, structures in [
        ("molecules", batch), ("few_molecules", batch[:100]), ("kernel", batch[:20]),
        ("silicon", silicon), ("lithium_silicon", mixed),
    ]:  # fmt: skip
        write(folder / f"{name}.xyz", structures, format="extxyz")


# --- this package -----------------------------------------------------------------------------


def measure(task, data):
    """Seconds of each of some runs after a first one."""
    from skatom.descriptors import SOAP

    structures = read(data, ":")
    soap = SOAP(radial_basis="gto", normalize=False).fit(structures)
    features = soap.transform(structures)
    cotangent = np.random.default_rng(0).normal(size=features.values.shape)

    def jacobian():
        for start in range(0, len(features), 10):
            features.jacobian(slice(start, start + 10))

    run = {
        "values": lambda: soap.transform(structures),
        "pullback": lambda: features.pullback(cotangent),
        "jacobian": jacobian,
    }[task]
    return repeated(run, 11)


def kernel(data):
    """Kernel between all environments, with the definition that coincides with featomic's."""
    from skatom.descriptors import SOAP

    soap = SOAP(radial_basis="gto", cutoff_width=0, normalize=False)
    values = soap.fit_transform(read(data, ":")).values
    return values @ values.T


def scaling(n_cells):
    """Microseconds an atom for values; memory that values and pullback add, over the values'."""
    from skatom.descriptors import SOAP

    atoms = bulk("Si", cubic=True) * n_cells
    soap = SOAP().fit([bulk("Si")])
    few = soap.transform([bulk("Si")])
    few.pullback(np.ones(few.values.shape[1]))
    before = peak_gib()
    start = time.perf_counter()
    features = soap.transform([atoms])
    seconds = time.perf_counter() - start
    features.pullback(np.ones(features.values.shape[1]))
    added = 2**30 * (peak_gib() - before)
    return [len(atoms), 1e6 * seconds / len(atoms), added / features.values.nbytes]


# --- the comparison ---------------------------------------------------------------------------


def speed(folder, peer, threads):
    ratios_header()
    values = {}
    for task, name, rivals in TASKS:
        data = folder / f"{name}.xyz"
        commands = {f"skatom {task}": own(measure, task, data)}
        if peer:
            commands |= {f"{p} {t}": (peer, SCRIPT, p, t, data) for p, t in rivals}
        best = compare(f"{name} {task}", commands, ROUNDS, threads)
        if task == "values":
            values[name] = best["skatom values"]
        if task == "pullback":
            print(f"{'':42s}{best['skatom pullback'] / values[name]:.2f} x the values", flush=True)


def agreement(folder, peer, threads):
    mine = kernel(folder / "kernel.xyz")
    command = (peer, SCRIPT, "featomic", "kernel", folder / "kernel.xyz")
    theirs = np.array(run_process(command, threads))
    # the two differ in a constant factor; compare normalised kernels
    for matrix in (mine, theirs):
        length = np.sqrt(np.diag(matrix))
        matrix /= length[:, None] * length
    print(f"kernels of {len(mine)} environments: largest difference to featomic "
          f"{np.abs(mine - theirs).max():.1e}")  # fmt: skip


def add_arguments(parser):
    parser.add_argument("--scaling", type=int, nargs="*", default=[5, 11, 23], metavar="CELLS",
                        help="edges of silicon crystals, in cells of 8 atoms")  # fmt: skip


def run(options):
    peer = peer_of(options, PEER)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_data(folder)
        speed(folder, peer, options.threads)
        if peer:
            agreement(folder, peer, options.threads)
    for cells in options.scaling:
        n_atoms, cost, memory = run_process(own(scaling, cells), options.threads)
        print(f"{n_atoms:8d} atoms: {cost:6.2f} µs an atom; peak memory with pullback "
              f"{memory:.2f} x the values", flush=True)  # fmt: skip
