"""Errors by group of structures or atoms."""

import numpy as np
from ase.data import chemical_symbols
from ase.symbols import Symbols

from skatom.properties import LABELS

# More formulas than these say nothing: each structure of a set of molecules may have its own.
_MOST_FORMULAS = 50


def errors_by_group(assessment, configurations=None):
    """Errors of each property by configuration, by formula and by element.

    Parameters
    ----------
    assessment : Assessment
    configurations : array-like of str, shape (n,), default=None
        The group of each structure.

    Returns
    -------
    dict of str to list of dict
        For each kind of group its rows: the property, the group, the number of errors, the mean
        (``bias``), mean absolute, root-mean-square and largest error; the largest errors first.

    Raises
    ------
    ValueError
        If there is not one configuration for each structure.
    """
    groups = {}
    structures = assessment.structures
    if configurations is not None:
        configurations = np.asarray(configurations, dtype=str)
        if configurations.shape != (len(structures),):
            raise ValueError(
                f"configurations {configurations.shape} must be one for each of the "
                f"{len(structures)} structures"
            )
        groups["configuration"] = _by_structure(assessment, configurations)
    formulas = np.array([
        Symbols(structures.numbers[a:b]).formula.format("hill")
        for a, b in zip(structures.offsets[:-1], structures.offsets[1:], strict=True)
    ])  # fmt: skip
    if 1 < len(np.unique(formulas)) <= _MOST_FORMULAS:
        groups["formula"] = _by_structure(assessment, formulas)
    if "forces" in assessment.names and len(structures.species) > 1:
        symbols = np.array(chemical_symbols)[structures.numbers]
        groups["element"] = _rows("forces", assessment.errors("forces"), symbols)
    return {kind: rows for kind, rows in groups.items() if rows}


def unit_of_errors(name):
    """The unit of the errors of a property: those of energies are divided by numbers of atoms."""
    return "eV/atom" if name == "energy" else LABELS[name].unit


def _by_structure(assessment, labels):
    return [
        row
        for name in assessment.names
        for row in _rows(name, assessment.errors(name), labels[assessment.structure_of_rows(name)])
    ]


def _rows(name, errors, labels):
    """A row of figures for each label."""
    found = []
    for label in np.unique(labels):
        own = errors[labels == label]
        own = own[np.isfinite(own)]
        if len(own):
            found.append({
                "property": name, "group": str(label), "n": len(own), "bias": float(own.mean()),
                "mae": float(np.abs(own).mean()), "rmse": float(np.sqrt(np.mean(own**2))),
                "largest": float(np.abs(own).max()), "unit": unit_of_errors(name),
            })  # fmt: skip
    return sorted(found, key=lambda row: -row["rmse"])
