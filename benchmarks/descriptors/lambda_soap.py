"""λ-SOAP: learning curves of dipoles and polarisabilities of the QM7b molecules.

    python -m benchmarks lambda_soap [dipole] [polarizability]

α and ζ are chosen by cross-validation on 300 molecules of the training part. Errors are those of
whole tensors, the root mean square of |T - T̂| over 362 molecules that no choice has seen, beside
those of the mean over all rotations: no dipole, and the mean isotropic polarisability. The
anisotropic part of the polarisability is judged alone too. The features of 50 molecules are
timed beside featomic's ``EquivariantPowerSpectrum`` of the same parameters, in turns.
"""

import tempfile
from pathlib import Path

import numpy as np
from ase.io import read as read_ase
from ase.io import write
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from benchmarks.harness import (
    DATA,
    own,
    peak_gib,
    peer_of,
    peer_script,
    repeated,
    table,
    take_turns,
    timed,
)
from skatom.datasets import read
from skatom.descriptors import LambdaSOAP, spherical_from_cartesian
from skatom.models import TensorKernelRidge

PEER = "descriptors"
SCRIPT = peer_script("lambda_soap.py")
SIZES = (75, 150, 300, 600)
GRID = {"tensorkernelridge__alpha": [1e-5, 1e-4, 1e-3], "tensorkernelridge__zeta": [1, 2]}
KEYS = {"dipole": "dipole_raw", "polarizability": "pol_raw"}


def load():
    data = read(DATA / "molecules" / "qm7b_dipole_polarizability.xyz.xz", keys=KEYS)
    order = np.random.default_rng(0).permutation(len(data.structures))
    return data.structures, data.targets, order[: SIZES[-1]], order[SIZES[-1] :]


def rms(tensors):
    return float(np.sqrt(np.mean(np.sum(tensors**2, axis=tuple(range(1, tensors.ndim))))))


def mean_over_rotations(tensors):
    """What a model without directions predicts."""
    if tensors.ndim == 2:
        return np.zeros(3)
    return np.trace(tensors, axis1=1, axis2=2).mean() / 3 * np.eye(3)


def learning_curve(target):
    structures, targets, train, test = load()
    true = getattr(targets, target)
    model = make_pipeline(LambdaSOAP(species_compression=3), TensorKernelRidge(target))
    some = train[:300]
    search = GridSearchCV(model, GRID, cv=3, refit=False).fit(structures[some], targets[some])
    model.set_params(**search.best_params_)
    print(f"{target}: chosen {search.best_params_}")
    rows = []
    for size in SIZES:
        part = train[:size]
        fit, _ = timed(lambda part=part: model.fit(structures[part], targets[part]))
        predict, predicted = timed(lambda: model.predict(structures[test]))
        errors = predicted - true[test]
        rest = rms(true[test] - mean_over_rotations(true[part]))
        row = [str(size), f"{rms(errors):.4f}", f"{rest:.3f}", f"{rest / rms(errors):.2f}"]
        if target == "polarizability":
            parts = [rms(spherical_from_cartesian(t, 2)) for t in (true[test], errors)]
            row.append(f"{parts[0] / parts[1]:.2f}")
        rows.append([*row, f"{fit:.1f}", f"{1e3 * predict / len(test):.1f}"])
    header = ["molecules", "rms error", "rotated mean", "ratio"]
    header += ["ratio, anisotropic"] if target == "polarizability" else []
    table(f"{target} (atomic units)", [*header, "fit, s", "predict, ms/molecule"], rows)


def own_times(lam, data):
    """Seconds of each of some transforms, after a first one."""
    structures = read_ase(data, ":")
    soap = LambdaSOAP(lam).fit(structures)
    return repeated(lambda: soap.transform(structures).values, 5)


def compare_speed(peer, threads):
    structures, _, train, _ = load()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "molecules.xyz"
        write(data, structures[train[:50]].to_ase(), format="extxyz")
        for lam in (0, 1, 2):
            commands = {"skatom": own(own_times, lam, data)}
            if peer:
                commands["featomic"] = (peer, SCRIPT, lam, data)
            best = take_turns(commands, 2, threads)
            ratios = [f"{best[name] / best['skatom']:.1f}" for name in best]
            rows.append([str(lam), *(f"{t:.3f}" for t in best.values()), ratios[-1]])
    table(
        f"features of 50 molecules, uncompressed, {threads} threads",
        ["λ", *(f"{name}, s" for name in best), "ratio"],
        rows,
    )


def add_arguments(parser):
    parser.add_argument("targets", nargs="*", default=["dipole", "polarizability"])


def run(options):
    compare_speed(peer_of(options, PEER), options.threads)
    for name in options.targets:
        learning_curve(name)
    print(f"\npeak memory {peak_gib():.2f} GiB")
