"""The posterior covariance of pairs and triangles as a matrix in a basis."""

from itertools import combinations_with_replacement

import numpy as np
from scipy.linalg import solve_triangular

from skatom._cpu.voigt import FROM_VOIGT
from skatom.base import TupleKeys
from skatom.kernels.base import squared_norms
from skatom.kernels.nbody.features import Folding, RadialBasis, part_features
from skatom.memory import check_memory
from skatom.models.sparse.fitting import batches
from skatom.solvers import StreamedQR

# Functions are left out whose share of the prior variance, relative to the largest, is smaller.
_SMALLEST = 1e-12
# Number of atoms whose rows are in memory at once.
_BATCH_ATOMS = 256
# What each standard deviation is that of.
_ROWS = {"energy_std": "energy", "forces_std": "forces", "stress_std": "virial"}


class ExtrapolatedBasis(RadialBasis):
    """A `RadialBasis` whose functions go on linearly below the interval.

    Parameters
    ----------
    low, high, sigma : float, Å
    """

    def __init__(self, low, high, sigma):
        super().__init__(low, high, sigma, _SMALLEST)
        self.low = low

    def __call__(self, r):
        """Values and slopes, each of shape (len(r), n_basis)."""
        inside = np.maximum(r, self.low)
        values, slopes = super().__call__(inside)
        values += (r - inside)[:, None] * slopes
        return values, slopes


class VarianceTable(TupleKeys):
    r"""Standard deviations of sums over pairs and triangles, at a cost that data do not raise.

    .. math:: s^2 = \Phi^\top (1 + A^\top \Lambda^{-1} A)^{-1} \Phi = |R^{-\top} \Phi|^2, \qquad
        R^\top R = 1 + A^\top \Lambda^{-1} A

    :math:`\Phi` are the sums of the functions of a basis over the n-plets of a structure, A those
    of the training set. With all functions the basis gives the kernel, and s is that of the
    process.

    Parameters
    ----------
    kernel : NBody or NBodySum
        The kernel of a fitted process.
    training : TrainingRows
        Its training set.
    species : list of int
        The elements, sorted.
    r_min : float
        The shortest side of the basis, Å.
    max_memory : float or None
        Limit of the memory of the factorisation, GiB.
    """

    _keyed_by_tuples = ("bases", "kept", "columns")

    def __init__(self, kernel, training, species, r_min, max_memory=None):
        self.kernel = kernel
        self.bases, self.kept, self.columns = {}, {}, {}
        for k, term in enumerate(self.kernel.terms):
            for elements in combinations_with_replacement(species, term.order):
                basis = ExtrapolatedBasis(r_min, float(term.cutoff), float(term.sigma))
                self.bases[k, *elements] = basis
                self.kept[k, *elements] = _large_products(elements, basis)
        rows, noise = training.rows, training.noise
        found = sorted({key for block in rows for key, *_ in self._features(block)})
        n_columns = 0
        for key in found:
            self.columns[key] = slice(n_columns, n_columns + len(self.kept[key]))
            n_columns += len(self.kept[key])
        highest = max(_terms(block)[0].n_groups * _terms(block)[0].n_rows for block in rows)
        check_memory(
            StreamedQR.memory(n_columns) + 8.0 * max(highest, n_columns) * n_columns,
            f"the table of the variance, of {n_columns} functions",
            "raise sigma, lower the cutoff or set map_variance=False", max_memory,
        )  # fmt: skip
        solver, begin = StreamedQR(n_columns, prior=np.eye(n_columns)), 0
        for block in rows:
            matrix, _ = self._matrix(block)
            matrix /= noise[begin : begin + len(matrix), None]
            solver.update(matrix, np.zeros(len(matrix)))
            begin += len(matrix)
        self.triangle = solver.triangle

    def by_name(self, structures, names):
        """Standard deviations of the named properties of structures.

        Parameters
        ----------
        structures : Structures
        names : collection of str
            Names of standard deviations; others are ignored.

        Returns
        -------
        dict of str to ndarray
        """
        found = {}
        for name in _ROWS.keys() & set(names):
            parts = [
                self._of(structures[b], _ROWS[name]) for b in batches(structures, _BATCH_ATOMS)
            ]
            found[name] = np.concatenate(parts)
        if "energy_std" in found:
            found["energy_std"] = found["energy_std"][:, 0]
        if "stress_std" in found:
            volumes = structures.volumes()[:, None, None]
            found["stress_std"] = found["stress_std"][:, FROM_VOIGT] / volumes
        return found

    def _of(self, structures, what):
        """Standard deviations of groups of rows, shape (n_groups, n_rows)."""
        rows = self.kernel.rows(structures, what)
        matrix, untrained = self._matrix(rows)
        left = solve_triangular(self.triangle, matrix.T, trans="T", check_finite=False)
        first = _terms(rows)[0]
        return np.sqrt(squared_norms(left.T) + untrained).reshape(first.n_groups, first.n_rows)

    def _matrix(self, rows):
        """Φ of rows, shape (n, n_columns), and the variance of elements without data."""
        first = _terms(rows)[0]
        n = first.n_groups * first.n_rows
        matrix, untrained = (
            np.zeros((n, sum(len(self.kept[key]) for key in self.columns))),
            np.zeros(n),
        )
        for key, places, values in self._features(rows):
            if key in self.columns:
                matrix[places, self.columns[key]] = values
            else:
                untrained[places] += squared_norms(values)
        return matrix, untrained

    def _features(self, rows):
        """The key, the places and the values of the rows of each combination of elements."""
        for k, (term, block) in enumerate(zip(self.kernel.terms, _terms(rows), strict=True)):
            for elements, part in block.parts.items():
                key = (k, *elements)
                groups, values = part_features(part, elements, self.bases[key])
                places = groups[:, None] * block.n_rows + np.arange(block.n_rows)
                values = term.amplitude * values[..., self.kept[key]]
                yield key, places.ravel(), values.reshape(places.size, -1)


def _terms(rows):
    """The rows of each term of a kernel."""
    return rows if isinstance(rows, tuple) else (rows,)


def _large_products(elements, basis):
    """The features of an n-plet whose share of the prior variance is not negligible."""
    shares = basis.eigenvalues / basis.eigenvalues.max()
    products = shares[Folding(elements, len(basis)).functions].prod(axis=1)
    return np.flatnonzero(products > _SMALLEST)
