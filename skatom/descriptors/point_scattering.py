"""Point scattering: wavelet scattering whose fields are evaluated at the atoms."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._intervals import POSITIVE
from skatom._typing import Array
from skatom.descriptors._cpu import point_scattering as _cpu
from skatom.descriptors._cpu.point_wavelets import REACH
from skatom.descriptors.base import AtomicDescriptor
from skatom.descriptors.scattering.charges import channel_table
from skatom.descriptors.scattering.lengths import nearest_distance
from skatom.descriptors.scattering.paths import Paths
from skatom.descriptors.scattering.point_columns import first_columns, second_columns
from skatom.descriptors.scattering.point_wavelets import wavelet_banks
from skatom.descriptors.scattering.wavelets import base_width, orbital_pairs
from skatom.memory import check_memory
from skatom.parallel import run_in_threads

_NOTHING = np.empty((0, 0))


class PointScattering(AtomicDescriptor):
    r"""Wavelet scattering on the graph of the atoms: invariants of order 0 to 2 without a grid.

    The charges :math:`c(Z_k)` of a channel are convolved with wavelets and the modulus over m is
    taken; the moduli are convolved again and their modulus taken, all at the atoms only:

    .. math::
        U_{\lambda}(i) &= \Big( \sum_m \Big| \sum_k c(Z_k) \psi_\lambda^m(R_i - R_k)
            \Big|^2 \Big)^{1/2} \qquad
        U_{\lambda\lambda'}(i) = \Big( \sum_{m} \Big| \sum_k U_\lambda(k)
            \psi_{\lambda'}^{m}(R_i - R_k) \Big|^2 \Big)^{1/2}

        \text{features of atom } i &: \quad c(Z_i)^q, \quad U_\lambda(i)^q, \quad
            U_{\lambda\lambda'}(i)^q, \qquad \lambda = (n, l, j), \quad j' \ge j + \text{scale\_gap}

        \psi_{nlj}^m(r) &= 2^{-3j} Q_{nl}(2^{-j} r) Y_l^m(r/|r|), \qquad
            Q_{nl}(r) = K_{nl} r^l L_{n-l-1}^{(l + 1/2)}\big(\tfrac{r^2}{2\beta^2}\big)
            e^{-r^2/2\beta^2},

    with :math:`K_{nl} = 2^{n-l-1} (n-l-1)! / [(2\pi)^{3/2} \beta^{2n+1}] \sqrt{4\pi/(2l+1)}`. The
    sums run over all periodic images. With ``pool="sum"`` the features are those of the scattering
    transform with the integrals over space replaced by sums over the atoms. They do not change
    when the structure is translated, rotated or reflected, or when like atoms are exchanged.

    Parameters
    ----------
    orbitals : int or sequence of int and (int, int), default=(3,)
        Radial and angular forms of the wavelets: an int n stands for (n, l) with all l < n.
    scales : sequence of float, default=(0, 1, 2)
        The scales j, multiples of 1/2; the Gaussians have the width 2^j β.
    beta : "auto" or float, default="auto"
        Width β of the Gaussian at j = 0 in Å. "auto": base Gaussians at the two closest atoms of
        the data have the height ``overlap`` halfway between them.
    overlap : float, default=0.1
        Height that determines β, see ``beta``.
    order : {0, 1, 2}, default=2
        Highest order.
    scale_gap : float, default=0
        Smallest j' - j of the features of order 2. Negative numbers add features whose second
        wavelet is the narrower one.
    exponents : sequence of float, default=(1, 4/3, 5/3, 2)
        The powers q > 0. The Notes say for which of them forces are continuous.
    channels : "auto", str, sequence or dict, default="auto"
        The charges c, as in `WaveletScattering`: "auto" is a channel for every species, the
        valence and the core electrons, and √Z.
    cutoff : float, default=None
        Cutoff radius of the wavelets in Å. None: 6.25 times the width of their Gaussian, of which
        they fall to 0 over the last 0.25; this is exact to 1e-6. The cost is cubic in this radius,
        so give a cutoff for large scales.
    cutoff_width : float, default=1.0
        Width in Å of the shell below ``cutoff``, if it is given, over which wavelets fall to 0 as
        a cosine.
    self_term : bool, default=True
        Whether the sums over k include the atom i itself, which contributes where l = 0.
    pool : {"sum", "mean"}, default=None
        Sum or average the features over the atoms of each structure, as `StructureFeatures`.
        None: `AtomicFeatures`, one row for each atom.
    n_jobs : int, default=None
        Number of joblib jobs that share the structures. The compiled loops already use all threads
        of a machine; jobs are for clusters (``joblib.parallel_config(backend="dask")``).
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    species_ : ndarray of int
        Sorted atomic numbers seen in `fit`.
    beta_ : float
        Width of the Gaussian at j = 0, in Å.
    cutoff_ : float
        Cutoff radius of the widest wavelet, in Å.
    scales_ : tuple of float
        The scales j, sorted.
    channels_ : list of str
        Names of the channels.
    charges_ : ndarray of float, shape (n_channels, n_species)
        Charge c(Z) of every species in every channel.

    See Also
    --------
    WaveletScattering : Integrates over space instead; for energies that are not sums over atoms.

    Notes
    -----
    The cost is linear in the number of atoms. A feature of order 2 depends on second neighbours of
    its atom; ``AtomicFeatures.pullback`` goes back through both layers, and so does the Jacobian of
    pooled features, while ``AtomicFeatures.jacobian``, which is along pairs of neighbours, exists
    only up to ``order=1``.

    A modulus has a kink where its field vanishes: U^q with q ≤ 1, and features of order 2 with any
    q, have discontinuous forces there. Fields with l > 0 vanish at symmetric sites, such as centres
    of inversion, where the gradient is taken as 0. Fields with l = 0 are single numbers that change
    sign somewhere along most paths, unless n = 1 and the charges are not negative. Away from
    symmetric sites, forces are continuous without l = 0 or with ``orbitals=1``; forces of first
    order are continuous for every q > 1.

    Wavelets have the unit Å to the power of l - 2n - 1, so features of different n and l differ by
    orders of magnitude: scale them before a model that penalises coefficients.

    References
    ----------
    .. [1] X. Brumwell, P. Sinz, K. J. Kim, Y. Qi, M. Hirn, arXiv:1812.02320 (2018).
    .. [2] P. Sinz, M. W. Swift, X. Brumwell, J. Liu, K. J. Kim, Y. Qi, M. Hirn, J. Chem. Phys.
       153, 084109 (2020).
    .. [3] X. Brumwell, thesis, Michigan State University (2021), section 5.1.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import PointScattering
    >>> molecules = [molecule("H2O"), molecule("CH3OH")]
    >>> features = PointScattering().fit_transform(molecules)
    >>> features
    AtomicFeatures(2 structures, 9 atoms, 1536 features, species H C O)
    >>> gradient, virial = features.pullback(features.values)
    >>> scattering = PointScattering(order=1, pool="sum").fit(molecules)
    >>> scattering.transform(molecules).shape
    (2, 240)
    >>> scattering.get_feature_names_out()[[0, 239]]
    array(['S0[H;q1]', 'S1[kinetic;n3l2j2;q2]'], dtype=object)
    """

    _parameter_constraints = {
        **AtomicDescriptor._parameter_constraints,
        "orbitals": ["array-like", Interval(Integral, 1, None, closed="left")],
        "scales": ["array-like"],
        "order": [Interval(Integral, 0, 2, closed="both")],
        "exponents": ["array-like"],
        "channels": ["array-like", str, dict, callable],
        "beta": [POSITIVE, StrOptions({"auto"})],
        "overlap": [Interval(Real, 0, 1, closed="neither")],
        "scale_gap": [Real],
        "cutoff": [POSITIVE, None],
        "cutoff_width": [Interval(Real, 0, None, closed="left")],
        "self_term": ["boolean"],
    }
    _size_parameters = "orbitals, scales, exponents or channels, or use order=1"

    def __init__(
        self,
        orbitals: int | Sequence = (3,),
        scales: Sequence[float] = (0, 1, 2),
        order: int = 2,
        exponents: Sequence[float] = (1, 4 / 3, 5 / 3, 2),
        channels: str = "auto",
        *,
        beta: str = "auto",
        overlap: float = 0.1,
        scale_gap: float = 0,
        cutoff: float | None = None,
        cutoff_width: float = 1.0,
        self_term: bool = True,
        pool: str | None = None,
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
        self.cutoff = cutoff
        self.cutoff_width = cutoff_width
        self.self_term = self_term
        self.pool = pool
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _prepare(self, structures):
        if self.cutoff is not None and self.cutoff_width >= self.cutoff:
            raise ValueError(
                f"cutoff_width={self.cutoff_width} must be smaller than cutoff={self.cutoff}"
            )
        orbitals = orbital_pairs(self.orbitals)
        self.scales_ = self._sorted_scales()
        self._check_exponents()
        self.channels_, self.charges_ = channel_table(self.channels, self.species_)
        self.beta_ = self.beta
        if self.beta == "auto":
            self.beta_ = base_width(nearest_distance(structures), self.overlap)
        reach = REACH * 2 ** self.scales_[-1] * self.beta_
        self.cutoff_ = float(reach if self.cutoff is None else min(reach, self.cutoff))
        self._paths = Paths(
            self.channels_, orbitals, self.scales_, self.order, self.exponents, self.scale_gap,
            "all", False,
        )  # fmt: skip

    def _sorted_scales(self):
        scales = tuple(sorted(float(j) for j in self.scales))
        halves = 2 * np.array(scales)
        if not len(scales) or not np.isfinite(halves).all() or (halves % 1 != 0).any():
            raise ValueError(f"scales={self.scales!r} must be multiples of 1/2, at least one")
        if len(set(scales)) < len(scales):
            raise ValueError(f"scales={self.scales!r} has one of them twice: give each scale once")
        return scales

    def _check_exponents(self):
        exponents = np.asarray(self.exponents, dtype=float)
        if exponents.ndim != 1 or not len(exponents) or not (exponents > 0).all():
            raise ValueError(f"exponents={self.exponents!r} must be positive numbers, at least one")

    # --- where the features are -------------------------------------------------------------------

    def _first_columns(self):
        return first_columns(self._paths, len(self.scales_))

    def _second_columns(self):
        return second_columns(self._paths, len(self.scales_))

    def _n_features(self):
        return len(self._paths)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the features.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str
            Order, channel, wavelets and exponent: ``S0[Si;q1]``, ``S1[Si;n3l2j0;q4/3]``,
            ``S2[valence;n3l2j0;n3l0j1;q2]``.
        """
        check_is_fitted(self)
        return self._paths.names()

    # --- computation ------------------------------------------------------------------------------

    _pools_jacobian = True

    @property
    def _is_function_of_pairs(self):
        return self.order < 2

    def _cutoff(self):
        return self.cutoff_

    def _banks(self):
        return wavelet_banks(
            orbital_pairs(self.orbitals), self.scales_, self.beta_, self.cutoff_, self.cutoff,
            self.cutoff_width, self.self_term,
        )  # fmt: skip

    def _values(self, pairs, species, out):
        charges, exponents = self._charges(species), self._paths.exponents
        n_zeroth = self._paths.sizes[0]
        out[:, :n_zeroth] = (charges[:, :, None] ** exponents).reshape(len(out), -1)
        if self.order == 0:
            return
        moduli = self._moduli(pairs, charges, exponents, out)
        if self.order == 2:
            for bank, columns in zip(self._banks(), self._second_columns(), strict=True):
                self._loop(_cpu.moduli, pairs, bank, moduli, exponents, columns, out, _NOTHING, 0)

    def _charges(self, species):
        """c(Z_k) of every atom, (n_atoms, n_channels)."""
        return np.ascontiguousarray(self.charges_[:, species].T)

    def _moduli(self, pairs, charges, exponents, out):
        """Features of order 1 into ``out``; the moduli U_λ (n_atoms, n_fields)."""
        columns = self._first_columns()
        moduli = np.empty((len(charges), columns.size)) if self.order == 2 else _NOTHING
        for s, bank in enumerate(self._banks()):
            own = np.ascontiguousarray(columns[s])
            place = s * own.size
            self._loop(_cpu.moduli, pairs, bank, charges, exponents, own, out, moduli, place)
        return moduli

    def _pair_gradients(self, pairs, species, cotangent, out):
        out[:] = 0.0
        if self.order == 0:
            return
        charges, banks, slopes = self._charges(species), self._banks(), _NOTHING
        if self.order == 2:
            moduli = self._moduli(pairs, charges, np.empty(0), _NOTHING)
            slopes = np.zeros(moduli.shape)
            for bank, columns in zip(banks, self._second_columns(), strict=True):
                self._pull(pairs, bank, moduli, columns, cotangent, _NOTHING, 0, slopes, out)
        columns = self._first_columns()
        for s, bank in enumerate(banks):
            own = np.ascontiguousarray(columns[s])
            place = s * own.size
            self._pull(pairs, bank, charges, own, cotangent, slopes, place, _NOTHING, out)

    def _pull(self, pairs, bank, x, columns, cotangent, slopes, place, dx, out):
        """Pullback through one convolution: adds dE/dx to dx and dE/dr_ij to ``out``."""
        shape = (len(x), bank.starts[-1], columns.shape[1])
        check_memory(
            8.0 * np.prod(shape),
            f"the derivatives of {shape[1] * shape[2]} fields on {shape[0]} atoms",
            f"pull back fewer structures at a time, or reduce {self._size_parameters}",
        )
        g = np.empty(shape)
        exponents = self._paths.exponents
        self._loop(_cpu.cotangents, pairs, bank, x, exponents, columns, cotangent, slopes, place, g)
        self._loop(_cpu.transpose, pairs, bank, x, g, dx, out)

    def _pair_jacobian(self, pairs, species, out):
        if self.order == 2:
            raise ValueError(
                "features of order 2 depend on the neighbours of the neighbours, so they have no "
                "Jacobian along pairs of neighbours: use features.pullback, or order=1"
            )
        out[:, :, : self._paths.sizes[0]] = 0.0
        if self.order == 0:
            return
        charges, exponents = self._charges(species), self._paths.exponents
        for bank, columns in zip(self._banks(), self._first_columns(), strict=True):
            self._loop(
                _cpu.jacobian, pairs, bank, pairs.atoms, charges, exponents,
                np.ascontiguousarray(columns), out,
            )  # fmt: skip

    def _pooled_jacobian(self, pairs, species, weights):
        """Derivatives of Σ_i weights_i x_i: (n_atoms, 3, n_features) and (3, 3, n_features)."""
        n_atoms, n_features = len(pairs.atoms), self._n_features()
        gradients = np.zeros((n_atoms, 3, n_features))
        strains = np.zeros((3, 3, n_features))
        if self.order == 0:
            return gradients, strains
        charges, columns, banks = self._charges(species), self._first_columns(), self._banks()

        def add(bank, x, slopes, columns):
            columns = np.ascontiguousarray(columns)
            run_in_threads(
                _cpu.pooled_jacobian, columns.shape[1], pairs.offsets, pairs.indices,
                pairs.vectors, bank, weights, x, slopes, self._paths.exponents, columns, gradients,
                strains,
            )  # fmt: skip

        for bank, own in zip(banks, columns, strict=True):
            add(bank, charges, np.empty((0, 0, 0)), own)
        if self.order == 2:
            moduli = self._moduli(pairs, charges, np.empty(0), _NOTHING)
            slopes = self._slopes_of_moduli(pairs, charges, banks)
            for bank, second in zip(banks, self._second_columns(), strict=True):
                add(bank, moduli, slopes, second)
        return gradients, strains

    def _slopes_of_moduli(self, pairs, charges, banks):
        """dU_λ(i)/dr_ij (n_pairs, 3, n_fields), in the order of the moduli."""
        columns = self._first_columns()
        shape = (len(pairs), 3, columns.size)
        check_memory(
            8.0 * np.prod(shape),
            f"the derivatives of {shape[2]} fields along {shape[0]} pairs",
            f"reduce {self._size_parameters}",
        )
        slopes = np.empty(shape)
        places = np.arange(columns.size).reshape(columns.shape)
        for bank, own in zip(banks, places, strict=True):
            self._loop(_cpu.jacobian, pairs, bank, pairs.atoms, charges, np.ones(1), own, slopes)
        return slopes

    def _loop(self, function, pairs, *arrays):
        n_centers = len(pairs.atoms)
        run_in_threads(function, n_centers, pairs.offsets, pairs.indices, pairs.vectors, *arrays)
