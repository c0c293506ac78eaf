"""The parameter ``baseline`` of models, and sums of baselines."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from ase import Atoms
from sklearn.base import clone

from skatom._input_checks import structure_weights
from skatom._typing import Array, ArrayLike, BaselineLike, FeaturesLike, StructuresLike, TargetsLike
from skatom.baseline.atomic import AtomicBaseline
from skatom.baseline.base import Baseline
from skatom.baseline.estimator import EstimatorBaseline
from skatom.structures import Structures, as_structures
from skatom.targets import Targets, as_targets


class BaselineSum(Baseline):
    r"""The sum of several baselines, each fitted to what the baselines before it leave.

    .. math:: E = \sum_b E_b

    Parameters
    ----------
    baselines : list of Baseline
        The terms, in the order of their fits.

    Attributes
    ----------
    baselines_ : list of Baseline
        The fitted terms.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.baseline import AtomicBaseline, BaselineSum, PairRepulsion
    >>> molecules = [molecule("H2"), molecule("O2")]
    >>> terms = [PairRepulsion(cutoff=1.2, inner=0.8), AtomicBaseline()]
    >>> baseline = BaselineSum(terms).fit(molecules, [-31.7, -867.8])
    >>> baseline.predict(molecules).round(1)
    array([ -31.7, -867.8])
    """

    _parameter_constraints = {"baselines": [list]}

    def __init__(self, baselines: list) -> None:
        self.baselines = baselines

    def fit(self, X: StructuresLike, y: TargetsLike) -> Self:
        """Fit the terms one after the other.

        Parameters
        ----------
        X : Structures or list of ase.Atoms, n of them
        y : Targets, or array-like of float, shape (n,), eV

        Returns
        -------
        self
        """
        structures = as_structures(X)
        targets = as_targets(y, structures)
        self.baselines_ = []
        for baseline in self.baselines:
            self.baselines_.append(clone(baseline).fit(structures, targets))
            targets = less_baseline(targets, structures, self.baselines_[-1])
        return self

    @property
    def needs_energies(self) -> Any:
        return any(baseline.needs_energies for baseline in self.baselines)

    def local_energies(self, X: FeaturesLike) -> Any:
        """The sum of the baselines' energies of atoms, shape (n_atoms,), eV."""
        return sum(baseline.local_energies(X) for baseline in self.baselines_)

    def energies(self, X: FeaturesLike) -> Any:
        """The sum of the baselines' energies, shape (n,), eV."""
        return sum(baseline.energies(X) for baseline in self.baselines_)

    def differentiate(self, X: FeaturesLike) -> Any:
        """The sums of energies, gradients and virials."""
        parts = [baseline.differentiate(X) for baseline in self.baselines_]
        return tuple(sum(part) for part in zip(*parts, strict=True))


def as_baseline(baseline: BaselineLike) -> Baseline | None:
    """The `Baseline` that the parameter ``baseline`` of a model stands for, or None.

    Parameters
    ----------
    baseline : "elements", "isolated", dict, estimator, list of these, or None
        "elements": an energy for each element, of isolated atoms if every element has one among the
        structures, and by least squares if not; "isolated": those of the isolated atoms, which must
        be there; a dict: these energies, such as ``{"Si": -0.8}``.

    Returns
    -------
    Baseline or None

    Raises
    ------
    ValueError
        If it is none of these.

    Examples
    --------
    >>> from skatom.baseline import PairRepulsion, as_baseline
    >>> as_baseline(["elements", PairRepulsion()])
    BaselineSum(baselines=[AtomicBaseline(), PairRepulsion()])
    """
    if baseline is None or isinstance(baseline, Baseline):
        return baseline
    if isinstance(baseline, str) and baseline == "elements":
        return AtomicBaseline()
    if isinstance(baseline, dict) or (isinstance(baseline, str) and baseline == "isolated"):
        return AtomicBaseline(baseline)
    if isinstance(baseline, list | tuple) and len(baseline):
        return BaselineSum([as_baseline(part) for part in baseline])
    if hasattr(baseline, "fit") and hasattr(baseline, "predict"):
        return EstimatorBaseline(baseline)
    raise ValueError(
        f"baseline={baseline!r} must be 'elements', a dict of energies such as {{'Si': -0.8}}, "
        "'isolated', an estimator of energies, a list of these, or None"
    )


def named_parts(baseline: Baseline | None) -> dict:
    """The terms of a fitted baseline by name.

    Parameters
    ----------
    baseline : Baseline or None

    Returns
    -------
    dict of str to Baseline
        ``"baseline"``, or ``"baseline__0"``, ``"baseline__1"`` … for a `BaselineSum`.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.baseline import PairRepulsion, fit_baseline, named_parts
    >>> from skatom import Structures, Targets
    >>> molecules = Structures.from_ase([molecule("H2")])
    >>> baseline = fit_baseline([PairRepulsion(), "elements"], molecules, Targets([-31.7]))
    >>> list(named_parts(baseline))
    ['baseline__0', 'baseline__1']
    """
    if baseline is None:
        return {}
    if isinstance(baseline, BaselineSum):
        return {f"baseline__{k}": part for k, part in enumerate(baseline.baselines_)}
    return {"baseline": baseline}


