"""Labels of kernel ridge regression, and the regularisation strength of each."""

import numpy as np

from skatom._rigid_motions import rigid_motions
from skatom.models._labels import check_stresses, per_structure, virials
from skatom.properties import in_order

# The label of each kind of rows, and the parameter that is its regularisation strength.
_LABELS = {
    "energy": ("energy", "alpha"),
    "forces": ("forces", "alpha_forces"),
    "virial": ("stress", "alpha_virial"),
    "dipole": ("dipole", "alpha_dipole"),
}


def parameter_of(kind):
    """The name of the parameter that is the regularisation strength of a kind of labels."""
    return _LABELS[kind][1]


def alphas_of(parameters, structures, targets, configurations, smallest):
    """The regularisation strength of the labels of each structure, by kind.

    Parameters
    ----------
    parameters : dict
        ``alpha``, ``alpha_forces``, ``alpha_virial`` and ``alpha_dipole``; None: as ``alpha``.
    structures : Structures, n of them
    targets : Targets
    configurations : array-like of shape (n,), or None
    smallest : float or None
        The smallest strength allowed. None: all positive numbers.

    Returns
    -------
    dict of str to ndarray of float, shape (n,)
    """
    found = {}
    for kind, (label, parameter) in _LABELS.items():
        value = parameters[parameter]
        found[kind] = per_structure(
            parameter, parameters["alpha"] if value is None else value, structures, configurations,
            targets.labelled(label), smallest=smallest,
        )  # fmt: skip
    return found


def outputs_of(learnt, has_deviations, has_local_energies):
    """Names of the properties that a model predicts after learning from these labels, in order."""
    if learnt == ["dipole"]:
        names = {"dipole"}
    else:
        names = {"energy", "forces", "stress", *(["dipole"] if "dipole" in learnt else [])}
    deviations = {f"{name}_std" for name in names} if has_deviations else set()
    return in_order(names | deviations | ({"local_energies"} if has_local_energies else set()))


class RidgeLabels:
    """Labels of n structures by kind: energy, forces, virial, dipole.

    Parameters
    ----------
    structures : Structures
    targets : Targets
        Labels minus the baseline.
    alphas : dict of str to ndarray of float, shape (n,)
        From `alphas_of`.
    learnt : sequence of str
        Names of the labels to learn from.

    Attributes
    ----------
    values : dict of str to ndarray or None
        Labels (n,), (n_atoms, 3), (n, 6) and (n, 3).
    labelled : dict of str to ndarray of bool, shape (n,)
        Which structures have the label.
    alphas : dict of str to ndarray of float, shape (n,)
    n_atoms : ndarray of int, shape (n,)
    n_independent : int
        Number of labels less that of their combinations that are always zero, the forces along
        translations and rotations.
    """

    def __init__(self, structures, targets, alphas, learnt):
        self.labelled = {
            kind: targets.labelled(label) & (label in learnt)
            for kind, (label, _) in _LABELS.items()
        }
        if self.labelled["virial"].any():
            check_stresses(targets, structures)
        self.values = {
            "energy": targets.energy, "forces": targets.forces,
            "virial": virials(targets, structures), "dipole": targets.dipole,
        }  # fmt: skip
        self.alphas = alphas
        self.n_atoms = structures.n_atoms
        total = sum(self.heights(kind)[mask].sum() for kind, mask in self.labelled.items())
        rigid = sum(
            np.sum(rigid_motions(structures[s])[0] ** 2)
            for s in np.flatnonzero(self.labelled["forces"])
        )
        self.n_independent = int(total - np.round(rigid))
        if self.n_independent == 0:
            raise ValueError(
                "the only labels are forces of single atoms, which are zero whatever the energy: "
                "give energies, or forces of structures of several atoms"
            )

    def heights(self, kind):
        """Number of rows of each structure that has the label, shape (n,)."""
        rows = {"energy": 1, "forces": 3 * self.n_atoms, "virial": 6, "dipole": 3}
        return np.broadcast_to(rows[kind], self.n_atoms.shape)

    def of(self, kind, mask):
        """The labels of the structures of a mask, one row for each component; zeros without any."""
        if self.values is None:
            return np.zeros(self.heights(kind)[mask].sum())
        rows = np.repeat(mask, self.n_atoms) if kind == "forces" else mask
        return self.values[kind][rows].ravel()

    def roots(self, kind, mask):
        """√α of each of these rows."""
        return np.repeat(np.sqrt(self.alphas[kind][mask]), self.heights(kind)[mask])

    def without_values(self):
        """The same without the labels themselves: what a factor of the matrix depends on."""
        other = object.__new__(RidgeLabels)
        vars(other).update(vars(self) | {"values": None})
        return other
