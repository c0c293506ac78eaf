"""Whether a simulation leaves what the model knows."""

import numpy as np

from skatom._warnings import warn


class DeviationWatch:
    """Warns, once, when the largest standard deviation of a structure exceeds a limit.

    Parameters
    ----------
    calculator : ASE calculator
        One that gives standard deviations, as `SkatomCalculator` does for models that have them.
    limit : float or None
        Largest standard deviation of a force component in eV/Å, or of the energy of an atom in eV
        for models that have no deviations of forces. None: nothing is computed.

    Attributes
    ----------
    values : list of float
        The largest deviation of each structure.

    Raises
    ------
    ValueError
        If the calculator gives no standard deviations.
    """

    def __init__(self, calculator, limit):
        self.limit, self.values = limit, []
        if limit is None:
            return
        given = getattr(calculator, "implemented_properties", ())
        self.name = next((name for name in ("forces_std", "energy_std") if name in given), None)
        self.unit = "eV/Å" if self.name == "forces_std" else "eV an atom"
        if self.name is None:
            raise ValueError(
                f"max_std={limit:g}, but the model gives no standard deviations: leave it out, or "
                "use a model that has them, such as Committee"
            )

    def look(self, atoms, place):
        """The numbers to keep with a frame, after a comparison with the limit.

        ``place`` says which frame it is, in the warning.
        """
        if self.limit is None:
            return {}
        value = np.max(atoms.calc.get_property(self.name, atoms))
        value = float(value if self.name == "forces_std" else value / len(atoms))
        if value > self.limit and not any(v > self.limit for v in self.values):
            warn(
                f"{place}: the largest standard deviation is {value:.3g} {self.unit}, above "
                f"max_std={self.limit:g}: the model does not know such structures"
            )
        self.values.append(value)
        return {"largest_std": value}
