"""N-body kernels as dot products of features.

The kernel exp(-(r - r')²/2σ²) on an interval is Σ_q φ_q(r) φ_q(r') with few functions, since its
eigenvalues fall faster than exponentially. A sum over pairs is then a vector Σ_T φ(T), a sum over
triangles the symmetric part of the tensor Σ_T φ(T_1) ⊗ φ(T_2) ⊗ φ(T_3), and a kernel matrix is a
matrix product. Its cost is linear, not quadratic, in the number of n-plets.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from skatom.kernels._cpu.nbody import add_products
from skatom.kernels.nbody.functionals import Part
from skatom.kernels.nbody.nplets import like_sides
from skatom.memory import check_memory
from skatom.parallel import serial_blas, split_rows, threads_over_blas

# Eigenvalues left out, relative to the largest: the error of the kernel is then about 1e-14.
_SMALLEST = 1e-15
# By how many sigma the interval of a basis extends beyond the distances, on each side.
_PADDING = 0.25
# n-plets whose basis functions are tabulated at once.
_CHUNK = 4096
# Numbers in the tensors that are added up at once; they stay in the cache.
_TENSORS = 2**19


class RadialBasis:
    """Functions φ_q with Σ_q φ_q(r) φ_q(r') = exp(-(r - r')²/2σ²) between two distances.

    The eigenfunctions of the kernel on the interval, by Gauss-Legendre quadrature (Nyström).

    Parameters
    ----------
    low, high : float, Å
    sigma : float, Å
    smallest : float, default=1e-15
        Functions are left out whose eigenvalue relative to the largest is smaller.
    """

    def __init__(self, low, high, sigma, smallest=_SMALLEST):
        self.sigma = sigma
        # slopes are less exact towards the ends, and a single distance needs them too
        low, high = low - _PADDING * sigma, high + _PADDING * sigma
        length = high - low
        nodes, weights = legendre_rule(int(40 + 6 * length / sigma))
        self.nodes = low + 0.5 * length * (nodes + 1)
        roots = np.sqrt(0.5 * length * weights)
        kernel = roots[:, None] * self._kernel(self.nodes) * roots
        with serial_blas():
            eigenvalues, vectors = np.linalg.eigh(kernel)
        kept = eigenvalues > smallest * eigenvalues[-1]
        self.eigenvalues = eigenvalues[kept]
        self.coefficients = roots[:, None] * vectors[:, kept] / np.sqrt(eigenvalues[kept])

    def __len__(self):
        return self.coefficients.shape[1]

    def __call__(self, r):
        """Values and slopes, each of shape (len(r), n_basis)."""
        kernel = self._kernel(r)
        values = kernel @ self.coefficients
        kernel *= (self.nodes - r[:, None]) / self.sigma**2
        return values, kernel @ self.coefficients

    def _kernel(self, r):
        return np.exp(-0.5 * ((r[:, None] - self.nodes) / self.sigma) ** 2)


@lru_cache(maxsize=64)
def legendre_rule(n):
    """Nodes and weights of Gauss-Legendre quadrature on [-1, 1], which take as long as a basis."""
    with serial_blas():
        rule = np.polynomial.legendre.leggauss(n)
    for array in rule:
        array.flags.writeable = False
    return rule


def interval(parts):
    """The shortest and longest side of some parts of the same elements."""
    sides = [
        part.sides[: 1 if len(elements) == 2 else 3]
        for elements, part in parts
        if part.sides.shape[1]
    ]
    if not sides:
        return None
    return min(s.min() for s in sides), max(s.max() for s in sides)


@dataclass(frozen=True)
class Folding:
    """The independent entries of a tensor that is symmetric in the sides between like atoms.

    Attributes
    ----------
    elements : tuple of int
    n_basis : int
    """

    elements: tuple
    n_basis: int

    @cached_property
    def _table(self):
        """Indices into the flat tensor (n_features, n_permutations), and their weights."""
        n, orders = self.n_basis, like_sides(self.elements)
        if len(self.elements) == 2:
            return np.arange(n)[:, None], np.ones(n)
        indices = np.indices((n, n, n)).reshape(3, -1)
        images = np.stack([np.ravel_multi_index(indices[p], (n, n, n)) for p in orders])
        first = np.flatnonzero(images.min(axis=0) == np.arange(n**3))
        images = images[:, first].T
        # entries that several permutations map to each other stand for so many of the tensor
        distinct = 1 + (np.diff(np.sort(images, axis=1), axis=1) > 0).sum(axis=1)
        return images, np.sqrt(distinct / len(orders))

    @property
    def n_features(self):
        n = self.n_basis
        if len(self.elements) == 2:
            return n
        return {1: n**3, 2: n * n * (n + 1) // 2, 6: n * (n + 1) * (n + 2) // 6}[
            len(like_sides(self.elements))
        ]

    @property
    def functions(self):
        """The basis functions whose product each feature is, shape (n_features, n_sides)."""
        if len(self.elements) == 2:
            return self._table[0]
        return np.stack(np.unravel_index(self._table[0][:, 0], (self.n_basis,) * 3), axis=1)

    def fold(self, tensors):
        """Features (…, n_features) whose dot products sum over permutations of tensors (…, n³)."""
        images, weights = self._table
        total = tensors[..., images[:, 0]]
        for image in images.T[1:]:
            total += tensors[..., image]
        total *= weights
        return total


def part_features(part, elements, basis):
    """The features of the groups that have any n-plets.

    Parameters
    ----------
    part : Part
    elements : tuple of int
    basis : RadialBasis

    Returns
    -------
    groups : ndarray of int, shape (n,)
    features : ndarray of float, shape (n, n_rows, n_features)
    """
    folding = Folding(elements, len(basis))
    groups = np.flatnonzero(np.diff(part.starts))
    n_rows = len(part.coefficients)
    check_memory(
        8.0 * len(groups) * n_rows * folding.n_features,
        f"the {folding.n_features} features of {len(groups) * n_rows} rows of a kernel matrix",
        "raise sigma, lower the cutoff, set n_environments or train on fewer structures",
    )
    features = np.empty((len(groups), n_rows, folding.n_features))
    pieces = _pieces(np.diff(part.starts)[groups])
    with threads_over_blas() as pool:
        for _ in pool.map(
            lambda piece: _fill(part, groups[piece], basis, folding, features[piece]), pieces
        ):
            pass
    return groups, features


def _pieces(counts):
    """Slices of consecutive groups of few n-plets."""
    edges = np.searchsorted(np.cumsum(counts), np.arange(0, counts.sum(), _CHUNK), side="right")
    edges = np.unique([0, *edges, len(counts)])
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def _fill(part, groups, basis, folding, out):
    begin, end = part.starts[groups[0]], part.starts[groups[-1] + 1]
    piece = Part(
        np.append(part.starts[groups], end) - begin, part.sides[:, begin:end],
        part.coefficients[:, :, begin:end],
    )  # fmt: skip
    n_sides = 1 if len(folding.elements) == 2 else 3
    for rows, sums in sums_of_products(piece, basis, n_sides):
        out[rows] = folding.fold(sums.reshape(*sums.shape[:2], -1))


def sums_of_products(part, basis, n_sides):
    """Σ_T (a + c · ∂) φ(T_1) ⊗ … of each row, for a few groups at a time.

    Yields
    ------
    groups : slice
    sums : ndarray of float, shape (groups, n_rows, n_basis) or (…, n_basis, n_basis, n_basis)
    """
    n_groups, n_rows, n = len(part.starts) - 1, len(part.coefficients), len(basis)
    tables = [basis(side) for side in part.sides[:n_sides]]
    if n_sides == 1:
        (values, slopes), coefficients = tables[0], part.coefficients[..., None]
        terms = coefficients[:, 0] * values + coefficients[:, 1] * slopes
        yield slice(0, n_groups), np.add.reduceat(terms, part.starts[:-1], axis=1).swapaxes(0, 1)
        return
    values, slopes = (np.stack(table) for table in zip(*tables, strict=True))
    coefficients = np.ascontiguousarray(part.coefficients)
    for groups in split_rows(n_groups, max(1, _TENSORS // (n_rows * n**3))):
        sums = np.zeros((groups.stop - groups.start, n_rows, n, n, n))
        add_products(
            part.starts[groups.start : groups.stop + 1], coefficients, values, slopes, sums
        )
        yield groups, sums
