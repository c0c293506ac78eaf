"""Wavelet scattering: speed and agreement beside kymatio, Li-Si cells, errors on QM7.

    python -m benchmarks scattering [PART ...]

Parts, all but ``qm7`` by default:

- ``kymatio``: solid-harmonic scattering on a 32³ grid, J = 2, L = 3, exponents ½, 1, 2, 3: a batch
  of 8 densities by either of kymatio's CPU backends; 100 molecules from positions to features,
  with filters and densities; and whether both mean the same. The maps of this package are computed
  once on coarse grids, its default, and once all on 32³.
- ``cells``: all 3,740 features of a Li-Si cell of 80 atoms on 48³, and 100 of them.
- ``qm7``: atomisation energies by ridge regression and by a polynomial kernel of second degree, a
  bilinear model, in five-fold cross-validation. ``--molecules`` takes a random part of the data.

Every measurement is a process of its own, the packages take turns, and times are the fastest.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write

from benchmarks.harness import (
    DATA,
    own,
    peak_gib,
    peer_python,
    peer_script,
    repeated,
    run_process,
    take_turns,
)

ROUNDS = 2
SCRIPT = peer_script("scattering.py")
EDGE, POINTS, SIGMA = 14.0, 32, 2.0  # Å; points; points
# 1 kcal/mol is 1e-3 of the energies, so the features must not change by more with the grid: at a
# spacing of 0.21 and padding=3 that alone costs 1 to 2 kcal/mol
QM7_PARAMETERS = {
    "l_max": 2, "scales": (0, 1, 2), "beta": 0.3, "grid_spacing": 0.17, "padding": 5.0,
    "channels": ("species", "total", "valence"), "exponents": (1, 4 / 3, 5 / 3, 2),
}  # fmt: skip


def qm7(indices):
    """Some molecules of QM7, and their energies, kcal/mol."""
    data = np.load(DATA / "molecules" / "qm7.npz")
    molecules = [
        Atoms(data["z"][i, :n], data["R"][i, :n])
        for i, n in zip(indices, data["n_atoms"][indices], strict=True)
    ]
    return molecules, data["E_pbe0"][indices]


def lithium_silicon():
    """50 Li and 30 Si at random in a cell of 10.4 Å; the speed does not depend on where."""
    positions = np.random.default_rng(0).uniform(0, 10.4, (80, 3))
    return Atoms([3] * 50 + [14] * 30, positions, cell=[10.4] * 3, pbc=True)


# --- this package -----------------------------------------------------------------------------


def harmonic(structures, **parameters):
    """What kymatio computes, up to a factor of each feature."""
    from skatom.descriptors import WaveletScattering

    beta = SIGMA * EDGE / POINTS
    return WaveletScattering.solid_harmonic(
        l_max=3, scales=(0, 1, 2), channels="total", beta=beta, density_width=beta,
        grid_shape=(POINTS,) * 3, **parameters,
    ).fit(structures)  # fmt: skip


def measure(task, data):
    """Seconds of each of some runs."""
    from skatom.descriptors import WaveletScattering  # noqa: F401 - not part of what is timed

    structures = read(data, ":")
    if task == "first":
        start = time.perf_counter()
        harmonic(structures).transform(structures)
        return [time.perf_counter() - start]
    scattering = harmonic(structures, multiresolution=task == "coarse")
    return repeated(lambda: scattering.transform(structures), 11)


def cells():
    """Seconds of all features of a cell, of 100, and of the gradient of a model of 100."""
    from skatom.descriptors import WaveletScattering

    atoms = lithium_silicon()
    full = WaveletScattering(
        scales=range(5), beta=0.536, grid_shape=(48, 48, 48), scale_gap=-1
    ).fit([atoms])
    chosen = np.random.default_rng(0).choice(len(full.support_), 100, replace=False)
    few = full.select(chosen)
    features = few.transform([atoms])
    runs = {
        f"all {len(full.support_)} features": lambda: full.transform([atoms]),
        "100 features": lambda: few.transform([atoms]),
        "gradient of 100 features": lambda: features.pullback(np.ones(100)),
    }
    seconds = {name: min(repeated(run, 5)) for name, run in runs.items()}
    return {**seconds, "peak memory, GiB": peak_gib()}


# --- the comparison ---------------------------------------------------------------------------


def compare(folder, threads):
    peer = peer_python("kymatio")
    molecules, _ = qm7(np.arange(100))
    for atoms in molecules:
        atoms.positions += 0.5 * EDGE - atoms.positions.mean(axis=0)
        atoms.set_cell([EDGE] * 3)
        atoms.pbc = True
    batch, many = folder / "batch.xyz", folder / "many.xyz"
    write(batch, molecules[:8], format="extxyz")
    write(many, molecules, format="extxyz")

    mine_first = run_process(own(measure, "first", many), threads)  # fills numba's cache
    commands = {
        ("skatom", "coarse grids"): own(measure, "coarse", batch),
        ("skatom", "all on 32³"): own(measure, "full", batch),
        ("kymatio", "numpy"): (peer, SCRIPT, "numpy", "transform", batch),
        ("kymatio", "torch"): (peer, SCRIPT, "torch", "transform", batch),
    }
    best = take_turns(commands, ROUNDS, threads)
    theirs = min(seconds for (package, _), seconds in best.items() if package == "kymatio")
    for (package, variant), seconds in best.items():
        print(f"8 densities: {package:8s}{variant:14s}{1e3 * seconds / 8:8.2f} ms each"
              f"{theirs / seconds:8.2f} x the faster kymatio", flush=True)  # fmt: skip
    commands = {
        "skatom": own(measure, "first", many),
        "kymatio": (peer, SCRIPT, "numpy", "first", many),
    }
    best = take_turns(commands, ROUNDS, threads)
    print(f"100 molecules with filters and densities: {best['skatom']:.3f} s, kymatio "
          f"{best['kymatio']:.2f} s, {best['kymatio'] / best['skatom']:.1f} x; with compilation "
          f"{mine_first[0]:.2f} s")  # fmt: skip
    agreement(batch, peer, threads)


def agreement(batch, peer, threads):
    """Largest spread of the ratios of the features over molecules."""
    theirs = np.array(run_process((peer, SCRIPT, "numpy", "features", batch), threads))
    structures = read(batch, ":")
    mine = harmonic(structures, multiresolution=False)
    values = mine.transform(structures).values[:, 4:]  # without order 0
    # kymatio: (molecule, path, l, exponent), paths (j1), then its (j1, j2)
    paths = [("0",), ("0", "1"), ("0", "2"), ("1",), ("1", "2"), ("2",)]
    place = {name: k for k, name in enumerate(mine.get_feature_names_out()[4:])}
    n_first = [len(path) for path in paths]
    order = sorted(range(6), key=lambda k: (n_first[k], paths[k]))
    spread = []
    for column, k in enumerate(order):
        for l in range(4):
            for p, q in enumerate(("1/2", "1", "2", "3")):
                waves = ";".join(f"n{l + 1}l{l}j{j}" for j in paths[k])
                name = f"S{len(paths[k])}[total;{waves};q{q}]"
                ratio = values[:, place[name]] / theirs[:, column, l, p]
                spread.append(np.abs(ratio / ratio.mean() - 1).max())
    print(f"agreement with kymatio, up to a factor of each feature: median {np.median(spread):.1e},"
          f" largest {max(spread):.1e}")  # fmt: skip


# --- QM7 --------------------------------------------------------------------------------------


def atomisation_energies(n_molecules):
    """Mean absolute errors in five-fold cross-validation; hyper-parameters within each fold."""
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from skatom.descriptors import WaveletScattering

    n_all = len(np.load(DATA / "molecules" / "qm7.npz")["E_pbe0"])
    chosen = np.random.default_rng(0).permutation(n_all)[:n_molecules]
    molecules, energies = qm7(chosen)
    start = time.perf_counter()
    scattering = WaveletScattering.solid_harmonic(verbose=1, **QM7_PARAMETERS)
    values = scattering.fit_transform(molecules).values
    seconds = time.perf_counter() - start
    print(f"{len(molecules)} molecules, {values.shape[1]} features: {seconds:.0f} s", flush=True)
    kernel = KernelRidge(kernel="poly", degree=2, gamma=1 / values.shape[1])
    models = {
        "ridge": RidgeCV(np.logspace(-7, 1, 9)),
        "bilinear": GridSearchCV(
            kernel,
            {"coef0": [1, 10, 100], "alpha": np.logspace(-6, -2, 5)},
            cv=ShuffleSplit(1, random_state=0),
            scoring="neg_mean_absolute_error",
        ),
    }
    mean = energies.mean()
    for name, model in models.items():
        folds = KFold(5, shuffle=True, random_state=0)
        pipeline = make_pipeline(StandardScaler(), model)
        predicted = cross_val_predict(pipeline, values, energies - mean, cv=folds)
        errors = predicted - (energies - mean)
        print(f"QM7, {name:9s} MAE {np.abs(errors).mean():.2f}, RMSE "
              f"{np.sqrt(np.mean(errors**2)):.2f} kcal/mol", flush=True)  # fmt: skip


def add_arguments(parser):
    parser.add_argument("parts", nargs="*", default=["kymatio", "cells"])
    parser.add_argument("--molecules", type=int, help="of QM7; all by default")


def run(options):
    if "kymatio" in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), options.threads)
    if "qm7" in options.parts:
        atomisation_energies(options.molecules)
    if "cells" in options.parts:
        for name, value in run_process(own(cells), options.threads).items():
            print(f"Li-Si cell of 80 atoms on 48³: {name:28s}{value:8.3f}", flush=True)
