"""FCHL18: speed and agreement beside qmllib and kernelforge; learning of dipoles.

    python -m benchmarks fchl18 [speed] [agreement] [dipoles]

*speed* times the symmetric kernel of structures and the derivatives of the kernel along all
positions, the preparation of environments included. qmllib's derivatives are finite differences,
of the kernel of an atom with a molecule, as ours are; kernelforge's are analytic, of the kernel of
two molecules, which has fewer columns. Every measurement is a process of its own, the packages
take turns, and times are the fastest of all runs.

*dipoles* learns the dipoles of QM7b molecules (SKATOM_DATA): their norms by kernel ridge
regression, and the vectors by operator learning, whose rows are derivatives along a field. Both
also learn what is left of them by the dipoles of equalised charges, times one number.
Hyperparameters are those that are best in five-fold cross-validation of the training molecules.
"""

import tempfile
from pathlib import Path

import numpy as np
from ase.build import molecule
from ase.io import read, write
from ase.units import Bohr

from benchmarks.harness import (
    DATA,
    compare,
    own,
    peer_of,
    peer_script,
    ratios_header,
    repeated,
    run_process,
    table,
)
from benchmarks.structures import ASPIRIN, configurations, molecules

ROUNDS = 2
PEER = "descriptors"
SCRIPT = peer_script("fchl18.py")
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


def speed(folder, peer, threads):
    ratios_header()
    for name in SIZES:
        for task in ("values", "gradients"):
            for alchemy in ALCHEMY:
                data = folder / f"{name}_{task}.xyz"
                commands = {"skatom": own(measure, task, alchemy, data)}
                if peer:
                    for package in ("qmllib", "kernelforge"):
                        commands[package] = (peer, SCRIPT, package, task, alchemy, data, 0)
                label = f"{name} {task}, alchemy {alchemy}"
                compare(label, commands, ROUNDS, threads)


def agreement(folder, peer, threads):
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
                for package in ("qmllib", "kernelforge"):
                    run_process((peer, SCRIPT, package, task, alchemy, data, 1), threads)
                    theirs = np.load(data.with_suffix(f".{package}.npy"))
                    if task == "values":
                        mine, scale = kernel(structures), np.outer(counts, counts)
                    else:
                        mine, scale = kernel.gradients(structures), 1.0
                        if package == "kernelforge":
                            starts = np.cumsum(counts) - counts
                            mine, scale = np.add.reduceat(mine, starts, axis=1), counts
                        if package == "qmllib" and theirs.shape != mine.shape:
                            raise SystemExit(f"qmllib gave {theirs.shape}, not {mine.shape}")
                    found[task, package] = np.abs((mine - theirs) / scale).max()
            rows.append((name, alchemy, *(f"{error:.1e}" for error in found.values())))
    header = ("", "alchemy", "values: qmllib", "kernelforge", "gradients: qmllib", "kernelforge")
    table("largest differences", header, rows)


# --- dipoles ----------------------------------------------------------------------------------

N_TEST = 250
SIGMAS, RIDGES = (1.0, 2.5), 10.0 ** np.arange(-7, 1)


def dipoles():
    from skatom import Structures
    from skatom.kernels.charges import equalized_charges

    images = read(DATA / "molecules" / "qm7b_dipole_polarizability.xyz.xz", ":")
    order = np.random.default_rng(0).permutation(len(images))
    X = Structures.from_ase(images)[order]
    y = Bohr * np.array([images[i].info["dipole_raw"] for i in order])  # e Å
    arms = equalized_charges(X)[:, None] * X.positions
    base = np.add.reduceat(arms, X.offsets[:-1])
    models = [  # name, method of the kernel, sizes, what is learnt
        ("norms", norm_rows, (150, 300, 600), lengths(y)[:, None], lengths(base)[:, None]),
        ("vectors, field on scaling", scaling_rows, (15, 30, 60), y, base),
        ("vectors, field on charges", charge_rows, (15, 30, 60), y, base),
    ]
    rows = []
    for name, rows_of, sizes, target, guess in models:
        found = errors(rows_of, X, target, guess, sizes)
        rows += [(name, str(n), *(f"{e:.4f}" for e in found[n])) for n in sizes]
    header = ("learnt", "molecules", "MAE of |μ| / e Å", "on top of charges")
    table(f"QM7b dipoles, {N_TEST} held out", header, rows)


def norm_rows(sigma, *sides):
    from skatom.kernels import FCHL18

    return FCHL18(sigma=sigma)(*sides)


def scaling_rows(sigma, *sides):
    from skatom.kernels import FCHL18

    return -FCHL18(sigma=sigma).field_gradients(*sides)


def charge_rows(sigma, *sides):
    from skatom.kernels import FCHL18

    return -FCHL18(sigma=sigma, field="charges").field_gradients(*sides)


def errors(rows_of, X, y, guess, sizes):
    """Errors of |μ| on test molecules for some numbers of training molecules.

    Two of each: without and with c guess as what is known before.
    """
    other, known = X[:N_TEST], X[N_TEST : N_TEST + max(sizes)]
    size = max(sizes), y.shape[1]
    rows = [rows_of(sigma, known).reshape(*size, -1) for sigma in SIGMAS]
    across = [rows_of(sigma, other, known).reshape(N_TEST, size[1], -1) for sigma in SIGMAS]
    per_atom = rows[0].shape[2] > size[0]
    owners = np.repeat(np.arange(size[0]), known.n_atoms if per_atom else 1)
    found = {}
    for n in sizes:
        columns = owners < n
        some = [block[:n, :, columns] for block in rows]
        test = [block[:, :, columns] for block in across]
        found[n] = [
            error(some, test, owners[columns], y[: N_TEST + n], g[: N_TEST + n])
            for g in (0 * guess, guess)
        ]
    return found


def error(rows, across, owners, y, guess):
    """Error for the kernel and the ridge that are best in cross-validation."""
    n = len(rows[0])
    test, train = slice(N_TEST), slice(N_TEST, N_TEST + n)
    parts = np.array_split(np.random.default_rng(0).permutation(n), 5)
    scores = np.empty((len(rows), len(RIDGES)))
    for k, block in enumerate(rows):
        found = np.empty((len(RIDGES), *y[train].shape))
        for part in parts:
            rest = np.setdiff1d(np.arange(n), part)
            columns = np.isin(owners, rest)
            found[:, part] = predictions(
                block[rest][:, :, columns], block[part][:, :, columns], y[train][rest],
                guess[train][rest], guess[train][part], RIDGES,
            )  # fmt: skip
        scores[k] = np.abs(lengths(found) - lengths(y[train])).mean(axis=1)
    k, r = np.unravel_index(scores.argmin(), scores.shape)
    (found,) = predictions(
        rows[k], across[k], y[train], guess[train], guess[test], RIDGES[r : r + 1]
    )
    return np.abs(lengths(found) - lengths(y[test])).mean()


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


def add_arguments(parser):
    parser.add_argument("parts", nargs="*", default=["speed", "agreement", "dipoles"])


def run(options):
    if {"speed", "agreement"} & {*options.parts}:
        peer = peer_of(options, PEER)
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            write_data(folder)
            if "speed" in options.parts:
                speed(folder, peer, options.threads)
            if "agreement" in options.parts and peer:
                agreement(folder, peer, options.threads)
    if "dipoles" in options.parts:
        dipoles()
