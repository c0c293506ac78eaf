"""Partial radial distribution functions, and the fingerprint of Valle and Oganov."""

from __future__ import annotations

from itertools import product
from numbers import Integral
from typing import Any, Self

import numpy as np
from ase.data import chemical_symbols
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, StructuresLike
from skatom.descriptors.base import StructureDescriptor
from skatom.descriptors.element_spectra import REACH, counts_of_species, neighbors_in_batches
from skatom.descriptors.many_body_tensor import ManyBodyTensor
from skatom.descriptors.pair_matrix import check_crystals
from skatom.elements import species_index
from skatom.memory import check_memory
from skatom.structures import as_structures

_COUNT = Interval(Integral, 2, None, closed="left")


class PartialRadialDistribution(StructureDescriptor):
    r"""Partial radial distribution functions: the density of each element around each element.

    .. math::
        g_{ab,k} = \frac{1}{N_a V_k} \sum_{i:\ Z_i = a}\ \sum_{j \neq i:\ Z_j = b}
            \big[\, r_k \leq r_{ij} < r_{k+1} \big], \qquad
        V_k = \frac{4\pi}{3} (r_{k+1}^3 - r_k^3)

    The sum over j has all periodic images. Shells of equal width reach up to the cutoff; features
    are in 1/Å³, and zeros of elements that a structure does not have. V g_ab / N_b is the usual
    function, which goes to 1. With ``sigma``, every distance is a Gaussian whose integrals over the
    shells are counted, so that features are smooth functions of positions.

    Parameters
    ----------
    cutoff : float, default=10.0
        Outer radius of the last shell in Å.
    n_shells : int, default=50
        Number of shells.
    sigma : float, default=None
        Standard deviation of the Gaussians in Å. None: counts, which have no derivatives.

    Attributes
    ----------
    species_ : ndarray of int
        Sorted atomic numbers seen in `fit`.

    Raises
    ------
    ValueError
        If a structure has an element that was not in the data of `fit` or two atoms at the same
        place, or if derivatives of counts are wanted.

    References
    ----------
    .. [1] K. T. Schütt et al., Phys. Rev. B 89, 205118 (2014).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skatom.descriptors import PartialRadialDistribution
    >>> salt = bulk("NaCl", "rocksalt", a=5.64)
    >>> density = PartialRadialDistribution(cutoff=5.0, n_shells=5)
    >>> density.fit_transform([salt]).values[0, :10].round(3)
    array([0.   , 0.   , 0.   , 0.077, 0.   , 0.   , 0.   , 0.075, 0.   ,
           0.031])
    >>> density.get_feature_names_out()[[3, 7]]
    array(['Na-Na:3-4', 'Na-Cl:2-3'], dtype=object)
    """

    _parameter_constraints = {
        "cutoff": [POSITIVE],
        "n_shells": [_COUNT],
        "sigma": [POSITIVE, None],
    }

    def __init__(
        self, cutoff: float = 10.0, *, n_shells: int = 50, sigma: float | None = None
    ) -> None:
        self.cutoff = cutoff
        self.n_shells = n_shells
        self.sigma = sigma

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: StructuresLike, y: Any = None) -> Self:
        """Learn the elements.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The structures.
        y : ignored

        Returns
        -------
        self
        """
        structures = as_structures(X)
        tensor = None
        if self.sigma is not None:
            half = 0.5 * self.cutoff / self.n_shells
            tensor = ManyBodyTensor(
                "distance", grid=(half, self.cutoff - half, self.n_shells), sigma=self.sigma,
                cutoff=self.cutoff + REACH * self.sigma,
            ).fit(structures)  # fmt: skip
        self.species_, self.tensor_ = structures.species, tensor
        return self

    @property
    def n_features_out_(self) -> Any:
        """Number of features."""
        check_is_fitted(self)
        return len(self.species_) ** 2 * self.n_shells

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``Na-Cl:2-3``: the elements a and b, and the radii of the shell."""
        check_is_fitted(self)
        symbols = [chemical_symbols[z] for z in self.species_]
        radii = [f"{r:.6g}" for r in self._radii()]
        shells = [f"{low}-{high}" for low, high in zip(radii[:-1], radii[1:], strict=True)]
        pairs = product(symbols, symbols, shells)
        return np.array([f"{a}-{b}:{shell}" for a, b, shell in pairs], object)

    def _radii(self):
        return np.linspace(0, self.cutoff, self.n_shells + 1)

    def _check_structures(self, structures):
        species_index(structures, self.species_)

    def _values(self, structures):
        shape = (len(structures), self.n_features_out_)
        check_memory(
            16.0 * shape[0] * shape[1],
            f"the array of {shape[0]} x {shape[1]} features",
            "transform fewer structures at a time, or take fewer shells",
        )
        if self.tensor_ is None:
            return self._counts(structures) * self._factors(structures)
        return self.tensor_._values(structures)[:, self._columns()] * self._factors(structures)

    def _pullback(self, structures, cotangent):
        self._check_derivatives()
        cotangent = cotangent * self._factors(structures)
        n = len(self.species_)
        of_pairs = np.zeros((len(structures), n * (n + 1) // 2 * self.n_shells))
        np.add.at(of_pairs.T, self._columns(), cotangent.T)
        return self.tensor_._pullback(structures, of_pairs)

    def _jacobian(self, structures, needed):
        self._check_derivatives()
        gradients, strains = self.tensor_._jacobian(structures, needed)
        factors, columns = self._factors(structures), self._columns()
        of_atoms = np.repeat(factors, structures.n_atoms, axis=0)
        return (
            gradients[:, :, columns] * of_atoms[:, None],
            strains[:, :, :, columns] * factors[:, None, None],
        )

    def _check_derivatives(self):
        if self.tensor_ is None:
            raise ValueError(
                "counts of distances in shells are steps, which have no derivatives: set the sigma "
                "of PartialRadialDistribution, such as sigma=0.1"
            )

    def _counts(self, structures):
        """Pairs of every ordered pair of elements in each shell, (n, n_features)."""
        species, n = species_index(structures, self.species_), len(self.species_)
        values = np.empty((len(structures), self.n_features_out_))
        for batch, x, pairs in neighbors_in_batches(structures, self.cutoff):
            own = species[structures.offsets[batch.start] : structures.offsets[batch.stop]]
            owners = np.repeat(np.arange(len(x)), x.n_atoms)
            r = np.linalg.norm(pairs.vectors, axis=1)
            shells = np.searchsorted(self._radii(), r, side="right") - 1
            kinds = (owners[pairs.centers] * n + own[pairs.centers]) * n + own[pairs.indices]
            found = np.bincount(kinds * self.n_shells + shells, minlength=values[batch].size)
            values[batch] = found.reshape(len(x), -1)
        return values

    def _columns(self):
        """The column of pairs, in any order, of each ordered pair of elements and shell."""
        n = len(self.species_)
        blocks = np.empty((n, n), int)
        first, second = np.triu_indices(n)
        blocks[first, second] = blocks[second, first] = np.arange(len(first))
        return (blocks.reshape(-1, 1) * self.n_shells + np.arange(self.n_shells)).ravel()

    def _factors(self, structures):
        """1 / (N_a V_k), of means of unordered pairs in the shells if these are Gaussians."""
        n, radii = len(self.species_), self._radii()
        counts = counts_of_species(structures, species_index(structures, self.species_), n)
        weights = np.ones((n, n))
        if self.tensor_ is not None:
            weights = self.cutoff / self.n_shells * (1 + np.eye(n))
        inverse = np.divide(1, counts, out=np.zeros(counts.shape), where=counts > 0)
        volumes = 4 * np.pi / 3 * np.diff(radii**3)
        factors = inverse[:, :, None, None] * weights[:, :, None] / volumes
        return factors.reshape(len(structures), -1)


class ValleOganovFingerprint(StructureDescriptor):
    r"""The fingerprint of Valle and Oganov: what a crystal's distances have beyond those of a gas.

    .. math::
        F_{ab}(R_k) = \frac{V}{4\pi N_a N_b} \sum_{i:\ Z_i = a}\ \sum_{j:\ Z_j = b}
            \frac{\delta_\sigma(R_k - r_{ij})}{r_{ij}^2} - 1, \qquad
        F_{abc}(\theta_k) = \frac{V}{N_a N_b N_c} \sum_{ijk} f(r_{ij}) f(r_{jk})\,
            \delta_\sigma(\theta_k - \theta_{ijk})

    The sums run over the atoms i (in triples, those in the middle) of one cell and all images of
    the others; δ_σ is a Gaussian, averaged over the spacing of points, and f the smooth cutoff of
    `ManyBodyTensor`. F_ab goes to 0 at large distances and does not depend on the choice of the
    cell, supercells included; F_abc of n cells is 1/n of that of one: take primitive cells.
    Elements that a crystal does not have give zeros. The usual dissimilarity of two crystals is
    half of the cosine distance, see the example.

    Parameters
    ----------
    function : {"distance", "angle"}, default="distance"
        Distances of pairs in Å, or angles of triples in degrees.
    cutoff : float, default=10.0
        The last distance, or the cutoff f of the distances in triples, in Å; these take time: 5 Å
        are usual.
    n_grid : int, default=126
        Number of points, from 0 to the cutoff or to 180 degrees.
    sigma : float, default=None
        Standard deviation of the Gaussians, in Å or degrees. None: two spacings.

    Attributes
    ----------
    tensor_ : ManyBodyTensor
        The sums.

    Raises
    ------
    ValueError
        If a structure is not periodic in three directions, has an element that was not in the data
        of `fit`, or two atoms at the same place.

    Notes
    -----
    Pairs beyond the cutoff count as far as their Gaussians reach, so that features are smooth, with
    derivatives. ``dscribe.descriptors.ValleOganov`` leaves them out, and does not subtract 1;
    otherwise values are the same. `ManyBodyTensor` with ``normalization="valle_oganov"`` gives its
    values exactly.

    References
    ----------
    .. [1] A. R. Oganov, M. Valle, J. Chem. Phys. 130, 104504 (2009).
    .. [2] M. Valle, A. R. Oganov, Acta Cryst. A66, 507 (2010).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from sklearn.metrics.pairwise import cosine_distances
    >>> from skatom.descriptors import ValleOganovFingerprint
    >>> crystals = [bulk("C", "diamond", a=3.57), bulk("C", "bcc", a=2.4), bulk("C", "fcc", a=3.0)]
    >>> crystals.append(crystals[0] * (1, 2, 1))
    >>> fingerprints = ValleOganovFingerprint(cutoff=8.0, sigma=0.1).fit_transform(crystals)
    >>> (0.5 * cosine_distances(fingerprints)[0]).round(2)
    array([0.  , 0.53, 0.49, 0.  ])
    """

    _parameter_constraints = {
        "function": [StrOptions({"distance", "angle"})],
        "cutoff": [POSITIVE],
        "n_grid": [_COUNT],
        "sigma": [POSITIVE, None],
    }

    def __init__(
        self,
        function: str = "distance",
        *,
        cutoff: float = 10.0,
        n_grid: int = 126,
        sigma: float | None = None,
    ) -> None:
        self.function = function
        self.cutoff = cutoff
        self.n_grid = n_grid
        self.sigma = sigma

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: StructuresLike, y: Any = None) -> Self:
        """Learn the elements.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The crystals.
        y : ignored

        Returns
        -------
        self
        """
        structures = as_structures(X)
        check_crystals(structures, "ValleOganovFingerprint")
        of_pairs = self.function == "distance"
        high = float(self.cutoff) if of_pairs else 180.0
        sigma = 2 * high / (self.n_grid - 1) if self.sigma is None else self.sigma
        tensor = ManyBodyTensor(
            self.function, grid=(0.0, high, self.n_grid), sigma=sigma,
            weighting="inverse_square" if of_pairs else "smooth_cutoff",
            cutoff=self.cutoff + REACH * sigma if of_pairs else self.cutoff,
            normalization="valle_oganov",
        )  # fmt: skip
        self.tensor_ = tensor.fit(structures)
        return self

    @property
    def n_features_out_(self) -> Any:
        """Number of features."""
        check_is_fitted(self)
        return self.tensor_.n_features_out_

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``Na-Cl:2.8`` and ``Cl-Na-Cl:90``: elements and a point of the grid."""
        check_is_fitted(self)
        return self.tensor_.get_feature_names_out()

    def _check_structures(self, structures):
        check_crystals(structures, "ValleOganovFingerprint")
        self.tensor_._check_structures(structures)

    def _values(self, structures):
        values = self.tensor_._values(structures)
        if self.function == "distance":
            present = self.tensor_._factors(structures) > 0
            values -= np.repeat(present, self.n_grid, axis=1)
        return values

    def _pullback(self, structures, cotangent):
        return self.tensor_._pullback(structures, cotangent)

    def _jacobian(self, structures, needed):
        return self.tensor_._jacobian(structures, needed)
