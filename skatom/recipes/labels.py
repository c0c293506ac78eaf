"""The labels that a recipe learns from."""

from __future__ import annotations

from skatom.models.label_checks import contradictory_stresses
from skatom.targets import Targets

_LEARNT = ("energy", "forces", "stress")


def labels_to_learn(structures, targets):
    """Names of the labels to learn, and why stresses are not among them.

    Stresses that are no derivatives of energies and forces make a model of all of them worse, so
    they are left out.

    Parameters
    ----------
    structures : Structures
    targets : Targets

    Returns
    -------
    names : list of str
    reason : str or None
        What is wrong with the stresses.
    """
    names = [name for name in _LEARNT if targets.labelled(name).any()]
    reason = contradictory_stresses(structures, targets) if "stress" in names else None
    if reason is not None:
        names.remove("stress")
    return names, reason


def only(targets, names):
    """Targets with some labels alone."""
    return Targets(**{name: getattr(targets, name) for name in names}, offsets=targets.offsets)


def chosen_labels(text, targets):
    """Names of labels in a text such as "energy,forces", or an error if there are none of one."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in targets.names or not targets.labelled(name).any():
            raise ValueError(
                f"labels {text!r}: no structure has {name!r}; there are "
                f"{', '.join(n for n in targets.names if targets.labelled(n).any())}"
            )
    return names
