"""The least-squares problem of operator learning: environments as basis, responses as rows."""

import numpy as np

from skatom._device import check_together, device_of, on_host
from skatom.base import Predictor
from skatom.kernels.blocks import fill_columns, layout
from skatom.kernels.environments import Environments, jacobian_bases
from skatom.memory import check_memory
from skatom.models._environment_expansion import EnvironmentExpansion
from skatom.parallel import threads_over_blas
from skatom.solvers import StreamedQR
from skatom.structures import groups_by_size, offsets_from_counts

# Number of rows that are computed and factored at once.
_ROWS = 512
# Number of rows of a structure of N atoms for each of its labels.
_HEIGHTS = {
    "energy": lambda n: np.ones_like(n),
    "forces": lambda n: 3 * n,
    "dipole": lambda n: np.full_like(n, 3),
}


class FeatureOperators:
    """Responses of structures as rows, kernels of the features of training atoms as columns.

    Parameters
    ----------
    kernel : Kernel
    features : AtomicFeatures
        Features of the training structures, whose atoms are the basis.
    with_forces : bool
        Whether rows of forces will be needed.
    """

    labels = ("energy", "forces")

    def __init__(self, kernel, features, with_forces):
        self.kernel = kernel
        self.features = features
        self._bases = jacobian_bases(features) if with_forces else None
        self._basis = Environments.of_single_atoms(features, self._bases)
        n = len(features.numbers)
        self._layout = layout(np.zeros(n, np.int64), np.ones(n, bool))

    @property
    def n_columns(self):
        return len(self.features.numbers)

    def rows(self, features, labelled):
        """Rows of the energies and of the forces of the structures that have them.

        Parameters
        ----------
        features : AtomicFeatures
        labelled : dict of str to ndarray of bool, shape (n,)

        Returns
        -------
        dict of str to ndarray of float, shape (n_rows, n_columns)
        """
        coordinates = [
            np.arange(3 * n if forces else 0)
            for n, forces in zip(features.n_atoms, labelled["forces"], strict=True)
        ]
        environments = Environments(features, coordinates, self._bases)
        rows = layout(environments.n_dof, labelled["energy"])
        device = device_of(features.values)
        check_together(features.values, self.features.values, "X")
        shape = self.n_columns, int(rows.starts[-1])
        out = np.empty(shape) if device is None else device.empty(*shape)
        with threads_over_blas() as pool:
            fill_columns(
                self.kernel, self._basis, environments, self._layout, rows,
                (0, len(features)), 0, False, out, pool,
            )  # fmt: skip
        out = on_host(out)
        is_energy = np.zeros(rows.starts[-1], bool)
        is_energy[rows.starts[:-1][rows.has_energy]] = True
        made = {"energy": out.T[is_energy], "forces": out.T[~is_energy]}
        return {name: block for name, block in made.items() if len(block)}

    def expansion(self, coefficients):
        """The predictor, an `EnvironmentExpansion`."""
        by_species = {z: coefficients[self.features.numbers == z] for z in self._basis.values}
        values, bases = (
            arrays and {z: on_host(x) for z, x in arrays.items()}
            for arrays in (self._basis.projected, self._bases)
        )
        return EnvironmentExpansion(self.kernel, values, by_species, bases=bases)


class StructureOperators:
    """Responses of structures as rows, kernels with the training atoms as columns.

    For a kernel like `FCHL18` that compares structures themselves.

    Parameters
    ----------
    kernel : FCHL18
    structures : Structures
        Training structures, whose atoms are the basis.
    """

    labels = ("energy", "forces", "dipole")

    def __init__(self, kernel, structures):
        self.kernel = kernel
        self.basis = kernel.environments(structures)

    @property
    def n_columns(self):
        return len(self.basis.structures.numbers)

    def rows(self, structures, labelled):
        """Rows of the labels of the structures that have them; see `FeatureOperators.rows`."""
        make = {
            "energy": self.kernel.atoms,
            "forces": lambda X, Y: -self.kernel.gradients(X, Y),
            "dipole": lambda X, Y: -self.kernel.field_gradients(X, Y),
        }
        return {
            name: make[name](structures[mask], self.basis)
            for name, mask in labelled.items()
            if mask.any()
        }

    def expansion(self, coefficients):
        """The predictor, a `StructureExpansion`."""
        return StructureExpansion(self.kernel, self.basis, coefficients)


class StructureExpansion(Predictor):
    r"""Energies of structures and their derivatives, :math:`E(A) = \sum_{I \in A} \sum_J c_J
    k(I, J)`.

    Parameters
    ----------
    kernel : FCHL18
    basis : FCHL18Environments
    coefficients : ndarray of float, shape (n_atoms of the basis,)
    """

    def __init__(self, kernel, basis, coefficients):
        self.kernel = kernel
        self.basis = basis
        self.coefficients = coefficients

    def energies(self, X):
        """E of every structure, shape (n,)."""
        return self.kernel.atoms(X, self.basis) @ self.coefficients

    def differentiate(self, X):
        """E (n,), ∂E/∂R (n_atoms, 3), ∂E/∂strain (n, 3, 3)."""
        prepared = self.kernel.environments(X)
        gradient = self.kernel.gradients(prepared, self.basis) @ self.coefficients
        virial = self.kernel.strain_gradients(prepared, self.basis) @ self.coefficients
        return self.energies(prepared), gradient.reshape(-1, 3), virial.reshape(-1, 3, 3)

    def dipoles(self, X):
        """-∂E/∂field, shape (n, 3)."""
        slopes = self.kernel.field_gradients(X, self.basis) @ self.coefficients
        return -slopes.reshape(-1, 3)


def solve_operators(operators, X, targets, alphas, max_memory=None, progress=iter):
    r"""Coefficients of the basis, by a stable least squares.

    .. math:: \min_c \sum_{y \in \{E, F, \mu\}} \frac{|y - K_y c|^2}{\alpha_y} + |c|^2

    The rows are computed in batches and added to a QR factorisation, which keeps only a triangle.

    Parameters
    ----------
    operators : FeatureOperators or StructureOperators
    X : AtomicFeatures or Structures
    targets : Targets
        Energies, forces, dipoles, or some of them.
    alphas : dict of str to ndarray of float, shape (n,)
        α of the labels of each structure, positive.
    max_memory : float or None
        Memory limit in GiB.
    progress : callable
        Function that wraps the list of batches, for a progress bar.

    Returns
    -------
    ndarray of float, shape (n_columns,)
    """
    n = operators.n_columns
    check_memory(
        StreamedQR.memory(n) + 2 * 8.0 * n * _ROWS,
        f"the least squares with a basis of {n} atoms",
        "train on fewer structures (it grows with the square of their atoms)"
        + ("" if max_memory is None else ", or raise max_memory"),
        max_memory,
    )
    labelled = {name: targets.labelled(name) for name in operators.labels}
    heights = sum(_HEIGHTS[name](X.n_atoms) * mask for name, mask in labelled.items())
    solver = StreamedQR(n, prior=np.eye(n))
    for part in progress(groups_by_size(offsets_from_counts(heights), _ROWS)):
        masks = {name: mask[part] for name, mask in labelled.items()}
        for name, rows in operators.rows(X[part], masks).items():
            labels = getattr(targets[part][masks[name]], name).ravel()
            heights = _HEIGHTS[name](X[part].n_atoms[masks[name]])
            roots = np.repeat(np.sqrt(alphas[name][part][masks[name]]), heights)
            solver.update(rows / roots[:, None], labels / roots)
    return solver.solve()
