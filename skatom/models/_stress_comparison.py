"""Components of stresses beside those that a fit expects."""

from itertools import permutations

import numpy as np

from skatom.models._mistaken_units import NAMED, OF_STRESSES, Contradiction, near, suspicion

# Correlations of components, beside all others, from which an exchange of two is named.
_EXCHANGED = 0.8
_SHEARS = ("yz", "xz", "xy")


def stress_finding(expected, found, sure):
    """The finding about components (n, …) of stresses, beside what one or two fits expect."""
    r2 = [1 - np.sum((found - of_fit) ** 2) / np.sum(found**2) for of_fit in expected]
    if max(r2) > 0.3 and not (sure and _contradicts(expected, found)):
        return None
    pairs = [compared(of_fit.ravel(), found.ravel()) for of_fit in expected]
    correlation, ratio = max(pairs, key=lambda pair: abs(pair[0]))
    signed = float(np.sign(correlation)) * ratio
    start = (
        "the stresses are not the derivatives of energies and forces "
        f"(ratio {signed:.3g}, correlation {correlation:.2f}): "
    )
    if abs(correlation) < 0.6 or max(r2) > 0.3:
        text = "contradicting labels, components in another order or stresses of other structures?"
        return Contradiction(start + (_order(expected, found) or text)) if sure else None
    if 1 / 2.5 < ratio < 2.5:
        text = "tension must be positive, so is the sign wrong?"
        return Contradiction(start + text, signed) if correlation < 0 else None
    sign = ", with compression positive" if correlation < 0 else ""
    named = near(ratio, OF_STRESSES, NAMED)
    return Contradiction(start + suspicion(named, "they must be in eV/Å³") + sign, signed)


def _contradicts(expected, found):
    """Whether a component that is not small has little to do with that of any fit."""
    if found.ndim == 1:
        return False
    follows = np.zeros(found.shape[1], bool)
    for of_fit in expected:
        sizes = np.linalg.norm(of_fit, axis=0), np.linalg.norm(found, axis=0)
        small = np.maximum(*sizes) < 0.3 * max(of.max() for of in sizes)
        together = np.sum(of_fit * found, axis=0)
        follows |= small | (together > 0.35 * np.prod(sizes, axis=0))
    return not follows.all()


def _order(expected, found):
    """Which shears are in the places of which others, if that is clear."""
    if found.ndim == 1 or len(found) < 2:
        return None
    sizes = [np.linalg.norm(of, axis=0)[3:] for of in (expected[0], found)]
    if min(of.min() for of in sizes) < 0.1 * max(of.max() for of in sizes):
        return None
    together = expected[0][:, 3:].T @ found[:, 3:] / np.outer(*sizes)
    # place k has what is expected of places[k]
    places = max(permutations(range(3)), key=lambda order: sum(together[order, range(3)]))
    if places == (0, 1, 2) or min(together[places, range(3)]) < _EXCHANGED:
        return None
    moved = [f"{_SHEARS[a]} in the place of {_SHEARS[k]}" for k, a in enumerate(places) if a != k]
    return f"it looks as if components were in another order, {' and '.join(moved)}"


def pressures(virials):
    """A third of the trace, without its mean."""
    means = virials[:, :3].mean(axis=1)
    return means - means.mean()


def shears(virials):
    """Six components without the pressure; off-diagonal ones count twice."""
    without = virials.copy()
    without[:, :3] -= virials[:, :3].mean(axis=1, keepdims=True)
    return without * np.sqrt([1, 1, 1, 2, 2, 2])


def compared(expected, found):
    """The correlation of two arrays about zero, and the ratio of their sizes."""
    sizes = np.linalg.norm(expected), np.linalg.norm(found)
    if min(sizes) == 0:
        return 0.0, 1.0
    return float(expected @ found / (sizes[0] * sizes[1])), float(sizes[1] / sizes[0])
