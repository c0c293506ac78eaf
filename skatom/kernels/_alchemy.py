"""How alike elements are by their places in the periodic table."""

import numpy as np

_NOBLE_GASES = np.array([0, 2, 10, 18, 36, 54, 86, 118])
_N_NUMBERS = _NOBLE_GASES[-1] + 1


def element_overlaps(alchemy, period_width, group_width):
    """The overlap of all elements, indexed by atomic numbers; see `skatom.kernels.FCHL18`."""
    if not isinstance(alchemy, str):
        return _custom_overlap(alchemy)
    if alchemy == "off":
        return np.eye(_N_NUMBERS)
    return _periodic_table_overlap(period_width, group_width)


def _periodic_table_overlap(period_width, group_width):
    """pd(Z, Z') = exp(-(P - P')²/4σ_P² - (G - G')²/4σ_G²) of all elements, by atomic number."""
    period, column = np.array([place(z) for z in range(1, _N_NUMBERS)], float).T
    overlap = np.eye(_N_NUMBERS)
    overlap[1:, 1:] = np.exp(
        -(((period[:, None] - period) / (2 * period_width)) ** 2)
        - ((column[:, None] - column) / (2 * group_width)) ** 2
    )
    return overlap


def place(z):
    """Row and column of an element in the numbering of FCHL18.

    Columns 1 to 8 are the main groups, with helium in the last; 9 to 18 the groups 3 to 12;
    19 to 33 lanthanum to lutetium and actinium to lawrencium.
    """
    period = int(np.searchsorted(_NOBLE_GASES, z))
    step, left = z - _NOBLE_GASES[period - 1], _NOBLE_GASES[period] - z
    if left == 0:
        return period, 8
    if step <= 2:
        return period, int(step)
    if left <= 5:
        return period, int(8 - left)
    if left <= (14 if period > 5 else 15):
        return period, int(24 - left)
    return period, int(step + 16)


def _custom_overlap(overlap):
    """A user's own overlaps, checked."""
    overlap = np.array(overlap, dtype=float)
    if overlap.ndim != 2 or overlap.shape[0] != overlap.shape[1] or not np.isfinite(overlap).all():
        raise ValueError(
            f"alchemy has the shape {overlap.shape}: a matrix of overlaps must be square, finite "
            "and indexed by atomic number, for example (119, 119)"
        )
    if not np.allclose(overlap, overlap.T, atol=1e-12):
        raise ValueError("alchemy must be symmetric: the overlap of Z and Z' is that of Z' and Z")
    lowest = np.linalg.eigvalsh(overlap)[0]
    if lowest < -1e-10 * np.abs(overlap).max():
        raise ValueError(
            f"alchemy has the eigenvalue {lowest:.3g}: overlaps must be positive semidefinite, "
            "such as Gaussians of the elements' distances"
        )
    return overlap
