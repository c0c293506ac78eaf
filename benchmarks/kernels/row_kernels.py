"""Kernels of plain rows: matrices of sorted Coulomb matrices of QM7, beside scikit-learn's.

    python -m benchmarks row_kernels

Both have the same number of threads; processor time is printed too, as scikit-learn computes
distances in one thread.
"""

import time

import numpy as np
from sklearn.gaussian_process import kernels as gp
from sklearn.metrics.pairwise import laplacian_kernel, rbf_kernel

from benchmarks.accuracy.qm7 import molecules
from benchmarks.harness import table

REPEATS = 3


def pairs_of_kernels(width):
    """{name: (kernel of skatom, the same of scikit-learn)}"""
    from skatom.kernels import GammaExponential, Gaussian, Laplacian, Matern

    return {
        "Laplacian": (Laplacian(width), lambda *xy: laplacian_kernel(*xy, gamma=1 / width)),
        "Gaussian": (Gaussian(width), lambda *xy: rbf_kernel(*xy, gamma=0.5 / width**2)),
        "Matern 5/2": (Matern(width), gp.Matern(width, nu=2.5)),
        "gamma-exponential 1.5": (GammaExponential(width, 1.5), None),
    }


def seconds(functions):
    """Shortest seconds on the clock and of the processor of functions called in turn."""
    best = {name: (np.inf, np.inf) for name in functions}
    for _ in range(REPEATS):
        for name, function in functions.items():
            clock, processor = time.perf_counter(), time.process_time()
            function()
            spent = time.perf_counter() - clock, time.process_time() - processor
            best[name] = tuple(map(min, best[name], spent))
    return best


def lines(x, others):
    columns = x if others is None else others
    width = 10 * float(np.abs(x[:200] - x[200:400]).sum(axis=1).mean())
    for name, (ours, theirs) in pairs_of_kernels(width).items():
        given = (x,) if others is None else (x, others)
        functions = {"skatom": lambda ours=ours, given=given: ours(*given)}
        difference = "–"
        if theirs is not None:
            functions["scikit-learn"] = lambda theirs=theirs, given=given: theirs(*given)
            difference = f"{abs(ours(x[:50], columns) - theirs(x[:50], columns)).max():.0e}"
        best = seconds(functions)
        clock, processor = best["skatom"]
        reference = best.get("scikit-learn", (np.nan, np.nan))
        yield [
            f"{name}, {len(x)} x {'itself' if others is None else len(columns)}",
            *(f"{value:.2f}" for value in (clock, reference[0])),
            f"{reference[0] / clock:.1f}",
            f"{reference[1] / processor:.1f}",
            difference,
        ]


def add_arguments(parser):
    parser.add_argument("--rows", type=int, default=5000, metavar="N", help="default: 5000")


def run(options):
    from skatom.descriptors import CoulombMatrix

    x = CoulombMatrix(unit="bohr").fit_transform(molecules(2 * options.rows)[0]).values
    x, others = x[: options.rows], x[options.rows :]
    rows = [*lines(x, None), *lines(x, others)]
    header = ["kernel", "skatom s", "scikit-learn s", "ratio", "of processor time", "difference"]
    table(f"matrices of rows of {x.shape[1]} features", header, rows)
