"""Checks of the arrays that structures and labels are made of."""

import numpy as np

MAX_NUMBER = 118
# lattice vectors do not span space if their determinant, at unit lengths, is below this
_SINGULAR = 1e-6
# Differences between a tensor and its transpose that count as rounding, relative to its largest
# element; and those of stresses in eV/Å³, 16 MPa, which may be as large as all of a small stress.
_ASYMMETRY, _STRESS = 1e-2, 1e-4
# longest coordinates, Å: rounding leaves 1e-7 Å of a distance between atoms there
LONGEST = 1e9


def real_array(value, name):
    """An array of float64; whatever is not a real number is an error that names it.

    Parameters
    ----------
    value : array-like
        Real numbers. None inside of it becomes NaN, and so does what a masked array masks.
    name : str
        What it is, for the message.

    Returns
    -------
    ndarray of float

    Raises
    ------
    ValueError
        If there are text, complex numbers, truth values or other objects, or rows of different
        lengths.
    """
    if isinstance(value, np.ma.MaskedArray) and value.dtype.kind in "iuf":
        value = value.astype(float).filled(np.nan)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: the rows have different lengths ({error})") from error
    if array.dtype.kind == "O":
        array = _from_objects(array)
    if array.dtype.kind not in "iuf":
        example = array.ravel()[0] if array.size else value
        raise ValueError(f"{name} must be real numbers, but has {_described(example, array)}")
    return np.ascontiguousarray(array, dtype=float).reshape(array.shape)


def _from_objects(array):
    """The array as float, or an array of the first objects that are no real numbers."""
    for item in array.ravel():
        if isinstance(item, str | bytes | bool | complex | np.bool_ | np.complexfloating):
            return np.array([item])
    try:
        return array.astype(float)
    except (TypeError, ValueError):
        return array


def _described(example, array):
    kinds = {"c": "the complex number", "b": "the truth value", "U": "the text", "S": "the text"}
    example = example.item() if isinstance(example, np.generic) else example
    return f"{kinds.get(array.dtype.kind, 'an object,')} {repr(example):.60}"


def symmetric(tensors, name):
    """Symmetric tensors (n, 3, 3): those given, or the means of them and their transposes.

    Raises
    ------
    ValueError
        If one differs from its transpose by more than rounding, as with elements in wrong order.
    """
    with np.errstate(invalid="ignore"):
        differences = np.abs(tensors - tensors.transpose(0, 2, 1)).max(axis=(1, 2))
    if not np.nan_to_num(differences).any():
        return tensors
    limits = _ASYMMETRY * np.abs(tensors).max(axis=(1, 2))
    if name == "stress":
        limits = np.maximum(limits, _STRESS)
    wrong = np.flatnonzero(differences > limits)
    if len(wrong):
        s = wrong[0]
        raise ValueError(
            f"{name} of structure {s} is not symmetric: it differs from its transpose by "
            f"{differences[s]:.3g}, where at most {limits[s]:.2g} can be rounding; check the order "
            f"of its elements (rows of the 3 x 3 matrix, or xx, yy, zz, yz, xz, xy in fields of "
            f"six), or give the mean of both, (t + t.transpose(0, 2, 1)) / 2"
        )
    return (tensors + tensors.transpose(0, 2, 1)) / 2


def structure_weights(sample_weight, n, of="structure"):
    """The weights of n structures, or samples of a table; ones where none are given.

    Parameters
    ----------
    sample_weight : array-like of float, shape (n,), float, or None
    n : int
    of : {"structure", "sample"}, default="structure"
        What they are the weights of, for messages.

    Returns
    -------
    ndarray of float, shape (n,)

    Raises
    ------
    ValueError
        If there are not as many as structures, one is negative or not finite, or all are zero.
    """
    if sample_weight is None:
        return np.ones(n)
    weights = np.asarray(sample_weight)
    weights = real_array(weights + 0 if weights.dtype == bool else weights, "sample_weight")
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise ValueError(
            f"sample_weight has the shape {weights.shape}, but there are {n} {of}s: give one "
            "weight for each"
        )
    wrong = np.flatnonzero(~(weights >= 0) | np.isinf(weights))
    if len(wrong):
        raise ValueError(
            f"the sample_weight of {of} {wrong[0]} is {weights[wrong[0]]:g}: weights must be "
            f"finite and not negative; 0 leaves a {of} out"
        )
    if n and not weights.any():
        raise ValueError(f"all sample weights are zero: give at least one {of} a positive weight")
    return weights


