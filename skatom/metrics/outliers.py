"""Structures whose errors are far outside of those of the others."""

import numpy as np

from skatom._outliers import far_outside, usual
from skatom.properties import LABELS


def outlying_errors(structures, labels, predicted, frames=None):
    """Structures whose error is ten times as large as the usual one, or larger.

    The usual error is the larger one of two standard deviations, 3 times the median, and of what
    95 % of the errors do not exceed. Of fewer than 30 structures nothing is said.

    Parameters
    ----------
    structures : Structures
    labels : Targets
        Their labels.
    predicted : dict of str to ndarray
        Predictions by name.
    frames : array-like of int, shape (n,), default=None
        The number of each structure in its file. None: that among the structures.

    Returns
    -------
    list of dict
        For each structure and property its index, frame, error (root mean square, of energies per
        atom), the usual error, and their unit; of each property the largest error first.
    """
    frames = np.arange(len(structures)) if frames is None else np.asarray(frames)
    found = []
    for name, values in predicted.items():
        errors = _by_structure(structures, name, values - getattr(labels, name))
        outside = far_outside(errors)
        unit = "eV/atom" if name == "energy" else LABELS[name].unit
        found.extend(
            {
                "structure": int(s), "frame": int(frames[s]), "property": name,
                "error": float(errors[s]), "usual": usual(np.delete(errors, outside)), "unit": unit,
            }
            for s in outside
        )  # fmt: skip
    return found


def _by_structure(structures, name, errors):
    """Root-mean-square errors of the structures, NaN where there is no label."""
    squares = np.mean(errors.reshape(len(errors), -1) ** 2, axis=1)
    if name == "energy":
        squares = squares / structures.n_atoms**2
    if LABELS[name].per == "atom":
        squares = np.add.reduceat(squares, structures.offsets[:-1]) / structures.n_atoms
    return np.sqrt(squares)


def sentences(outliers, most=5):
    """What to say about outliers, a sentence for each property.

    Parameters
    ----------
    outliers : list of dict
        As from `outlying_errors`.
    most : int, default=5
        Structures that are named, at most.

    Returns
    -------
    list of str
    """
    found = []
    for name in dict.fromkeys(entry["property"] for entry in outliers):
        own = [entry for entry in outliers if entry["property"] == name]
        named = ", ".join(f"{entry['frame']} ({entry['error']:.2g})" for entry in own[:most])
        more = f" and {len(own) - most} more" if len(own) > most else ""
        found.append(
            f"the errors of the {name} of frame{'s' if len(own) > 1 else ''} {named}{more} are far "
            f"outside of the others ({own[0]['unit']}, usually below {own[0]['usual']:.2g}): are "
            "their labels or species wrong, or was nothing like them learnt?"
        )
    return found
