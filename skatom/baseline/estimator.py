"""Any estimator of energies as a baseline."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone

from skatom._prediction import predict, predictable
from skatom._typing import Estimator, FeaturesLike, StructuresLike, TargetsLike
from skatom.baseline.base import Baseline
from skatom.structures import as_structures
from skatom.targets import as_targets


class EstimatorBaseline(Baseline):
    r"""Any estimator of energies as a baseline, such as a cheap model that another one corrects.

    .. math:: E(X) = \hat E_\mathrm{estimator}(X)

    Parameters
    ----------
    estimator : estimator
        A regressor from structures to energies, such as a Pipeline that begins with a descriptor.
        A clone of it is fitted to the labels; wrap a fitted one in
        `sklearn.frozen.FrozenEstimator` to use it as it is. Where forces or stresses are learnt
        or predicted, it must predict them.

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.

    Raises
    ------
    ValueError
        If derivatives are needed and the estimator predicts no forces.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.baseline import EstimatorBaseline
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import InverseDistances
    >>> ethanol = load_ethanol()
    >>> baseline = EstimatorBaseline(make_pipeline(InverseDistances(), Ridge(alpha=1e-4)))
    >>> baseline = baseline.fit(ethanol.structures[:100], ethanol.targets[:100])
    >>> baseline.predict(ethanol.structures[100:103]).shape
    (3,)
    """

    _parameter_constraints = {"estimator": "no_validation"}

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator

    def fit(self, X: StructuresLike, y: TargetsLike) -> Self:
        """Fit a clone of the estimator, to the structures that have energies if any have.

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
        labelled = targets.labelled("energy")
        if not labelled.any():
            labelled[:] = True
        self.estimator_ = clone(self.estimator).fit(structures[labelled], targets[labelled])
        return self

    def energies(self, X: FeaturesLike) -> Any:
        """Energies of the structures, shape (n,), eV."""
        return predict(self.estimator_, as_structures(X), ["energy"])["energy"]

    def local_energies(self, X: FeaturesLike) -> Any:
        """Energies of the atoms; equal shares of the energy if the estimator does not give them."""
        structures = as_structures(X)
        if "local_energies" in predictable(self.estimator_):
            return predict(self.estimator_, structures, ["local_energies"])["local_energies"]
        return np.repeat(self.energies(structures) / structures.n_atoms, structures.n_atoms)

    def differentiate(self, X: FeaturesLike) -> Any:
        """Energies, gradient and virial; NaN virials where the estimator has no stress."""
        structures = as_structures(X)
        names = predictable(self.estimator_)
        if "forces" not in names:
            raise ValueError(
                f"the baseline {self.estimator_} predicts {', '.join(names)} but no forces, and "
                "forces are to be learnt or predicted: use a baseline that has them, such as a "
                "model of skatom, or baseline=None"
            )
        virial = np.full((len(structures), 3, 3), np.nan)
        periodic = structures.pbc.all(axis=1) if "stress" in names else np.zeros(len(virial), bool)
        found = predict(self.estimator_, structures, ["forces"])
        if periodic.any():
            crystals = structures[periodic]
            stress = predict(self.estimator_, crystals, ["stress"])["stress"]
            virial[periodic] = stress * crystals.volumes()[:, None, None]
        return found["energy"], -found["forces"], virial
