"""FCHL18: speed and agreement against qmllib and kernelforge, two threads each; dipoles.

    python benchmarks/fchl18.py [speed] [agreement] [dipoles]

*speed* times the symmetric kernel of structures and the derivatives of the kernel along all
positions, the preparation of environments included. qmllib's derivatives are finite differences,
of the kernel of an atom with a molecule, as ours are; kernelforge's are analytic, of the kernel of
two molecules, which has fewer columns. Every measurement is a process of its own, the packages
take turns, and times are the fastest of all runs. With ``--alone`` only this package is measured.

*dipoles* learns the dipoles of QM7b molecules (SKATOM_DATA): their norms by kernel ridge
regression, and the vectors by operator learning, whose rows are derivatives along a field. Both
also learn what is left of them by the dipoles of equalised charges, times one number.
Hyperparameters are those that are best in five-fold cross-validation of the training molecules.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase.build import molecule
from ase.io import read, write
from ase.units import Bohr
from descriptors import THREADS, in_process, molecules
from fchl19 import ASPIRIN, configurations
from harness import DATA, peer_python, repeated, table, take_turns

ROUNDS = 2
PEERS = Path(__file__).parent / "peers" / "fchl18.py"
ALCHEMY = ("off", "periodic-table")
SIZES = {  # structures for values, and for gradients
    "molecules": (100, 10), "ethanol": (200, 20), "aspirin": (50, 5),
}  # fmt: skip


# --- speed and agreement ----------------------------------------------------------------------


def write_data(folder):
    rng = np.random.default_rng(0)
    found = {
        "molecules": molecules(SIZES["molecules"][0], rng),
        "ethanol": configurations(molecule("CH3CH2OH"), SIZES["ethanol"][0], rng),
        "aspirin": configurations(ASPIRIN, SIZES["aspirin"][0], rng),
    }
    for name, structures in found.items():
        for task, n in zip(("values", "gradients"), SIZES[name], strict=True):
            write(folder / f"{name}_{task}.xyz", structures[:n], format="extxyz")


def measure(task, alchemy, data):
    """Seconds of each of some runs after a first one."""
    from skatom.kernels import FCHL18

    structures, kernel = read(data, ":"), FCHL18(alchemy=alchemy)
    run = kernel if task == "values" else kernel.gradients
    return repeated(lambda: run(structures), 9)


def compare(folder, peers):
    print(f"{'':28s}{'alchemy':>16s}{'':>13s}{'seconds':>9s}{'ratio':>8s}")
    for name in SIZES:
        for task in ("values", "gradients"):
            for alchemy in ALCHEMY:
                data = folder / f"{name}_{task}.xyz"
                runs = {"skatom": (sys.executable, __file__, "--measure", task, alchemy, data)}
                if peers:
                    for peer in ("qmllib", "kernelforge"):
                        runs[peer] = (peers, PEERS, peer, task, alchemy, data, 0)
                best = take_turns(runs, ROUNDS, THREADS)
                for package, seconds in best.items():
                    ratio = seconds / best["skatom"]
                    print(f"{name + ' ' + task:28s}{alchemy:>16s}{package:>13s}"
                          f"{seconds:9.4f}{ratio:8.1f}", flush=True)  # fmt: skip


def agreement(folder, peers):
    """Largest differences, per pair of atoms in values and per atom of the basis in gradients."""
    from skatom.kernels import FCHL18

    rows = []
    for name in SIZES:
        for alchemy in ALCHEMY:
            kernel, found = FCHL18(alchemy=alchemy), {}
            for task in ("values", "gradients"):
                data = folder / f"{name}_{task}.xyz"
                structures = read(data, ":")
                counts = np.array([len(atoms) for atoms in structures])
                for peer in ("qmllib", "kernelforge"):
                    in_process(peers, PEERS, peer, task, alchemy, data, 1)
                    theirs = np.load(data.with_suffix(f".{peer}.npy"))
                    if task == "values":
                        mine, scale = kernel(structures), np.outer(counts, counts)
                    else:
                        mine, scale = kernel.gradients(structures), 1.0
                        if peer == "kernelforge":
                            starts = np.cumsum(counts) - counts
                            mine, scale = np.add.reduceat(mine, starts, axis=1), counts
                        if peer == "qmllib" and theirs.shape != mine.shape:
                            raise SystemExit(f"qmllib gave {theirs.shape}, not {mine.shape}")
                    found[task, peer] = np.abs((mine - theirs) / scale).max()
            rows.append((name, alchemy, *(f"{error:.1e}" for error in found.values())))
    header = ("", "alchemy", "values: qmllib", "kernelforge", "gradients: qmllib", "kernelforge")
    table("largest differences", header, rows)


# --- dipoles ----------------------------------------------------------------------------------

N_TEST = 250
SIGMAS, RIDGES = (0.5, 1.0, 2.5), 10.0 ** np.arange(-7, 1)


def dipoles():
    from skatom import Structures
    from skatom.kernels.charges import equalized_charges

    images = read(DATA / "molecules" / "qm7b_dipole_polarizability.xyz.xz", ":")
    order = np.random.default_rng(0).permutation(len(images))
    X = Structures.from_ase(images)[order]
    y = Bohr * np.array([images[i].info["dipole_raw"] for i in order])  # e Å
    arms = equalized_charges(X)[:, None] * X.positions
    base = np.add.reduceat(arms, X.offsets[:-1])
    models = [  # name, rows, sizes, what is learnt
        ("norms", norm_rows, (150, 300, 600), np.linalg.norm(y, axis=1)[:, None]),
        ("vectors, field on scaling", scaling_rows, (15, 30, 60), y),
        ("vectors, field on charges", charge_rows, (15, 30, 60), y),
    ]
    rows = []
    for name, rows_of, sizes, target in models:
        guess = np.linalg.norm(base, axis=1)[:, None] if rows_of is norm_rows else base
        for n in sizes:
            errors = [error(rows_of, X, target, g, n) for g in (0 * guess, guess)]
            rows.append((name, str(n), *(f"{e:.4f}" for e in errors)))
            print(".", end="", flush=True)
    header = ("learnt", "molecules", "MAE of |μ| / e Å", "on top of charges")
    table(f"QM7b dipoles, {N_TEST} held out", header, rows)


def norm_rows(sigma, structures, basis):
    from skatom.kernels import FCHL18

    return FCHL18(sigma=sigma)(structures, basis)


def scaling_rows(sigma, structures, basis):
    from skatom.kernels import FCHL18

    return -FCHL18(sigma=sigma).field_gradients(structures, basis)


def charge_rows(sigma, structures, basis):
    from skatom.kernels import FCHL18

    return -FCHL18(sigma=sigma, field="charges").field_gradients(structures, basis)


def error(rows_of, X, y, guess, n):
    """Error of |μ| on test molecules of what n molecules teach."""
    train, d = N_TEST + np.arange(n), y.shape[1]
    known, other = X[train], X[:N_TEST]
    best = np.inf, None, None
    for sigma in SIGMAS:
        rows = rows_of(sigma, known, known).reshape(n, d, -1)
        atoms = np.arange(n) if rows.shape[2] == n else np.repeat(np.arange(n), known.n_atoms)
        found = np.empty((len(RIDGES), n, d))
        for part in np.array_split(np.random.default_rng(0).permutation(n), 5):
            rest = np.setdiff1d(np.arange(n), part)
            columns = np.flatnonzero(np.isin(atoms, rest))
            found[:, part] = predictions(
                rows[rest][:, :, columns], rows[part][:, :, columns], y[train[rest]],
                guess[train[rest]], guess[train[part]], RIDGES,
            )  # fmt: skip
        mean = np.abs(lengths(found) - lengths(y[train])).mean(axis=1)
        best = min(best, (mean.min(), sigma, RIDGES[mean.argmin()]))
    _, sigma, ridge = best
    rows = rows_of(sigma, known, known).reshape(n, d, -1)
    across = rows_of(sigma, other, known).reshape(N_TEST, d, -1)
    (found,) = predictions(rows, across, y[train], guess[train], guess[:N_TEST], [ridge])
    return np.abs(lengths(found) - lengths(y[:N_TEST])).mean()


def lengths(y):
    return np.linalg.norm(y, axis=-1)


def predictions(rows, across, y, guess, guess_across, ridges):
    """Ridge regression for some ridges, of what c guess leaves."""
    scale = np.sum(guess * y) / max(np.sum(guess**2), 1e-300)
    rest = y - scale * guess
    mean = rest.mean() if y.shape[1] == 1 else 0.0
    left, values, right = np.linalg.svd(rows.reshape(rest.size, -1), full_matrices=False)
    weights = left.T @ (rest - mean).ravel()
    across = across.reshape(guess_across.size, -1) @ right.T
    filters = [values / (values**2 + (ridge * values[0]) ** 2) for ridge in ridges]
    found = np.array([across @ (weights * each) for each in filters])
    return scale * guess_across + mean + found.reshape(len(filters), *guess_across.shape)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["speed", "agreement", "dipoles"])
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
        if "speed" in options.parts:
            compare(folder, peers)
        if "agreement" in options.parts and peers:
            agreement(folder, peers)
    if "dipoles" in options.parts:
        dipoles()


if __name__ == "__main__":
    main()
