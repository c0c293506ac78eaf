"""sGDML: errors on published data; equality with and speed beside the sgdml package.

    python -m benchmarks sgdml                 everything (about 20 minutes on two cores)
    python -m benchmarks sgdml speed           only the comparison with sgdml 1.0.3
    python -m benchmarks sgdml accuracy        only the errors; needs the data in SKATOM_DATA
    python -m benchmarks sgdml leave-one-out   of the coupled-cluster frames, too few to hold out

The peer runs in an environment of its own, made on first use from
``peers/requirements-sgdml.txt`` in ``benchmarks/.peers`` (or SKATOM_PEERS).
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from scipy.linalg import null_space
from scipy.linalg.lapack import dpotrf, dpotri

from benchmarks.gdml._sgdml_worker import worker
from benchmarks.harness import (
    DATA,
    KCAL,
    own,
    peer_python,
    peer_script,
    run_worker,
    table,
    timed,
)
from skatom.datasets import load_ethanol, read
from skatom.descriptors.inverse_distances import pair_features
from skatom.metrics import evaluate
from skatom.model_selection import energy_stratified_sample
from skatom.models import SGDML
from skatom.models.gdml.system import GDMLSystem, permute_pairs
from skatom.symmetry import find_permutations

# training file, test file (None: the frames of the first that are not drawn), training frames,
# sigma, published bounds of energy and force MAE (None: not published at this size), their unit
_ACCURACY = [
    ("md17_ethanol", None, 1000, 10.0, 0.07, 0.33, "kcal/mol"),
    ("rmd17_ethanol_train", "rmd17_ethanol_test", 1000, 10.0, 2.4, 16.0, "meV"),
    ("rmd17_aspirin_train", "rmd17_aspirin_test", 200, 20.0, None, None, "meV"),
    ("md17_ethanol_ccsd_t", None, 736, 12.0, None, 0.40, "kcal/mol"),
]
_HEADER = [
    "data", "train/test", "sigma", "perms", "energy", "published", "force", "published", "unit",
    "fit/s",
]  # fmt: skip
_ASPIRIN_1000 = ("rmd17_aspirin_train", "rmd17_aspirin_test", 1000, 20.0, 7.2, 31.8, "meV")


def accuracy(cases):
    rows = []
    for train_file, test_file, n_train, sigma, energy_bound, force_bound, unit in cases:
        X, y, test_X, test_y = _frames(train_file, test_file, n_train)
        seconds, model = timed(lambda X=X, y=y, s=sigma: SGDML(sigma=s, random_state=0).fit(X, y))
        figures = evaluate(model, test_X, test_y)
        factor = KCAL if unit == "kcal/mol" else 1e3
        rows.append([
            train_file,
            f"{len(X)}/{len(test_X)}",
            f"{sigma:g}",
            str(len(model.permutations_)),
            f"{factor * figures['energy_mae']:.3g}",
            f"{energy_bound or '-'}",
            f"{factor * figures['force_mae']:.3g}",
            f"{force_bound or '-'}",
            unit,
            f"{seconds:.0f}",
        ])  # fmt: skip
        print(*rows[-1], flush=True)
    table("Mean absolute errors beside published ones; unit is that of energies", _HEADER, rows)


def _frames(train_file, test_file, n_train):
    data = read(DATA / "molecules" / f"{train_file}.npz")
    train = energy_stratified_sample(data.targets.energy, n_train, random_state=0)
    if test_file is None:
        test = np.setdiff1d(np.arange(len(data.structures)), train)
        test_data = data
    else:
        test_data = read(DATA / "molecules" / f"{test_file}.npz")
        test = np.arange(len(test_data.structures))
    return (
        data.structures[train],
        data.targets[train],
        test_data.structures[test],
        test_data.targets[test],
    )


def leave_one_out(name, sigma, alpha=1e-10):
    """Force MAE (kcal/mol/Å) of the models that lack one frame each, all from one factorisation.

    The residual of the frame that a Gaussian process lacks is (A⁻¹)_ii⁻¹ (A⁻¹y)_i, where A is the
    matrix of the linear system and i the rows of the frame (Rasmussen, Williams, Gaussian Processes
    for Machine Learning, 2006, section 5.4.2).
    """
    data = read(DATA / "molecules" / f"{name}.npz")
    structures, forces = data.structures, data.targets.forces
    permutations = find_permutations(structures, random_state=0)
    system = GDMLSystem(
        structures, pair_features(structures), permutations, permute_pairs(permutations), sigma,
        alpha, energy_constraint=False,
    )  # fmt: skip
    rows = system.rows
    matrix = np.zeros((rows[-1], rows[-1]))
    for first in range(0, len(structures), 24):
        start, stop = rows[first], rows[min(first + 24, len(structures))]
        column = np.empty((rows[-1] - start, stop - start))
        system.fill(start, stop, column)
        matrix[start:, start:stop] = column
    factor, _ = dpotrf(matrix.T, lower=False, overwrite_a=True)
    inverse, _ = dpotri(factor, lower=False, overwrite_c=True)
    inverse += np.triu(inverse, 1).T
    solution = inverse @ system.right_side(forces)
    errors = []
    for i, frame_forces in enumerate(forces.reshape(len(structures), -1)):
        own = slice(rows[i], rows[i + 1])
        residual = np.linalg.solve(inverse[own, own], solution[own])
        basis = null_space(system.rigid[i].T)  # of what is no rigid motion
        full = basis @ np.linalg.solve(basis[system.kept[own]], residual)
        errors.append(full + system.rigid[i] @ (system.rigid[i].T @ frame_forces))
    print(
        f"{name}, {len(structures)} frames, sigma {sigma:g}: leave-one-out force MAE "
        f"{KCAL * np.abs(errors).mean():.4f} kcal/mol/Å"
    )


def speed(threads):
    peer = peer_python("sgdml")
    header = ["n", "quantity", "sgdml 1.0.3", "skatom", "ratio"]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for n in (200, 500):
            task = _write_task(folder, n, threads)
            command = peer, peer_script("sgdml_worker.py"), json.dumps(task)
            theirs = run_worker(command, threads)
            reference = dict(np.load(task["out"]))
            own_task = {**task, "permutations": reference["perms"].tolist()}
            ours = run_worker(own(worker, own_task), threads)
            table(
                f"Ethanol, {n} frames, {len(reference['perms'])} permutations, {threads} threads; "
                f"others used {theirs['foreign_cores']:.2f} and {ours['foreign_cores']:.2f} cores",
                header,
                _speed_rows(n, theirs, ours),
            )
            _print_equality(reference, dict(np.load(task["out"])))
        task = _write_task(folder, 1000, threads)
        ours = run_worker(own(worker, task), threads)
        full = 8 * 27_000**2 / 2**30
        print(
            f"\nEthanol, 1000 frames: fit {ours['fit_s']:.1f} s (assembly {ours['assembly_s']:.2f} "
            f"s, symmetries {ours['search_s']:.2f} s), peak memory {ours['peak_gib']:.2f} GiB, "
            f"{ours['peak_gib'] / full:.2f} of the full matrix; others used "
            f"{ours['foreign_cores']:.2f} cores"
        )


def _write_task(folder, n, threads):
    data = load_ethanol()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(data.structures))
    n_frames = len(order)
    path = folder / f"ethanol_{n}.npz"
    np.savez(
        path,
        z=data.structures[0].numbers,
        R=data.structures.positions.reshape(n_frames, -1, 3),
        E=data.targets.energy,
        F=data.targets.forces.reshape(n_frames, -1, 3),
        train=order[:n],
        test=order[-1000:],
    )
    return {
        "arrays": str(path),
        "out": str(folder / "predictions.npz"),
        "threads": threads,
        "touch": 3 * 8 * (27 * min(n, 500)) ** 2,
    }


def _speed_rows(n, theirs, ours):
    quantities = [
        ("symmetry search, s", "search_s", 1.0),
        ("kernel assembly, s", "assembly_s", 1.0),
        ("training, s", "fit_s", 1.0),
        ("1000 geometries, s", "predict_s", 1.0),
        ("one geometry, ms", "single_s", 1e3),
        ("peak memory, GiB", "peak_gib", 1.0),
    ]
    rows = [
        [str(n), name, f"{factor * theirs[key]:.4g}", f"{factor * ours[key]:.4g}",
         f"{theirs[key] / ours[key]:.1f}"]
        for name, key, factor in quantities
    ]  # fmt: skip
    with_search = ours["search_s"] + ours["fit_s"]
    rows.append([
        str(n), "training; ours with search, s", f"{theirs['fit_s']:.4g}", f"{with_search:.4g}",
        f"{theirs['fit_s'] / with_search:.1f}",
    ])  # fmt: skip
    return rows


def _print_equality(theirs, ours):
    forces = ours["F"].reshape(theirs["F"].shape)
    force = np.abs(forces - theirs["F"]).max() / np.abs(theirs["F"]).max()
    energy = np.abs(ours["E"] - theirs["E"]).max() / np.ptp(theirs["E"])
    print(
        f"  largest difference, relative: energies {energy:.1e} of their range, forces {force:.1e}"
    )


def add_arguments(parser):
    parser.add_argument("parts", nargs="*", default=["speed", "accuracy", "leave-one-out"])
    parser.add_argument(
        "--large", action="store_true", help="aspirin, 1000 frames: 13 GiB and some 15 minutes"
    )


def run(options):
    if "speed" in options.parts:
        speed(options.threads)
    if "accuracy" in options.parts:
        accuracy(_ACCURACY + [_ASPIRIN_1000] * options.large)
    if "leave-one-out" in options.parts:
        leave_one_out("md17_ethanol_ccsd_t", sigma=12.0)
