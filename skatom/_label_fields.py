"""Which field is which label: requests for fields, and names that look like labels."""

import re
from dataclasses import dataclass
from numbers import Real

import numpy as np

from skatom._units import unit_factor
from skatom.properties import LABELS

# What keys may name; a virial W = -stress · volume becomes a stress.
KEYS = (*LABELS, "virial")
# property -> names under which it is read without being asked for. The virial of extended XYZ, as
# GAP and MACE write it, has one sign and one unit by convention.
_USUAL = {name: (name,) for name in LABELS} | {"virial": ("virial", "virials")}
_UNITS = {"virial": "eV"} | {name: LABELS[name].unit for name in LABELS}
_KINDS = (
    ("virial", re.compile(r"virial")),
    ("stress", re.compile(r"stress")),
    ("forces", re.compile(r"force|gradient|(^|_)grad(s|_|$)|^f$|^f_|_f$")),
    ("dipole", re.compile(r"dipole|^mu$|^mu_|_mu$")),
    ("polarizability", re.compile(r"polari[sz]ab")),
    ("energy", re.compile(r"energ|toten|^e$|^e_|_e$|^e0$|e_?tot|^[uhg]0?$")),
)
_NO_LABEL = re.compile(
    r"weight|sigma|std|uncert|varian|err|rms|mae|max|min|mean|cut|fermi|kinetic|unit|thresh|tol"
    r"|conver|penalt|noise|shift|scale|constraint|mask|config"
)


@dataclass(frozen=True)
class Request:
    """A field that holds a property.

    Attributes
    ----------
    name : str
        The property, one of `KEYS` (or of the other arrays of an npz file).
    field : str
        Name of the field.
    unit : str or None
        The unit of its values; None: the usual one.
    factor : float
        What its values are multiplied by.
    named : bool
        Whether the user asked for this field.
    """

    name: str
    field: str
    unit: str | None = None
    factor: float = 1.0
    named: bool = True

    @property
    def label(self):
        """The label that it becomes."""
        return "stress" if self.name == "virial" else self.name


@dataclass(frozen=True)
class Source:
    """Where a label was read.

    Attributes
    ----------
    field : str
        Name of the field; several names if frames differ.
    place : str
        "calculator", "info", "arrays", "key-value pairs", "data" (both of ase.db) or "npz".
    unit : str
        Unit of the values in the file; "" if a factor was given.
    factor : float
        What they were multiplied by, to be in skatom's unit; for a virial W, the stress is -W/V.
    """

    field: str
    place: str
    unit: str
    factor: float


def parse_keys(keys, known=KEYS):
    """Requests by property, from a dict or from text.

    Parameters
    ----------
    keys : dict, str or None
        ``{"energy": "REF_energy", "forces": ("gradient", "-Ha/bohr")}``, or as text
        ``"energy=REF_energy,forces=gradient:-Ha/bohr"``.
    known : sequence of str
        The properties that may be named.

    Returns
    -------
    dict of Request, by the name of the property
    """
    if keys is None:
        return {}
    pairs = _pairs_of_text(keys) if isinstance(keys, str) else keys
    if not isinstance(pairs, dict):
        raise ValueError(
            f"keys is a {type(keys).__name__}: give a dict such as {{'energy': 'REF_energy'}}, or "
            "text such as 'energy=REF_energy,forces=gradient:-Ha/bohr'"
        )
    unknown = sorted(str(name) for name in pairs if name not in known)
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)} in keys; known are {', '.join(known)}")
    if "stress" in pairs and "virial" in pairs:
        raise ValueError("keys name both a stress and a virial: name one, the other follows")
    return {name: _request(name, value) for name, value in pairs.items()}


def _pairs_of_text(text):
    pairs = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equal, field = (piece.strip() for piece in part.partition("="))
        if not (name and equal and field) or name in pairs:
            raise ValueError(
                f"keys {text!r} cannot be read at {part!r}: write property=field or "
                "property=field:unit, each property once, with commas between them"
            )
        field, colon, unit = field.rpartition(":")
        pairs[name] = (field, unit) if colon else unit
    return pairs


def _request(name, value):
    if isinstance(value, str):
        if name == "stress" and kind_of(value) == "virial":
            raise ValueError(
                f"keys name {value!r} as a stress: if it is a virial, W = -stress * volume, give "
                f"keys={{'virial': {value!r}}}, otherwise its unit, ({value!r}, 'eV/Ang^3')"
            )
        return Request(name, value)
    if not (isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str)):
        raise ValueError(
            f"keys[{name!r}] is {value!r}: give the name of a field, or (name, unit or factor)"
        )
    field, unit = value
    if name == "numbers":
        raise ValueError("keys give a unit for numbers: atomic numbers have none")
    factor = _number(unit)
    if factor is None:
        return Request(name, field, unit, unit_factor(unit, name))
    if not np.isfinite(factor) or factor == 0:
        raise ValueError(f"keys[{name!r}] has the factor {unit}: give a finite one, not zero")
    return Request(name, field, "", factor)


def _number(unit):
    """The factor that a number, or the text of one, gives; None for other text."""
    if isinstance(unit, Real) and not isinstance(unit, bool):
        return float(unit)
    if not isinstance(unit, str):
        raise ValueError(f"{unit!r} is neither a unit nor a factor: give text or a number")
    try:
        return float(unit)
    except ValueError:
        return None


def requests_of(keys):
    """All requests, also the usual ones of properties that keys do not name, by label."""
    found = {}
    for label in LABELS:
        named = [request for request in keys.values() if request.label == label]
        found[label] = named or [
            Request(name, field, named=False)
            for name in ((label, "virial") if label == "stress" else (label,))
            for field in _USUAL[name]
        ]
    return found


def source_of(request, place):
    unit = _UNITS[request.name] if request.unit is None else request.unit
    return Source(request.field, place, unit, request.factor)


def joined(sources):
    """One source of those of different frames."""
    sources = list(dict.fromkeys(sources))
    first = sources[0]
    if len(sources) == 1:
        return first
    return Source(
        ", ".join(dict.fromkeys(s.field for s in sources)),
        ", ".join(dict.fromkeys(s.place for s in sources)),
        ", ".join(dict.fromkeys(s.unit for s in sources)),
        first.factor,
    )


def kind_of(field):
    """The property that a field seems to hold by its name, or None."""
    name = field.lower()
    if _NO_LABEL.search(name) or (name[:1] in "uhg" and len(name) <= 2 and field[0].islower()):
        return None
    return next((kind for kind, pattern in _KINDS if pattern.search(name)), None)


def has_shape_of(kind, shape, n_atoms):
    """Whether an array of this shape can be a label of one structure."""
    if kind == "forces":
        return shape == (n_atoms, 3)
    size = int(np.prod(shape))
    return size in {"energy": (1,), "dipole": (3,)}.get(kind, (6, 9))
