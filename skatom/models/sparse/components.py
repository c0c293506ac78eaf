"""What the terms of a model and the parts of its baseline add to a prediction."""

import numpy as np

from skatom.baseline import named_parts


def components(expansion, term_names, batches, baseline, structures, with_forces):
    """Energies and forces of each component.

    Parameters
    ----------
    expansion : SparseExpansion
    term_names : list of str
    batches : iterable of list of features
        Features of the structures by each descriptor, batch by batch.
    baseline : Baseline or None
        The fitted baseline.
    structures : Structures
    with_forces : bool

    Returns
    -------
    energies, forces : dict of str to ndarray
        The forces are an empty dict if they are not wanted.
    """
    parts = [expansion.by_term(features, with_forces) for features in batches]
    energies, forces = {}, {}
    for t, name in enumerate(term_names):
        energies[name] = np.concatenate([part[t]["energy"] for part in parts])
        if with_forces:
            forces[name] = -np.concatenate([part[t]["gradient"] for part in parts])
    for name, part in named_parts(baseline).items():
        if with_forces:
            energies[name], gradient, _ = part.differentiate(structures)
            forces[name] = -gradient
        else:
            energies[name] = part.energies(structures)
    return energies, forces
