"""Checks of the labels of GDML."""

import numpy as np

from skatom._misuse import check_may_be_labels
from skatom.models._consistency import some_structures
from skatom.models._labels import check_labels
from skatom.targets import Targets, as_targets

# Frames and atoms whose energies are compared with those of the integrated forces.
_FRAMES, _ATOMS = 100, 2000


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
