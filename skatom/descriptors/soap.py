"""SOAP: invariants of the smooth neighbour density."""

from numbers import Integral, Real

import numpy as np
from ase.data import chemical_symbols
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom.descriptors._cpu import soap as _cpu
from skatom.descriptors._cpu.density import Density
from skatom.descriptors._cpu.harmonics import normalization
from skatom.descriptors.base import AtomicDescriptor
from skatom.descriptors.radial import spline_table

_NO_SCALING = {"rate": 1.0, "scale": 1.0, "exponent": 0.0}


class SOAP(AtomicDescriptor):
    r"""Smooth overlap of atomic positions: invariants of the density of neighbours.

    The neighbours of species α around a centre, each a Gaussian, are expanded in radial functions
    and spherical harmonics, and products of ν coefficients are summed into invariants:

    .. math::
        c_{\alpha nlm} = \int R_n(r) Y_{lm}(\hat r) \sum_{j \in \alpha}
            w(r_j) e^{-|r - r_j|^2 / 2\sigma^2} dr

        p_{\alpha n} = \sqrt{8\pi^2}\, c_{\alpha n00} \quad (\nu = 1) \qquad
        p_{\alpha n, \alpha' n', l} = \sqrt{\tfrac{8\pi^2}{2l+1}}
            \sum_m c_{\alpha nlm} c_{\alpha' n'lm} \quad (\nu = 2)

    with :math:`w(r) = f_c(r) u(r)`, a cosine cutoff times an optional radial scaling. Pairs of
    channels (α n) are kept once, those that differ times √2, so the dot product of two power
    spectra is the square of the overlap of their densities, integrated over all rotations. The
    features do not change when the structure is translated, rotated or reflected, or when like
    atoms are exchanged.

    Parameters
    ----------
    cutoff : float, default=5.0
        Radius of the environments, Å.
    n_max : int, default=8
        Number of radial functions.
    l_max : int, default=6
        Largest degree of the spherical harmonics.
    sigma : float, default=0.5
        Width of the Gaussians, Å.
    nu : {1, 2}, default=2
        How many coefficients are multiplied: the radial spectrum (1), which knows distances, or
        the power spectrum (2), which knows angles too.
    radial_basis : {"bessel", "gto"}, default="bessel"
        "bessel": spherical Bessel functions that vanish at the cutoff, orthogonal at any n_max.
        "gto": orthogonalised Gaussian-type orbitals, r^k exp(-r²/2σ_k²) with k < n_max, the
        basis of librascal and featomic; their overlap becomes singular beyond n_max = 14.
    cutoff_width : float, default=0.5
        The weight of a neighbour falls as a cosine from 1 to 0 over this last part of the cutoff,
        Å. 0: a step, with which forces do not exist for a neighbour at the cutoff.
    radial_scaling : dict, default=None
        Weigh neighbours by u(r) = rate / (rate + (r / scale)^exponent); for example
        ``{"rate": 1.0, "scale": 2.0, "exponent": 7.0}`` [2]_. None: u = 1.
    central_weight : float, default=1.0
        Weight of the centre itself in its density.
    normalize : bool, default=True
        Divide the features of each atom by their length. An environment without any density keeps
        zeros.
    pool : {"sum", "mean"}, default=None
        Give one row for each structure, the sum or mean over its atoms, as a plain array for any
        scikit-learn estimator. None: `AtomicFeatures`, one row for each atom, with derivatives.
    n_jobs : int, default=None
        Number of joblib jobs that share the structures. The compiled loops use all threads
        already, so this serves clusters (``joblib.parallel_config(backend="dask")``).
    verbose : int, default=0
        1: show a progress bar.

    Attributes
    ----------
    species_ : ndarray of int
        Atomic numbers seen in `fit`, sorted.

    References
    ----------
    .. [1] A. P. Bartók, R. Kondor, G. Csányi, Phys. Rev. B 87, 184115 (2013).
    .. [2] M. J. Willatt, F. Musil, M. Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018).
    .. [3] F. Musil et al., J. Chem. Phys. 154, 114109 (2021).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import SOAP
    >>> molecules = [molecule("H2O"), molecule("CH3OH")]
    >>> SOAP(cutoff=4.0).fit_transform(molecules)
    AtomicFeatures(2 structures, 9 atoms, 2100 features, species H C O)
    >>> SOAP(cutoff=4.0, pool="sum").fit_transform(molecules).shape
    (2, 2100)
    """

    _parameter_constraints = {
        **AtomicDescriptor._parameter_constraints,
        "cutoff": [Interval(Real, 0, None, closed="neither")],
        "n_max": [Interval(Integral, 1, None, closed="left")],
        "l_max": [Interval(Integral, 0, 20, closed="both")],
        "sigma": [Interval(Real, 0, None, closed="neither")],
        "nu": [Interval(Integral, 1, 2, closed="both")],
        "radial_basis": [StrOptions({"bessel", "gto"})],
        "cutoff_width": [Interval(Real, 0, None, closed="left")],
        "radial_scaling": [dict, None],
        "central_weight": [Interval(Real, 0, None, closed="left")],
        "normalize": ["boolean"],
    }
    _size_parameters = "n_max or l_max"

    def __init__(
        self,
        cutoff=5.0,
        n_max=8,
        l_max=6,
        sigma=0.5,
        *,
        nu=2,
        radial_basis="bessel",
        cutoff_width=0.5,
        radial_scaling=None,
        central_weight=1.0,
        normalize=True,
        pool=None,
        n_jobs=None,
        verbose=0,
    ):
        self.cutoff = cutoff
        self.n_max = n_max
        self.l_max = l_max
        self.sigma = sigma
        self.nu = nu
        self.radial_basis = radial_basis
        self.cutoff_width = cutoff_width
        self.radial_scaling = radial_scaling
        self.central_weight = central_weight
        self.normalize = normalize
        self.pool = pool
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _prepare(self):
        if self.cutoff_width >= self.cutoff:
            raise ValueError(
                f"cutoff_width={self.cutoff_width} must be smaller than cutoff={self.cutoff}"
            )
        self._check_scaling()
        self._density()

    def _check_scaling(self):
        scaling = self.radial_scaling
        if scaling is None:
            return
        if set(scaling) != set(_NO_SCALING) or not all(v > 0 for v in scaling.values()):
            raise ValueError(
                f"radial_scaling={scaling} must have the keys 'rate', 'scale' and 'exponent', "
                "each with a positive number"
            )

    def _density(self):
        l_max = self.l_max if self.nu > 1 else 0
        table, spacing = spline_table(
            self.radial_basis, self.n_max, l_max,
            float(self.cutoff), float(self.cutoff_width), float(self.sigma),
        )  # fmt: skip
        scaling = self.radial_scaling or _NO_SCALING
        return Density(
            nu=int(self.nu),
            normalize=bool(self.normalize),
            n_max=int(self.n_max),
            l_max=int(l_max),
            table=table,
            spacing=spacing,
            norm=normalization(l_max),
            cutoff=float(self.cutoff),
            cutoff_width=float(self.cutoff_width),
            rate=float(scaling["rate"]),
            scale=float(scaling["scale"]),
            exponent=float(scaling["exponent"]),
            central_weight=float(self.central_weight),
            mixing=np.eye(len(self.species_)),
            mixes=False,
        )

    def _values(self, pairs, species, out):
        _cpu.values(*self._compiled_arguments(pairs, species), out)

    def _pair_gradients(self, pairs, species, cotangent, out):
        _cpu.pair_gradients(*self._compiled_arguments(pairs, species), cotangent, out)

    def _pair_jacobian(self, pairs, species, out):
        _cpu.pair_jacobian(*self._compiled_arguments(pairs, species), out)

    def _compiled_arguments(self, pairs, species):
        return pairs.offsets, pairs.indices, pairs.vectors, species, self._density()

    def _n_features(self):
        channels = len(self.species_) * self.n_max
        return channels if self.nu == 1 else channels * (channels + 1) // 2 * (self.l_max + 1)

    def get_feature_names_out(self, input_features=None):
        """Names of the features.

        Parameters
        ----------
        input_features : Ignored

        Returns
        -------
        ndarray of str
            ``soap_C0``: species and n; ``soap_l2_C0_H3``: l, and species and n of both factors.
        """
        check_is_fitted(self)
        symbols = [chemical_symbols[z] for z in self.species_]
        channels = [f"{symbol}{n}" for symbol in symbols for n in range(self.n_max)]
        if self.nu == 1:
            return np.array([f"soap_{q}" for q in channels], dtype=object)
        return np.array([
            f"soap_l{l}_{q}_{other}"
            for l in range(self.l_max + 1)
            for i, q in enumerate(channels)
            for other in channels[i:]
        ], dtype=object)  # fmt: skip