def fit_baseline(
    baseline: BaselineLike,
    structures: Any,
    targets: Targets,
    sample_weight: ArrayLike | None = None,
) -> Baseline | None:
    """The fitted baseline of a model, or None.

    Parameters
    ----------
    baseline : "elements", "isolated", dict, estimator, list of these, or None
        The parameter ``baseline`` of a model, see `as_baseline`.
    structures : Structures
        The n training structures.
    targets : Targets
        Labels. If they have no energies, baselines that need energies are left out.
    sample_weight : array-like of float, shape (n,), default=None
        Weights of the structures; structures of weight 0 are ignored.

    Returns
    -------
    Baseline or None

    Examples
    --------
    >>> from skatom.baseline import fit_baseline
    >>> from skatom.datasets import load_boron_nitride
    >>> data = load_boron_nitride()
    >>> baseline = fit_baseline("elements", data.structures, data.targets)
    >>> baseline.energies(data.structures[:2]).shape
    (2,)
    """
    baseline = as_baseline(baseline)
    if sample_weight is not None:
        used = structure_weights(sample_weight, len(structures)) > 0
        structures, targets = structures[used], targets[used]
    if baseline is not None and not targets.labelled("energy").any():
        parts = baseline.baselines if isinstance(baseline, BaselineSum) else [baseline]
        parts = [part for part in parts if not part.needs_energies]
        baseline = BaselineSum(parts) if parts else None
    return None if baseline is None else clone(baseline).fit(structures, targets)


def check_virial(virial: Array, baseline: Baseline) -> None:
    """Raise a ValueError if a baseline lacks a virial that is needed.

    Parameters
    ----------
    virial : ndarray of float, shape (n, 3, 3)
        Virials of the structures whose stress is learnt or predicted; NaN where there is none.
    baseline : Baseline
        The baseline, which the error names.
    """
    if np.isnan(virial).any():
        raise ValueError(
            f"the baseline {baseline} predicts no stress, and stresses are to be learnt or "
            "predicted: use a baseline that predicts it, or baseline=None"
        )


def energies_of_elements(baseline: Baseline | None, species: Array) -> Array:
    """Energies of atoms of each species, for files of models that have constants only.

    Parameters
    ----------
    baseline : Baseline or None
        A fitted baseline.
    species : array-like of int, shape (n_species,)
        Atomic numbers.

    Returns
    -------
    ndarray of float, shape (n_species,), eV

    Raises
    ------
    ValueError
        If the baseline is more than energies of the elements.
    """
    if baseline is None:
        return np.zeros(len(species))
    dimers = Structures.from_ase([
        Atoms([a, b], [[0, 0, 0], [0, 0, r]])
        for a in species for b in species for r in (0.5, 1.0, 2.0, 4.0)
    ])  # fmt: skip
    if np.any(baseline.differentiate(dimers)[1]):
        raise ValueError(
            "the baseline of the model has forces, which the files would lack: fit with "
            'baseline="elements", or run the model by skatom.lammps'
        )
    return baseline.energies(Structures.from_ase([Atoms([z]) for z in species]))


def less_baseline(targets: Targets, structures: Any, baseline: Baseline) -> Targets:
    """The targets minus a baseline's energies, forces and stresses.

    Parameters
    ----------
    targets : Targets
        The labels.
    structures : Structures
        The structures.
    baseline : Baseline
        The fitted baseline.

    Returns
    -------
    Targets

    Raises
    ------
    ValueError
        If there are stresses and the baseline has none.

    Examples
    --------
    >>> from skatom.baseline import fit_baseline, less_baseline
    >>> from skatom.datasets import load_boron_nitride
    >>> data = load_boron_nitride()
    >>> baseline = fit_baseline("elements", data.structures, data.targets)
    >>> left = less_baseline(data.targets, data.structures, baseline)
    >>> bool(abs(left.energy.mean()) < 1e-6)
    True
    """
    left = {name: getattr(targets, name) for name in targets.names}
    with_derivatives = {"forces", "stress"} & left.keys()
    if with_derivatives:
        energies, gradient, virial = baseline.differentiate(structures)
    else:
        energies = baseline.energies(structures)
    if "energy" in left:
        left["energy"] = left["energy"] - energies
    if "forces" in left:
        left["forces"] = left["forces"] + gradient
    if "stress" in left:
        check_virial(virial[targets.labelled("stress")], baseline)
        volumes = np.abs(np.linalg.det(structures.cells))[:, None, None]
        periodic = structures.pbc.all(axis=1)[:, None, None]
        stress = np.divide(virial, volumes, out=np.zeros_like(virial), where=periodic)
        left["stress"] = left["stress"] - stress
    return Targets(**left, offsets=structures.offsets)
