"""Sparse Gaussian processes: speed and memory beside gap_fit, errors beside published ones.

    python -m benchmarks sparse_gp speed             # 100 cells of 64 Si atoms, M = 300 and 1000
    python -m benchmarks sparse_gp memory            # 200 to 2,000 cells
    python -m benchmarks sparse_gp mlearn [Ni Cu …]  # published splits, cross-validated
    python -m benchmarks sparse_gp periodic [InP NbMoTaW]
    python -m benchmarks sparse_gp 3bpa

Both packages get the same descriptor: SOAP with a cutoff of 5 Å, 8 radial
functions, l up to 6, Gaussians of 0.5 Å, and the kernel's fourth power. The labels of the cells
are those of Tersoff's potential. The wheel of quippy 0.10.3 has no OpenMP, so it uses one thread.
Each measurement is a process of its own.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.tersoff import Tersoff, TersoffParameters
from ase.io import write

from benchmarks.harness import own, peer_of, peer_script, run_worker, table
from benchmarks.sparse._accuracy import acceptance_3bpa, mlearn, periodic
from benchmarks.sparse._worker import cells, random_cells

PEER = "quippy"
# Tersoff, Phys. Rev. B 38, 9902 (1988): Si(C)
SILICON = TersoffParameters(
    A=1830.8, B=471.18, lambda1=2.4799, lambda2=1.7322, lambda3=0.0, beta=1.1e-6, gamma=1.0, m=3,
    n=0.78734, c=100390.0, d=16.217, h=-0.59825, R=2.85, D=0.15,
)  # fmt: skip


def silicon(n, seed=3):
    """Rattled and strained cells of 64 atoms with Tersoff's energies and forces."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(n):
        atoms = bulk("Si", "diamond", a=5.43 * rng.uniform(0.97, 1.03), cubic=True) * (2, 2, 2)
        atoms.positions += rng.normal(
            scale=rng.choice([0.05, 0.1, 0.15]), size=atoms.positions.shape
        )
        atoms.calc = Tersoff({("Si", "Si", "Si"): SILICON})
        labelled = atoms.copy()
        labelled.info["energy_ref"] = atoms.get_potential_energy()
        labelled.arrays["force_ref"] = atoms.get_forces()
        images.append(labelled)
    return images


def write_cells(folder, n_train, n_test=20):
    images = silicon(n_train + n_test)
    task = {"train": str(folder / "train.xyz"), "test": str(folder / "test.xyz")}
    write(task["train"], images[:n_train], format="extxyz")
    write(task["test"], images[n_train:], format="extxyz")
    return task


def speed(peer, threads):
    with tempfile.TemporaryDirectory() as folder:
        task = write_cells(Path(folder), 100)
        for n_sparse in (300, 1000):
            task |= {"n_sparse": n_sparse, "touch": 2**28}
            ours = run_worker(own(cells, task), threads)
            theirs = None
            if peer:
                command = peer, peer_script("sparse_gp_worker.py"), json.dumps(task)
                theirs = run_worker(command, threads)
            table(
                f"100 cells of 64 Si atoms, energies and forces, M = {n_sparse}, {threads} threads",
                ["", "quippy 0.10.3", "skatom", "ratio"],
                list(_speed_rows(theirs, ours)),
            )


def _speed_rows(theirs, ours):
    quantities = [
        ("fit, s", lambda r: r["fit_s"]),
        ("peak memory of the fit, GiB", lambda r: r["peak_gib"]),
        (
            "energies, forces, stress: µs/atom",
            lambda r: 1e6 * r["predict_s"] / ours["n_atoms"],
        ),
        ("energy MAE, meV/atom", lambda r: 1e3 / 64 * _mae(r["energies"], ours["energy_ref"])),
        ("force MAE, eV/Å", lambda r: _mae(r["forces"], ours["force_ref"])),
        ("other programs, cores", lambda r: r["foreign_cores"]),
    ]
    for name, quantity in quantities:
        mine = quantity(ours)
        if theirs is None:
            yield [name, "-", f"{mine:.4g}", "-"]
        else:
            yield [name, f"{quantity(theirs):.4g}", f"{mine:.4g}", f"{quantity(theirs) / mine:.1f}"]


def _mae(found, expected):
    return float(np.abs(np.subtract(found, expected)).mean())


def memory(threads):
    """Peak memory of fits to more and more structures."""
    rows = []
    for n in (200, 2000):
        task = {"n": n, "n_sparse": 300, "touch": 2**27}
        result = run_worker(own(random_cells, task), threads)
        rows.append([str(n), f"{result['fit_s']:.1f}", f"{result['peak_gib']:.3f}"])
    table("Cells of 64 Si atoms, M = 300", ["cells", "fit, s", "peak memory, GiB"], rows)


def add_arguments(parser):
    parser.add_argument("part", choices=["speed", "memory", "mlearn", "periodic", "3bpa"])
    parser.add_argument("names", nargs="*", help="elements or data sets of the part")


def run(options):
    if options.part == "speed":
        speed(peer_of(options, PEER), options.threads)
    elif options.part == "memory":
        memory(options.threads)
    elif options.part == "mlearn":
        mlearn(options.names)
    elif options.part == "periodic":
        periodic(options.names)
    else:
        acceptance_3bpa()
