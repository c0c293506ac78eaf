"""The least-squares problem of operator learning: environments as basis, responses as rows."""

import numpy as np
from scipy.linalg import solve_triangular

from skatom._cpu.voigt import voigt
from skatom._device import check_together, device_of, on_host
from skatom.descriptors.features import structures_of
from skatom.kernels.bases import jacobian_bases
from skatom.kernels.blocks import fill_columns, kinds_of_rows, layout
from skatom.kernels.coordinates import coordinates_of
from skatom.kernels.environments import Environments
from skatom.kernels.fchl18.expansion import FCHL18Expansion
from skatom.kernels.structure import StructureKernel
from skatom.kernels.structure_blocks import own_covariances
from skatom.memory import check_memory
from skatom.models._environment_expansion import EnvironmentExpansion
from skatom.models.kernel_ridge.structure_kernel_expansion import StructureKernelExpansion
from skatom.parallel import serial_blas, threads_over_blas
from skatom.solvers import StreamedQR
from skatom.structures import groups_by_size, offsets_from_counts

# Number of rows that are computed and factored at once.
_ROWS = 512
# Components of each kind of prediction.
_SHAPES = {"energy": (), "forces": (3,), "virial": (6,), "dipole": (3,)}


class FeatureOperators:
    """Responses of structures as rows, kernels of the features of training atoms as columns.

    Parameters
    ----------
    kernel : DotKernel or StructureKernel
    features : AtomicFeatures or StructureFeatures
        Features of the training structures, whose rows are the basis: atoms, or structures if the
        features or the kernel are those of structures.
    with_derivatives : bool
        Whether rows of forces or virials will be needed.
    """

    kinds = ("energy", "forces", "virial")

    def __init__(self, kernel, features, with_derivatives):
        self.kernel = kernel
        self.features = features
        self._bases = jacobian_bases(features) if with_derivatives else None
        if isinstance(kernel, StructureKernel):
            self._basis = Environments(features, bases=self._bases)
        else:
            self._basis = Environments.of_single_rows(features, self._bases)
        n = len(self._basis.n_dof)
        self._layout = layout(np.zeros(n, np.int64), np.ones(n, bool))

    @property
    def n_columns(self):
        return len(self._layout.has_energy)

    def rows(self, features, labelled, known=True):
        """Rows of the energies, forces and virials of the structures that have them.

        Parameters
        ----------
        features : AtomicFeatures or StructureFeatures
        labelled : dict of str to ndarray of bool, shape (n,)
        known : bool, default=True
            Whether they are training structures.

        Returns
        -------
        dict of str to ndarray of float, shape (n_rows, n_columns)
        """
        n_atoms = features.structures.n_atoms
        has = np.stack([labelled[kind] for kind in self.kinds], axis=1)
        coordinates = [
            coordinates_of(forces, virial, n)
            for n, (_, forces, virial) in zip(n_atoms, has, strict=True)
        ]
        if known:
            environments = Environments(features, coordinates, self._bases)
        else:
            environments = Environments(features, coordinates).in_bases(self._bases)
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
        kind_of_row = kinds_of_rows(n_atoms, self.kinds)[_rows_of(has, n_atoms)]
        made = {kind: out.T[kind_of_row == place] for place, kind in enumerate(self.kinds)}
        return {kind: block for kind, block in made.items() if len(block)}

    def expansion(self, coefficients):
        """The predictor."""
        if isinstance(self.kernel, StructureKernel):
            return StructureKernelExpansion(
                self.kernel, self._basis, own_covariances(self.kernel, self._basis), coefficients,
                bases=self._bases,
            )  # fmt: skip
        numbers = self._basis.rows.numbers
        by_species = {z: coefficients[numbers == z] for z in self._basis.values}
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

    kinds = ("energy", "forces", "virial", "dipole")

    def __init__(self, kernel, structures):
        self.kernel = kernel
        self.basis = kernel.environments(structures)

    @property
    def n_columns(self):
        return len(self.basis.structures.numbers)

    def rows(self, structures, labelled, known=True):
        """Rows of the labels of the structures that have them; see `FeatureOperators.rows`."""
        make = {
            "energy": self.kernel.atoms,
            "forces": lambda X, Y: -self.kernel.gradients(X, Y),
            "virial": self._virials,
            "dipole": lambda X, Y: -self.kernel.field_gradients(X, Y),
        }
        return {
            name: make[name](structures[mask], self.basis)
            for name, mask in labelled.items()
            if mask.any()
        }

    def _virials(self, X, Y):
        strains = self.kernel.strain_gradients(X, Y)
        n_columns = strains.shape[1]
        return voigt(strains.reshape(-1, 3, 3, n_columns)).reshape(-1, n_columns)

    def expansion(self, coefficients):
        """The predictor, an `FCHL18Expansion`."""
        return FCHL18Expansion(self.kernel, self.basis, coefficients)


