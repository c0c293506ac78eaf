"""What is subtracted from energies, and their scale, before a network learns the rest."""

import numpy as np

# How far atoms move, in Å: the scale of the energy where forces alone are labelled.
_MOTION = 0.1


def energies_of_elements(counts, labels):
    """Energies of the elements by least squares; zero without energies."""
    has = labels.has_energy
    if not has.any():
        return np.zeros(counts.shape[1])
    weights = 1 / labels.noise_energy[has]
    rows = counts[has] * weights[:, None]
    return np.linalg.lstsq(rows, labels.energy[has] * weights, rcond=None)[0]


def scale_of(labels, constants, n_parts):
    """The spread of the energies of parts, by energies or else by forces or virials."""
    has = labels.has_energy
    spread = (
        np.sqrt(np.mean((labels.energy - constants)[has] ** 2 / n_parts[has])) if has.any() else 0.0
    )
    if spread == 0 and labels.has_forces.any():
        spread = _MOTION * np.sqrt(np.nanmean(labels.forces**2))
    if spread == 0 and labels.has_virial.any():
        spread = _MOTION * np.sqrt(np.nanmean(labels.virial**2))
    return float(spread) or 1.0
