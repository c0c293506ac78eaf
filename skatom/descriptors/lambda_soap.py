"""λ-SOAP: features of atomic environments that rotate like tensors."""

from __future__ import annotations

import copy
from functools import lru_cache
from numbers import Integral
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._typing import Array, ArrayLike, StructuresLike
from skatom.descriptors._cpu import lambda_soap as _cpu
from skatom.descriptors.base import AtomicDescriptor
from skatom.descriptors.coupling import real_coupling
from skatom.descriptors.soap import SOAP
from skatom.descriptors.tensor_features import TensorFeatures
from skatom.structures import as_structures

_EXPANSION = (
    "cutoff", "n_max", "l_max", "sigma", "radial_basis", "cutoff_width", "radial_scaling",
    "species_compression", "central_weight", "sigma_scaling", "n_primitives",
    "species_similarity",
)  # fmt: skip


# An array of three indices is no data frame: set_output has nothing to wrap.
class LambdaSOAP(AtomicDescriptor, auto_wrap_output_keys=None):
    r"""λ-SOAP: covariants of the density of neighbours, which rotate like tensors of order λ.

    The density coefficients c of `SOAP` are coupled to products that rotate like spherical
    harmonics of degree λ:

    .. math::
        F_{\mu;\, \alpha nl, \alpha' n'l'} = \sqrt{\frac{8\pi^2}{2\lambda+1}} \sum_{mm'}
            \langle lm\, l'm' | \lambda\mu \rangle\, c_{\alpha nlm}\, c_{\alpha' n'l'm'},
        \qquad F(RX) = D^\lambda(R)\, F(X)

    in real harmonics, with Wigner's matrix :math:`D^\lambda`, see `wigner_d`. Products that differ
    only in the order of their factors are kept once, times √2, so that

    .. math::
        K_{\mu\mu'}(X, X') = F_\mu(X) \cdot F_{\mu'}(X')
            = \int D^\lambda_{\mu\mu'}(R)\, \langle X | R | X' \rangle^2\, dR

    is the overlap of two densities integrated over all rotations. λ = 0 is the power spectrum of
    `SOAP`, feature by feature. A linear model with the same weights for all μ predicts spherical
    components of tensors that rotate with the structure; see `skatom.models.TensorKernelRidge` for
    dipoles and polarisabilities.

    Parameters
    ----------
    lam : int, default=1
        Order λ: 0 for scalars, 1 for vectors, 2 for symmetric traceless tensors; at most 2 l_max.
    cutoff : float, default=4.0
        Cutoff radius in Å.
    n_max : int, default=6
        Number of radial functions.
    l_max : int, default=4
        Largest degree of the spherical harmonics.
    sigma : float or dict of str to float, default=0.4
        Width of the Gaussians in Å: one for all, or one for each element by symbol, as in `SOAP`.
    parity : {"even", "odd", "both"}, default="even"
        Which sums l + l' + λ are kept. "even": true tensors, which an inversion of the structure
        multiplies by :math:`(-1)^\lambda`, such as dipoles. "odd": pseudotensors, which an
        inversion multiplies by :math:`(-1)^{\lambda+1}`, such as magnetic moments. "both": all
        sums; the features then have no definite parity.
    radial_basis : {"bessel", "gto", "optimal"}, default="bessel"
        Radial functions, as in `SOAP`.
    cutoff_width : float, default=0.5
        Width in Å of the shell below the cutoff radius over which the weight of a neighbour falls
        from 1 to 0 as a cosine.
    radial_scaling : dict, default=None
        Weights of neighbours by distance, as in `SOAP`.
    species_compression : int or array-like of shape (n_channels, n_species), default=None
        Mix the species into fewer channels, as in `SOAP`. The number of features is quadratic in
        the number of channels.
    central_weight : float, default=1.0
        Weight of the centre itself in its density.
    sigma_scaling : float, default=0.0
        Growth of the widths with the distance, as in `SOAP`.
    n_primitives : int, default=20
        Number of Bessel functions that ``radial_basis="optimal"`` combines, as in `SOAP`.
    species_similarity : {"elements", "data"}, default="elements"
        Where an int ``species_compression`` takes its channels from, as in `SOAP`.
    normalize : bool, default=True
        Divide the features of each atom by the length of its power spectrum, the square of its
        density. Features that vanish because the environment is symmetric stay zero.
    pool : {"sum", "mean"}, default=None
        Sum or average the features over the atoms of each structure, as an array. None:
        `TensorFeatures`, one row for each atom.
    n_jobs : int, default=None
        Number of joblib jobs that share the structures. The compiled loops already use all threads
        of a machine; jobs are for clusters (``joblib.parallel_config(backend="dask")``).
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    species_ : ndarray of int
        Sorted atomic numbers seen in `fit`.
    soap_ : SOAP
        The descriptor that computes the density coefficients.

    Raises
    ------
    ValueError
        If no two degrees up to l_max couple to λ, or a species was not in ``fit``.

    Notes
    -----
    In ref. [1]_ the kernel is divided by the norms of :math:`K(X, X)` and :math:`K(X', X')`. These
    vanish for an environment as symmetric as that of carbon in methane, and near it the quotient
    changes abruptly with the smallest displacement. The length of the power spectrum is never
    small.

    References
    ----------
    .. [1] A. Grisafi, D. M. Wilkins, G. Csányi, M. Ceriotti, Phys. Rev. Lett. 120, 036002 (2018).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import LambdaSOAP
    >>> molecules = [molecule("H2O"), molecule("CH3OH")]
    >>> features = LambdaSOAP(lam=1).fit_transform(molecules)
    >>> features
    TensorFeatures(2 structures, 9 atoms, 3 components, 1296 features, species H C O)
    >>> features[1].values.shape
    (6, 3, 1296)
    >>> LambdaSOAP(lam=2, pool="sum").fit_transform(molecules).shape
    (2, 5, 1656)
    """

    _loops = _cpu
    _parameter_constraints = {
        **AtomicDescriptor._parameter_constraints,
        **{name: SOAP._parameter_constraints[name] for name in (*_EXPANSION, "normalize")},
        "lam": [Interval(Integral, 0, None, closed="left")],
        "parity": [StrOptions({"even", "odd", "both"})],
    }
    _size_parameters = SOAP._size_parameters

    def __init__(
        self,
        lam: int = 1,
        cutoff: float = 4.0,
        n_max: int = 6,
        l_max: int = 4,
        sigma: float | dict = 0.4,
        *,
        parity: str = "even",
        radial_basis: str = "bessel",
        cutoff_width: float = 0.5,
        radial_scaling: dict | None = None,
        species_compression: ArrayLike | None = None,
        central_weight: float = 1.0,
        sigma_scaling: float = 0.0,
        n_primitives: int = 20,
        species_similarity: str = "elements",
        normalize: bool = True,
        pool: str | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.lam = lam
        self.cutoff = cutoff
        self.n_max = n_max
        self.l_max = l_max
        self.sigma = sigma
        self.parity = parity
        self.radial_basis = radial_basis
        self.cutoff_width = cutoff_width
        self.radial_scaling = radial_scaling
        self.species_compression = species_compression
        self.central_weight = central_weight
        self.sigma_scaling = sigma_scaling
        self.n_primitives = n_primitives
        self.species_similarity = species_similarity
        self.normalize = normalize
        self.pool = pool
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _prepare(self, structures):
        self._check_order()
        self.soap_ = SOAP(**{name: getattr(self, name) for name in _EXPANSION}).fit(structures)

    def _check_order(self):
        if not l_pairs(self.l_max, self.lam, self.parity):
            raise ValueError(
                f"no two harmonics up to l_max={self.l_max} couple to lam={self.lam} with "
                f"parity={self.parity!r}: choose lam <= {2 * self.l_max}"
                + (", and not 0 or the largest for 'odd'" if self.parity == "odd" else "")
            )
        return self

    def _compiled(self):
        pairs, couplings = coupling_table(self.l_max, self.lam, self.parity)
        return _cpu.CovariantDensity(self.soap_._compiled(), pairs, couplings, bool(self.normalize))

    def _n_features(self):
        """Numbers for each atom: all features of all components."""
        pairs = l_pairs(self.l_max, self.lam, self.parity)
        return (2 * self.lam + 1) * sum(len(self._products(*pair)[0]) for pair in pairs)

    def _products(self, l, l2):
        """The channels q and q' of the products that are kept for one pair of degrees."""
        channels = len(self.soap_.mixing_) * self.n_max
        if l != l2:
            return np.divmod(np.arange(channels**2), channels)
        return np.triu_indices(channels, self.lam % 2)

    @property
    def n_features_out_(self) -> Any:
        """Number of features of each component."""
        return super().n_features_out_ // (2 * self.lam + 1)

    def transform(self, X: StructuresLike, neighbors: Any = None) -> tuple:
        """Compute the features.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
        neighbors : NeighborList, default=None
            Neighbour list of these structures, as for `SOAP`. None: it is computed.

        Returns
        -------
        TensorFeatures, which compute their values when they are first used; or ndarray of float,
        shape (n, 2 lam + 1, n_features), if ``pool`` is given
        """
        check_is_fitted(self)
        structures = as_structures(X)
        if neighbors is not None:
            structures = structures.with_neighbors(self._checked_neighbors(structures, neighbors))
        if self.pool is None:
            self._species_index(structures)  # raises for species not seen in fit
            return TensorFeatures(structures, copy.copy(self))
        return self._values_of(structures)

    def _of_order(self, lam, **parameters):
        """The same fitted descriptor with another order, and perhaps other parameters."""
        return copy.copy(self).set_params(lam=lam, **parameters)._check_order()

    def _values_of(self, structures):
        """The features (n_atoms, 2λ + 1, n_features) of all atoms."""
        values, _ = self._compute(structures)
        return values.reshape(len(values), 2 * self.lam + 1, -1)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the features, the last index of the values.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str
            Degree, species and n of both factors: ``lsoap_l0l1_C0_H3``. Channels of compressed
            species are called ``mix0-``, ``mix1-`` and so on.
        """
        check_is_fitted(self)
        symbols = [chemical_symbols[z] for z in self.species_]
        if self.species_compression is not None:
            symbols = [f"mix{j}-" for j in range(len(self.soap_.mixing_))]
        channels = [f"{symbol}{n}" for symbol in symbols for n in range(self.n_max)]
        names = [
            f"lsoap_l{l}l{l2}_{channels[q]}_{channels[other]}"
            for l, l2 in l_pairs(self.l_max, self.lam, self.parity)
            for q, other in zip(*self._products(l, l2), strict=True)
        ]
        return np.array(names, dtype=object)


def l_pairs(l_max, lam, parity):
    """(l, l'), l <= l', that couple to λ; ``parity``: whether l + l' + λ is even or odd."""
    parities = {"even": (0,), "odd": (1,), "both": (0, 1)}[parity]
    return [
        (l, l2)
        for l in range(l_max + 1)
        for l2 in range(max(l, lam - l), min(l + lam, l_max) + 1)
        if (l + l2 + lam) % 2 in parities
    ]


@lru_cache(maxsize=16)
def coupling_table(l_max, lam, parity):
    """The couplings of all pairs of degrees.

    Returns
    -------
    pairs : ndarray of int, shape (n_pairs, 2)
        l and l'.
    couplings : ndarray of float, shape (n_pairs, 2 lam + 1, 2 l_max + 1, 2 l_max + 1)
        √2 √(8π²) W with the coupling W of length 1, for μ, m and m', each counted from its
        smallest; zeros where l or l' is smaller than l_max. The signs make λ = 0 the power
        spectrum.
    """
    pairs = l_pairs(l_max, lam, parity)
    couplings = np.zeros((len(pairs), 2 * lam + 1, 2 * l_max + 1, 2 * l_max + 1))
    for table, (l, l2) in zip(couplings, pairs, strict=True):
        coupling = np.moveaxis(real_coupling(l, l2, lam), 2, 0)
        table[:, : 2 * l + 1, : 2 * l2 + 1] = (-1) ** l2 * np.sqrt(16 * np.pi**2) * coupling
    return np.array(pairs), couplings
