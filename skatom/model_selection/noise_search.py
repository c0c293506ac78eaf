"""Cross-validation of sparse Gaussian processes over their noises."""

from __future__ import annotations

import itertools
import warnings
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.model_selection import StratifiedKFold
from sklearn.utils._param_validation import Interval

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, StructuresLike, TargetsLike
from skatom.base import BaseEstimator
from skatom.models import SparseGaussianProcess
from skatom.models.sparse.folded_rows import NOISES, FoldedRows
from skatom.structures import as_structures
from skatom.targets import as_targets

_FACTORS = {"noise_energy": (0.1, 0.3, 1.0), "noise_forces": (1.0, 3.0)}
# A structure without configuration is of this one.
_ONE = "all"


class NoiseSearchCV(BaseEstimator):
    r"""Choose the noises of a `SparseGaussianProcess` by cross-validation, with rows made once.

    .. math:: s = \frac1n \sum_i \frac{|E_i - \hat E_i|}{N_i}
        + d\; \frac1{3 n_{atoms}} \sum_a |F_a - \hat F_a|_1

    The score s, which is to be small, adds mean absolute errors of energies per atom and of force
    components of structures that were left out of the fit; d says how much an error of forces
    weighs. The noises stand for what the representatives cannot express, more than for errors of
    labels, so they matter as much as the descriptor.

    The rows of the model do not depend on the noises. They are made once and reduced to triangles,
    so another combination costs a factorisation of these, about a hundredth of a fit, and gives the
    same as a fit of each fold from the beginning.

    Parameters
    ----------
    estimator : SparseGaussianProcess
        With ``terms``. Its noises are the unit of the factors.
    factors : dict of list of float, default=None
        Factors of ``noise_energy``, ``noise_forces`` and ``noise_virial``, all combinations of
        which are tried. An infinite factor leaves the labels of this kind out. None: 0.1, 0.3 and 1
        for energies, 1 and 3 for forces.
    configuration_factors : list of float, default=(0.3, 3.0)
        With ``configurations`` in `fit`, the noise of the energies of each configuration in turn is
        multiplied by these, and the best one is kept.
    cv : int, default=5
        Number of folds. Structures of a configuration are spread over all.
    displacement : float, default=0.03
        The length d in Å.
    random_state : int or None, default=0
        Seed of the folds.

    Attributes
    ----------
    best_params_ : dict
        The best ``noise_energy``, ``noise_forces`` and ``noise_virial``, in the form in which the
        estimator takes them. Labels to leave out have an infinite noise.
    best_estimator_ : SparseGaussianProcess
        The estimator with these noises, not fitted. Infinite noises are left as they were: remove
        the labels from the targets.
    best_errors_ : tuple of float
        Cross-validated mean absolute errors of energies (eV per atom) and forces (eV/Å).
    best_score_ : float
        The score s in eV.
    cv_results_ : list of dict
        ``factors``, ``errors`` and ``score`` of each combination, in the order in which they were
        tried; the first are the estimator's own noises.

    Raises
    ------
    ValueError
        If the estimator has no ``terms``, there are fewer structures than folds, or a factor is of
        an unknown noise.
    MemoryError
        If the triangles of all folds would not fit in memory.

    Examples
    --------
    >>> from skatom.datasets import load_boron_nitride
    >>> from skatom.descriptors import SOAP
    >>> from skatom.kernels import Cosine
    >>> from skatom.model_selection import NoiseSearchCV
    >>> from skatom.models import SparseGaussianProcess
    >>> data = load_boron_nitride()
    >>> terms = [(SOAP(cutoff=3.0, n_max=4, l_max=3), Cosine(4), 20)]
    >>> model = SparseGaussianProcess(terms=terms, random_state=0)
    >>> search = NoiseSearchCV(model, cv=2).fit(data.structures[:8], data.targets[:8])
    >>> sorted(search.best_params_)
    ['noise_energy', 'noise_forces', 'noise_virial']
    >>> model = search.best_estimator_.fit(data.structures[:8], data.targets[:8])
    """

    _parameter_constraints = {
        "estimator": [SparseGaussianProcess],
        "factors": [dict, None],
        "configuration_factors": ["array-like"],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "displacement": [POSITIVE],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: SparseGaussianProcess,
        factors: dict | None = None,
        *,
        configuration_factors: ArrayLike = (0.3, 3.0),
        cv: int = 5,
        displacement: float = 0.03,
        random_state: int | None = 0,
    ) -> None:
        self.estimator = estimator
        self.factors = factors
        self.configuration_factors = configuration_factors
        self.cv = cv
        self.displacement = displacement
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: StructuresLike, y: TargetsLike, configurations: ArrayLike | None = None
    ) -> Self:
        """Try all combinations of noises.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The n structures.
        y : Targets, or array-like of energies, shape (n,), eV
            Energies, forces and stresses, or some of them.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure.

        Returns
        -------
        self
        """
        factors = self._factors()
        if self.estimator.terms is None:
            raise ValueError(
                "the estimator has no terms: name its descriptor, as in "
                "SparseGaussianProcess(terms=[(SOAP(), Cosine(4), 500)])"
            )
        X = as_structures(X)
        y = as_targets(y, X)
        names = np.full(len(X), _ONE) if configurations is None else np.asarray(configurations)
        fold = stratified_folds(names, self.cv, self.random_state)
        rows = FoldedRows(self.estimator, X, y, fold, configurations)
        results = []
        best = self._combined(rows, factors, results)
        chosen = dict.fromkeys(np.unique(names).tolist(), 1.0)
        apart = self._is_by_configuration(configurations)
        if apart and len(chosen) > 1:
            chosen = self._by_configuration(rows, best, names, chosen, results)
        self.cv_results_ = results
        found = min(results, key=lambda result: result["score"])
        self.best_score_, self.best_errors_ = found["score"], found["errors"]
        self.best_params_ = self._parameters(best, chosen, apart)
        finite = {k: v for k, v in self.best_params_.items() if not _is_infinite(v)}
        self.best_estimator_ = clone(self.estimator).set_params(**finite)
        return self

    def _is_by_configuration(self, configurations):
        """Whether configurations get noises of their own; an array has them of each structure."""
        own = self.estimator.noise_energy
        given = configurations is not None and len(self.configuration_factors) > 0
        return given and (isinstance(own, dict) or np.ndim(own) == 0)

    def _factors(self):
        factors = _FACTORS if self.factors is None else self.factors
        unknown = set(factors) - set(NOISES)
        if unknown:
            raise ValueError(
                f"factors has {', '.join(sorted(unknown))}: give factors of {', '.join(NOISES)}"
            )
        return factors

    def _combined(self, rows, factors, results):
        """The best of all combinations, the estimator's own noises first."""
        own = dict.fromkeys(factors, 1.0)
        tried = [dict(zip(factors, v, strict=True)) for v in itertools.product(*factors.values())]
        for combination in [own, *(one for one in tried if one != own)]:
            self._try(rows, combination, 1.0, results)
        return min(results, key=lambda result: result["score"])["factors"]

    def _by_configuration(self, rows, best, names, chosen, results):
        """Multiply the noise of each configuration's energies in turn."""
        lowest = min(result["score"] for result in results)
        for name in chosen:
            for factor in self.configuration_factors:
                tried = chosen | {name: factor}
                of_energies = np.array([tried[own] for own in names])
                score = self._try(rows, best, of_energies, results)
                if score < lowest:
                    lowest, better = score, tried
                    chosen = better
        return chosen

    def _try(self, rows, factors, energy_factors, results):
        energy, forces = rows.errors(factors, energy_factors)
        score = energy + self.displacement * forces
        results.append({"factors": factors, "errors": (energy, forces), "score": score})
        return score

    def _parameters(self, best, chosen, by_configuration):
        """The noises of the estimator times their factors."""
        found = {}
        for name in NOISES:
            own, factor = getattr(self.estimator, name), best.get(name, 1.0)
            further = chosen if name == "noise_energy" and by_configuration else None
            found[name] = _times(own, factor, further)
        return found


