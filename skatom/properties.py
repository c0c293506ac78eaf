"""The registry of properties: what labels, outputs of models, metrics and calculators speak of.

A property has a name, a unit, and one value for each structure or each atom. ``predict`` of every
model takes the keywords of the properties and returns the requested ones in the order of `OUTPUTS`.
A new property is one line here.
"""

from dataclasses import dataclass
from inspect import Parameter, Signature


@dataclass(frozen=True)
class Property:
    """One property of structures or of their atoms.

    Attributes
    ----------
    name : str
        Name, also the attribute of `skatom.Targets` where the property is a label.
    unit : str
        Unit of the values.
    per : {"structure", "atom"}
        Whether each structure or each atom has a value.
    shape : tuple of int
        Shape of one value; () for a number.
    keyword : str
        Keyword argument of ``predict`` that requests the property.
    """

    name: str
    unit: str
    per: str
    shape: tuple
    keyword: str

    @property
    def deviation(self):
        """The property that is the standard deviation of this one."""
        stem = "" if self.name == "energy" else f"{self.name}_"
        return Property(f"{self.name}_std", self.unit, self.per, self.shape, f"return_{stem}std")


def _property(name, unit, per, *shape):
    return Property(name, unit, per, shape, f"return_{name}")


_MEANS = (
    _property("energy", "eV", "structure"),
    _property("forces", "eV/Å", "atom", 3),
    _property("stress", "eV/Å³", "structure", 3, 3),
    _property("dipole", "e·Å", "structure", 3),
    _property("polarizability", "Å³", "structure", 3, 3),
    _property("dipole_norm", "e·Å", "structure"),
    _property("charges", "e", "atom"),
    _property("local_energies", "eV", "atom"),
)

# Everything that a model may give, in the order in which predict returns it.
OUTPUTS = {p.name: p for p in (*_MEANS, *(p.deviation for p in _MEANS))}

# The property of each keyword of predict.
_NAMES = {p.keyword: name for name, p in OUTPUTS.items()}

# The labels that `skatom.Targets` hold.
LABELS = {p.name: p for p in _MEANS if p.name != "local_energies"}

# Rows and columns of the components xx, yy, zz, yz, xz, xy of a stress.
VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


def in_order(names):
    """The names as a tuple, in the order of the registry."""
    return tuple(name for name in OUTPUTS if name in names)


def asked_for(keywords):
    """Names of the properties whose keyword is true in a dict, in the order of the registry.

    Raises
    ------
    TypeError
        If a keyword belongs to no property.
    """
    unknown = keywords.keys() - _NAMES.keys()
    if unknown:
        raise TypeError(
            f"predict() got an unexpected keyword argument {min(unknown)!r}; known are "
            f"{', '.join(_NAMES)}"
        )
    return in_order({_NAMES[keyword] for keyword, wanted in keywords.items() if wanted})


def takes_outputs(predict):
    """Decorate ``predict(self, X, *, neighbors=None, **returns)`` with the keywords of properties.

    Help, documentation and scikit-learn's routing of metadata look at signatures.
    """
    fixed = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("self", "X")]
    returns = [
        Parameter(p.keyword, Parameter.KEYWORD_ONLY, default=False) for p in OUTPUTS.values()
    ]
    neighbors = Parameter("neighbors", Parameter.KEYWORD_ONLY, default=None)
    predict.__signature__ = Signature([*fixed, neighbors, *returns])
    return predict
