"""The structures with the largest errors."""

import numpy as np
from ase.symbols import Symbols

from skatom.report.groups import unit_of_errors


def worst_structures(assessment, n_worst, frames=None):
    """The structures of the largest root-mean-square error of the forces, or of what there is.

    Parameters
    ----------
    assessment : Assessment
    n_worst : int
        Number of structures.
    frames : array-like of int, shape (n,), default=None
        The number of each structure in its file. None: that among the structures.

    Returns
    -------
    list of dict
        For each structure its index, frame, formula, and for each property the root-mean-square
        and the largest error, NaN where it has no label; the worst first.
    """
    sizes = {name: _per_structure(assessment, name) for name in assessment.names}
    judge = "forces" if "forces" in sizes else next(iter(sizes))
    order = np.argsort(-np.nan_to_num(sizes[judge][0], nan=-1.0), kind="stable")[:n_worst]
    frames = np.arange(len(assessment.structures)) if frames is None else np.asarray(frames)
    return [_described(assessment, s, int(frames[s]), sizes) for s in order]


def _described(assessment, s, frame, sizes):
    a, b = assessment.structures.offsets[s : s + 2]
    return {
        "structure": int(s),
        "frame": frame,
        "formula": Symbols(assessment.structures.numbers[a:b]).formula.format("hill"),
        "n_atoms": int(b - a),
        "errors": {
            name: {
                "rmse": float(rmse[s]), "largest": float(largest[s]), "unit": unit_of_errors(name)
            }
            for name, (rmse, largest) in sizes.items()
        },
    }  # fmt: skip


def _per_structure(assessment, name):
    """Root-mean-square and largest error of each structure."""
    errors = assessment.errors(name)
    owners = assessment.structure_of_rows(name)
    starts = np.searchsorted(owners, np.arange(len(assessment.structures)))
    counts = np.add.reduceat(np.ones(len(errors)), starts)
    squares = np.add.reduceat((errors**2).mean(axis=1), starts) / counts
    return np.sqrt(squares), np.maximum.reduceat(np.abs(errors).max(axis=1), starts)
