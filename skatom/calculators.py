"""Fitted models as ASE calculators."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from pathlib import Path
from typing import Any

from ase.calculators.calculator import (
    BaseCalculator,
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)
from ase.outputs import Properties, all_outputs
from ase.stress import full_3x3_to_voigt_6_stress
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skatom._prediction import predict, predictable, unwrap
from skatom._typing import Estimator
from skatom._warnings import warn
from skatom.properties import OUTPUTS
from skatom.structures import Structures

__all__ = ["ExtrapolationError", "SkatomCalculator"]

# ASE's names of properties that have another name here.
_ASE_NAMES = {"local_energies": "energies"}


class ExtrapolationError(RuntimeError):
    """A structure is newer to the model than it may be.

    Parameters
    ----------
    message : str
        What `SkatomCalculator` says of it.
    atoms : ase.Atoms
        The structure, an attribute of the error.
    score : float
        How new it is, another one.
    """

    def __init__(self, message: str, atoms: Any, score: float) -> None:
        super().__init__(message)
        self.atoms, self.score = atoms, score

    def __reduce__(self):
        return type(self), (str(self), self.atoms, self.score)


class SkatomCalculator(Calculator):
    """Fitted models as an ASE calculator, for relaxations, dynamics, phonons and spectra.

    Every calculation gives all properties that the models predict: the energy (eV); the forces
    F = -∂E/∂R (eV/Å); for structures that are periodic in three directions the stress
    (∂E/∂strain)/V (eV/Å³, Voigt order xx yy zz yz xz xy); the dipole (e·Å), polarisability (Å³),
    charges (e) and energies of atoms (eV). Results are kept until the atoms
    change or a model is fitted again.

    Standard deviations cost more than all these, so each is computed when it is requested by its
    name in `skatom.properties`, as in ``calc.get_property("forces_std", atoms)``. ASE has no names
    for them nor for the polarisability: ``get_property`` gives them, and ``results`` keeps them.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        Any model whose ``predict`` takes structures.
    *others : fitted estimators, Pipelines or searches
        Further models, for properties that those before them do not give. A force field and a
        model of dipoles make a calculator for infrared spectra.
    uncertainty : measure of `skatom.selection`, default=None
        A fitted measure of how new structures are, such as `MaxVol` or `PredictedDeviation`. Then
        ``results`` have its score, "uncertainty", and that of each atom, "uncertainties", where it
        looks at atoms.
    warn_above : float, default=None
        A warning, once, for the first structure whose score is larger. None: none.
    stop_above : float, default=None
        An `ExtrapolationError` for structures whose score is larger, which ends a simulation before
        its forces are used. None: none.

    Attributes
    ----------
    models : tuple
        All models.
    implemented_properties : list of str
        The properties that the models give. Energies of atoms have ASE's name, "energies".

    Raises
    ------
    ValueError
        If a further model gives nothing that those before it do not give, or there is a limit
        without a measure.
    ExtrapolationError
        If a structure is newer than ``stop_above``.
    sklearn.exceptions.NotFittedError
        If a model is not fitted.
    ase.calculators.calculator.PropertyNotImplementedError
        If the stress is requested of a structure that is not periodic in three directions.

    Examples
    --------
    >>> from ase.optimize import BFGS
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.calculators import SkatomCalculator
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import LambdaSOAP
    >>> from skatom.models import SGDML, TensorKernelRidge
    >>> ethanol = load_ethanol()
    >>> force_field = SGDML(random_state=0).fit(ethanol.structures[:50], ethanol.targets[:50])
    >>> dipole_model = make_pipeline(LambdaSOAP(n_max=3, l_max=2), TensorKernelRidge("dipole"))
    >>> dipole_model = dipole_model.fit(ethanol.structures[:50], ethanol.targets[:50])
    >>> atoms = ethanol.structures[:1].to_ase()[0]
    >>> atoms.calc = SkatomCalculator(force_field, dipole_model)
    >>> converged = BFGS(atoms, logfile=None).run(fmax=0.05)
    >>> bool(abs(atoms.get_forces()).max() < 0.05)
    True
    >>> atoms.get_dipole_moment().shape
    (3,)
    """

    def __init__(
        self,
        model: Estimator,
        *others: Any,
        uncertainty: Any = None,
        warn_above: float | None = None,
        stop_above: float | None = None,
    ) -> None:
        super().__init__()
        self.models = (model, *others)
        self.uncertainty = uncertainty
        self.warn_above, self.stop_above = warn_above, stop_above
        self._warned = False
        if uncertainty is None and (warn_above is not None or stop_above is not None):
            raise ValueError(
                "warn_above and stop_above are limits of a measure: give uncertainty, such as "
                "PredictedDeviation(model) for a model with standard deviations"
            )
        self._ask_models()

    def _ask_models(self):
        """Find what each model is asked for."""
        self._learnt = self._now_learnt()
        self._names = []
        for place, each in enumerate(self.models):
            _check_model(each)
            before = {name for names in self._names for name in names}
            self._names.append([name for name in predictable(each) if name not in before])
            if not self._names[-1]:
                raise ValueError(
                    f"model {place} ({type(unwrap(each)).__name__}) gives nothing that the models "
                    f"before it do not give, {', '.join(predictable(each))}: leave it out"
                )
        known = [_ASE_NAMES.get(name, name) for names in self._names for name in names]
        free = ["free_energy"] if "energy" in known else []
        self.implemented_properties = free + known
        if self.uncertainty is not None:
            check_is_fitted(self.uncertainty)
            of_atoms = ["uncertainties"] if self.uncertainty.scores_atoms_ else []
            self.implemented_properties += ["uncertainty", *of_atoms]

    def _now_learnt(self):
        measures = [] if self.uncertainty is None else [self.uncertainty]
        return [_learnt(each) for each in (*self.models, *measures)]

    def _forget_earlier_fits(self):
        if not _are_same(self._now_learnt(), self._learnt):
            self._ask_models()
            self.results = {}

    def get_property(self, name: str, atoms: Any = None, allow_calculation: bool = True) -> Any:
        """A property by its name; ASE calls this.

        Parameters
        ----------
        name : str
            One of ``implemented_properties``.
        atoms : ase.Atoms, default=None
            The structure. None: that of the last calculation.
        allow_calculation : bool, default=True
            Whether to predict what is not known yet; without, the result is None then.

        Returns
        -------
        float or ndarray
            A copy of the result.

        Raises
        ------
        ase.calculators.calculator.PropertyNotImplementedError
            If the models do not give the property.
        """
        self._forget_earlier_fits()
        if name not in self.implemented_properties:
            raise PropertyNotImplementedError(
                f"the models give {', '.join(self.implemented_properties)}, but no {name}"
            )
        return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: Any = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Predict all properties but deviations, and the requested ones; ASE calls this."""
        super().calculate(atoms, properties, system_changes)
        periodic = self.atoms.pbc.all()
        if not periodic and any(name.startswith("stress") for name in properties):
            raise PropertyNotImplementedError(
                "the stress is the derivative with respect to the cell: give a structure that is "
                "periodic in all three directions"
            )
        if system_changes:
            self.results = {}
        structures = Structures.from_ase([self.atoms])
        if self.uncertainty is not None and "uncertainty" not in self.results:
            self._judge(structures)
        for model, given in zip(self.models, self._names, strict=True):
            wanted = [
                name
                for name in given
                if _ASE_NAMES.get(name, name) not in self.results
                and (name in properties or not name.endswith("_std"))
                and (periodic or not name.startswith("stress"))
            ]
            if wanted:
                self._add(predict(model, structures, wanted), wanted)

    def _judge(self, structures):
        """Say how new the structure is, before it is asked for forces."""
        by_atom = self.uncertainty.scores_atoms_
        scores = self.uncertainty.score(structures, **({"by_atom": True} if by_atom else {}))
        score = float(scores.max())
        message = f"a structure of {len(self.atoms)} atoms has the score {score:.3g} of "
        message += f"{type(self.uncertainty).__name__}, above "
        if self.stop_above is not None and score > self.stop_above:
            raise ExtrapolationError(
                f"{message}stop_above={self.stop_above:g}: label structures such as this one, and "
                "learn from them",
                self.atoms.copy(),
                score,
            )
        if self.warn_above is not None and score > self.warn_above and not self._warned:
            self._warned = True
            warn(f"{message}warn_above={self.warn_above:g}: the model does not know it")
        self.results["uncertainty"] = score
        if by_atom:
            self.results["uncertainties"] = scores

    def _add(self, found, names):
        for name in names:
            self.results[_ASE_NAMES.get(name, name)] = _of_one(name, found[name])
        if "energy" in names:
            self.results["free_energy"] = self.results["energy"]

    def export_properties(self) -> Any:
        """The results that ASE has a name for, as `ase.outputs.Properties`."""
        return Properties({k: v for k, v in self.results.items() if k in all_outputs})


