"""Fitted models as ASE calculators."""

from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    all_changes,
    all_properties,
)
from ase.stress import full_3x3_to_voigt_6_stress
from sklearn.utils.validation import check_is_fitted

from skatom._prediction import predict, predictable, unwrap
from skatom.properties import OUTPUTS
from skatom.structures import Structures

__all__ = ["SkatomCalculator"]

# ASE's names of properties that have another name here.
_ASE_NAMES = {"local_energies": "energies"}


class SkatomCalculator(Calculator):
    """A fitted model as an ASE calculator, for relaxations, dynamics, phonons and reaction paths.

    Every calculation gives all properties that the model predicts, except standard deviations: the
    energy (eV); the forces F = -∂E/∂R (eV/Å); for structures that are periodic in three directions
    the stress (∂E/∂strain)/V (eV/Å³, Voigt order xx yy zz yz xz xy); the dipole (e·Å), charges (e)
    and energies of atoms (eV). A polarisability (Å³) is in ``results`` only, since ASE has no name
    for it. Results are kept until the atoms change.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        Any model whose ``predict`` takes structures. The calculator of a model of dipoles gives
        dipoles only.

    Attributes
    ----------
    implemented_properties : list of str
        The properties that this model gives, by ASE's names.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ase.calculators.calculator.PropertyNotImplementedError
        If the stress is requested of a structure that is not periodic in three directions.

    Examples
    --------
    >>> from ase.optimize import BFGS
    >>> from skatom.calculators import SkatomCalculator
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import SGDML
    >>> ethanol = load_ethanol()
    >>> model = SGDML(random_state=0).fit(ethanol.structures[:50], ethanol.targets[:50])
    >>> atoms = ethanol.structures[:1].to_ase()[0]
    >>> atoms.calc = SkatomCalculator(model)
    >>> converged = BFGS(atoms, logfile=None).run(fmax=0.05)
    >>> bool(abs(atoms.get_forces()).max() < 0.05)
    True
    """

    def __init__(self, model):
        super().__init__()
        check_is_fitted(unwrap(model))
        self.model = model
        # standard deviations cost more than everything else that a step of dynamics needs
        self._names = [name for name in predictable(model) if not name.endswith("_std")]
        known = [_ASE_NAMES.get(name, name) for name in self._names]
        free = ["free_energy"] if "energy" in known else []
        self.implemented_properties = free + [name for name in known if name in all_properties]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Predict all properties of the atoms; ASE calls this."""
        super().calculate(atoms, properties, system_changes)
        periodic = self.atoms.pbc.all()
        if "stress" in properties and not periodic:
            raise PropertyNotImplementedError(
                "the stress is the derivative with respect to the cell: give a structure that is "
                "periodic in all three directions"
            )
        names = [name for name in self._names if periodic or name != "stress"]
        found = predict(self.model, Structures.from_ase([self.atoms]), names)
        self.results = {_ASE_NAMES.get(name, name): _of_one(name, v) for name, v in found.items()}
        if "energy" in self.results:
            self.results["free_energy"] = self.results["energy"]


def _of_one(name, values):
    """The result of a single structure as ASE wants it."""
    if OUTPUTS[name].per == "atom":
        return values
    if name == "stress":
        return full_3x3_to_voigt_6_stress(values[0])
    return float(values[0]) if OUTPUTS[name].shape == () else values[0]
