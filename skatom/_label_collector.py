"""Collect the labels of `ase.Atoms`, and say which fields they came from and which were left."""

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from skatom._input_checks import real_array
from skatom._label_fields import has_shape_of, joined, kind_of, requests_of, source_of
from skatom._results import check_results
from skatom.properties import LABELS

_GEOMETRY = {"numbers", "positions"}
# Keys of info under which ase.db keeps what its users stored.
_NESTED = {"key-value pairs": "key_value_pairs", "data": "data"}


class LabelCollector:
    """Labels of any number of `ase.Atoms`, given a few at a time.

    Parameters
    ----------
    keys : dict of Request
        The fields that the user named, see `parse_keys`.
    as_read : bool, default=False
        The structures come straight from a file: results of calculators belong to them, and
        stresses of structures that are not periodic in three directions are left out.
    invented : container of str, default=()
        Results that the reader of the file made up.

    Attributes
    ----------
    fields : dict
        All fields seen, as pairs (place, name).
    unread : dict
        Fields that look like labels and were not taken, name -> place.
    n_without_volume : int
        How many stresses were left out.
    """

    def __init__(self, keys, *, as_read=False, invented=()):
        self.keys = keys
        self.requests = requests_of(keys)
        self.as_read = as_read
        self.invented = invented
        self.fields, self.unread, self.n_without_volume = {}, {}, 0
        self._blocks, self._sources = [], {}
        self._kinds = {}  # of names of fields
        self._chosen = {request.label for request in keys.values()}  # others of them are known

    def add(self, images, numbers=None):
        """Collect the labels of a list of `ase.Atoms`, the next ones.

        ``numbers`` are those of the structures for messages; None: counted from 0.
        """
        numbers = range(len(images)) if numbers is None else numbers
        frames = [self._frame(*frame) for frame in zip(images, numbers, strict=True)]
        counts = [len(atoms) for atoms in images]
        arrays = {}
        for label in LABELS:
            values = [frame.get(label) for frame in frames]
            if any(value is not None for value in values):
                arrays[label] = _stack(label, values, counts)
        self._blocks.append((counts, arrays))

    def labels(self):
        """The arrays by label, NaN where a structure has none."""
        for request in self.keys.values():
            if request.label in LABELS and request.label not in self._sources:
                self._refuse_absent(request)
        return {
            label: np.concatenate([
                arrays[label] if label in arrays else _stack(label, [None] * len(counts), counts)
                for counts, arrays in self._blocks
            ])
            for label in LABELS if label in self._sources
        }  # fmt: skip

    def sources(self):
        """The `Source` of each label."""
        return {label: joined(self._sources[label]) for label in LABELS if label in self._sources}

    def _refuse_absent(self, request):
        names = dict.fromkeys(name for _, name in self.fields)
        reason = f"no field {request.field!r} for {request.name}; there are {', '.join(names)}"
        if request.field in names:
            reason = "it is NaN" + (
                " or belongs to structures that are not periodic in three directions"
                if request.label == "stress"
                else ""
            )
        raise ValueError(
            f"no structure has {request.name} under the key {request.field!r}: {reason}"
        )

    def _frame(self, atoms, index):
        """The labels of one structure, by name."""
        places = self._places(atoms)
        found, taken, checked = {}, set(), self.as_read
        for label, requests in self.requests.items():
            for request in requests:
                place = _place_of(request, places)
                if place is None:
                    continue
                value = places[place][request.field]
                if isinstance(value, bool | np.bool_) and not request.named:
                    self.unread[request.field] = place  # a word of the second line of XYZ
                    continue
                if place == "calculator" and not checked:
                    check_results(atoms, index)
                    checked = True
                value = self._value(request, value, atoms, place, index)
                taken.add((place, request.field))
                if value is not None:
                    found[label] = value
                    sources = self._sources.setdefault(label, {})
                    sources[source_of(request, place)] = None
                break
        for place, entries in places.items():
            for name in entries:
                if name in _GEOMETRY:
                    continue
                self.fields[place, name] = None
                if (place, name) not in taken:
                    self._note_unread(place, name, entries[name], found, atoms)
        return found

    def _places(self, atoms):
        results = {} if atoms.calc is None else getattr(atoms.calc, "results", None) or {}
        if self.invented:
            results = {name: v for name, v in results.items() if name not in self.invented}
        info = atoms.info
        places = {"info": info, "arrays": atoms.arrays, "calculator": results}
        for place, key in _NESTED.items():
            if isinstance(info.get(key), dict):
                places[place] = info[key]
                info = {name: value for name, value in info.items() if name != key}
                places["info"] = info
        return places

    def _value(self, request, value, atoms, place, index):
        where = f"structure {index}: {request.field!r} ({place})"
        if value is None:
            return None
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
        if array.dtype != float:
            array = _numbers(array, where)
        array = _shaped(array, request, len(atoms), where)
        finite = np.isfinite(array)
        if not finite.all():
            if not np.isnan(array).all():
                raise ValueError(
                    f"{where} is {array[~finite][0]} in part: repair it, or make all of it NaN to "
                    f"say that the structure has no {request.name}"
                )
            return None
        if request.factor != 1.0:
            array = array * request.factor
        if request.label != "stress" or atoms.pbc.all():
            return array if request.name != "virial" else -array / abs(atoms.cell.volume)
        if self.as_read or request.name == "virial":
            self.n_without_volume += 1
            return None
        return array

    def _note_unread(self, place, name, value, found, atoms):
        if name in self.unread:
            return
        kind = self._kinds.get(name, "")
        if kind == "":
            kind = kind_of(name) if isinstance(name, str) else None
            kind = None if ("stress" if kind == "virial" else kind) in self._chosen else kind
            self._kinds[name] = kind
        if kind is None or isinstance(value, dict | str | bool | np.bool_) or value is None:
            return
        per_atom = place == "arrays" or (place == "calculator" and name == "energies")
        if per_atom and kind != "forces":
            return
        try:
            array = real_array(value, name)
        except ValueError:
            return
        if not has_shape_of(kind, array.shape, len(atoms)) or np.isnan(array).all():
            return
        if not _is_known(kind, array, found, atoms):
            self.unread[name] = place


