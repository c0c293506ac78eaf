"""Checks of the arrays that structures and labels are made of."""

import numpy as np

MAX_NUMBER = 118
# lattice vectors do not span space if their determinant, at unit lengths, is below this
_SINGULAR = 1e-6
# longest coordinates, Å: rounding leaves 1e-7 Å of a distance between atoms there
LONGEST = 1e9


def real_array(value, name):
    """An array of float64; whatever is not a real number is an error that names it.

    Parameters
    ----------
    value : array-like
        Real numbers. None inside of it becomes NaN.
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


def structure_weights(sample_weight, n):
    """The weights of n structures; ones where none are given.

    Parameters
    ----------
    sample_weight : array-like of float, shape (n,), float, or None
    n : int

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
            f"sample_weight has the shape {weights.shape}, but there are {n} structures: give one "
            "weight for each"
        )
    wrong = np.flatnonzero(~(weights >= 0) | np.isinf(weights))
    if len(wrong):
        raise ValueError(
            f"the sample_weight of structure {wrong[0]} is {weights[wrong[0]]:g}: weights must be "
            "finite and not negative; 0 leaves a structure out"
        )
    if n and not weights.any():
        raise ValueError(
            "all sample weights are zero: give at least one structure a positive weight"
        )
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
