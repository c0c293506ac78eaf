"""What a fit says of its labels, in one warning: contradictions, outliers, what is not learnt."""

from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Real

import numpy as np

from skatom._input_checks import structure_weights
from skatom._numba import is_installed
from skatom._prediction import last_step
from skatom._warnings import warn
from skatom.baseline import count_species
from skatom.descriptors.features import structures_of
from skatom.models._consistency import some_structures
from skatom.models._labels import virials
from skatom.models._outliers import outlying_energies
from skatom.properties import in_order
from skatom.structures import Structures, as_structures, is_atoms
from skatom.targets import Targets, as_targets

# Structures and atoms whose labels are predicted, and the fewest numbers that are compared.
_STRUCTURES, _ATOMS, _FEWEST = 8, (64, 128), 6
# Residuals this many times as large as the noise are no noise.
_NOISES = 3
# Residuals relative to those of a constant above which the model learnt nothing.
_WORSE = 0.97
# … below which, for one of the labels, a training in steps came far. Energies are learnt last.
_LEARNT = 0.1
# The smallest residuals that are named: rounding of labels.
_ROUNDING = 1e-6

_OF_THE_ENERGY = ("energy", "forces", "stress")
_UNITS = {"energy": "eV/√N", "forces": "eV/Å", "stress": "eV/√N, times the volume"}
_NOISE_OF = {"energy": "noise_energy", "forces": "noise_forces", "stress": "noise_virial"}
_TRIVIAL = {"energy": "energies of the elements", "forces": "zeros", "stress": "their mean"}

_inside = ContextVar("inside", default=False)


@contextmanager
def undiagnosed():
    """Fits within this context are parts of another, which says what is to be said."""
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


def is_part():
    """Whether a fit is part of another."""
    return _inside.get()


def diagnose(model, X, y, sample_weight=None):
    """Warn of labels that contradict each other, are outliers, or that a model does not reproduce.

    Parameters
    ----------
    model : fitted estimator
        A `StructureRegressor`, or an estimator with its methods.
    X : Structures, list of ase.Atoms, features, or an array, of which nothing is said
    y : Targets, or array
        Labels; of arrays nothing is said.
    sample_weight : array-like of float, shape (n,), default=None
        Weights; structures of weight 0 are left out.

    Warns
    -----
    UserWarning
        One warning with all that was found.
    """
    names = {name for name in _OF_THE_ENERGY if name in model.learns}
    X = _batch(X)
    if not names or X is None or not isinstance(y, Targets) or not is_installed():
        return
    structures = structures_of(X)
    targets, used = as_targets(y, structures), np.arange(len(structures))
    if sample_weight is not None:
        used = np.flatnonzero(structure_weights(sample_weight, len(structures)) > 0)
        X, structures, targets = X[used], structures[used], targets[used]
    names = {name for name in names if targets.labelled(name).any()}
    if not names:
        return
    try:
        found = model._contradictions(structures, targets, names)
        if "energy" in names:
            found += outlying_energies(structures, targets, used)
        found += _misfits(model, model._training_errors(X, structures, targets, names))
    except (ValueError, MemoryError):  # what cannot be diagnosed was fitted all the same
        return
    if found:
        warn(f"{type(model).__name__}: " + "; ".join(found), UserWarning)


def _batch(X):
    """Features or structures; None for arrays."""
    if is_atoms(X) or (isinstance(X, list) and len(X) and isinstance(X[0], Structures)):
        return as_structures(X)
    return X if hasattr(X, "descriptor") or isinstance(X, Structures) else None


def training_errors(model, X, structures, targets, names):
    """Errors of a model at a few of its training structures.

    Parameters
    ----------
    model : StructureRegressor, fitted
    X : Structures or features
    structures : Structures
        Those of X.
    targets : Targets
    names : set of str
        The labels to predict, out of energy, forces and stress.

    Returns
    -------
    dict of str to (ndarray, ndarray)
        Residuals, and those of a prediction that knows nothing, in the units of the noise.
    """
    names = {
        n for n in names if n in model.outputs_ and (n != "energy" or model.absolute_energies_)
    }
    if not names:
        return {}
    chosen = np.flatnonzero(np.logical_or.reduce([targets.labelled(name) for name in names]))
    chosen = some_structures(structures, chosen, _STRUCTURES, _ATOMS)
    trivial = _TrivialResiduals(structures, targets)
    X, structures, targets = X[chosen], structures[chosen], targets[chosen]
    if not structures.pbc.all():
        names.discard("stress")
    found = model._outputs(model._checked(X), in_order({model.outputs_[0], *names}))
    predicted = Targets(**{name: found[name] for name in names}, offsets=structures.offsets)
    return {
        name: (
            _scaled(name, targets, structures) - _scaled(name, predicted, structures),
            trivial.of(name, targets, structures),
        )
        for name in names
    }


class _TrivialResiduals:
    """What energies of the elements, forces of zero and a mean stress leave of the labels."""

    def __init__(self, structures, targets):
        self.species = structures.species
        labelled = targets.labelled("energy")
        self.energies = None
        if labelled.any():
            counts = count_species(structures[labelled], self.species)
            self.energies = np.linalg.lstsq(counts, targets.energy[labelled], rcond=None)[0]

    def of(self, name, targets, structures):
        scaled = _scaled(name, targets, structures)
        if name == "energy":
            counts = count_species(structures, self.species)
            return scaled - counts @ self.energies / np.sqrt(structures.n_atoms)
        if name == "stress":
            return scaled - np.nanmean(scaled, axis=0)
        return scaled


def _scaled(name, targets, structures):
    """Labels in the units of the noise."""
    roots = np.sqrt(structures.n_atoms)
    if name == "energy":
        return targets.energy / roots
    if name == "forces":
        return targets.forces
    return virials(targets, structures) / roots[:, None]


def _misfits(model, errors):
    """Sentences about labels that a model reproduces worse than one that knows nothing."""
    sizes = {}
    for name in in_order(errors):
        residuals, trivial = (part[np.isfinite(part)] for part in errors[name])
        if len(residuals) >= _FEWEST and len(trivial) >= _FEWEST:
            sizes[name] = [np.sqrt(np.mean(part**2)) for part in (residuals, trivial)]
    # one of many steps that are still to be made contradicts nothing
    learnt = any(error < _LEARNT * reference for error, reference in sizes.values())
    if not learnt and getattr(_innermost(model), "_trained_in_steps", False):
        return []
    found = []
    for name, (error, reference) in sizes.items():
        noise = _noise(model, name)
        if error > _WORSE * reference and error > max(_NOISES * noise, _ROUNDING):
            assumed = f", assumed noise {noise:.2g}" if noise else ""
            found.append(
                f"the model reproduces the {name} of its own training structures with an error of "
                f"{error:.2g} {_UNITS[name]} (rms{assumed}), no better than {_TRIVIAL[name]} "
                f"({reference:.2g}): labels of different kinds may contradict each other, another "
                "noise may be much too small, or the descriptor or kernel does not suit"
            )
    return found


def _innermost(model):
    """The model itself, or that of which it is made."""
    while getattr(model, "estimator", None) is not None:
        if any(hasattr(model, name) for name in _NOISE_OF.values()):
            break
        model = last_step(model.estimator)
    return model


def _noise(model, name):
    """The noise that a model assumes, or zero if there is no such number."""
    value = getattr(_innermost(model), _NOISE_OF[name], 0.0)
    if isinstance(value, Real):
        return float(value)
    return float(np.median(list(value.values()) if isinstance(value, dict) else value))
