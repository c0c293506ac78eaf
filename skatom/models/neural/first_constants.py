"""What is subtracted from labels, and their scale, before a network learns the rest."""

import numpy as np

# How far atoms move, in Å: the scale of the energy where forces alone are labelled.
_MOTION = 0.1


def constants_of_elements(head, graphs, labels, n_species):
    """Constants of the elements by least squares; zero without labels that they explain.

    Parameters
    ----------
    head : Head
    graphs : Graphs
    labels : dict of NetworkLabel
    n_species : int

    Returns
    -------
    ndarray of float, shape (n_species,)
    """
    name, label = next(iter(labels.items()))
    if not label.has.any():
        return np.zeros(n_species)
    rows = label.of_rows(graphs.n_atoms)
    columns = [head.of_elements(graphs, unit)[name][rows] for unit in np.eye(n_species)]
    values = label.values[rows]
    weights = (1 / label.noise[rows]).reshape(-1, *(1,) * (values.ndim - 1))
    design = np.stack([(weights * column).ravel() for column in columns], axis=1)
    return np.linalg.lstsq(design, (weights * values).ravel(), rcond=None)[0]


def scale_of(head, graphs, labels, of_constants):
    """The spread of what constants leave of the labels, for each part of a structure.

    Parameters
    ----------
    head : Head
    graphs : Graphs
    labels : dict of NetworkLabel
        The first one decides, or else those of derivatives.
    of_constants : dict of ndarray
        What the constants of the elements give.
    """
    name, label = next(iter(labels.items()))
    spread = 0.0
    if label.has.any():
        rows = label.of_rows(graphs.n_atoms)
        left = (label.values - of_constants[name])[rows]
        parts = graphs.n_atoms[rows] if head.extensive and label.per == "structure" else 1.0
        spread = np.sqrt(np.mean(left.T**2 / parts))
    for derivative in ("gradient", "virial"):
        if spread == 0 and derivative in labels and labels[derivative].has.any():
            spread = _MOTION * np.sqrt(np.nanmean(labels[derivative].values ** 2))
    return float(spread) or 1.0
