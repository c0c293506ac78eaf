"""SOAP: invariants of the smooth neighbour density."""

from __future__ import annotations

from math import comb
from numbers import Integral, Real
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._device import DEVICES
from skatom._intervals import POSITIVE
from skatom._typing import Array, ArrayLike
from skatom.descriptors._cpu import soap as _cpu
from skatom.descriptors._cpu.density import Density
from skatom.descriptors._cpu.harmonics import normalization
from skatom.descriptors.alchemy import learnt_mixing, mixing_matrix
from skatom.descriptors.base import AtomicDescriptor
from skatom.descriptors.coupling import coupling_table, l_triples
from skatom.descriptors.density_covariance import density_covariance, radial_contraction
from skatom.descriptors.radial import contracted_tables, gaussian_widths, spline_tables

_NO_SCALING = {"rate": 1.0, "scale": 1.0, "exponent": 0.0}


class SOAP(AtomicDescriptor):
    r"""Smooth overlap of atomic positions (SOAP): invariants of the neighbour density.

    The neighbours of species α around a centre, each a Gaussian, are expanded in radial functions
    and spherical harmonics, and products of ν coefficients are summed into invariants:

    .. math::
        c_{\alpha nlm} = \int R_n(r) Y_{lm}(\hat r) \sum_{j \in \alpha}
            w(r_j) e^{-|r - r_j|^2 / 2\sigma(r_j)^2} dr

        p_{\alpha n} = \sqrt{8\pi^2}\, c_{\alpha n00} \quad (\nu = 1) \qquad
        p_{\alpha n, \alpha' n', l} = \sqrt{\tfrac{8\pi^2}{2l+1}}
            \sum_m c_{\alpha nlm} c_{\alpha' n'lm} \quad (\nu = 2)

        B = \sqrt{8\pi^2} \sum_{m m' m''} \begin{pmatrix} l & l' & l'' \\ m & m' & m''
            \end{pmatrix} c_{\alpha nlm} c_{\alpha' n'l'm'} c_{\alpha'' n''l''m''} \quad (\nu = 3)

    with :math:`w(r) = f_c(r) u(r)`, a cosine cutoff times an optional radial scaling. Products
    that differ only in the order of their factors are kept once, times the square root of the
    number of orders, so the dot product of two feature vectors is the ν-th power of the overlap of
    their densities, integrated over all rotations. The features do not change when the structure
    is translated, rotated or reflected, or when like atoms are exchanged.

    Parameters
    ----------
    cutoff : float, default=5.0
        Cutoff radius in Å.
    n_max : int, default=8
        Number of radial functions.
    l_max : int, default=6
        Largest degree of the spherical harmonics.
    sigma : float or dict of str to float, default=0.5
        Width of the Gaussians in Å: one for all, or one for each element by symbol, such as
        ``{"H": 0.3, "O": 0.5}``; elements that the structures do not have may be in it, too.
    nu : {1, 2, 3}, default=2
        Number of coefficients in a product: the radial spectrum (1) depends on distances, the
        power spectrum (2) also on angles, and the bispectrum (3) also on triples of neighbours; the
        bispectrum has about (n_max · species)³ (l_max + 1)³ / 24 features.
    parity : {"even", "both"}, default="even"
        For the bispectrum: "both" adds the products with an odd sum of l, which change sign under
        reflection and distinguish left-handed from right-handed environments.
    radial_basis : {"bessel", "gto", "optimal"}, default="bessel"
        "bessel": spherical Bessel functions that vanish at the cutoff, orthogonal at any n_max.
        "gto": orthogonalised Gaussian-type orbitals, r^k exp(-r²/2σ_k²) with k < n_max, the
        basis of librascal and featomic; their overlap becomes singular beyond n_max = 14.
        "optimal": for each species and l, the n_max combinations of ``n_primitives`` Bessel
        functions in which the densities around the atoms given to ``fit`` have most of their
        square [5]_: fewer functions describe the same structures, at the cost of n_max functions.
        With ``species_compression`` all species have the same functions.
    cutoff_width : float, default=0.5
        Width in Å of the shell below the cutoff radius over which the weight of a neighbour falls
        from 1 to 0 as a cosine. 0: a step, at which forces do not exist.
    radial_scaling : dict, default=None
        Weights of neighbours by distance, u(r) = rate / (rate + (r / scale)^exponent), for example
        ``{"rate": 1.0, "scale": 2.0, "exponent": 7.0}`` [2]_. None: u = 1.
    species_compression : int or array-like of shape (n_channels, n_species), default=None
        Mix the species into fewer channels, which replace the species in the features. An array
        U: channel J receives U_Ja times the density of species a, so that κ = UᵀU is the
        similarity of species in the kernel [2]_. An int: that many channels, chosen by
        ``species_similarity``.
    central_weight : float, default=1.0
        Weight of the centre itself in its density.
    sigma_scaling : float, default=0.0
        Growth of the widths with the distance, from 0 to 1: :math:`\sigma(r) = \sigma_\alpha +
        \text{sigma\_scaling} \cdot r`, so that distant neighbours, whose exact place matters
        less, are smoother [4]_.
    n_primitives : int, default=20
        Number of Bessel functions that ``radial_basis="optimal"`` combines, at least n_max.
    species_similarity : {"elements", "data"}, default="elements"
        Where an int ``species_compression`` takes its channels from. "elements": leading
        eigenvectors, times the root of their eigenvalues, of a κ from covalent radii and groups of
        the periodic table; as many channels as species have the kernel of this κ. "data": leading
        eigenvectors of the overlap of densities around the atoms given to ``fit`` [5]_,
        :math:`\kappa_{ab} = \sum_i c_{ia} \cdot c_{ib}`, divided by the root of
        :math:`\kappa_{aa} \kappa_{bb}`; as many channels as species have the kernel without
        compression. Species that never share an environment do not share a channel then.
    normalize : bool, default=True
        Divide the features of each atom by their norm. Features of an environment without any
        density stay zero.
    pool : {"sum", "mean"}, default=None
        Sum or average the features over the atoms of each structure, as `StructureFeatures`.
        None: `AtomicFeatures`, one row for each atom.
    device : {"cpu", "cuda", "auto", "torch"}, default="cpu"
        Where features and their derivatives are computed: by compiled loops, by torch on a card
        ("cuda"; "auto" if there is one) or by torch on the CPU ("torch"). With torch the features
        are tensors, and stay on the device.
    n_jobs : int, default=None
        Number of joblib jobs that share the structures. The compiled loops already use all threads
        of a machine; jobs are for clusters (``joblib.parallel_config(backend="dask")``).
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    species_ : ndarray of int
        Sorted atomic numbers seen in `fit`.
    mixing_ : ndarray of float, shape (n_channels, n_species)
        Weight of each species in each channel; the identity without compression.
    radial_contraction_ : ndarray of float, shape (n_species or 1, l_max + 1, n_max, n_primitives)
        The weight of each Bessel function in each optimal function; orthonormal rows. One for all
        species with ``species_compression``. None for another radial basis; only l = 0 if nu = 1.

    References
    ----------
    .. [1] A. P. Bartók, R. Kondor, G. Csányi, Phys. Rev. B 87, 184115 (2013).
    .. [2] M. J. Willatt, F. Musil, M. Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018).
    .. [3] F. Musil et al., J. Chem. Phys. 154, 114109 (2021).
    .. [4] M. A. Caro, Phys. Rev. B 100, 024112 (2019).
    .. [5] A. Goscinski et al., J. Chem. Phys. 155, 104106 (2021).

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

    _loops = _cpu
    _tensor_loops = "skatom.descriptors._torch.soap"
    _parameter_constraints = {
        **AtomicDescriptor._parameter_constraints,
        "device": [DEVICES],
        "cutoff": [POSITIVE],
        "n_max": [Interval(Integral, 1, None, closed="left")],
        "l_max": [Interval(Integral, 0, 20, closed="both")],
        "sigma": [POSITIVE, dict],
        "nu": [Interval(Integral, 1, 3, closed="both")],
        "parity": [StrOptions({"even", "both"})],
        "radial_basis": [StrOptions({"bessel", "gto", "optimal"})],
        "cutoff_width": [Interval(Real, 0, None, closed="left")],
        "radial_scaling": [dict, None],
        "species_compression": [Interval(Integral, 1, None, closed="left"), "array-like", None],
        "central_weight": [Interval(Real, 0, None, closed="left")],
        "n_primitives": [Interval(Integral, 1, None, closed="left")],
        "species_similarity": [StrOptions({"elements", "data"})],
        "sigma_scaling": [Interval(Real, 0, 1, closed="both")],
        "normalize": ["boolean"],
    }
    _size_parameters = "n_max or l_max, or use species_compression"

    def __init__(
        self,
        cutoff: float = 5.0,
        n_max: int = 8,
        l_max: int = 6,
        sigma: float | dict = 0.5,
        *,
        nu: int = 2,
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
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.cutoff = cutoff
        self.n_max = n_max
        self.l_max = l_max
        self.sigma = sigma
        self.nu = nu
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
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _prepare(self, structures):
        if self.cutoff_width >= self.cutoff:
            raise ValueError(
                f"cutoff_width={self.cutoff_width} must be smaller than cutoff={self.cutoff}"
            )
        self._check_scaling()
        self._check_learnt()
        self.mixing_ = mixing_matrix(self.species_compression, self.species_)
        self.radial_contraction_ = None
        if self.species_similarity == "data" or self.radial_basis == "optimal":
            self._learn(structures)
        self._compiled()

    def _learn(self, structures):
        species = self._species_index(structures)
        covariance = density_covariance(structures, species, self._density())
        if self.species_similarity == "data":
            self.mixing_ = learnt_mixing(covariance.species, self.species_compression)
        if self.radial_basis == "optimal":
            radial = np.swapaxes(covariance.radial, 0, 1)
            if self.species_compression is not None:  # mixed species need the same functions
                radial = radial.sum(axis=0, keepdims=True)
            self.radial_contraction_ = radial_contraction(radial, self.n_max)

    def _check_learnt(self):
        if self.radial_basis == "optimal" and self.n_max > self.n_primitives:
            raise ValueError(
                f"n_max={self.n_max} optimal functions cannot be made of "
                f"n_primitives={self.n_primitives}: choose n_max <= n_primitives"
            )
        compression = self.species_compression
        if self.species_similarity == "data" and not isinstance(compression, Integral):
            raise ValueError(
                "species_similarity='data' learns the mixing of species, but species_compression "
                + ("is None" if compression is None else "is a matrix that gives it")
                + ": choose a number of channels for species_compression"
            )

    def _check_scaling(self):
        scaling = self.radial_scaling
        if scaling is None:
            return
        if set(scaling) != set(_NO_SCALING) or not all(v > 0 for v in scaling.values()):
            raise ValueError(
                f"radial_scaling={scaling} must have the keys 'rate', 'scale' and 'exponent', "
                "each with a positive number"
            )

    def _compiled(self):
        return self._density(self.radial_contraction_)

    def _jacobian_of_runs(self, pairs, species):
        neighbors = species[pairs.indices]
        return self._loops.jacobian_of_runs(
            pairs.offsets, pairs.vectors, species[pairs.atoms], neighbors, self._compiled(),
            self._n_features(),
        )  # fmt: skip

    def _density(self, contraction=None):
        """The density in combinations of the radial functions, or in these themselves."""
        l_max = self.l_max if self.nu > 1 else 0
        table, table_of, spacing = self._tables(l_max, contraction)
        scaling = self.radial_scaling or _NO_SCALING
        return Density(
            nu=int(self.nu),
            normalize=bool(self.normalize),
            n_max=table.shape[-1] // (l_max + 1),
            l_max=int(l_max),
            table=table,
            table_of=table_of,
            spacing=spacing,
            norm=normalization(l_max),
            cutoff=float(self.cutoff),
            cutoff_width=float(self.cutoff_width),
            rate=float(scaling["rate"]),
            scale=float(scaling["scale"]),
            exponent=float(scaling["exponent"]),
            central_weight=float(self.central_weight),
            mixing=self.mixing_,
            mixes=self.species_compression is not None,
            coupling=coupling_table(l_max, self.parity) if self.nu == 3 else None,
        )

    def _tables(self, l_max, contraction):
        """The splines of the radial functions, those of each species, and their spacing."""
        optimal = self.radial_basis == "optimal"
        widths = gaussian_widths(self.sigma, self.species_)
        widths, table_of = np.unique(widths, return_inverse=True)
        parameters = (
            "bessel" if optimal else self.radial_basis,
            int(self.n_primitives if optimal else self.n_max),
            int(l_max), float(self.cutoff), float(self.cutoff_width), tuple(widths.tolist()),
            float(self.sigma_scaling),
        )  # fmt: skip
        table, spacing = spline_tables(*parameters)
        if contraction is not None:
            table, table_of = contracted_tables(
                parameters, tuple(table_of.tolist()), int(self.n_max), contraction.tobytes()
            )
        return table, table_of, spacing

    def _n_features(self):
        channels = len(self.mixing_) * self.n_max
        if self.nu == 1:
            return channels
        if self.nu == 2:
            return channels * (channels + 1) // 2 * (self.l_max + 1)
        return sum(_n_products(channels, triple) for triple in l_triples(self.l_max, self.parity))

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the features.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str
            Species, n and, except in the radial spectrum, l of each factor: ``soap_C0``,
            ``soap_l2_C0_H3``, ``soap_l112_C0_C1_H0``. Channels of compressed species are called
            ``mix0-``, ``mix1-`` and so on.
        """
        check_is_fitted(self)
        symbols = [chemical_symbols[z] for z in self.species_]
        if self.species_compression is not None:
            symbols = [f"mix{j}-" for j in range(len(self.mixing_))]
        channels = [f"{symbol}{n}" for symbol in symbols for n in range(self.n_max)]
        if self.nu == 1:
            names = channels
        elif self.nu == 2:
            names = [
                f"l{l}_{q}_{other}"
                for l in range(self.l_max + 1)
                for i, q in enumerate(channels)
                for other in channels[i:]
            ]
        else:
            names = [
                "l" + "".join(map(str, triple)) + "".join(f"_{channels[q]}" for q in product)
                for triple in l_triples(self.l_max, self.parity)
                for product in _products(len(channels), triple)
            ]
        return np.array([f"soap_{name}" for name in names], dtype=object)


def _products(channels, triple):
    """The channels (q1, q2, q3) that the bispectrum keeps for one triple of l, in its order."""
    l1, l2, l3 = triple
    odd = sum(triple) % 2
    for q1 in range(channels):
        for q2 in range(q1 + odd if l1 == l2 else 0, channels):
            for q3 in range(q2 + odd if l2 == l3 else 0, channels):
                yield q1, q2, q3


def _n_products(channels, triple):
    """The number of `_products`."""
    kinds, odd = len(set(triple)), sum(triple) % 2
    if kinds == 3:
        return channels**3
    if kinds == 2:
        return channels * comb(channels + 1 - odd, 2)
    return comb(channels + 2 - 2 * odd, 3)