def atomic_numbers(values):
    """Atomic numbers as int64; fractions, truth values and text are errors."""
    numbers = np.asarray(values)
    if numbers.size and numbers.dtype.kind not in "iu":
        if numbers.dtype.kind in "bUS":
            raise ValueError(
                f"atomic numbers are integers from 1 to {MAX_NUMBER}, not "
                f"{_described(numbers.ravel()[0], numbers)}"
            )
        real = real_array(numbers, "numbers")
        bad = real[~(np.rint(real) == real)]
        if len(bad):
            raise ValueError(
                f"{bad.flat[0]} is no atomic number: give integers from 1 to {MAX_NUMBER}"
            )
    return numbers.astype(np.int64)


def flags(values):
    """Periodicity as an array of bool, from truth values or the numbers 0 and 1."""
    array = np.asarray(values)
    if array.dtype.kind != "b" and not (array.dtype.kind in "iuf" and np.isin(array, (0, 1)).all()):
        raise ValueError(
            "pbc must be True or False (or 1 or 0) along each lattice vector, got "
            f"{repr(values):.60}"
        )
    return np.ascontiguousarray(array, dtype=bool).reshape(array.shape)


def check_shapes(numbers, positions, offsets, cells, pbc):
    n, total = len(offsets) - 1, len(numbers)
    if numbers.ndim != 1 or positions.shape != (total, 3):
        raise ValueError(
            f"numbers {numbers.shape} and positions {positions.shape} must have the shapes "
            "(n_atoms,) and (n_atoms, 3)"
        )
    if n < 0 or offsets[0] != 0 or offsets[-1] != total or (np.diff(offsets) < 0).any():
        raise ValueError(f"offsets must rise from 0 to the number of atoms, {total}")
    if cells.shape != (n, 3, 3) or pbc.shape != (n, 3):
        raise ValueError(
            f"cells {cells.shape} and pbc {pbc.shape} must have the shapes ({n}, 3, 3) and ({n}, 3)"
        )


def check_physics(numbers, positions, offsets, cells, pbc):
    empty = np.flatnonzero(np.diff(offsets) == 0)
    if len(empty):
        raise ValueError(f"structure {empty[0]} has no atoms: leave it out")
    bad = np.flatnonzero((numbers < 1) | (numbers > MAX_NUMBER))
    if len(bad):
        ghost = " (0 is a ghost or dummy atom, X: remove it)" if numbers[bad[0]] == 0 else ""
        raise ValueError(
            f"{_place(offsets, bad[0])} has the atomic number {numbers[bad[0]]}; allowed are 1 to "
            f"{MAX_NUMBER}{ghost}"
        )
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{_place(offsets, bad[0])} has the position {positions[bad[0]]}: positions must be "
            "finite; remove or repair the frame"
        )
    bad = np.flatnonzero((np.abs(positions) > LONGEST).any(axis=1))
    if len(bad):
        raise ValueError(
            f"{_place(offsets, bad[0])} has the position {positions[bad[0]]}, more than "
            f"{LONGEST:.0e} Å from the origin, where rounding hides distances between atoms: "
            "convert it to Å, or repair the frame"
        )
    _check_cells(cells, pbc)


def _place(offsets, atom):
    s = int(np.searchsorted(offsets, atom, side="right") - 1)
    return f"structure {s}, atom {atom - offsets[s]}"


def _check_cells(cells, pbc):
    bad = np.flatnonzero(~np.isfinite(cells).all(axis=(1, 2)))
    if len(bad):
        raise ValueError(
            f"the cell of structure {bad[0]} is not finite: remove or repair the frame"
        )
    bad = np.flatnonzero((np.abs(cells) > LONGEST).any(axis=(1, 2)))
    if len(bad):
        raise ValueError(
            f"the cell of structure {bad[0]} is longer than {LONGEST:.0e} Å: convert it to Å, or "
            "set pbc=False and no cell"
        )
    # A direction that is not periodic needs no lattice vector: only the periodic ones are judged,
    # by the volume that they span at unit lengths, all structures of one periodicity at a time.
    periodicities = pbc @ (1, 2, 4)
    for periodicity in set(periodicities.tolist()) - {0}:
        members = np.flatnonzero(periodicities == periodicity)
        directions = pbc[members[0]]
        vectors = cells[members][:, directions]
        lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
        unit = vectors / np.where(lengths > 0, lengths, 1.0)
        spanned = np.sqrt(np.linalg.det(unit @ unit.swapaxes(1, 2)).clip(0))
        flat = np.flatnonzero(spanned < _SINGULAR)
        if len(flat):
            s = members[flat[0]]
            given = f" {cells[s][directions].tolist()} are linearly dependent"
            if not cells[s][directions].any():
                given = " are zero"
            raise ValueError(
                f"the cell of structure {s} is flat: its periodic lattice vectors{given}; give "
                "vectors that span the periodic directions or pbc=False"
            )