class OperatorFactor:
    r"""The factor of the least squares of the coefficients c, and what follows from it.

    .. math:: \min_c \sum_{y \in \{E, F, V, \mu\}} \frac{|y - K_y c|^2}{\alpha_y} + |c|^2

    The rows are computed in batches and added to a QR factorisation, of which only the triangle R
    is kept. It is Bayesian linear regression: :math:`(R^\top R)^{-1}` is the covariance of the
    coefficients, in units of the scale c² of the prior, which maximises the likelihood of the n
    labels where it is the minimum divided by n.

    Parameters
    ----------
    operators : FeatureOperators or StructureOperators
    X : AtomicFeatures, StructureFeatures or Structures
    labels : RidgeLabels
        Their strengths α are positive.
    max_memory : float or None
        Memory limit in GiB.
    progress : callable
        Function that wraps the list of batches, for a progress bar.
    """

    def __init__(self, operators, X, labels, max_memory=None, progress=iter):
        n = operators.n_columns
        check_memory(
            StreamedQR.memory(n) + 2 * 8.0 * n * _ROWS,
            f"the least squares with a basis of {n} atoms or structures",
            "train on fewer structures (it grows with the square of their atoms)"
            + ("" if max_memory is None else ", or raise max_memory"),
            max_memory,
        )
        self.operators = operators
        self._solver = StreamedQR(n, prior=np.eye(n))
        self._n_independent = labels.n_independent
        heights = sum(labels.heights(kind) * labels.labelled[kind] for kind in operators.kinds)
        everywhere = np.zeros(len(X), bool)
        for part in progress(groups_by_size(offsets_from_counts(heights), _ROWS)):
            masks = {kind: labels.labelled[kind][part] for kind in operators.kinds}
            for kind, rows in operators.rows(X[part], masks).items():
                chosen = everywhere.copy()
                chosen[part] = masks[kind]
                roots = labels.roots(kind, chosen)
                self._solver.update(rows / roots[:, None], labels.of(kind, chosen) / roots)

    @property
    def variance(self):
        """The scale c² of the prior."""
        return float(self._solver.residuals[0]) / self._n_independent

    def expansion(self):
        """The predictor."""
        return self.operators.expansion(self._solver.solve())

    def variances(self, X, kind):
        """Variances of predictions, in units of c²; see `CholeskySystem.variances`."""
        triangle = self._solver.triangle
        n_atoms, shape = structures_of(X).n_atoms, _SHAPES[kind]
        found = [np.empty((0, *shape))]
        for part in groups_by_size(offsets_from_counts(1 + 3 * n_atoms), _ROWS):
            some = {of: np.full(len(n_atoms[part]), of == kind) for of in self.operators.kinds}
            rows = self.operators.rows(X[part], some, known=False)[kind]
            with serial_blas():
                along = solve_triangular(triangle, rows.T, trans="T")
            found.append(np.einsum("ij,ij->j", along, along).reshape(-1, *shape))
        return np.concatenate(found)


def _rows_of(has, n_atoms):
    """Which rows of energies, forces and virials of all structures there are: a mask."""
    counts = np.stack([np.ones_like(n_atoms), 3 * n_atoms, np.full_like(n_atoms, 6)], axis=1)
    return np.repeat(has.ravel(), counts.ravel())