def as_calculator(model):
    """An ASE calculator as it is; a fitted model as one."""
    return model if isinstance(model, BaseCalculator) else SkatomCalculator(model)


def _learnt(model):
    """The attributes of all steps of a model, which a fit replaces."""
    model = unwrap(model)
    steps = [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]
    return [
        value
        for step in steps
        for name, value in getattr(step, "__dict__", {}).items()
        if name.endswith("_")
    ]


def _are_same(learnt, before):
    """Whether these are the same objects."""
    return all(
        len(some) == len(others) and all(map(is_, some, others))
        for some, others in zip(learnt, before, strict=True)
    )


def _check_model(model):
    """Raise an error if an object is no fitted model."""
    if isinstance(model, str | Path):
        raise TypeError(f"got the name {str(model)!r}: give skatom.load_model({str(model)!r})")
    if isinstance(model, type):
        raise TypeError(
            f"{model.__name__} is a class: give a fitted model, {model.__name__}().fit(…)"
        )
    if not hasattr(unwrap(model), "predict"):
        raise TypeError(
            f"a {type(unwrap(model)).__name__} predicts nothing: give a fitted model, or a "
            "Pipeline that ends in one"
        )
    check_is_fitted(unwrap(model))


def _of_one(name, values):
    """The result of a single structure as ASE wants it."""
    if OUTPUTS[name].per == "atom":
        return values
    if name.startswith("stress"):
        return full_3x3_to_voigt_6_stress(values[0])
    return float(values[0]) if OUTPUTS[name].shape == () else values[0]
