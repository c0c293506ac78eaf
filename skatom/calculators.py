"""Fitted models as ASE calculators."""

from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from sklearn.utils.validation import check_is_fitted

from skatom._prediction import predict, predictable, unwrap
from skatom.structures import Structures

__all__ = ["SkatomCalculator"]


class SkatomCalculator(Calculator):
    """A fitted model as an ASE calculator, for relaxations, dynamics, phonons and reaction paths.

    Every calculation gives all that the model predicts: the energy (eV), the forces
    F = -∂E/∂R (eV/Å), dipoles (e·Å) and, for structures that are periodic in three directions, the
    stress (∂E/∂strain)/V (eV/Å³, Voigt order xx yy zz yz xz xy). Results are kept until the atoms
    change.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        Anything whose ``predict`` takes structures, and ``return_forces`` and ``return_stress``
        as far as it knows them.

    Attributes
    ----------
    implemented_properties : list of str
        What this model gives.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ase.calculators.calculator.PropertyNotImplementedError
        If the stress of a structure is asked for that is not periodic in three directions.

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
        self._predictable = predictable(model)
        self.implemented_properties = ["free_energy", *self._predictable]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Predict all properties of the atoms; ASE calls this."""
        super().calculate(atoms, properties, system_changes)
        periodic = self.atoms.pbc.all()
        if "stress" in properties and not periodic:
            raise PropertyNotImplementedError(
                "the stress is the derivative by the cell: it needs a structure that is periodic "
                "in all three directions"
            )
        names = [name for name in self._predictable if periodic or name != "stress"]
        results = predict(self.model, Structures.from_ase([self.atoms]), names)
        results["energy"] = results["free_energy"] = float(results["energy"][0])
        if "stress" in results:
            results["stress"] = full_3x3_to_voigt_6_stress(results["stress"][0])
        if "dipole" in results:
            results["dipole"] = results["dipole"][0]
        self.results = results
