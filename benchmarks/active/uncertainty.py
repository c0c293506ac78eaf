"""Deviations, committees and grades beside true errors, far from what was learnt: 3BPA.

    python -m benchmarks uncertainty
    python -m benchmarks uncertainty --frames 250 --sparse 250 --members 5

A sparse Gaussian process, a committee of these and extrapolation grades know frames at 300 K. The
test is the third of the file of mixed temperatures that is highest in energy. Printed are
Spearman's correlations of the deviation of the force on each atom, or its grade, with the error of
the force; of the mean and of the largest of these in each structure with its root mean square
error; and the share of
components within intervals of 95 %, before the deviations are multiplied by one factor and after
it. The factor is that of half of the structures, the share that of the others, and both are means
over divisions.

Grades are those of a linear model of a shorter descriptor, of the same errors of the process: an
active set needs more environments of each element than features.
"""

import time

import numpy as np

from benchmarks.harness import DATA, table

DIVISIONS = 20


def data(n_frames):
    """Structures and targets to learn, and those of the test."""
    from skatom.datasets import read
    from skatom.targets import Targets

    folder = DATA / "molecules"
    warm, mixed = read(folder / "3bpa_train_300K.npz"), read(folder / "3bpa_mixedT.npz")
    known = np.sort(np.random.default_rng(0).permutation(len(warm.structures))[:n_frames])
    hot = np.sort(np.argsort(mixed.targets.energy)[-len(mixed.structures) // 3 :])
    parts = []
    for each, chosen in ((warm, known), (mixed, hot)):
        y = each.targets[chosen]
        parts += [each.structures[chosen], Targets(y.energy, y.forces, offsets=y.offsets)]
    return parts


def descriptor(short=False):
    from skatom.descriptors import SOAP

    size = {"n_max": 5, "l_max": 4, "species_compression": 2} if short else {"n_max": 6, "l_max": 4}
    scaling = {"rate": 1.0, "scale": 2.0, "exponent": 4.0}
    return SOAP(cutoff=4.5, sigma=0.3, radial_scaling=scaling, **size)


def process(n_sparse):
    from skatom.kernels import Cosine
    from skatom.models import SparseGaussianProcess

    return SparseGaussianProcess(
        Cosine(3), n_sparse=n_sparse, noise_energy=2e-4, noise_forces=0.02, random_state=0
    )


def add_arguments(parser):
    parser.add_argument("--frames", type=int, default=500, help="at 300 K (default: 500)")
    parser.add_argument("--sparse", type=int, default=300, help="representatives (default: 300)")
    parser.add_argument("--members", type=int, default=6, help="of the committee (default: 6)")


def run(options):
    from skatom.models import Committee
    from skatom.selection import MaxVol

    X, y, test, test_y = data(options.frames)
    soap = descriptor().fit(X)
    features, test_features = soap.transform(X), soap.transform(test)
    begin, rows = time.process_time(), []
    gp = process(options.sparse).fit(features, y)
    _, forces, deviations = gp.predict(test_features, return_forces=True, return_forces_std=True)
    errors = forces - test_y.forces
    rows.append(_row("process", test, errors, deviations, begin))
    begin = time.process_time()
    known = MaxVol(descriptor(short=True), rows="atom").fit(X)
    rows.append(_row("grades", test, errors, known.score(test, by_atom=True), begin))
    begin = time.process_time()
    members = Committee(process(options.sparse // 2), options.members, random_state=0)
    members.fit(features, y)
    _, forces, spread = members.predict(test_features, return_forces=True, return_forces_std=True)
    rows.append(_row("committee", test, forces - test_y.forces, spread, begin))
    header = ["", "MAE, eV/Å", "of atoms", "of structures", "within 95 %", "with the factor",
              "factor", "seconds"]  # fmt: skip
    table(f"{options.frames} frames known, {len(test)} hot ones", header, rows)


def _row(name, structures, errors, deviations, begin):
    """Correlations and coverage as strings; grades, (n_atoms,), have no coverage."""
    from scipy.stats import spearmanr

    sizes = np.linalg.norm(errors, axis=1)
    scores = np.linalg.norm(deviations, axis=1) if deviations.ndim == 2 else deviations
    offsets, n_atoms = structures.offsets[:-1], structures.n_atoms
    of_structures = np.sqrt(np.add.reduceat(sizes**2, offsets) / n_atoms)
    means = np.add.reduceat(scores, offsets) / n_atoms
    largest = np.maximum.reduceat(scores, offsets)
    row = [
        name, f"{np.abs(errors).mean():.3f}", f"{spearmanr(sizes, scores)[0]:.2f}",
        f"{spearmanr(of_structures, means)[0]:.2f} {spearmanr(of_structures, largest)[0]:.2f}",
    ]  # fmt: skip
    if deviations.ndim == 2:
        row += _coverage(structures, errors, deviations)
    else:
        row += ["", "", ""]
    row.append(f"{time.process_time() - begin:.0f}")
    print(" ".join(row), flush=True)
    return row


def _coverage(structures, errors, deviations):
    """Share of components within 95 %, without and with the factor of others, and the factor."""
    from skatom.metrics import calibration, coverage

    owners = np.repeat(np.arange(len(structures)), structures.n_atoms)
    found = []
    for seed in range(DIVISIONS):
        order = np.random.default_rng(seed).permutation(len(structures))
        seen = np.isin(owners, order[: len(order) // 2])
        factor = calibration(errors[seen].ravel(), deviations[seen].ravel())["scale"]
        rest = errors[~seen].ravel(), deviations[~seen].ravel()
        found.append([*(coverage(rest[0], f * rest[1], [0.95])[0] for f in (1, factor)), factor])
    before, after, factor = np.mean(found, axis=0)
    return f"{100 * before:.1f}", f"{100 * after:.1f}", f"{factor:.2f}"
