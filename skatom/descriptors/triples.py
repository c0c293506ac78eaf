"""Functions of the three distances of every triple of atoms of a molecule."""

from __future__ import annotations

from abc import abstractmethod
from itertools import combinations
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike
from skatom.descriptors.coulomb_matrix import CoulombMatrix
from skatom.descriptors.inverse_distances import (
    pair_indices,
    pair_vectors,
)
from skatom.descriptors.one_composition import DescriptorOfOneComposition
from skatom.descriptors.pair_distances import gradient_and_virial
from skatom.descriptors.pair_matrix import check_molecules
from skatom.memory import check_memory
from skatom.parallel import split_rows

# Distances of triples, and derivatives along them, that are known at a time.
_NUMBERS = 2**20
# Below this sine an angle has no direction in which it grows.
_ON_A_LINE = 1e-7


class FunctionOfTriples(DescriptorOfOneComposition):
    """Base class of functions of the three distances of triples of atoms of a molecule.

    A subclass implements ``_sides()``: the three pairs of atoms, as indices of `pair_indices`, that
    each feature depends on, (n_features, 3); and ``_function(sides)``: the features for their
    lengths (n, n_features, 3), and 1/r times the slopes along each.
    """

    @abstractmethod
    def _sides(self):
        """The pairs of each feature."""

    def _check_kind(self, structures):
        check_molecules(structures, type(self).__name__)

    def _triples(self):
        return combinations(range(len(self.numbers_)), 3)

    def _values(self, structures):
        sides = self._sides()
        check_memory(
            8.0 * len(structures) * len(sides),
            f"the array of {len(structures)} x {len(sides)} features",
            "transform fewer structures at a time, or describe smaller molecules",
        )
        values = np.empty((len(structures), len(sides)))
        for rows, vectors in _in_pieces(structures, sides):
            lengths = np.linalg.norm(vectors, axis=2)
            values[rows] = self._function(lengths[:, sides])[0]
        return values

    def _pullback(self, structures, cotangent):
        sides, offsets = self._sides(), structures.offsets
        gradient = np.empty((len(structures.numbers), 3))
        virial = np.empty((len(structures), 3, 3))
        for rows, vectors in _in_pieces(structures, sides):
            lengths = np.linalg.norm(vectors, axis=2)
            slopes = cotangent[rows, :, None] * self._function(lengths[:, sides])[1]
            places = np.arange(sides.size), sides.ravel()
            of_sides = csr_array((np.ones(sides.size), places), (sides.size, vectors.shape[1]))
            along = (slopes.reshape(len(slopes), -1) @ of_sides)[:, :, None] * vectors
            atoms = slice(offsets[rows.start], offsets[rows.stop])
            gradient[atoms], virial[rows] = gradient_and_virial(vectors, along)
        return gradient, virial

    def _jacobian(self, structures, needed):
        sides, n_atoms = self._sides(), len(self.numbers_)
        first, second = pair_indices(n_atoms)
        columns = np.arange(len(sides))
        gradients = np.zeros((len(structures), n_atoms, 3, len(sides)))
        strains = np.zeros((len(structures), 3, 3, len(sides)))
        for rows, vectors in _in_pieces(structures, sides):
            lengths = np.linalg.norm(vectors, axis=2)
            slopes = self._function(lengths[:, sides])[1]
            for q in range(3):
                vectors_q = vectors[:, sides[:, q]]
                along = slopes[:, :, q, None] * vectors_q
                strains[rows] += np.einsum("nfx,nfy->nxyf", along, vectors_q)
                along = along.transpose(1, 0, 2)
                gradients[rows, first[sides[:, q]], :, columns] += along
                gradients[rows, second[sides[:, q]], :, columns] -= along
        return gradients.reshape(-1, 3, len(sides)), strains


