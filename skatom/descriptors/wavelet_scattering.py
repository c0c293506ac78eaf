"""Wavelet scattering: multiscale invariants of the charge density."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._device import DEVICES, resolve
from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, StructuresLike
from skatom.descriptors.base import StructureDescriptor
from skatom.descriptors.scattering import checks, compute
from skatom.descriptors.scattering.batch import Settings
from skatom.descriptors.scattering.charges import channel_table
from skatom.descriptors.scattering.lengths import check_places, half_edge, nearest_distance
from skatom.descriptors.scattering.paths import Paths
from skatom.descriptors.scattering.wavelets import (
    alias_free_spacing,
    base_width,
    fineness,
    largest_scale,
    orbital_pairs,
)
from skatom.elements import species_index
from skatom.structures import as_structures


class WaveletScattering(StructureDescriptor):
    r"""Solid-harmonic wavelet scattering of the charge density: one row for each structure.

    Charges :math:`c(Z_k)` at the atoms are convolved with wavelets of several widths and angular
    forms, and the modulus over m is taken, once or twice; its powers are integrated:

    .. math::
        \rho^c(u) &= \sum_k c(Z_k)\, \delta(u - R_k), \qquad
        \sigma(f)(u) = \Big( \sum_{m=-l}^{l} |f^m(u)|^2 \Big)^{1/2}

        S_0 &= \sum_k c(Z_k)^q, \quad
        S_1 = \int \sigma(\rho^c * \psi_{\lambda_1})^q du, \quad
        S_2 = \int \sigma\big(\sigma(\rho^c * \psi_{\lambda_1}) * \psi_{\lambda_2}\big)^q du

    with the atomic-orbital wavelets :math:`\lambda = (n, l, j)` of scale :math:`2^j`,

    .. math::
        \hat\psi_{nl}^m(\omega) = (-i)^l \sqrt{\tfrac{4\pi}{2l + 1}}\, |\omega|^{2(n-1)-l}
        e^{-\beta^2 |\omega|^2 / 2} Y_l^m(\hat\omega), \qquad
        \hat\psi_{nlj}(\omega) = \hat\psi_{nl}(2^j \omega).

    The features do not change when a structure is translated, rotated or reflected, or when like
    atoms are exchanged, up to the error of the grid (see Notes), and a supercell has the same
    features per atom. The number of features does not depend on the number of atoms. There is no
    cutoff radius; the widest wavelets reach over half the cell.

    The transform is global and gives `StructureFeatures`, a table for any scikit-learn estimator,
    whose `pullback` gives forces and stress from the derivatives dE/d features. Convolutions whose
    cotangents are all zero are not computed. A model that uses few features should `select` them:
    only the convolutions that they need are computed. In a Pipeline, `GreedyOLS` learns from
    energies, forces and stresses.

    Parameters
    ----------
    orbitals : int or sequence of int and (int, int), default=(3,)
        Radial and angular forms: an int n stands for (n, l) with all l < n. The solid-harmonic
        wavelets are the members (l + 1, l), see `solid_harmonic`.
    scales : "auto" or sequence of float, default="auto"
        The scales j ≥ 0, multiples of 1/2. "auto": 0, 1 … J, where two standard deviations
        :math:`2^J \beta` of the widest Gaussian reach half the smallest cell, or half the largest
        molecule.
    order : {0, 1, 2}, default=2
        Highest order.
    exponents : sequence of float, default=(1, 4/3, 5/3, 2)
        The powers q > 0.
    channels : "auto", str, sequence or dict, default="auto"
        The charges c. Names are "species", one channel for each element of the data with charge Z
        for it and 0 for the others; the symbol of one element; "total" (Z), "valence", "core"
        (Z − valence), "kinetic" (√Z); "auto" is species, valence, core and kinetic. Functions of
        Z and, in a dict {name: channel}, dicts of charges {symbol: charge} define others.
    beta : "auto" or float, default="auto"
        Width β of the base Gaussian in Å. "auto": base Gaussians at the two closest atoms of the
        data have the height ``overlap`` halfway between them.
    overlap : float, default=0.1
        Height that determines β, see ``beta``.
    scale_gap : float, default=0
        Smallest j₂ − j₁ of second-order pairs.
    pairing : {"all", "lexicographic", "same_l"}, default="all"
        Which (n₁, l₁) and (n₂, l₂) are paired: all, those with (n₂, l₂) > (n₁, l₁), or l₁ = l₂.
    density_width : float, default=0
        Width in Å of Gaussians that replace the delta functions at the atoms. 0: delta functions.
    normalize : {"per_atom", "ratio", None}, default="per_atom"
        "per_atom": divide all features by the number of atoms. "ratio": divide the second order by
        its first-order feature, the first order by order 0, and order 0 by the number of atoms; 0
        where the channel has no charge. None: extensive features.
    grid_spacing : "auto" or float, default="auto"
        Largest spacing of the grid of scale 0 in Å. Along each axis of a cell, the number of points
        is a small integer times a power of 2, so that cells repeated 2, 4, 8 … times have the same
        features. "auto": fields have the largest spacing at
        which the spectra of the wavelets are cut below ``alias`` times their maximum, and the
        points at which moduli are taken are up to three times denser, the more the kinks of the
        modulus need it.
    alias : float, default=1e-6
        Relative height at which spectra are cut, see ``grid_spacing``. At 1e-6 or below, points are
        so dense that features have relative errors of about 1e-4; from 1e-3 on they are not denser
        than fields need, which leaves errors of 1e-2 at a twentieth of the cost.
    grid_shape : tuple of 3 int, default=None
        Number of points of the finest grid of every cell, instead of ``grid_spacing``: for
        energies along a path of changing cells, which are smooth only at a constant shape.
    multiresolution : bool, default=True
        Compute convolutions of scale j on a grid of spacing 2^⌊j⌋ times that of scale 0. False: all
        on the grid of scale 0.
    padding : float, default=6.0
        Empty space around molecules, in standard deviations of the wavelets.
    features : array-like of int, bool or str, default=None
        Indices, mask or names of the features to compute. None: all.
    device : {"cpu", "cuda", "auto", "torch"}, default="cpu"
        Where features and their derivatives are computed: in compiled loops, by torch on a card
        ("cuda"; "auto" if there is one) or by torch on the CPU ("torch"). With torch the features
        are tensors, and stay on the device.
    n_jobs : int, default=None
        Number of joblib jobs that share the structures. Structures or, if they are few,
        convolutions already use all threads of a machine; jobs are for clusters.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    species_ : ndarray of int
        Sorted atomic numbers seen in `fit`.
    channels_ : list of str
        Names of the channels.
    charges_ : ndarray of float, shape (n_channels, n_species)
        Charge c(Z) of every species in every channel.
    beta_ : float
        Width of the base Gaussian in Å.
    scales_ : tuple of float
        The scales j.
    grid_spacing_ : float
        Spacing in Å that resolves the fields of scale 0.
    support_ : ndarray of int
        Indices of the features that are computed.

    Raises
    ------
    ValueError
        If a cell is narrower than the standard deviation of the widest Gaussian, a structure is
        periodic in some directions only, or contains a species that was not in the data of `fit`.
    MemoryError
        If the grids would not fit in memory.

    Notes
    -----
    Convolutions are exact on the grid, for cells of any shape. Integrals of σ^q are sums over the
    grid. For q = 2 in first order they are exact to rounding; σ itself is not band-limited, so
    other features have a relative error, by which they also change when a structure is shifted
    against the grid or rotated: below 1e-4 with the default parameters, up to 4e-4 where a cell has
    one or two atoms of a channel, and more where a feature nearly vanishes, as of wide second
    wavelets in crystals. Derivatives are exact derivatives of the features on the grid. Forces in
    cells of unequal lengths sum to zero only within the same error; grids of molecules follow their
    mean position.

    References
    ----------
    .. [1] M. Eickenberg, G. Exarchakis, M. Hirn, S. Mallat, L. Thiry, J. Chem. Phys. 148, 241732
       (2018).
    .. [2] P. Sinz, M. W. Swift, X. Brumwell, J. Liu, K. J. Kim, Y. Qi, M. Hirn, J. Chem. Phys.
       153, 084109 (2020).
    .. [3] X. Brumwell, Wavelet scattering and graph representations for atomic structures, thesis,
       Michigan State University (2021), chapters 2 to 4.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import WaveletScattering
    >>> molecules = [molecule("H2O"), molecule("CH3OH")]
    >>> scattering = WaveletScattering(orbitals=2, channels="total", alias=1e-3).fit(molecules)
    >>> scattering.transform(molecules).shape
    (2, 124)
    >>> scattering.get_feature_names_out()[[0, 5, 40]]
    array(['S0[total;q1]', 'S1[total;n2l0j0;q4/3]',
           'S2[total;n2l0j0;n2l1j0;q1]'], dtype=object)

    A linear model of two features, its energies and its forces:

    >>> import numpy as np
    >>> pair = scattering.select([7, 40])
    >>> weights = np.array([0.1, -0.2])
    >>> features = pair.transform(molecules)
    >>> energies = features @ weights
    >>> gradient, virial = features.pullback(weights)
    >>> gradient.shape, virial.shape
    ((9, 3), (2, 3, 3))
    """

    _parameter_constraints = {
        "orbitals": ["array-like", Interval(Integral, 1, None, closed="left")],
        "scales": ["array-like", StrOptions({"auto"})],
        "order": [Interval(Integral, 0, 2, closed="both")],
        "exponents": ["array-like"],
        "channels": ["array-like", str, dict, callable],
        "beta": [POSITIVE, StrOptions({"auto"})],
        "overlap": [Interval(Real, 0, 1, closed="neither")],
        "scale_gap": [Real],
        "pairing": [StrOptions({"all", "lexicographic", "same_l"})],
        "density_width": [Interval(Real, 0, None, closed="left")],
        "normalize": [StrOptions({"per_atom", "ratio"}), None],
        "grid_spacing": [POSITIVE, StrOptions({"auto"})],
        "alias": [Interval(Real, 0, 1, closed="neither")],
        "grid_shape": ["array-like", None],
        "multiresolution": ["boolean"],
        "padding": [POSITIVE],
        "features": ["array-like", None],
        "device": [DEVICES],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        orbitals: int | Sequence = (3,),
        scales: str = "auto",
        order: int = 2,
        exponents: Sequence[float] = (1, 4 / 3, 5 / 3, 2),
        channels: str = "auto",
        *,
        beta: str = "auto",
        overlap: float = 0.1,
        scale_gap: float = 0,
        pairing: str = "all",
        density_width: float = 0.0,
        normalize: str | None = "per_atom",
        grid_spacing: str = "auto",
        alias: float = 1e-6,
        grid_shape: tuple[int, ...] | None = None,
        multiresolution: bool = True,
        padding: float = 6.0,
        features: ArrayLike | None = None,
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.orbitals = orbitals
        self.scales = scales
        self.order = order
        self.exponents = exponents
        self.channels = channels
        self.beta = beta
        self.overlap = overlap
        self.scale_gap = scale_gap
        self.pairing = pairing
        self.density_width = density_width
        self.normalize = normalize
        self.grid_spacing = grid_spacing
        self.alias = alias
        self.grid_shape = grid_shape
        self.multiresolution = multiresolution
        self.padding = padding
        self.features = features
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose

    @classmethod
    def solid_harmonic(cls, l_max: int = 3, **parameters: Any) -> WaveletScattering:
        """The transform of the solid-harmonic papers: n = l + 1, the same l twice, j₂ > j₁.

        Parameters
        ----------
        l_max : int, default=3
            Largest degree l.
        **parameters
            Other parameters of the constructor.

        Returns
        -------
        WaveletScattering
        """
        parameters = {
            "orbitals": [(l + 1, l) for l in range(l_max + 1)],
            "exponents": (0.5, 1, 2, 3),
            "channels": ("total", "valence", "core"),
            "pairing": "same_l",
            "scale_gap": 0.5,
            "normalize": None,
            **parameters,
        }
        return cls(**parameters)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: StructuresLike, y: Any = None) -> Self:
        """Learn the species, β, the scales and the spacing of the grid.

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
        checks.check_periodicity(structures)
        check_places(structures)
        pairs = orbital_pairs(self.orbitals)
        self.species_ = structures.species
        self.channels_, self.charges_ = channel_table(self.channels, self.species_)
        self.beta_ = self.beta
        if self.beta == "auto":
            self.beta_ = base_width(nearest_distance(structures), self.overlap)
        if isinstance(self.scales, str):
            top = largest_scale(half_edge(structures), self.beta_)
            self.scales_ = tuple(float(j) for j in range(top + 1))
        else:
            self.scales_ = tuple(sorted(float(j) for j in self.scales))
        checks.check_numbers(self.exponents, self.scales_, self.grid_shape)
        self.grid_spacing_ = self.grid_spacing
        if self.grid_spacing == "auto":
            self.grid_spacing_ = alias_free_spacing(pairs, self.beta_, self.alias)
        self._paths = Paths(
            self.channels_, pairs, self.scales_, self.order, self.exponents, self.scale_gap,
            self.pairing, self.multiresolution, self._fineness(),
        )  # fmt: skip
        self.support_ = checks.indices_of(self.features, self._paths.names())
        checks.check_cells(structures, self.order, self.scales_[-1], self.beta_)
        return self

    def select(self, features: ArrayLike) -> WaveletScattering:
        """A fitted copy that computes only some of the features, at the cost of these.

        Parameters
        ----------
        features : array-like of int, bool or str
            Indices into the features of this transformer, a mask of them, or names, for example
            the ``support_`` of a fitted sparse model. The order is kept.

        Returns
        -------
        WaveletScattering
        """
        check_is_fitted(self)
        selected = copy.copy(self)
        names = self.get_feature_names_out()
        chosen = np.asarray(features)
        if chosen.dtype.kind in "iub":
            chosen = names[checks.as_indices(chosen, len(names))]
        selected.features = chosen
        selected.support_ = checks.indices_of(chosen, self._paths.names())
        return selected

    @property
    def n_features_out_(self) -> Any:
        """Number of features that are computed."""
        check_is_fitted(self)
        return len(self.support_)

    def _values(self, structures):
        device = resolve(self.device, self.n_jobs)
        return compute.values(self._settings(), structures, device, self.n_jobs, self.verbose)

    def _pullback(self, structures, cotangent):
        return compute.pullback(self._settings(), structures, cotangent, self.n_jobs, self.verbose)

    def _jacobian(self, structures, needed):
        device = resolve(self.device, self.n_jobs)
        return compute.jacobian(
            self._settings(), structures, needed, device, self.n_jobs, self.verbose
        )

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``S2[Si;n3l2j0;n3l1j1;q4/3]``: order, channel, wavelets, exponent."""
        check_is_fitted(self)
        return self._paths.names()[self.support_]

    def _fineness(self):
        automatic = isinstance(self.grid_spacing, str) and self.grid_shape is None
        return fineness(self.alias) if automatic else 0.0

    def _settings(self):
        return Settings(
            self.species_, self.charges_, self._paths, self.support_, self.normalize, self.beta_,
            self.grid_spacing_, self.grid_shape, self.padding * self.beta_, self.density_width,
        )  # fmt: skip

    def _check_structures(self, structures):
        checks.check_periodicity(structures)
        check_places(structures)
        species_index(structures, self.species_)  # raises for species not seen in fit
        checks.check_cells(structures, self.order, self.scales_[-1], self.beta_)
