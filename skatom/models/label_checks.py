"""Checks of labels before a fit, and how those after it name structures."""

from skatom._numba import is_installed
from skatom.models._consistency import inconsistencies
from skatom.models._outliers import counted_as

__all__ = ["contradictory_stresses", "counted_as"]

_ABOUT_STRESSES = "the stresses"


def contradictory_stresses(structures, targets):
    """What is wrong with stresses that are no derivatives of energies and forces, or None.

    A small model of energies and forces of some structures predicts their stresses. Where it is
    good and they differ, the sentence says how. It is the one with which a fit warns.

    Parameters
    ----------
    structures : Structures
    targets : Targets

    Returns
    -------
    str or None
    """
    names = {name for name in ("energy", "forces", "stress") if targets.labelled(name).any()}
    if "stress" not in names or not is_installed():
        return None
    found = inconsistencies(structures, targets, names)
    return next((text for text in found if text.startswith(_ABOUT_STRESSES)), None)
