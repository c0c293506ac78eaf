"""Overlaps of elements by their positions in the periodic table."""

import numpy as np

from skatom.elements import NOBLE_GASES, period

_N_NUMBERS = NOBLE_GASES[-1] + 1


def element_overlaps(alchemy, period_width, group_width):
    """The overlap of all elements, indexed by atomic numbers; see `skatom.kernels.FCHL18`."""
    if not isinstance(alchemy, str):
        return _custom_overlap(alchemy)
    if alchemy == "off":
        return np.eye(_N_NUMBERS)
    return _periodic_table_overlap(period_width, group_width)


def _periodic_table_overlap(period_width, group_width):
    """pd(Z, Z') = exp(-(P - P')²/4σ_P² - (G - G')²/4σ_G²) of all elements, by atomic number."""
    numbers = range(1, _N_NUMBERS)
    periods = np.array([period(z) for z in numbers], float)
    columns = np.array([column(z) for z in numbers], float)
    overlap = np.eye(_N_NUMBERS)
    overlap[1:, 1:] = np.exp(
        -(((periods[:, None] - periods) / (2 * period_width)) ** 2)
        - ((columns[:, None] - columns) / (2 * group_width)) ** 2
    )
    return overlap


def column(z):
    """Column of an element in the numbering of FCHL18.

    Columns 1 to 8 are the main groups, with helium in the last; 9 to 18 the groups 3 to 12;
    19 to 33 lanthanum to lutetium and actinium to lawrencium.
    """
    row = period(z)
    step, left = int(z - NOBLE_GASES[row - 1]), int(NOBLE_GASES[row] - z)
    if left == 0:
        return 8
    if step <= 2:
        return step
    if left <= 5:
        return 8 - left
    if left <= (14 if row > 5 else 15):
        return 24 - left
    return step + 16


def _custom_overlap(overlap):
    """Overlaps given by the user, checked."""
    overlap = np.array(overlap, dtype=float)
    if overlap.ndim != 2 or overlap.shape[0] != overlap.shape[1] or not np.isfinite(overlap).all():
        raise ValueError(
            f"alchemy has the shape {overlap.shape}: a matrix of overlaps must be square, finite "
            "and indexed by atomic number, for example (119, 119)"
        )
    if not np.allclose(overlap, overlap.T, atol=1e-12):
        raise ValueError("alchemy must be symmetric: give the same overlap for Z, Z' and Z', Z")
    lowest = np.linalg.eigvalsh(overlap)[0]
    if lowest < -1e-10 * np.abs(overlap).max():
        raise ValueError(
            f"alchemy has the eigenvalue {lowest:.3g}: overlaps must be positive semidefinite, "
            "such as Gaussians of the elements' distances"
        )
    return overlap