def stratified_folds(names, n_folds, random_state: Any = 0):
    """The fold of each structure, counted from 0; equal names are spread over all folds.

    Parameters
    ----------
    names : array-like of str, shape (n,)
    n_folds : int
    random_state : int, RandomState or None, default=0

    Returns
    -------
    ndarray of int, shape (n,)
    """
    names = np.asarray(names)
    if len(names) < n_folds:
        raise ValueError(
            f"{len(names)} structures cannot be divided into {n_folds} folds: give more structures "
            "or a smaller cv"
        )
    found = np.empty(len(names), int)
    _, counts = np.unique(names, return_counts=True)
    # scikit-learn needs one name as frequent as there are folds
    labels = names if counts.max() >= n_folds else np.zeros(len(names))
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    with warnings.catch_warnings():
        # a name of fewer structures than folds is in some of these only
        warnings.filterwarnings("ignore", message="The least populated class")
        for k, (_, left_out) in enumerate(folds.split(labels, labels)):
            found[left_out] = k
    return found


def _times(own, factor, further):
    """A noise, in any form, times a factor and those of the configurations."""
    if isinstance(own, dict):
        return {k: _rounded(v * factor * (further or {}).get(k, 1.0)) for k, v in own.items()}
    if further is not None and np.ndim(own) == 0:
        return {name: _rounded(own * factor * by) for name, by in further.items()}
    return _rounded(own * factor) if np.ndim(own) == 0 else np.asarray(own) * factor


def _rounded(noise):
    """Without the last digits of a product, which nobody wants to read."""
    return float(f"{noise:.10g}")


def _is_infinite(noise):
    values = list(noise.values()) if isinstance(noise, dict) else noise
    return bool(np.isinf(np.asarray(values, float)).any())
