"""What a model predicts for an engine that moves atoms: LAMMPS, i-PI."""

from dataclasses import dataclass

import numpy as np

from skatom._prediction import last_step, predictable, unwrap
from skatom._verlet import FollowedNeighbors
from skatom._warnings import warn
from skatom.properties import OUTPUTS, in_order

# Length of a cell along directions that are not periodic, a multiple of it for long structures, and
# how far apart the images there are at least, in Å.
_LENGTH, _APART = 1000.0, 200.0


@dataclass(frozen=True)
class Forces:
    """The predictions for one structure: eV, eV/Å, eV.

    ``virial`` is Σ r ⊗ F, (3, 3). The last two may be None.
    """

    energy: float
    forces: np.ndarray
    virial: np.ndarray
    local_energies: np.ndarray


class ModelForces:
    """Predictions of one model for structures of equal periodicity.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
    """

    def __init__(self, model):
        given = predictable(model)
        if "forces" not in given:
            raise ValueError(
                f"{type(last_step(model)).__name__} predicts {', '.join(given)}, but dynamics "
                "needs forces: use a model that gives them"
            )
        if "energy" not in given:
            warn("the model predicts no energies: they are zero in the dynamics")
        self.model = unwrap(model)
        self._names = [name for name in ("energy", "forces", "local_energies") if name in given]
        self._first = given[0]
        self._gives_stress = "stress" in given
        self._warned = False

    def __call__(self, structures, lists):
        """Predict.

        Parameters
        ----------
        structures : Structures
            One or several.
        lists : list of VerletList
            A list of neighbours for each.

        Returns
        -------
        list of Forces
        """
        names = self._names
        some, all_ = structures.pbc[0].any(), structures.pbc[0].all()
        if some and self._gives_stress:
            names = [*names, "stress"]
            if not all_:
                structures = _in_long_cells(structures)
        elif some and not self._warned:
            self._warned = True
            warn("the model predicts no stress: the pressure lacks its part")
        known = structures.with_neighbors(FollowedNeighbors(structures, lists))
        found = self._predicted(known, names)
        return [self._part(structures, found, s) for s in range(len(structures))]

    def _predicted(self, structures, names):
        """Properties by name; the model was asked at the beginning what it gives."""
        names = in_order({self._first, *names})
        others = [name for name in names if name != self._first]
        answer = self.model.predict(structures, **{OUTPUTS[n].keyword: True for n in others})
        return dict(zip([self._first, *others], answer if others else (answer,), strict=True))

    def of_one(self, structure, neighbors):
        """Predict for one structure and its list of neighbours."""
        return self(structure, [neighbors])[0]

    def _part(self, structures, found, s):
        atoms = slice(structures.offsets[s], structures.offsets[s + 1])
        forces, local = found["forces"][atoms], found.get("local_energies")
        virial = None
        if "stress" in found:
            virial = -abs(np.linalg.det(structures.cells[s])) * found["stress"][s]
        elif not structures.pbc[s].any():
            virial = structures.positions[atoms].T @ forces
        energy = float(found["energy"][s]) if "energy" in found else 0.0
        return Forces(energy, forces, virial, None if local is None else local[atoms])


def _in_long_cells(structures):
    """Structures that are periodic in all directions, with images far away where they were not.

    Their energies and forces are the same, and they have a volume, and so a stress.
    """
    cells = np.empty_like(structures.cells)
    for s, (start, stop) in enumerate(
        zip(structures.offsets[:-1], structures.offsets[1:], strict=True)
    ):
        pbc = structures.pbc[s]
        extent = np.ptp(structures.positions[start:stop], axis=0).max() + _APART
        normal = _LENGTH * np.ceil(extent / _LENGTH) * _normals(structures.cells[s], pbc)
        cells[s] = np.where(pbc[:, None], structures.cells[s], normal)
    return type(structures)(
        structures.numbers, structures.positions, structures.offsets, cells,
        np.ones_like(structures.pbc),
    )  # fmt: skip


def _normals(cell, pbc):
    """Unit vectors (3, 3) orthogonal to the periodic lattice vectors, in rows that are not."""
    _, _, basis = np.linalg.svd(cell[pbc])
    normals = np.zeros((3, 3))
    normals[~pbc] = basis[pbc.sum() :]
    return normals