def _numbers(array, where):
    try:
        return real_array(array, where)
    except ValueError as error:
        raise ValueError(f"{error}: write numbers, or nan where there are none") from error


def _place_of(request, places):
    """Where the field of a request lies, or None.

    Names that the user gave are searched for where users store things first; the usual names,
    where calculators do, and labels of structures are not taken from arrays of atoms.
    """
    field = request.field
    if request.named:
        order = ("info", "arrays", "key-value pairs", "data", "calculator")
    else:
        own = "arrays" if LABELS[request.label].per == "atom" else "info"
        order = ("calculator", own, "key-value pairs", "data")
    for place in order:
        if place in places and places[place].get(field) is not None:
            return place
    return None


def _shaped(array, request, n_atoms, where):
    """The label in its shape; stresses may be six numbers xx, yy, zz, yz, xz, xy."""
    label = LABELS[request.label]
    shape = label.shape if label.per == "structure" else (n_atoms, *label.shape)
    if array.shape == shape:
        return array
    if array.shape == (6,) and label.shape == (3, 3):
        return voigt_6_to_full_3x3_stress(array)
    squeezed = array[0] if array.shape[:1] == (1,) and array.shape[1:] == shape else array.ravel()
    if squeezed.size != np.prod(shape) or (array.ndim > 1 and array.shape != (1, *shape)):
        raise ValueError(
            f"{where} has the shape {array.shape}, but {request.name} of a structure of {n_atoms} "
            f"atoms needs {shape}: repair it, or name another field by keys"
        )
    return squeezed.reshape(shape)


def _is_known(kind, array, found, atoms):
    """Whether a field only repeats the label that was taken."""
    label = found.get("stress" if kind == "virial" else kind)
    if label is None:
        return False
    if kind == "virial":
        label = -label * abs(atoms.cell.volume)
    if array.shape == (6,):
        array = voigt_6_to_full_3x3_stress(array)
    size = np.abs(label).max(initial=0)
    return array.size == np.size(label) and np.allclose(
        array.reshape(np.shape(label)), label, rtol=0, atol=1e-6 * size + 1e-9
    )


def _stack(name, values, counts):
    per, shape = LABELS[name].per, LABELS[name].shape
    if per == "structure":
        missing = np.full(shape, np.nan)
        return np.array([missing if value is None else value for value in values], dtype=float)
    return np.concatenate([
        np.full((count, *shape), np.nan) if value is None else value
        for value, count in zip(values, counts, strict=True)
    ])  # fmt: skip
