"""Energies of a probe, an atom that is added to a structure."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from ase.data import atomic_numbers

from skatom._prediction import last_step, predict, predictable, unwrap
from skatom._typing import Array, ArrayLike, Estimator, StructuresLike
from skatom.elements import species_index
from skatom.models.committee import Committee
from skatom.models.neural.probes import with_probe
from skatom.structures import Structures, as_structures

_KINDS = ("probe", "insertion")
# Atoms that are predicted at once.
_TOGETHER = 20_000


def local_chemical_potential(
    model: Estimator,
    X: StructuresLike,
    points: ArrayLike,
    probe: str | int = "H",
    kind: str = "probe",
) -> Array:
    r"""Energy of a probe, one more atom, at each of many points around a molecule or in a crystal.

    .. math:: \Omega_A(r) = \varepsilon_A\big(r \mid R_1, \ldots, R_N\big) \quad \text{or} \quad
        \Omega_A(r) = E(R_1, \ldots, R_N, r) - E(R_1, \ldots, R_N)

    Maps of it show what a model takes the surroundings of atoms for: the kind of a bond, a ring, a
    group [1]_. The probe of the first equation feels the structure and is not felt: in networks of
    messages (`SchNet`, `DTNN`, `PaiNN`) the atoms of the structure send it the features that they
    have without it. Of models of a descriptor of atoms it is the energy that the added atom has.
    Neither is the free energy of adding an atom: models have rarely seen any such structure.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        A model that predicts ``local_energies``; for "insertion" any one of energies of structures
        of all sizes.
    X : Structures or list of ase.Atoms
        One structure.
    points : array-like of float, shape (n, 3)
        Where the probe is, in Å.
    probe : str or int, default="H"
        Symbol or atomic number of the probe, an element that the model knows.
    kind : {"probe", "insertion"}, default="probe"
        The energy of the probe, or the change of the whole energy, which has the answer of the
        other atoms in it. In a crystal there is a probe in every cell, which sees its images; only
        those of networks of messages are alone.

    Returns
    -------
    ndarray of float, shape (n,)
        In eV, with the energy of the element and the baseline.

    Raises
    ------
    ValueError
        If there is not one structure, points are no finite points or one is that of an atom, the
        kind or the element is unknown, or the model has no energies of atoms.

    See Also
    --------
    skatom.attribution.molecular_surface : Points around a molecule.
    skatom.plotting.ChemicalPotentialDisplay : A picture of it.

    References
    ----------
    .. [1] K. T. Schütt, F. Arbabzadah, S. Chmiela, K.-R. Müller, A. Tkatchenko, Nat. Commun. 8,
       13890 (2017).

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.attribution import local_chemical_potential
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import SOAP
    >>> from skatom.models import SparseGaussianProcess
    >>> data = load_ethanol()
    >>> model = make_pipeline(
    ...     SOAP(cutoff=3.0, n_max=3, l_max=2), SparseGaussianProcess(n_sparse=10, random_state=0)
    ... )
    >>> model = model.fit(data.structures[::100], data.targets[::100])
    >>> far, farther = data.structures[0].positions[0] + [[0, 0, 30.0], [0, 0, 40.0]]
    >>> found = local_chemical_potential(model, data.structures[0], [far, farther], "O")
    >>> bool(found[0] == found[1])
    True
    """
    structure, points, number = _checked(X, points, probe, kind)
    last = last_step(model)
    known = getattr(last, "species_", None)
    if known is not None:
        species_index(Structures(np.array([number]), np.zeros((1, 3))), known)
    if kind == "insertion":
        before = predict(model, structure, ["energy"])["energy"][0]
        return _of_copies(model, structure, points, number, "energy") - before
    if isinstance(unwrap(model), Committee):
        members = unwrap(model).estimators_
        found = [local_chemical_potential(each, X, points, probe) for each in members]
        return np.mean(found, axis=0)
    if hasattr(last, "probe_energies"):
        found = last.probe_energies(structure, points, number)
        return found + _of_baseline(last.baseline_, structure, points, number)
    if "local_energies" not in predictable(unwrap(model)):
        raise ValueError(
            f"this {type(last).__name__} gives {', '.join(predictable(unwrap(model)))} and no "
            "energies of atoms: fit it to AtomicFeatures, from a descriptor without pool, or set "
            "kind='insertion'"
        )
    return _of_copies(model, structure, points, number, "local_energies")


def _checked(X, points, probe, kind):
    """The structure, the points and the atomic number of the probe, or a ValueError."""
    if kind not in _KINDS:
        raise ValueError(f"kind={kind!r} must be {_KINDS[0]!r} or {_KINDS[1]!r}")
    structure = as_structures(X)
    if len(structure) != 1:
        raise ValueError(f"got {len(structure)} structures: give one, such as structures[0]")
    points = np.asarray(points, float)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ValueError(
            f"points of shape {points.shape} must be finite numbers in Å of shape (n, 3): give "
            "molecular_surface(X).points, for example"
        )
    number = probe if isinstance(probe, Integral) else atomic_numbers.get(probe, 0)
    if not 1 <= number <= 118:
        raise ValueError(f"probe={probe!r} is no element: give its symbol or atomic number")
    return structure, points, int(number)


def _groups(structure, points, number):
    """Copies of a structure with a probe, some at a time."""
    size = len(structure.numbers) + 1
    together = max(1, _TOGETHER // size)
    for start in range(0, len(points), together):
        yield with_probe(structure, points[start : start + together], number)


def _of_copies(model, structure, points, number, name):
    """Energies of a structure with a probe at each point, or those of the probes."""
    step = 1 if name == "energy" else len(structure.numbers) + 1
    found = [
        predict(model, copies, [name])[name][step - 1 :: step]
        for copies in _groups(structure, points, number)
    ]
    return np.concatenate([np.empty(0), *found])


def _of_baseline(baseline, structure, points, number):
    """What the baseline gives to the probe."""
    if baseline is None:
        return 0.0
    size = len(structure.numbers) + 1
    found = [
        baseline.local_energies(copies)[size - 1 :: size]
        for copies in _groups(structure, points, number)
    ]
    return np.concatenate([np.empty(0), *found])
