"""Errors of potentials of selected structures beside random ones, on Mo of mlearn and on 3BPA.

    python -m benchmarks active_selection
    python -m benchmarks active_selection Mo --measures "variance, mean" --seeds 2

On molybdenum a moment tensor potential, on 3BPA a sparse Gaussian process learns energies and
forces of the first 20, 40, … structures of a pool, in the order in which a measure of
`skatom.selection` chose them without their labels, after five random ones; means over seeds of
these five, and of random orders. The pool is the training part of mlearn, or half of 3BPA's file of
mixed temperatures and as many frames of 300 K; the test is mlearn's, or the other half. Standard
errors are those of the mean over the test structures.
"""

import time
import warnings
from dataclasses import dataclass

import numpy as np

from benchmarks.accuracy._model_rows import Samples, _element
from benchmarks.harness import DATA, table

BEGIN = 5
MEASURES = (
    "variance, mean",
    "variance, largest",
    "grades of labels",
    "grades of atoms",
    "distance",
)


@dataclass(frozen=True)
class Study:
    """Functions that make data, descriptor and model; the sizes; the power of the kernel."""

    data: object
    descriptor: object
    model: object
    sizes: tuple
    zeta: int


def _bpa():
    from skatom import Structures
    from skatom.datasets import read
    from skatom.targets import Targets

    folder = DATA / "molecules"
    warm, mixed = read(folder / "3bpa_train_300K.npz"), read(folder / "3bpa_mixedT.npz")
    order = np.random.default_rng(0).permutation(len(mixed.structures))
    pool, test = np.sort(order[:130]), np.sort(order[130:])
    of_test = set(_fingerprints(mixed.structures[test]))  # both files have some frames
    others = [k for k, key in enumerate(_fingerprints(warm.structures)) if key not in of_test]
    parts = (mixed, pool), (warm, others[:: len(others) // 130][:130])
    known = [atoms for data, chosen in parts for atoms in data.structures[chosen].to_ase()]
    known = Structures.from_ase(known)
    energies, forces = (
        np.concatenate([getattr(data.targets[chosen], name) for data, chosen in parts])
        for name in ("energy", "forces")
    )
    y, test_y = Targets(energies, forces, offsets=known.offsets), mixed.targets[test]
    test_y = Targets(test_y.energy, test_y.forces, offsets=test_y.offsets)
    return Samples(known, y, mixed.structures[test], test_y)


def _fingerprints(structures):
    rows = structures.positions.reshape(len(structures), -1)
    return [row.round(4).tobytes() for row in rows]


def _tensors():
    from skatom.descriptors import MomentTensor

    return MomentTensor(cutoff=4.8, level=16)


def _linear():
    from skatom.models import LinearPotential

    return LinearPotential(alpha=1e-9)


def _soap():
    from skatom.descriptors import SOAP

    scaling = {"rate": 1.0, "scale": 2.0, "exponent": 4.0}
    return SOAP(
        cutoff=4.5, n_max=5, l_max=4, sigma=0.3, species_compression=2, radial_scaling=scaling
    )


def _process():
    from skatom.kernels import Cosine
    from skatom.models import SparseGaussianProcess

    return SparseGaussianProcess(
        Cosine(3), n_sparse=120, noise_energy=2e-4, noise_forces=0.02, random_state=0
    )


STUDIES = {
    "Mo": Study(lambda: _element("Mo"), _tensors, _linear, (20, 40, 60, 80, 97), 2),
    "3bpa": Study(_bpa, _soap, _process, (20, 40, 80, 130), 3),
}


def measure(name, zeta):
    from skatom.kernels import Cosine, StructureKernel
    from skatom.selection import KernelVariance, MaxVol, NearestDistance

    kernel = StructureKernel(Cosine(zeta), match="average")
    return {
        "variance, mean": lambda: KernelVariance(kernel, criterion="mean"),
        "variance, largest": lambda: KernelVariance(kernel),
        "grades of labels": lambda: MaxVol(rows="labels"),
        "grades of atoms": lambda: MaxVol(rows="atom"),
        "distance": NearestDistance,
    }[name]()


def order_of(name, study, features, seed):
    """The structures of the pool in the order of selection."""
    order = np.random.default_rng(seed).permutation(len(features))
    if name == "random":
        return order
    begin, rest = order[:BEGIN], np.sort(order[BEGIN:])
    with warnings.catch_warnings():  # an active set has no more than its columns
        warnings.simplefilter("ignore")
        known = measure(name, study.zeta).fit(features[begin])
        chosen = known.select(features[rest], max(study.sizes) - BEGIN)
    return np.concatenate([begin, rest[chosen]])


def errors(study, data, features, test_features, chosen):
    """MAE of energies in meV/atom, of forces in eV/Å, and the standard error of each."""
    with warnings.catch_warnings():  # of few frames, or fewer environments than representatives
        warnings.simplefilter("ignore")
        model = study.model().fit(features[chosen], data.train_y[chosen])
    energy, forces = model.predict(test_features, return_forces=True)
    off = 1e3 * np.abs(energy - data.test_y.energy) / data.test.n_atoms
    of_forces = np.abs(forces - data.test_y.forces).mean(axis=1)
    each = np.add.reduceat(of_forces, data.test.offsets[:-1]) / data.test.n_atoms
    return off.mean(), of_forces.mean(), _error_of_mean(off), _error_of_mean(each)


def _error_of_mean(values):
    return values.std(ddof=1) / np.sqrt(len(values))


def add_arguments(parser):
    parser.add_argument("names", nargs="*", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument(
        "--measures", nargs="+", choices=["random", *MEASURES], default=["random", *MEASURES]
    )
    parser.add_argument("--seeds", type=int, default=5, help="of random parts (default: 5)")


def run(options):
    for name in options.names:
        _study(name, STUDIES[name], options)


def _study(name, study, options):
    data, descriptor = study.data(), study.descriptor()
    features = descriptor.fit_transform(data.train)
    test_features = descriptor.transform(data.test)
    parts = study, data, features, test_features
    whole = errors(*parts, np.arange(len(features)))
    rows = [_row(f"all {len(features)}", len(features), [whole], 0.0)]
    for which in options.measures:
        begin = time.process_time()
        found = [order_of(which, study, features, seed) for seed in range(options.seeds)]
        seconds = (time.process_time() - begin) / options.seeds
        for size in study.sizes:
            if min(map(len, found)) < size:
                break
            each = [errors(*parts, order[:size]) for order in found]
            rows.append(_row(which, size, each, seconds))
    header = ["selection", "structures", "meV/atom", "standard error", "eV/Å", "standard error",
              "seeds", "seconds"]  # fmt: skip
    table(f"{name}, errors of {len(test_features)} test structures", header, rows)


def _row(name, size, each, seconds):
    """A row of means over seeds, and the spread of the errors of energies and forces over them."""
    energy, forces, energy_error, forces_error = np.mean(each, axis=0)
    spread = np.std(each, axis=0)[:2]
    row = [
        name, str(size), f"{energy:.3g}", f"{energy_error:.2g}", f"{forces:.4f}",
        f"{forces_error:.4f}", f"{spread[0]:.2g} {spread[1]:.4f}", f"{seconds:.2f}",
    ]  # fmt: skip
    print(" ".join(row), flush=True)
    return row
