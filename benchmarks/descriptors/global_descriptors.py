"""Whole-structure descriptors: speed and agreement beside dscribe and qmllib.

Features of all molecules of QM7 and of 300 perovskites, from structures in memory; of the
first 1,000 molecules and of 20 carbon crystals for tensors, where dscribe has a job a thread.
Peers make one matrix a molecule; dscribe's Ewald matrix and ours have the accuracy 1e-5, and its
angles, by an arc cosine, are good to 1e-8 next to 0 and 180 degrees. Errors on QM7: `qm7`.
"""

import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms

from benchmarks.harness import (
    DATA,
    compare,
    own,
    peer_of,
    peer_script,
    ratios_header,
    repeated,
    run_process,
)
from benchmarks.structures import pack, unpack
from benchmarks.tensor_settings import ANGLES, FINGERPRINTS, PAIRS, THRESHOLD
from skatom.datasets import read

ROUNDS = 2
PEER = "descriptors"
SCRIPT = peer_script("global_descriptors.py")
TASKS = [  # name, data, peers
    ("sorted", "molecules", ["dscribe", "qmllib"]),
    ("eigenvalues", "molecules", ["dscribe", "qmllib"]),
    ("bonds", "molecules", ["qmllib"]),
    ("bodies", "molecules", []),
    ("sine", "crystals", ["dscribe"]),
    ("ewald", "crystals", ["dscribe"]),
    ("extended", "crystals", []),
    ("tensor of pairs", "some_molecules", ["dscribe"]),
    ("tensor of angles", "some_molecules", ["dscribe"]),
    ("fingerprint of pairs", "carbon", ["dscribe"]),
    ("fingerprint of angles", "carbon", ["dscribe"]),
]


def descriptor(name):
    from skatom import descriptors as d

    return {
        "sorted": lambda: d.CoulombMatrix(),
        "eigenvalues": lambda: d.CoulombMatrix("eigenvalues"),
        "bonds": lambda: d.BagOfBonds(),
        "bodies": lambda: d.ManyBodyExpansion(),
        "sine": lambda: d.SineMatrix("none"),
        "ewald": lambda: d.EwaldMatrix("none", accuracy=1e-5),
        "extended": lambda: d.ExtendedCoulombMatrix("none"),
        "tensor of pairs": lambda: tensor("inverse_distance", PAIRS),
        "tensor of angles": lambda: tensor("angle", ANGLES),
        "fingerprint of pairs": lambda: fingerprint("distance"),
        "fingerprint of angles": lambda: fingerprint("angle"),
    }[name]()


def tensor(function, grid):
    from skatom.descriptors import ManyBodyTensor

    reach = -np.log(THRESHOLD) / grid["decay"]
    return ManyBodyTensor(
        function, grid=(grid["low"], grid["high"], grid["n"]), sigma=grid["sigma"],
        weighting="exp", decay=grid["decay"], cutoff=reach if grid is PAIRS else reach / 2,
    )  # fmt: skip


def fingerprint(function):
    """The tensor that has the same values as dscribe's fingerprint."""
    from skatom.descriptors import ManyBodyTensor

    given, of_pairs = FINGERPRINTS[function], function == "distance"
    return ManyBodyTensor(
        function, grid=(0.0, given["cutoff"] if of_pairs else 180.0, given["n"]),
        sigma=given["sigma"], weighting="inverse_square" if of_pairs else "smooth_cutoff",
        cutoff=given["cutoff"], normalization="valle_oganov",
    )  # fmt: skip


def measure(name, data, task):
    """Seconds of each of some runs after a first one."""
    from skatom import Structures

    structures = Structures.from_ase(unpack(data))
    fitted = descriptor(name).fit(structures)
    if task == "values":
        return repeated(lambda: fitted.transform(structures), 7)
    features = fitted.transform(structures)
    cotangent = np.ones(features.shape)
    return repeated(lambda: features.pullback(cotangent), 3)


def speed(folder, peer, threads):
    ratios_header()
    for name, data, rivals in TASKS:
        file = folder / f"{data}.npz"
        commands = {"skatom values": own(measure, name, file, "values")}
        commands["skatom pullback"] = own(measure, name, file, "pullback")
        if peer:
            commands |= {f"{p} values": (peer, SCRIPT, p, name, "time", file) for p in rivals}
        compare(f"{name} of {data}", commands, ROUNDS, threads)


def agreement(folder, peer, threads):
    """Largest differences to dscribe's features, relative to the largest one."""
    for name, data, rivals in TASKS:
        if "dscribe" not in rivals:
            continue
        file = folder / f"few_{data}.npz"
        theirs = np.array(run_process((peer, SCRIPT, "dscribe", name, "print", file), threads))
        mine = descriptor(name).fit_transform(unpack(file)).values
        if name in ("sorted", "sine", "ewald"):
            size = int(np.sqrt(theirs.shape[1]))
            first, second = np.triu_indices(size)
            theirs = theirs.reshape(-1, size, size)[:, first, second]
        error = np.abs(mine - theirs).max() / np.abs(theirs).max()
        print(f"{name}: largest relative difference to dscribe {error:.1e}")


def write_data(folder):
    molecules, carbon = qm7()[0].to_ase(), read(DATA / "periodic" / "carbon24_test.xyz.xz")
    data = {
        "molecules": molecules,
        "some_molecules": molecules[:1000],
        "crystals": perovskites(300),
        "carbon": carbon.structures[:20].to_ase(),
    }
    for name, structures in data.items():
        pack(folder / f"{name}.npz", structures)
        pack(folder / f"few_{name}.npz", structures[:20])


def qm7():
    """Structures and atomisation energies in kcal/mol."""
    from skatom import Structures

    data = np.load(DATA / "molecules" / "qm7.npz")
    counts = data["n_atoms"]
    structures = Structures(
        np.concatenate([z[:n] for z, n in zip(data["z"], counts, strict=True)]),
        np.concatenate([r[:n] for r, n in zip(data["R"], counts, strict=True)]),
        np.concatenate([[0], np.cumsum(counts)]),
    )
    return structures, data["E_pbe0"]


def perovskites(n):
    data = np.load(DATA / "periodic" / "perov5_test.npz")
    return [
        Atoms(numbers=z, scaled_positions=s, cell=cell, pbc=True)
        for z, s, cell in zip(data["z"][:n], data["frac"][:n], data["cell"][:n], strict=True)
    ]


def run(options):
    peer = peer_of(options, PEER)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_data(folder)
        speed(folder, peer, options.threads)
        if peer:
            agreement(folder, peer, options.threads)
