"""SOAP: speed, agreement and scaling against featomic and dscribe, in one run, two threads each.

    python benchmarks/descriptors.py

Peers have no pullback: beside it stand their values with explicit gradients, which is what
forces cost with them. Every measurement is a process of its own, and the packages take turns, so
that a machine whose speed drifts treats them alike. Times are the fastest of all runs. With
``--alone`` only this package is measured.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.collections import g2
from ase.io import read, write
from harness import peak_gib, peer_python, repeated, run_process, take_turns

THREADS = 2
ROUNDS = 2
PEERS = Path(__file__).parent / "peers" / "descriptors.py"
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


def molecules(n, rng):
    """Pairs of small CHNO molecules in contact: 14 to 21 atoms, rattled by 0.05 Å."""
    names = [
        name for name in g2.names
        if set(g2[name].get_chemical_symbols()) <= set("CHNO")
        and len(g2[name]) >= 5 and "C" in g2[name].get_chemical_symbols()
    ]  # fmt: skip
    found = []
    while len(found) < n:
        a, b = (g2[names[rng.integers(len(names))]].copy() for _ in range(2))
        if not 14 <= len(a) + len(b) <= 21:
            continue
        a.positions -= a.positions.mean(axis=0)
        b.positions -= b.positions.mean(axis=0)
        b.rotate(rng.uniform(0, 360), rng.normal(size=3))
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        for distance in np.arange(0, 12, 0.1):
            moved = b.positions + distance * direction
            if np.linalg.norm(a.positions[:, None] - moved, axis=-1).min() >= 1.5:
                break
        positions = np.vstack([a.positions, moved])
        positions += rng.normal(scale=0.05, size=positions.shape)
        found.append(Atoms(a.get_chemical_symbols() + b.get_chemical_symbols(), positions))
    return found


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
    soap.transform([bulk("Si")]).pullback(np.ones(soap.n_features_out_))
    before = peak_gib()
    start = time.perf_counter()
    features = soap.transform([atoms])
    seconds = time.perf_counter() - start
    features.pullback(np.ones(features.values.shape[1]))
    added = 2**30 * (peak_gib() - before)
    return [len(atoms), 1e6 * seconds / len(atoms), added / features.values.nbytes]


# --- the comparison ---------------------------------------------------------------------------


def in_process(python, *arguments):
    return run_process(python, *arguments, threads=THREADS)


def compare(folder, peers):
    print(f"{'':36s}{'seconds':>8s}{'ratio':>8s}")
    values = {}
    for task, name, rivals in TASKS:
        data = folder / f"{name}.xyz"
        runs = [("skatom", task, sys.executable, (__file__, "--measure", task, data))]
        runs += [(p, t, peers, (PEERS, p, t, data)) for p, t in rivals if peers]
        commands = {(p, t): (python, *arguments) for p, t, python, arguments in runs}
        best = take_turns(commands, ROUNDS, THREADS)
        mine = best["skatom", task]
        if task == "values":
            values[name] = mine
        for (package, variant), seconds in best.items():
            line = f"{name + ' ' + variant:26s}{package:10s}{seconds:8.4f}{seconds / mine:8.2f}"
            if package == "skatom" and task == "pullback":
                line += f"   {seconds / values[name]:.2f} x the values"
            print(line, flush=True)


def agreement(folder, peers):
    mine = kernel(folder / "kernel.xyz")
    theirs = np.array(in_process(peers, PEERS, "featomic", "kernel", folder / "kernel.xyz"))
    # the two differ in a constant factor; compare normalised kernels
    for matrix in (mine, theirs):
        length = np.sqrt(np.diag(matrix))
        matrix /= length[:, None] * length
    print(f"kernels of {len(mine)} environments: largest difference to featomic "
          f"{np.abs(mine - theirs).max():.1e}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alone", action="store_true", help="measure no peers")
    parser.add_argument("--scaling", type=int, nargs="*", default=[5, 11, 23], metavar="CELLS",
                        help="edges of silicon crystals, in cells of 8 atoms")  # fmt: skip
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--measure-scaling", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    if options.measure_scaling:
        print(json.dumps(scaling(options.measure_scaling)))
        return
    peers = None if options.alone else peer_python("descriptors")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_data(folder)
        compare(folder, peers)
        if peers:
            agreement(folder, peers)
    for cells in options.scaling:
        n_atoms, cost, memory = in_process(sys.executable, __file__, "--measure-scaling", cells)
        print(f"{n_atoms:8d} atoms: {cost:6.2f} µs an atom; peak memory with pullback "
              f"{memory:.2f} x the values")  # fmt: skip


if __name__ == "__main__":
    main()
