"""NumPy archives in the layouts of sGDML, MD17 and rMD17."""

import zipfile
import zlib

import numpy as np
from ase import units

from skatom.structures import Structures, offsets_from_counts
from skatom.targets import Targets

# quantity -> names of its fields
_FIELDS = {
    "numbers": ("z", "nuclear_charges"),
    "positions": ("R", "coords"),
    "lattice": ("lattice",),
    "energy": ("E", "energies"),
    "forces": ("F", "forces"),
    "stress": ("stress",),
    "dipole": ("dipole",),
    "energy unit": ("e_unit",),
    "length unit": ("r_unit",),
}
_KCAL_PER_MOL = units.kcal / units.mol
_ENERGY_UNITS = {
    "eV": 1.0,
    "meV": 1e-3,
    "kcal/mol": _KCAL_PER_MOL,
    "kJ/mol": units.kJ / units.mol,
    "Hartree": units.Hartree,
    "Ha": units.Hartree,
    "Eh": units.Hartree,
}
_LENGTH_UNITS = {"Ang": 1.0, "Angstrom": 1.0, "Å": 1.0, "Bohr": units.Bohr}


def read_npz(path, keys):
    """Structures, Targets (or None) and the names of all fields of an npz file.

    Errors are ValueErrors that do not name the file.
    """
    arrays, fields = _load_arrays(path, keys)
    energy_unit = _unit(arrays.pop("energy unit", None), _ENERGY_UNITS, "kcal/mol")
    length_unit = _unit(arrays.pop("length unit", None), _LENGTH_UNITS, "Ang")
    _check_shapes(arrays)
    numbers, positions = arrays.pop("numbers"), arrays.pop("positions")
    n = len(positions)
    present = np.broadcast_to(numbers, positions.shape[:2]) > 0  # z = 0 pads smaller molecules
    offsets = offsets_from_counts(present.sum(axis=1))
    cells = pbc = None
    if "lattice" in arrays:  # vectors are its columns
        cells = np.broadcast_to(arrays.pop("lattice").swapaxes(-1, -2) * length_unit, (n, 3, 3))
        pbc = np.ones((n, 3), bool)
    numbers = np.broadcast_to(numbers, present.shape)[present]
    structures = Structures(numbers, positions[present] * length_unit, offsets, cells, pbc)
    if not arrays:
        return structures, None, fields
    if "energy" in arrays:
        arrays["energy"] = arrays["energy"].reshape(n) * energy_unit
    if "forces" in arrays:
        arrays["forces"] = arrays["forces"][present] * (energy_unit / length_unit)
    if "stress" in arrays:
        arrays["stress"] = arrays["stress"] * (energy_unit / length_unit**3)
    return structures, Targets(**arrays, offsets=offsets), fields


def _load_arrays(path, keys):
    """The arrays of ``_FIELDS`` that the file has, and the names of all fields."""
    unknown = sorted(set(keys) - set(_FIELDS))
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)} in keys; known are {', '.join(_FIELDS)}")
    if not zipfile.is_zipfile(path):
        raise ValueError("not an npz archive, or a truncated one: fetch it again")
    with np.load(path) as data:
        found = _find_fields(data.files, keys)
        return {what: _array(data, name) for what, name in found.items()}, data.files


def _find_fields(fields, keys):
    """The field of each quantity, as far as the file has it."""
    here = ", ".join(fields)
    for what, name in keys.items():
        if name not in fields:
            raise ValueError(f"no field {name!r} for {what}; the file has {here}")
    found = {
        what: name for what, names in _FIELDS.items() for name in names if name in fields
    } | keys
    for what in ("numbers", "positions"):
        if what not in found:
            names = " or ".join(_FIELDS[what])
            raise ValueError(
                f"no {what} (field {names}), only {here}: if Cartesian positions or atomic "
                f"numbers go by another name, give keys={{{what!r}: name}}"
            )
    return found


def _array(data, name):
    try:
        return data[name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"field {name!r} cannot be read ({error}): give an undamaged array of numbers or text, "
            "not of Python objects"
        ) from error


def _unit(array, known, default):
    """The factor to eV or Å of the unit that a 0-d array of str or bytes names."""
    if array is None:
        return known[default]
    name = array.item()
    name = name.decode() if isinstance(name, bytes) else str(name)
    factors = {known_name.casefold(): factor for known_name, factor in known.items()}
    factor = factors.get(name.strip().casefold())
    if factor is None:
        raise ValueError(
            f"unknown unit {name!r}; known are {', '.join(known)}: convert the arrays and rename it"
        )
    return factor


def _check_shapes(arrays):
    shape = arrays["positions"].shape
    if len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"positions have the shape {shape} instead of (frames, atoms, 3)")
    n, n_atoms, _ = shape
    allowed = {
        "numbers": ((n_atoms,), (n, n_atoms)),
        "lattice": ((3, 3), (n, 3, 3)),
        "energy": ((n,), (n, 1)),
        "forces": (shape,),
        "stress": ((n, 3, 3),),
        "dipole": ((n, 3),),
    }
    for what, shapes in allowed.items():
        if what in arrays and arrays[what].shape not in shapes:
            expected = " or ".join(map(str, shapes))
            raise ValueError(
                f"{what} has the shape {arrays[what].shape}, but positions of shape {shape} need "
                f"{expected}: the arrays must describe the same frames"
            )