class TripleAngles(FunctionOfTriples):
    r"""All angles of all triangles of atoms of a molecule.

    .. math::
        \theta_{iab} = \arccos \frac{r_{ia}^2 + r_{ib}^2 - r_{ab}^2}{2\, r_{ia}\, r_{ib}}

    The three angles of each of the N (N − 1) (N − 2) / 6 triangles, in the order of the triangles
    (0,1,2), (0,1,3) … and of their atoms. Angles do not depend on translation, rotation, reflection
    and on the size of the molecule: put distances beside them by a `DescriptorUnion`. They depend
    on the permutation of like atoms.

    Parameters
    ----------
    output : {"cosine", "angle"}, default="cosine"
        Cosines, which are smooth, or angles in radians, which have a kink where three atoms are on
        a line; there their derivatives are zeros.

    Attributes
    ----------
    numbers_ : ndarray of int, shape (N,)
        Atomic numbers seen in `fit`; every molecule must have them in this order.

    Raises
    ------
    ValueError
        If a structure is periodic, structures differ in composition or atom order, there are fewer
        than three atoms, or two are at the same place.

    References
    ----------
    .. [1] R. Manavalan, Machine learning potentials using higher order interactions, thesis,
       Technische Universität München (2023).

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import molecule
    >>> from skatom.descriptors import TripleAngles
    >>> angles = TripleAngles("angle")
    >>> np.degrees(angles.fit_transform([molecule("H2O")]).values).round(1)
    array([[104.,  38.,  38.]])
    >>> angles.get_feature_names_out()
    array(['angle(H1,O0,H2)', 'angle(O0,H1,H2)', 'angle(O0,H2,H1)'],
          dtype=object)
    """

    _parameter_constraints = {"output": [StrOptions({"cosine", "angle"})]}

    def __init__(self, output: str = "cosine") -> None:
        self.output = output

    def _learn(self, structures):
        n_atoms = structures.n_atoms[0]
        if n_atoms < 3:
            raise ValueError(f"{n_atoms} atoms make no triangle: give molecules of 3 atoms or more")

    @property
    def n_features_out_(self) -> Any:
        """Number of angles."""
        check_is_fitted(self)
        n = len(self.numbers_)
        return n * (n - 1) * (n - 2) // 2

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``cosine(H1,O0,H2)``, with the atom at the angle in the middle."""
        check_is_fitted(self)
        names = self._atom_names()
        corners = (turned for i, j, k in self._triples() for turned in _corners(i, j, k))
        return np.array(
            [f"{self.output}({names[a]},{names[i]},{names[b]})" for i, a, b in corners], object
        )

    def _sides(self):
        corners = [turned for i, j, k in self._triples() for turned in _corners(i, j, k)]
        i, a, b = np.array(corners).T
        return np.stack([_pair(i, a), _pair(i, b), _pair(a, b)], axis=1)

    def _function(self, sides):
        r, t, u = np.moveaxis(sides, 2, 0)
        cosines = np.clip((r * r + t * t - u * u) / (2 * r * t), -1, 1)
        slopes = np.stack([(1 / t - cosines / r) / r, (1 / r - cosines / t) / t, -1 / (r * t)], 2)
        if self.output == "cosine":
            return cosines, slopes
        sines = np.sqrt(1 - cosines**2)
        inverse = np.divide(-1, sines, out=np.zeros(sines.shape), where=sines > _ON_A_LINE)
        return np.arccos(cosines), slopes * inverse[:, :, None]


class _TripleGaussians(FunctionOfTriples):
    """exp(−(r_ij² + r_jk² + r_ki²) / σ²) of every triple of atoms."""

    _parameter_constraints: dict = {}

    def __init__(self, sigma):
        self.sigma = sigma

    def _sides(self):
        triples = np.array(list(self._triples()), int).reshape(-1, 3)
        i, j, k = triples.T
        return np.stack([_pair(i, j), _pair(i, k), _pair(j, k)], axis=1)

    def _function(self, sides):
        values = np.exp(-(sides**2).sum(axis=2) / self.sigma**2)
        return values, np.repeat(-2 / self.sigma**2 * values[:, :, None], 3, axis=2)


class GeneralizedCoulombMatrix(DescriptorOfOneComposition):
    r"""The Coulomb matrix of a molecule, and a Gaussian of every triple of its atoms.

    .. math::
        C_{ii} = \tfrac12 Z_i^{2.4}, \qquad
        C_{ij} = \frac{Z_i Z_j}{|\mathbf r_i - \mathbf r_j|}, \qquad
        G_{ijk} = \exp\!\left(-\frac{r_{ij}^2 + r_{jk}^2 + r_{ki}^2}{\sigma^2}\right)

    First the elements of the Coulomb matrix with i ≤ j, row after row, then the triples i < j < k.
    Features depend on the permutation of like atoms.

    Parameters
    ----------
    sigma : float, default=2.0
        Width σ of the Gaussians in Å, which decides how far triples reach.
    unit : {"angstrom", "bohr"}, default="angstrom"
        Unit of the distances in the Coulomb matrix.

    Attributes
    ----------
    numbers_ : ndarray of int, shape (N,)
        Atomic numbers seen in `fit`; every molecule must have them in this order.

    Raises
    ------
    ValueError
        If a structure is periodic, structures differ in composition or atom order, or two atoms are
        at the same place.

    References
    ----------
    .. [1] R. Manavalan, Machine learning potentials using higher order interactions, thesis,
       Technische Universität München (2023).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import GeneralizedCoulombMatrix
    >>> matrix = GeneralizedCoulombMatrix()
    >>> matrix.fit_transform([molecule("H2O")]).values.round(2)
    array([[73.52,  8.26,  8.26,  0.5 ,  0.66,  0.5 ,  0.35]])
    >>> matrix.get_feature_names_out()[-2:]
    array(['C[2,2]', 'G[0,1,2]'], dtype=object)
    """

    _parameter_constraints = {
        "sigma": [POSITIVE],
        "unit": CoulombMatrix._parameter_constraints["unit"],
    }

    def __init__(self, sigma: float = 2.0, *, unit: str = "angstrom") -> None:
        self.sigma = sigma
        self.unit = unit

    def _check_kind(self, structures):
        check_molecules(structures, type(self).__name__)

    def _learn(self, structures):
        self.pairs_ = CoulombMatrix("none", unit=self.unit).fit(structures)
        self.triples_ = _TripleGaussians(float(self.sigma)).fit(structures)

    @property
    def n_features_out_(self) -> Any:
        """Number of features."""
        check_is_fitted(self)
        n = len(self.numbers_)
        return n * (n + 1) // 2 + n * (n - 1) * (n - 2) // 6

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``C[0,2]`` and ``G[0,1,2]``."""
        check_is_fitted(self)
        triples = [f"G[{i},{j},{k}]" for i, j, k in combinations(range(len(self.numbers_)), 3)]
        return np.concatenate([self.pairs_.get_feature_names_out(), np.array(triples, object)])

    def _values(self, structures):
        parts = self.pairs_._values(structures), self.triples_._values(structures)
        return np.concatenate(parts, axis=1)

    def _pullback(self, structures, cotangent):
        n = self.pairs_.n_features_out_
        of_pairs = self.pairs_._pullback(structures, cotangent[:, :n])
        of_triples = self.triples_._pullback(structures, cotangent[:, n:])
        return tuple(a + b for a, b in zip(of_pairs, of_triples, strict=True))

    def _jacobian(self, structures, needed):
        n = self.pairs_.n_features_out_
        of_pairs = self.pairs_._jacobian(structures, needed[:n])
        of_triples = self.triples_._jacobian(structures, needed[n:])
        return tuple(np.concatenate(both, -1) for both in zip(of_pairs, of_triples, strict=True))


def _corners(i, j, k):
    """The atom at each angle of a triangle, and the other two."""
    return (i, j, k), (j, i, k), (k, i, j)


def _pair(a, b):
    """Index of pairs of atoms in the order of `pair_indices`."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    return high * (high - 1) // 2 + low


def _in_pieces(structures, sides):
    """Slices of the structures, and the vectors of all their pairs of atoms (n, n_pairs, 3)."""
    vectors = pair_vectors(structures)
    for rows in split_rows(len(structures), max(1, _NUMBERS // max(1, sides.size))):
        yield rows, vectors[rows]
