"""Messages for arguments that are something else than they should be, and what was meant."""

from pathlib import Path

import numpy as np
from ase import Atoms

_FROM_ASE = "Targets.from_ase(structures), if they carry labels, or Targets(energy=…, forces=…)"


def check_is_no_path(X, what, part):
    """Raise a ValueError if X is the name of a file."""
    if isinstance(X, str | Path):
        raise ValueError(
            f"got the name {str(X)!r} where {what} are needed: read the file first, "
            f"skatom.datasets.read({str(X)!r}).{part}"
        )


def check_is_not_single(X):
    """Raise a ValueError if X is one `ase.Atoms`."""
    if isinstance(X, Atoms):
        raise ValueError("got a single ase.Atoms where a list of them is needed: pass [atoms]")


def check_may_be_structures(X):
    """Raise a ValueError if X is known to be something else than structures."""
    check_is_no_path(X, "structures", "structures")
    name = type(X).__name__
    check_is_not_single(X)
    if hasattr(X, "pullback"):
        raise ValueError(
            f"got {name} where structures are needed: give the structures, without a descriptor in "
            "front, or to a Pipeline that has the descriptor"
        )
    if hasattr(X, "labelled"):
        raise ValueError(f"got {name} where structures are needed: structures come before labels")


def check_may_be_features(X, model):
    """Raise an error if X is known to be no table of features."""
    check_is_no_path(X, "features or structures", "structures")
    check_is_not_single(X)
    if hasattr(X, "labelled"):
        raise ValueError(
            f"got {type(X).__name__} where features are needed: they come before labels"
        )
    if not hasattr(X, "__len__") and not hasattr(X, "__array__"):
        raise TypeError(
            f"got a {type(X).__name__} where features are needed: give a table of numbers"
        )
    of_atoms = isinstance(X, list | tuple) and len(X) > 0 and isinstance(X[0], Atoms)
    if of_atoms or hasattr(X, "positions"):
        raise TypeError(
            f"got structures, but {model} needs features: put a descriptor in front, "
            f"make_pipeline(SOAP(), {model}(…))"
        )


def check_may_be_labels(y, n_atoms):
    """Raise a ValueError if y is known to be no array of labels.

    Parameters
    ----------
    y : object
        What was given in place of Targets.
    n_atoms : int
        Number of atoms of all structures.
    """
    if y is None:
        raise ValueError(f"there are no labels: give y={_FROM_ASE}")
    check_is_no_path(y, "labels", "targets")
    of_atoms = isinstance(y, list | tuple) and any(isinstance(item, Atoms) for item in y)
    if isinstance(y, Atoms) or of_atoms or hasattr(y, "positions"):
        raise ValueError(f"y are structures where labels are needed: give y={_FROM_ASE}")
    if isinstance(y, dict):
        raise ValueError("y is a dict of labels: give Targets(**y)")
    if isinstance(y, tuple) and any(np.ndim(item) for item in y):
        raise ValueError("y is a tuple of arrays: name them, as in Targets(energy=…, forces=…)")
    shape = np.shape(y)
    if shape[1:] == (3,) and shape[0] == n_atoms:
        raise ValueError(
            f"y has the shape {shape} of forces, but an array means energies: give "
            "Targets(forces=y, offsets=structures.offsets)"
        )
    if len(shape) == 3 and shape[2] == 3 and shape[0] * shape[1] == n_atoms:
        raise ValueError(
            f"y has the shape {shape} of forces, but an array means energies: give "
            "Targets(forces=y)"
        )
