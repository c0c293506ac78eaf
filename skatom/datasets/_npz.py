"""NumPy archives in the layouts of sGDML, MD17 and rMD17."""

import zipfile
import zlib

import numpy as np
from ase.data import atomic_numbers as numbers_of_symbols

from skatom._input_checks import atomic_numbers, real_array
from skatom._label_fields import KEYS, Request, Source, has_shape_of, kind_of
from skatom._units import unit_factor
from skatom.datasets._formats import nothing_selected
from skatom.datasets._report import Report
from skatom.structures import Structures, offsets_from_counts
from skatom.targets import Targets

# property -> names of its fields
_FIELDS = {
    "numbers": ("z", "nuclear_charges"),
    "positions": ("R", "coords"),
    "lattice": ("lattice",),
    "energy": ("E", "energies"),
    "forces": ("F", "forces"),
    "stress": ("stress",),
    "dipole": ("dipole",),
    "polarizability": ("polarizability",),
    "dipole_norm": ("dipole_norm",),
    "charges": (),  # often those of nuclei: keys must name charges of atoms
}
NPZ_KEYS = (*KEYS, "numbers", "positions", "lattice")
# property -> powers of the units of energy and length that the file gives
_POWERS = {
    "positions": (0, 1),
    "lattice": (0, 1),
    "energy": (1, 0),
    "virial": (1, 0),
    "forces": (1, -1),
    "stress": (1, -3),
}
_OTHER_UNITS = {
    "dipole": "e·Ang", "dipole_norm": "e·Ang", "charges": "e", "polarizability": "Ang^3"
}  # fmt: skip
# The energies of rMD17 before they were calculated again.
_SUPERSEDED = "old_"


def read_npz(path, keys, index=slice(None)):
    """Structures, Targets (or None) and the report of an npz file.

    Errors are ValueErrors that do not name the file.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("not an npz archive, or a truncated one: fetch it again")
    with np.load(path) as data:
        requests = _find_fields(data.files, keys)
        arrays = {name: _array(data, request) for name, request in requests.items()}
        report = Report(fields=dict.fromkeys(data.files, "npz"))
        _note_unread(report, data, requests, keys, arrays["positions"].shape)
        units = [_text(data, "e_unit", "kcal/mol"), _text(data, "r_unit", "Ang")]
    _check_shapes(arrays, requests)
    factors = [unit_factor(units[0], "energy"), unit_factor(units[1], "positions")]
    for name, request in requests.items():
        if name != "numbers":
            source, arrays[name] = _converted(request, arrays[name], units, factors)
            if name not in ("positions", "lattice"):
                report.sources[request.label] = source
    n = len(arrays["positions"])
    if not len(range(n)[index]):
        raise nothing_selected(index)
    for name in arrays.keys() - {"numbers", "lattice"}:
        arrays[name] = arrays[name][index]
    for name, ndim in (("numbers", 2), ("lattice", 3)):
        if name in arrays and arrays[name].ndim == ndim and len(arrays[name]) == n:
            arrays[name] = arrays[name][index]
    return *_packed(arrays, report), report


def _find_fields(fields, keys):
    """The request for each property that the file has."""
    here = ", ".join(fields)
    for name, request in keys.items():
        if request.field not in fields:
            raise ValueError(f"no field {request.field!r} for {name}; the file has {here}")
    chosen = {request.label for request in keys.values()}
    found = {
        name: Request(name, field, named=False)
        for name, names in _FIELDS.items()
        for field in names
        if field in fields and name not in chosen
    } | keys
    for name in ("numbers", "positions"):
        if name not in found:
            names = " or ".join(_FIELDS[name])
            raise ValueError(
                f"no {name} (field {names}), only {here}: if Cartesian positions or atomic "
                f"numbers go by another name, give keys={{{name!r}: name}}"
            )
    return found


def _array(data, request):
    try:
        array = data[request.field]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"field {request.field!r} cannot be read ({error}): give an undamaged array of numbers "
            "or text, not of Python objects"
        ) from error
    if request.name == "numbers":
        return _numbers(array, request.field)
    return real_array(array, f"field {request.field!r} ({request.name})")


def _numbers(array, field):
    """Atomic numbers, also those of chemical symbols; 0 and "" are padding."""
    if array.dtype.kind not in "US":
        return atomic_numbers(array)
    symbols, places = np.unique(array, return_inverse=True)
    names = [s.decode("latin-1") if isinstance(s, bytes) else str(s) for s in symbols]
    unknown = [n for n in names if n.strip() and n.strip().capitalize() not in numbers_of_symbols]
    if unknown:
        raise ValueError(
            f"field {field!r} (numbers) has {unknown[0]!r}, which is no element: give atomic "
            "numbers or chemical symbols"
        )
    numbers = [numbers_of_symbols[n.strip().capitalize()] if n.strip() else 0 for n in names]
    return np.array(numbers, dtype=np.int64)[places].reshape(array.shape)


def _text(data, field, default):
    """The unit that a 0-d array of str or bytes names."""
    if field not in data.files:
        return default
    name = data[field]
    if name.size != 1:
        raise ValueError(f"field {field!r} has {name.size} units: give one, as text")
    name = name.reshape(-1)[0]
    name = name.decode() if isinstance(name, bytes) else str(name)
    return name.strip()


def _note_unread(report, data, requests, keys, shape):
    """Note fields that have the name and the shape of labels of every frame."""
    taken = {request.field for request in requests.values()}
    chosen = {request.label for request in keys.values()}
    for field in data.files:
        kind = None if field in taken or field.startswith(_SUPERSEDED) else kind_of(field)
        if kind is None or ("stress" if kind == "virial" else kind) in chosen:
            continue
        try:
            array = data[field]
        except Exception:  # damaged, or Python objects: no label that could be read
            continue
        of_frames = array.dtype.kind in "iuf" and array.shape[:1] == shape[:1]
        if of_frames and has_shape_of(kind, array.shape[1:], shape[1]):
            report.unread[field] = "npz"


def _check_shapes(arrays, requests):
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
        "virial": ((n, 3, 3), (n, 9)),
        "dipole": ((n, 3),),
        "polarizability": ((n, 3, 3),),
        "dipole_norm": ((n,), (n, 1)),
        "charges": ((n, n_atoms),),
    }
    for name, shapes in allowed.items():
        if name in arrays and arrays[name].shape not in shapes:
            expected = " or ".join(map(str, shapes))
            raise ValueError(
                f"{name} (field {requests[name].field!r}) has the shape {arrays[name].shape}, but "
                f"positions of shape {shape} need {expected}: the arrays must describe the same "
                "frames"
            )


def _converted(request, array, units, factors):
    """The source of an array, and the array in skatom's units."""
    unit, factor = request.unit, request.factor
    if unit is None:
        powers = _POWERS.get(request.name, (0, 0))
        factor = factors[0] ** powers[0] * factors[1] ** powers[1]
        unit = _compound(units, powers) or _OTHER_UNITS[request.name]
    return Source(request.field, "npz", unit, factor), array if factor == 1.0 else array * factor


