"""Errors of potentials of selected structures beside random ones, on molybdenum of mlearn.

A moment tensor potential learns energies and forces of the first 20, 40, … of the training
structures, in the order in which a measure of `skatom.selection` chose them from the training part
without their labels, after five random ones; means over seeds of these five, and of random orders.
"""

import time
import warnings

import numpy as np

from benchmarks.accuracy._model_rows import _element
from benchmarks.harness import table

LEVEL, CUTOFF, ALPHA = 16, 4.8, 1e-9
SIZES = (20, 40, 60, 80, 97)
BEGIN = 5
MEASURES = ("variance, mean", "variance, largest", "grades of labels", "distance")


def measure(name):
    from skatom.kernels import Cosine, StructureKernel
    from skatom.selection import KernelVariance, MaxVol, NearestDistance

    kernel = StructureKernel(Cosine(2), match="average")
    return {
        "variance, mean": lambda: KernelVariance(kernel, criterion="mean"),
        "variance, largest": lambda: KernelVariance(kernel),
        "grades of labels": lambda: MaxVol(rows="labels"),
        "distance": NearestDistance,
    }[name]()


def orders(name, features, seeds):
    """The training structures in the order of selection, for each seed."""
    n, found = len(features), []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(n)
        if name != "random":
            begin, rest = order[:BEGIN], np.sort(order[BEGIN:])
            with warnings.catch_warnings():  # an active set has no more than its columns
                warnings.simplefilter("ignore")
                chosen = (
                    measure(name).fit(features[begin]).select(features[rest], max(SIZES) - BEGIN)
                )
            order = np.concatenate([begin, rest[chosen]])
        found.append(order)
    return found


def errors(data, features, test_features, chosen):
    """MAE of energies in meV/atom, its standard error, and MAE of forces in eV/Å."""
    from skatom.models import LinearPotential

    model = LinearPotential(alpha=ALPHA).fit(features[chosen], data.train_y[chosen])
    energy, forces = model.predict(test_features, return_forces=True)
    off = 1e3 * np.abs(energy - data.test_y.energy) / data.test.n_atoms
    of_forces = np.abs(forces - data.test_y.forces).mean()
    return off.mean(), off.std(ddof=1) / np.sqrt(len(off)), of_forces


def add_arguments(parser):
    parser.add_argument("--seeds", type=int, default=5, help="of random parts (default: 5)")


def run(options):
    from skatom.descriptors import MomentTensor

    data = _element("Mo")
    descriptor = MomentTensor(cutoff=CUTOFF, level=LEVEL)
    features = descriptor.fit_transform(data.train)
    test_features = descriptor.transform(data.test)
    whole = errors(data, features, test_features, np.arange(len(features)))
    rows = [[f"all {len(features)}", "", *(f"{value:.3g}" for value in whole), ""]]
    for name in ("random", *MEASURES):
        begin = time.perf_counter()
        found = orders(name, features, options.seeds)
        seconds = (time.perf_counter() - begin) / options.seeds
        for size in SIZES:
            if min(map(len, found)) < size:
                break
            each = [errors(data, features, test_features, order[:size]) for order in found]
            means = (f"{value:.3g}" for value in np.mean(each, axis=0))
            rows.append([name, str(size), *means, f"{seconds:.2f}"])
    header = ["selection", "structures", "meV/atom", "standard error", "eV/Å", "seconds"]
    table("molybdenum, errors of the test part", header, rows)
