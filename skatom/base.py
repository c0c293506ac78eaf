"""The base classes of all estimators and of all fitted predictors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import wraps
from inspect import Parameter, signature
from math import inf
from numbers import Real

import sklearn.base
from sklearn.utils._param_validation import validate_parameter_constraints

from skatom import __version__
from skatom._typing import FeaturesLike

# Lengths and widths are squared, and their squares divided by and squared again: within these
# bounds, which are wider than any use, the results neither vanish nor overflow.
_SMALLEST, _LARGEST = 1e-50, 1e50


def check_parameters(constraints, parameters, owner):
    """scikit-learn's check of parameters, and of numbers that pass it but cannot be meant.

    Parameters
    ----------
    constraints : dict
        ``_parameter_constraints`` of the class.
    parameters : dict
        Values by name.
    owner : str
        Name of the class, for messages.

    Raises
    ------
    ValueError
        If a parameter is out of range, is a bool where a number is needed, or a number so large
        or small that its square overflows or vanishes.
    """
    validate_parameter_constraints(constraints, parameters, owner)
    for name, value in parameters.items():
        flag = any(kind in ("boolean", "verbose", bool) for kind in constraints.get(name, ()))
        if isinstance(value, bool) and not flag:
            raise ValueError(f"{name}={value} of {owner}: give a number, not a bool")
        if _is_extreme(value):
            raise ValueError(
                f"{name}={value} of {owner} is out of range: give 0, where it is allowed, or a "
                f"number between {_SMALLEST:g} and {_LARGEST:g} in magnitude"
            )


def _is_extreme(value):
    if not isinstance(value, Real) or isinstance(value, bool) or value in (0, inf, -inf):
        return False
    # an int may be too large for a float, and float32 for the comparison
    value = value if isinstance(value, int) else float(value)
    return abs(value) > _LARGEST or abs(float(value)) < _SMALLEST


def _series(version):
    """The part of a version within which saved models stay readable: major.minor."""
    return version.split(".")[:2]


def _all_or_nothing(fit):
    """A ``fit`` or ``partial_fit`` that leaves the estimator as it was if it does not succeed."""

    parameters = list(signature(fit).parameters.values())[1:]
    place = next((k for k, p in enumerate(parameters) if p.name == "y"), None)
    needs_y = place is not None and parameters[place].default is Parameter.empty

    @wraps(fit)
    def safe_fit(self, *args, **kwargs):
        if needs_y and len(args) == place and "y" not in kwargs:
            raise TypeError(
                f"{type(self).__name__}.{fit.__name__} needs labels: give "
                f"{fit.__name__}(structures, Targets.from_ase(structures)), if the structures "
                "carry labels, or Targets(energy=…, forces=…)"
            )
        before = dict(vars(self))
        try:
            return fit(self, *args, **kwargs)
        except BaseException as error:
            # a cluster that is lost interrupts a fit, too
            if isinstance(error, Exception) and not isinstance(error, ConnectionError):
                self._set_state(before)
            else:
                self._set_state(self._left_by_interrupt(fit.__name__, before))
            raise

    return safe_fit


class BaseEstimator(sklearn.base.BaseEstimator):
    """scikit-learn's `BaseEstimator`, with fits that succeed or change nothing, and versions.

    A ``fit`` or ``partial_fit`` that fails or is interrupted leaves the attributes as they were; so
    a subclass assigns new objects to them, and changes none in place.

    The saved state records the version that made it. Reading a model that another major or minor
    version wrote raises a ValueError: its attributes may have another meaning, and predictions
    could be silently wrong.
    """

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for name in ("fit", "partial_fit"):
            if name in vars(cls):
                setattr(cls, name, _all_or_nothing(vars(cls)[name]))

    def _validate_params(self):
        for name, value in self.get_params(deep=False).items():
            if isinstance(value, type) and issubclass(value, sklearn.base.BaseEstimator):
                raise TypeError(
                    f"{name}={value.__name__} is a class: give an object of it, "
                    f"{name}={value.__name__}(…)"
                )
        check_parameters(
            self._parameter_constraints, self.get_params(deep=False), type(self).__name__
        )

    def _left_by_interrupt(self, method, before):
        """The attributes that an interrupted ``fit`` or ``partial_fit`` leaves."""
        return before

    def _set_state(self, attributes):
        for name in vars(self).keys() - attributes.keys():
            del vars(self)[name]
        vars(self).update(attributes)

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
