"""Products of projections of the neighbours on functions of one particle."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skatom._device import DEVICES
from skatom._intervals import POSITIVE
from skatom._typing import Array, ArrayLike
from skatom.descriptors._cpu import cluster_expansion as _cpu
from skatom.descriptors._cpu.harmonics import normalization
from skatom.descriptors.alchemy import mixing_matrix
from skatom.descriptors.base import AtomicDescriptor
from skatom.descriptors.cluster_basis import ClusterBasis, belong, products, terms
from skatom.structures import groups_by_size

# Atoms whose neighbours are surveyed at once.
_ATOMS = 4096
# Where polynomials begin, in smallest distances: structures that come later may be denser.
_BEGIN = 0.8


class AtomicClusterExpansion(AtomicDescriptor):
    r"""Invariant products of projections of the neighbours, up to five bodies.

    The neighbours of species α around a centre are projected on radial functions and real spherical
    harmonics,

    .. math::
        A_{\alpha nlm} = \sqrt{4 \pi} \sum_{j \in \alpha} R_n(r_j)\, Y_{lm}(\hat r_j) \qquad
        R_n(r) = \big(1 + \cos(\pi r / r_\mathrm{cut})\big)\, \rho(r)\, T_{n-1}(\xi)

        \rho(r) = \left(\frac{1 + r_\mathrm{min}}{1 + r}\right)^2 \qquad
        \xi = \frac{2 \rho(r) - 1 - \rho(r_\mathrm{cut})}{1 - \rho(r_\mathrm{cut})}

    with distances in Å and the Chebyshev polynomials :math:`T_n`, scaled such that products of two,
    three and four are about as large in molecules. The coordinate :math:`\rho` of [2]_ resolves
    near neighbours more finely than far ones, and as a factor it gives them more weight. The
    features are products of one to four projections A, B, C, D,
    coupled to invariants by Wigner's 3j symbols w in real harmonics,

    .. math::
        A_{00}, \quad \sum_m A_m B_m, \quad \sum_M (AB)_{lM} C_{lM}, \quad
        \sum_M (AB)_{LM} (CD)_{LM}, \qquad
        (AB)_{LM} = \sum_{mm'} w_{lm, l'm', LM}\, A_{lm} B_{l'm'},

    whose degree :math:`\sum (n + w_l\, l)` is at most the one that ``degrees`` has for their
    number. The sum of all l is even. They do not change when the structure is translated, rotated
    or reflected, or when like atoms are exchanged. Where projections are equal, L takes only
    values that give independent features. Products of more projections of a species than any atom
    has neighbours of it are left out, since lower products are as good: of a single oxygen atom,
    for example, no two. A linear model of these features, with coefficients for
    each species of the centre, is a linear atomic cluster expansion [1]_ [2]_. Its cost is linear
    in the number of neighbours.

    Parameters
    ----------
    cutoff : float, default=5.5
        Cutoff radius in Å of the features of one projection, the pair potentials of a linear model.
    degrees : array-like of float, default=(12, 7, 5, 4)
        Largest degrees of features of one projection, of two, three and four: at most four numbers,
        n being 1 or more.
    l_weight : float, default=0.25
        Weight :math:`w_l` of l in the degree. In molecules, where bonds keep their lengths, angles
        tell more than distances, and small weights give better features.
    product_cutoff : float, or array-like of float, default=None
        Cutoff radius in Å of the projections in products, at most ``cutoff``: of all, or one for
        each number of factors from two on. Products of many factors of far neighbours are many, and
        tell little. None: ``cutoff``.
    species_compression : int or array-like of shape (n_channels, n_species), default=None
        Mix the species of neighbours into fewer channels, as in `SOAP`. An array U: channel J of
        products receives U_Ja times the projections of species a. An int: that many leading
        eigenvectors of a similarity from covalent radii and groups of the periodic table. None:
        each species is a channel. Single projections, the pair potentials, lose nothing: they have
        the species as channels or, with an int, all eigenvectors, so that the penalty of a linear
        model makes pair potentials of similar species similar.
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
        Weight of each species in each channel of products; the identity without compression.
    pair_mixing_ : ndarray of float, shape (n_species, n_species)
        Weight of each species in each channel of single projections.
    r_min_ : ndarray of float, shape (n_species, n_species)
        Distances in Å at which the polynomials begin, for each pair of species: four fifths of the
        smallest in the structures given to `fit`, or of half of the smallest cutoff of products if
        this is less; with ``species_compression`` the same for all. Nearer neighbours are
        extrapolated.
    n_neighbors_ : ndarray of int, shape (n_products, n_species, n_species)
        For each number of factors from two on, the largest number of neighbours of each species, in
        columns, that atoms of each species have within the cutoff of these products, in the
        structures given to `fit`.

    Raises
    ------
    ValueError
        If there are more than four degrees or 50,000 features, or none, or the cutoff of products
        is larger than the cutoff, or there is not one for each number of factors from two on.

    See Also
    --------
    MomentTensor : Products of Cartesian tensors in place of harmonics.

    References
    ----------
    .. [1] R. Drautz, Phys. Rev. B 99, 014104 (2019); G. Dusson et al., J. Comput. Phys. 454, 110946
       (2022).
    .. [2] D. P. Kovács et al., J. Chem. Theory Comput. 17, 7696 (2021).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import AtomicClusterExpansion
    >>> expansion = AtomicClusterExpansion(degrees=(4, 4, 4), l_weight=1.0)
    >>> expansion.fit_transform([molecule("H2O"), molecule("NH3")])
    AtomicFeatures(2 structures, 7 atoms, 50 features, species H N O)
    >>> expansion.get_feature_names_out()[[0, 12, 40]]
    array(['ace_H1l0', 'ace_H1l0_H1l0', 'ace_H1l0_H1l0_O1l0'], dtype=object)
    """

    _loops, _gives_products = _cpu, True
    _tensor_loops = "skatom.descriptors._torch.cluster_expansion"
    _parameter_constraints = {
        **AtomicDescriptor._parameter_constraints,
        "device": [DEVICES],
        "cutoff": [POSITIVE],
        "degrees": ["array-like"],
        "l_weight": [Interval(Real, 0.1, None, closed="left")],
        "product_cutoff": [POSITIVE, "array-like", None],
        "species_compression": [Interval(Integral, 1, None, closed="left"), "array-like", None],
    }
    _size_parameters = "degrees, or use species_compression"

    def __init__(
        self,
        cutoff: float = 5.5,
        degrees: ArrayLike = (12, 7, 5, 4),
        *,
        l_weight: float = 0.25,
        product_cutoff: ArrayLike | None = None,
        species_compression: ArrayLike | None = None,
        pool: str | None = None,
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.cutoff = cutoff
        self.degrees = degrees
        self.l_weight = l_weight
        self.product_cutoff = product_cutoff
        self.species_compression = species_compression
        self.pool = pool
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _prepare(self, structures):
        self._check_degrees()
        self._check_product_cutoff()
        self.mixing_ = mixing_matrix(self.species_compression, self.species_)
        of_similarity = isinstance(self.species_compression, Integral)
        of_pairs = len(self.species_) if of_similarity else None
        self.pair_mixing_ = mixing_matrix(of_pairs, self.species_)
        self.r_min_, self.n_neighbors_ = self._survey(structures)
        if not terms(self._basis()):
            raise ValueError(f"degrees={self.degrees} give no features: begin with 1 or more")

    def _check_degrees(self):
        degrees = np.asarray(self.degrees, float)
        if degrees.ndim != 1 or not 1 <= len(degrees) <= 4 or not (degrees >= 0).all():
            raise ValueError(
                f"degrees={self.degrees} must be one to four numbers, none below zero: the largest "
                "degrees of products of one, two, three and four projections"
            )

    def _check_product_cutoff(self):
        n_products, given = len(self.degrees) - 1, np.asarray(self.product_cutoff)
        if self.product_cutoff is None:
            return
        if given.ndim and given.shape != (n_products,):
            raise ValueError(
                f"product_cutoff={self.product_cutoff} must be one number, or {n_products}: one "
                f"for each number of factors that degrees={self.degrees} has, from two on"
            )
        if given.size and not 0 < given.min() <= given.max() <= self.cutoff:
            raise ValueError(
                f"product_cutoff={self.product_cutoff} must be positive and not larger than "
                f"cutoff={self.cutoff}"
            )

    def _survey(self, structures):
        """Where polynomials begin, and the most neighbours, by two species."""
        n, cutoffs = len(self.species_), self._product_cutoffs()
        smallest = np.full((n, n), 0.5 * cutoffs.min(initial=self.cutoff))
        most, device = np.zeros((len(cutoffs), n, n), int), self._device()
        for batch in groups_by_size(structures.offsets, _ATOMS):
            part = structures[batch]
            species = self._species_index(part)
            if device is None:
                pairs = self._neighbors(part)
            else:
                pairs = self._neighbors_on(device, part).on_host()
            distances = np.sqrt(np.einsum("pa,pa->p", pairs.vectors, pairs.vectors))
            owners, others = pairs.centers, species[pairs.indices]
            np.minimum.at(smallest, (species[owners], others), distances)
            for cutoff, of_cutoff in zip(cutoffs, most, strict=True):
                near, counts = distances < cutoff, np.zeros((len(species), n), int)
                np.add.at(counts, (owners[near], others[near]), 1)
                np.maximum.at(of_cutoff, species, counts)
        smallest = _BEGIN * np.minimum(smallest, smallest.T)
        if self._compresses:  # a channel mixes species that have the same functions
            smallest[:] = smallest.min()
        return smallest, most

    def _product_cutoffs(self):
        """Cutoffs of the products of two projections, of three and of four, as far as there are."""
        given = self.cutoff if self.product_cutoff is None else self.product_cutoff
        return np.broadcast_to(np.asarray(given, float), len(self.degrees) - 1)

    def _spheres(self):
        """The different cutoffs of products, and which of these each number of factors has."""
        cutoffs, index = np.unique(self._product_cutoffs(), return_inverse=True)
        return (cutoffs, index) if len(cutoffs) else (np.array([float(self.cutoff)]), index)

    def _basis(self):
        # products have four factors at most
        most = np.minimum(self.n_neighbors_ @ (self.mixing_ != 0).T, 4)
        return ClusterBasis(
            tuple(float(d) for d in self.degrees), float(self.l_weight), len(self.mixing_),
            tuple(tuple(map(tuple, of_order)) for of_order in most.tolist()),
            len(self.species_) if self._compresses else 0, tuple(self._spheres()[1].tolist()),
        )  # fmt: skip

    @property
    def _compresses(self):
        return self.species_compression is not None

    def _compiled(self):
        made, mixing = products(self._basis()), self.mixing_
        if self._compresses:
            mixing = np.vstack([mixing, self.pair_mixing_])
        return _cpu.Projections(
            float(self.cutoff), self._spheres()[0], self.r_min_,
            np.sqrt(4 * np.pi) * normalization(made.n_radial.shape[1] - 1), mixing, *made,
        )  # fmt: skip

    def _n_features(self):
        return len(terms(self._basis()))

    def feature_degrees(self) -> Array:
        """Degrees of the features.

        Returns
        -------
        ndarray of float, shape (n_features,)
        """
        check_is_fitted(self)
        return np.array([sum(p.degree for p in t.factors) for t in terms(self._basis())])

    def feature_species(self) -> Array:
        """Which features say anything of atoms of which species.

        Returns
        -------
        ndarray of bool, shape (n_species, n_features)
            False for products of more projections of a species than atoms have neighbours of it,
            which a linear model needs no coefficients for.
        """
        check_is_fitted(self)
        return belong(self._basis(), terms(self._basis()), len(self.species_))

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the features.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str
            Species, n and l of each projection, and L where there are four:
            ``ace_H1l0_C2l1_C1l1``. Channels of compressed species are called ``mix0-``, ``mix1-``
            and so on.
        """
        check_is_fitted(self)
        channels = [chemical_symbols[z] for z in self.species_]
        if isinstance(self.species_compression, Integral):
            channels = [f"mix{j}-" for j in range(len(channels))]
        if self._compresses:
            channels = [*(f"mix{j}-" for j in range(len(self.mixing_))), *channels]
        names = []
        for term in terms(self._basis()):
            parts = [f"{channels[p.channel]}{p.n}l{p.l}" for p in term.factors]
            names.append("_".join(["ace", *parts, *([f"L{term.L}"] if len(parts) == 4 else [])]))
        return np.array(names, object)
