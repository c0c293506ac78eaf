"""Checks of the labels of GDML."""

import numpy as np

from skatom._misuse import check_may_be_labels
from skatom._warnings import warn
from skatom.models._consistency import some_structures
from skatom.models._labels import check_labels
from skatom.targets import Targets, as_targets

# Frames and atoms whose energies are compared with those of the integrated forces.
_FRAMES, _ATOMS = 100, 2000
# Forces may have this fraction of them along rigid motions without a warning; labels that were
# rounded, or come from integration grids, have such parts.
_RIGID = 0.01


def force_targets(y, structures, energy_constraint, model):
    """Targets with forces, and with energies if they are learnt, or a ValueError."""
    if not isinstance(y, Targets):
        check_may_be_labels(y, len(structures.numbers))
        raise ValueError(
            f"y is a {type(y).__name__}; this model learns from forces: give "
            "Targets(energy=…, forces=…) or Targets.from_ase(structures); other models learn from "
            "energies alone, such as make_pipeline(SOAP(), SparseGaussianProcess())"
        )
    targets = as_targets(y, structures)
    check_labels(targets, ("forces", "energy"), model)
    targets.require("forces")
    if energy_constraint:
        targets.require("energy")
    return targets


def energies_contradict(model, structures, targets):
    """A sentence in a list if energies disagree with a model of forces; an empty list if not."""
    labelled = np.flatnonzero(targets.labelled("energy"))
    chosen = some_structures(structures, labelled, most=_FRAMES, atoms=(_ATOMS, _ATOMS))
    predicted, energies = model.predict(structures[chosen]), targets.energy[chosen]
    spread = predicted.std()
    if len(energies) < 10 or spread == 0 or energies.std() == 0:
        return []
    slope = np.polyfit(predicted, energies, 1)[0]
    correlation = np.corrcoef(predicted, energies)[0, 1]
    if correlation < -0.95:
        problem = "fall where the integrated forces rise: are the forces gradients?"
    elif correlation < 0.5:
        problem = "do not follow the integrated forces: too few frames, a bad sigma or labels"
    elif correlation > 0.95 and abs(slope - 1.0) > 0.1:
        problem = "are in another unit than the forces: both must be in eV and Å"
    else:
        return []
    return [f"the energies {problem} (slope {slope:.3g}, correlation {correlation:.3g})"]


def warn_of_rigid_motions(rigid, forces):
    """Warn of forces along translations and rotations, which the fit leaves out.

    Parameters
    ----------
    rigid : ndarray of float, shape (M, 3 N, 6)
        From `rigid_motions`.
    forces : ndarray of float, shape (M N, 3)
    """
    flat = forces.reshape(len(rigid), -1)
    along = np.einsum("ick,ic->ik", rigid, flat)
    sizes = np.sqrt(np.einsum("ik,ik->i", along, along) / flat.shape[1])
    whole, all_along = np.sqrt(np.mean(flat**2)), np.sqrt(np.mean(sizes**2))
    if all_along > _RIGID * whole:
        warn(
            f"the forces have net forces or torques: their part along translations and rotations "
            f"of the frames is {all_along:.2g} eV/Å of {whole:.2g} (RMS), and "
            f"{sizes.max():.2g} in frame {sizes.argmax()}; no energy of a free molecule has such "
            "forces, so this part is left out"
        )