def _compound(units, powers):
    (energy, length), (e, r) = units, powers
    below = "" if r >= 0 else f"/{length}" + (f"^{-r}" if r < -1 else "")
    return (energy if e else "") + below + (length if r > 0 else "")


def _packed(arrays, report):
    """Structures, and Targets or None, of arrays by property in skatom's units."""
    numbers, positions = arrays.pop("numbers"), arrays.pop("positions")
    n = len(positions)
    present = np.broadcast_to(numbers, positions.shape[:2]) > 0  # z = 0 pads smaller molecules
    offsets = offsets_from_counts(present.sum(axis=1))
    cells = pbc = None
    if "lattice" in arrays:  # vectors are its columns
        cells = np.broadcast_to(arrays.pop("lattice").swapaxes(-1, -2), (n, 3, 3))
        pbc = np.ones((n, 3), bool)
    numbers = np.broadcast_to(numbers, present.shape)[present]
    structures = Structures(numbers, positions[present], offsets, cells, pbc)
    if "virial" in arrays:
        volumes = np.abs(np.linalg.det(structures.cells))[:, None, None] if cells is not None else 1
        arrays["stress"] = -arrays.pop("virial").reshape(n, 3, 3) / volumes
    if "stress" in arrays and cells is None:
        del arrays["stress"], report.sources["stress"]
        report.n_without_volume += n
    if not arrays:
        return structures, None
    for name in arrays.keys() & {"energy", "dipole_norm"}:
        arrays[name] = arrays[name].reshape(n)
    for name in arrays.keys() & {"forces", "charges"}:
        arrays[name] = arrays[name][present]
    _check_finite(arrays, offsets, report.sources)
    return structures, Targets(**arrays, offsets=offsets)


def _check_finite(arrays, offsets, sources):
    for name, array in arrays.items():
        owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        bad = np.flatnonzero(np.isinf(array).reshape(len(array), -1).any(axis=1))
        if len(bad):
            s = owners[bad[0]] if name in ("forces", "charges") else bad[0]
            raise ValueError(
                f"structure {s}: field {sources[name].field!r} ({name}) is infinite: repair it, or "
                f"make all of it NaN to say that the structure has no {name}"
            )
