"""The base classes of all estimators and of all fitted predictors."""

from __future__ import annotations

from abc import ABC, abstractmethod

import sklearn.base

from skatom import __version__
from skatom._typing import FeaturesLike


def _series(version):
    """The part of a version within which saved models stay readable: major.minor."""
    return version.split(".")[:2]


class BaseEstimator(sklearn.base.BaseEstimator):
    """scikit-learn's `BaseEstimator`, whose saved state records the version that made it.

    Reading a model that another major or minor version wrote raises a ValueError: its attributes
    may have another meaning, and predictions could be silently wrong.
    """

    def __getstate__(self):
        state = {**super().__getstate__(), "_skatom_version": __version__}
        # set by the fit of a Pipeline while it runs, which may copy a step or have it copied
        state.pop("_parent_callback_ctx", None)
        return state

    def __setstate__(self, state):
        state = dict(state)
        version = state.pop("_skatom_version", "an unknown version")
        if _series(version) != _series(__version__):
            raise ValueError(
                f"this {type(self).__name__} was saved by skatom {version} and cannot be read by "
                f"{__version__}: install skatom=={version}, or fit the model again"
            )
        super().__setstate__(state)


class Predictor(ABC):
    r"""Base class of the predictors of fitted models: an energy and its derivatives.

    .. math:: E(X), \qquad \frac{\partial E}{\partial R}, \qquad
        \frac{\partial E}{\partial \epsilon} \quad (R \to (1 + \epsilon) R)

    Forces are the negative gradient; the stress is the virial divided by the volume, tension
    positive. X is the checked input of the model's ``predict``. A subclass implements both methods.
    """

    @abstractmethod
    def energies(self, X: FeaturesLike) -> None:
        """E of every structure: ndarray of float, shape (n,), eV."""

    @abstractmethod
    def differentiate(self, X: FeaturesLike) -> None:
        """E (n,), its gradient (n_atoms, 3) in eV/Å, and its virial (n, 3, 3) in eV."""


class TupleKeys:
    """Save dicts whose keys are tuples as lists of pairs, since skops turns keys into text.

    A subclass names such attributes in ``_keyed_by_tuples``.
    """

    _keyed_by_tuples = ()

    def __getstate__(self):
        state = dict(vars(self))
        for name in self._keyed_by_tuples:
            state[name] = [(list(key), value) for key, value in state[name].items()]
        return state

    def __setstate__(self, state):
        for name in self._keyed_by_tuples:
            state[name] = {tuple(key): value for key, value in state[name]}
        vars(self).update(state)
