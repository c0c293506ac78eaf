"""How the features of an atom change while a bond of it breaks."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers
from sklearn.pipeline import Pipeline

from skatom._prediction import last_step, unwrap
from skatom._typing import Array, ArrayLike, Estimator
from skatom.structures import Structures

# Half of the distance of two differences, in Å; features are in double precision.
_STEP = 1e-4


def bond_sensitivity(model: Estimator, pair: tuple[str, str], distances: ArrayLike) -> Array:
    r"""How fast the features of an atom change with the distance of another one.

    .. math:: s(r) = \Big| \frac{\partial x_i}{\partial r_{ij}} \Big|

    It is that of two atoms alone, one of each element, by central differences [1]_: how far a model
    sees, and what it looks at most. Networks change their features fast while bonds break, and ten
    times slower beyond, far within their cutoff. The features are those of the last interaction of
    a neural potential, and otherwise those of the descriptor, so compare the forms of curves, not
    numbers of different models.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        A neural potential, `HDNNP`, or a Pipeline of a descriptor of atoms and a model.
    pair : tuple of str
        Symbols of the atom whose features change, and of the other one.
    distances : array-like of float, shape (n,)
        Their distances in Å.

    Returns
    -------
    ndarray of float, shape (n,)
        In the unit of the features per Å.

    Raises
    ------
    ValueError
        If an element is unknown, a distance is not positive, or the model has no features of atoms.

    References
    ----------
    .. [1] K. T. Schütt, thesis, Technische Universität Berlin (2018), section 4.5.3.

    Examples
    --------
    >>> from skatom.attribution import bond_sensitivity
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import SchNet
    >>> data = load_ethanol()
    >>> model = SchNet(cutoff=4.0, n_features=8, n_interactions=1, max_iter=1, random_state=0)
    >>> model = model.fit(data.structures[::100], data.targets[::100])
    >>> found = bond_sensitivity(model, ("C", "H"), [1.1, 4.1])
    >>> bool(found[0] > 0), bool(found[1] == 0)
    (True, True)
    """
    numbers = [atomic_numbers.get(symbol, 0) for symbol in pair]
    if len(numbers) != 2 or 0 in numbers:
        raise ValueError(f"pair={pair!r} must be symbols of two elements, such as ('C', 'H')")
    r = np.asarray(distances, float)
    if r.ndim != 1 or not (np.isfinite(r) & (r > _STEP)).all():
        raise ValueError(f"distances={distances!r} must be positive lengths in Å, in one dimension")
    positions = np.zeros((2 * len(r), 2, 3))
    positions[:, 1, 0] = np.concatenate([r - _STEP, r + _STEP])
    features = _features(model, Structures.from_frames(numbers, positions))
    before, after = features[::2].reshape(2, len(r), -1)
    return np.linalg.norm(after - before, axis=1) / (2 * _STEP)


def _features(model, structures):
    """The features of all atoms, (n_atoms, n_features)."""
    model, last = unwrap(model), last_step(model)
    if isinstance(model, Pipeline):
        found = model[:-1].transform(structures)
    elif hasattr(last, "transform"):
        found = last.transform(structures)
    else:
        raise ValueError(
            f"{type(last).__name__} has no features of atoms: give a neural potential, HDNNP, or a "
            "Pipeline with a descriptor"
        )
    found = np.asarray(getattr(found, "values", found))
    if len(found) != len(structures.numbers):
        raise ValueError("the features are those of structures: use a descriptor without pool")
    return found
