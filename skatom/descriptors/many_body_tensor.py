"""The many-body tensor representation of a molecule or crystal."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from ase.data import chemical_symbols
from sklearn.base import _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, StructuresLike
from skatom.descriptors._cpu import spectra as _cpu
from skatom.descriptors.base import StructureDescriptor
from skatom.descriptors.element_spectra import Spectra, SpectrumGrid, counts_of_species
from skatom.descriptors.pair_matrix import check_crystals
from skatom.elements import species_index
from skatom.memory import check_memory
from skatom.structures import as_structures

_FUNCTIONS = {
    "atomic_number": None,
    "distance": _cpu.DISTANCE,
    "inverse_distance": _cpu.INVERSE_DISTANCE,
    "angle": _cpu.ANGLE,
    "cosine": _cpu.COSINE,
}
_WEIGHTINGS = {
    "unity": _cpu.UNITY,
    "exp": _cpu.EXPONENTIAL,
    "inverse_square": _cpu.INVERSE_SQUARE,
    "smooth_cutoff": _cpu.SMOOTH_CUTOFF,
}
_GRIDS = {
    "distance": (0.0, 10.0, 100),
    "inverse_distance": (0.0, 1.5, 100),
    "angle": (0.0, 180.0, 100),
    "cosine": (-1.0, 1.0, 100),
}
# A narrower Gaussian is a step from one cell to the next.
_NARROWEST = 1e-3


class ManyBodyTensor(StructureDescriptor):
    r"""The many-body tensor representation: smooth histograms of distances or angles of elements.

    .. math::
        x_{\boldsymbol z}(g_k) = \sum_{\boldsymbol i:\ Z_{\boldsymbol i} = \boldsymbol z}
            w(\boldsymbol i) \int_{g_k - \Delta/2}^{g_k + \Delta/2}
            \frac{e^{-(g - g(\boldsymbol i))^2/2\sigma^2}}{\sqrt{2\pi}\,\sigma}
            \frac{\mathrm dg}{\Delta}

    A function g of one, two or three atoms **i** is broadened by a Gaussian and read at the points
    g_k of a grid of spacing Δ, one grid for each combination **z** of elements. Every pair is
    counted once, and every triple once around each of its atoms; in a crystal, once for each cell.
    Features do not depend on the numbering of atoms and have derivatives. Several functions side
    by side are a `DescriptorUnion`.

    Parameters
    ----------
    function : str, default="inverse_distance"
        The function: "atomic_number" of one atom; "distance" (Å) or "inverse_distance" (1/Å) of
        pairs; "angle" (degrees) or "cosine" of triples, of the angle at the atom in the middle.
    grid : tuple (low, high, n), default=None
        The first and last point of the grid, and their number, at least 2. None: 100 points
        between 0 and 10 Å, 0 and 1.5 1/Å, 0 and 180 degrees, or −1 and 1; for atomic numbers, the
        numbers up to the largest given to `fit`.
    sigma : float, default=None
        Standard deviation σ of the Gaussians, in the unit of the function. None: two spacings.
    weighting : {"unity", "exp", "inverse_square", "smooth_cutoff"}, default="unity"
        The weight w, see Notes. Atomic numbers have "unity".
    cutoff : float, default=None
        Cutoff R in Å. None: all pairs and triples of molecules count. Crystals need it, and so do
        "smooth_cutoff" and, without ``decay``, "exp".
    decay : float, default=None
        The decay s of "exp" in 1/Å. None: the weight of a pair, or of a triple whose perimeter is
        2 R, has fallen to a thousandth at the cutoff.
    sharpness : float, default=2.0
        The exponent y ≥ 1 of "smooth_cutoff".
    normalization : {"l2", "n_atoms", "valle_oganov"}, default=None
        "l2": rows have the Euclidean norm 1. "n_atoms": they are divided by the number of atoms.
        "valle_oganov", for crystals: a pair of elements is multiplied by V / (4π N_a N_b), twice
        that for equal elements, and a triple by V / (N_a N_b N_c). None: sums.

    Attributes
    ----------
    species_ : ndarray of int
        Sorted atomic numbers seen in `fit`.
    grid_ : tuple (low, high, n)
        The grid.
    sigma_ : float
        Standard deviation of the Gaussians.

    Raises
    ------
    ValueError
        If the grid does not rise, the weighting is not one of the function, a crystal has no
        cutoff, or "valle_oganov" gets a molecule; if a structure has an element that was not in the
        data of `fit`, or two atoms at the same place.

    Notes
    -----
    *Weights* of a pair at the distance r, and of a triple with the distances r and t from the atom
    in the middle and u between the others:

    ==================  ==========================  ==================================
    "unity"             1                           1
    "exp"               exp(−s r)                   exp(−s (r + t + u)), r + t + u ≤ 2 R
    "inverse_square"    1/r²                        1/(r t)²
    "smooth_cutoff"     f(r)                        f(r) f(t)
    ==================  ==========================  ==================================

    for r, t < R, with f(r) = 1 + y (r/R)^(y+1) − (y + 1) (r/R)^y. Only the last ends smoothly: with
    the others features jump where a pair crosses the cutoff, and derivatives are those between such
    places. Angles have a kink where three atoms are on a line, cosines have not.

    *dscribe.* Values are those of ``dscribe.descriptors.MBTR`` with the same function, grid
    ``{"min": low, "max": high, "n": n, "sigma": sigma}`` and weighting; its ``scale`` is ``decay``,
    its ``r_cut`` is ``cutoff``. Its ``threshold`` t is a cutoff of −ln(t)/s for pairs and half of
    that for triples. Features of triples are in the order of the middle element, then of the other
    two.

    References
    ----------
    .. [1] H. Huo, M. Rupp, Mach. Learn.: Sci. Technol. 3, 045017 (2022).
    .. [2] L. Himanen et al., Comput. Phys. Commun. 247, 106949 (2020).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import ManyBodyTensor
    >>> tensor = ManyBodyTensor("distance", grid=(0.0, 2.0, 5), sigma=0.1)
    >>> tensor.fit_transform([molecule("H2O")]).values.round(2)
    array([[0.  , 0.  , 0.01, 1.97, 0.03, 0.  , 0.06, 3.93, 0.01, 0.  , 0.  ,
            0.  , 0.  , 0.  , 0.  ]])
    >>> tensor.get_feature_names_out()[[3, 7]]
    array(['H-H:1.5', 'H-O:1'], dtype=object)
    >>> angles = ManyBodyTensor("angle", grid=(0, 180, 10)).fit([molecule("H2O")])
    >>> angles.get_feature_names_out()[30:32]
    array(['H-O-H:0', 'H-O-H:20'], dtype=object)
    """

    _parameter_constraints = {
        "function": [StrOptions(set(_FUNCTIONS))],
        "grid": [tuple, list, None],
        "sigma": [POSITIVE, None],
        "weighting": [StrOptions(set(_WEIGHTINGS))],
        "cutoff": [POSITIVE, None],
        "decay": [POSITIVE, None],
        "sharpness": [POSITIVE],
        "normalization": [StrOptions({"l2", "n_atoms", "valle_oganov"}), None],
    }

    def __init__(
        self,
        function: str = "inverse_distance",
        *,
        grid: tuple[float, float, int] | None = None,
        sigma: float | None = None,
        weighting: str = "unity",
        cutoff: float | None = None,
        decay: float | None = None,
        sharpness: float = 2.0,
        normalization: str | None = None,
    ) -> None:
        self.function = function
        self.grid = grid
        self.sigma = sigma
        self.weighting = weighting
        self.cutoff = cutoff
        self.decay = decay
        self.sharpness = sharpness
        self.normalization = normalization

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
        self._check_weighting()
        species = structures.species
        grid = self.grid
        if grid is None:
            largest = int(species.max())
            grid = _GRIDS.get(self.function, (0.0, float(largest), largest + 1))
        low, high, n = _checked_grid(grid)
        spacing = (high - low) / (n - 1)
        sigma = 2 * spacing if self.sigma is None else float(self.sigma)
        if sigma < _NARROWEST * spacing:
            raise ValueError(
                f"sigma={sigma:g} is below a thousandth of the spacing {spacing:g} of the grid, so "
                "that features would be steps: take a wider sigma or a finer grid"
            )
        self.species_, self.grid_, self.sigma_ = species, (low, high, n), sigma
        self._check_structures(structures)
        return self

    def _check_weighting(self):
        if self.function == "atomic_number" and self.weighting != "unity":
            raise ValueError(
                f"weighting={self.weighting!r} is a function of distances, which atomic numbers do "
                "not have: set weighting='unity'"
            )
        needs = self.weighting == "smooth_cutoff" or (
            self.weighting == "exp" and self.decay is None
        )
        if needs and self.cutoff is None:
            also = " or decay" if self.weighting == "exp" else ""
            raise ValueError(
                f"weighting={self.weighting!r} needs a cutoff: set cutoff{also}, such as cutoff=6.0"
            )
        if self.sharpness < 1:
            raise ValueError(
                f"sharpness={self.sharpness} makes weights with an infinite slope: set 1 or more"
            )

    @property
    def n_features_out_(self) -> Any:
        """Number of features."""
        check_is_fitted(self)
        if self.function == "atomic_number":
            return len(self.species_) * self.grid_[2]
        return self._spectra().n_features

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``C-H:1.2`` and ``H-C-H:109``: the elements and the point of the grid."""
        check_is_fitted(self)
        symbols = [chemical_symbols[z] for z in self.species_]
        pairs = list(combinations_with_replacement(symbols, 2))
        if self.function == "atomic_number":
            elements = symbols
        elif self._spectra().is_of_triples:
            elements = [f"{a}-{b}-{c}" for b in symbols for a, c in pairs]
        else:
            elements = [f"{a}-{b}" for a, b in pairs]
        points = [f"{x:.6g}" for x in np.linspace(*self.grid_)]
        return np.array([f"{name}:{x}" for name in elements for x in points], object)

    def _check_structures(self, structures):
        species_index(structures, self.species_)
        if self.normalization == "valle_oganov":
            check_crystals(structures, "ManyBodyTensor(normalization='valle_oganov')")
        periodic = np.flatnonzero(structures.pbc.any(axis=1))
        if self.function != "atomic_number" and self.cutoff is None and len(periodic):
            raise ValueError(
                f"structure {periodic[0]} is periodic, but ManyBodyTensor without a cutoff is for "
                "molecules: set a cutoff, such as cutoff=6.0 with weighting='smooth_cutoff'"
            )

    def _values(self, structures):
        values = self._raw(structures)
        factors = self._factors(structures)
        if factors is not None:
            blocks = values.reshape(*factors.shape, -1)
            blocks *= factors[:, :, None]
        if self.normalization == "l2":
            values /= _norms(values)
        return values

    def _pullback(self, structures, cotangent):
        cotangent, volumes = self._before_factors(structures, cotangent)
        gradient = np.zeros((len(structures.numbers), 3))
        virial = np.zeros((len(structures), 3, 3))
        if self.function != "atomic_number":
            species = species_index(structures, self.species_)
            gradient, virial = self._spectra().pullback(structures, species, cotangent)
        return gradient, virial + volumes[:, None, None] * np.eye(3)

    def _jacobian(self, structures, needed):
        if self.function == "atomic_number" or self.normalization == "l2":
            return None
        species = species_index(structures, self.species_)
        gradients, strains = self._spectra().jacobian(structures, species)
        factors = self._factors(structures)
        if factors is not None:
            factors = np.repeat(factors, self.grid_[2], axis=1)
            if self.normalization == "valle_oganov":
                strains += np.eye(3)[:, :, None] * self._raw(structures)[:, None, None]
            strains *= factors[:, None, None]
            gradients *= np.repeat(factors, structures.n_atoms, axis=0)[:, None]
        return gradients, strains

    def _raw(self, structures):
        """The sums."""
        shape = (len(structures), self.n_features_out_)
        check_memory(
            8.0 * shape[0] * shape[1],
            f"the array of {shape[0]} x {shape[1]} features",
            "transform fewer structures at a time, or take fewer points of the grid",
        )
        species = species_index(structures, self.species_)
        if self.function != "atomic_number":
            return self._spectra().values(structures, species)
        counts = counts_of_species(structures, species, len(self.species_))
        of_atoms = self._grid().integrals(self.species_)
        return (counts[:, :, None] * of_atoms).reshape(shape)

    def _before_factors(self, structures, cotangent):
        """The cotangent of the sums, and the slope of the volumes in the factors."""
        volumes, factors = np.zeros(len(structures)), self._factors(structures)
        if self.normalization == "l2":
            values = self._raw(structures)
            norms = _norms(values)
            values /= norms
            along = np.einsum("nf,nf->n", values, cotangent)
            return (cotangent - along[:, None] * values) / norms, volumes
        if factors is not None:
            cotangent = cotangent * np.repeat(factors, self.grid_[2], axis=1)
            if self.normalization == "valle_oganov":
                volumes = np.einsum("nf,nf->n", self._raw(structures), cotangent)
        return cotangent, volumes

    def _factors(self, structures):
        """Factors (n, n_blocks) of the sums of each combination of elements, or None."""
        if self.normalization not in ("n_atoms", "valle_oganov"):
            return None
        n_blocks = self.n_features_out_ // self.grid_[2]
        if self.normalization == "n_atoms":
            return np.repeat(1 / structures.n_atoms[:, None], n_blocks, axis=1)
        n = len(self.species_)
        counts = counts_of_species(structures, species_index(structures, self.species_), n)
        first, second = np.triu_indices(n)
        products, volumes = counts[:, first] * counts[:, second], structures.volumes()[:, None]
        if self.function in ("angle", "cosine"):
            products = (counts[:, :, None] * products[:, None]).reshape(len(counts), n_blocks)
        elif self.function != "atomic_number":
            products = products * np.where(first == second, 2 * np.pi, 4 * np.pi)
        else:
            products = counts
        return np.divide(volumes, products, out=np.zeros(products.shape), where=products > 0)

    def _grid(self):
        return SpectrumGrid(*self.grid_, self.sigma_)

    def _spectra(self):
        """What is added up, for functions of pairs and triples."""
        function = _FUNCTIONS[self.function]
        cutoff, decay = math.inf if self.cutoff is None else float(self.cutoff), self.decay
        if decay is None:
            perimeter = cutoff if function in (_cpu.DISTANCE, _cpu.INVERSE_DISTANCE) else 2 * cutoff
            decay = math.log(1000) / perimeter
        return Spectra(
            function, _WEIGHTINGS[self.weighting], self._grid(), len(self.species_), cutoff,
            float(decay), float(self.sharpness),
        )  # fmt: skip


def _checked_grid(grid):
    """The grid as floats and an int."""
    valid = (
        len(grid) == 3
        and all(isinstance(end, Real) and math.isfinite(end) for end in grid)
        and isinstance(grid[2], Integral)
        and grid[2] >= 2
        and grid[0] < grid[1]
    )
    if not valid:
        raise ValueError(
            f"grid={grid} is not (low, high, n) with low < high and n of at least 2: give the "
            "first and last point of the grid and their number, such as (0.0, 1.5, 100)"
        )
    return float(grid[0]), float(grid[1]), int(grid[2])


def _norms(values):
    """Euclidean norms (n, 1), 1 of a row of zeros."""
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return np.where(norms > 0, norms, 1.0)
