"""Moment tensors of the neighbours, contracted to invariants."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skatom._intervals import POSITIVE
from skatom._typing import Array, ArrayLike
from skatom.descriptors._cpu import moment_tensor as _cpu
from skatom.descriptors.alchemy import mixing_matrix
from skatom.descriptors.base import AtomicDescriptor
from skatom.descriptors.contractions import (
    Basis,
    compile_program,
    contraction_levels,
    contractions,
    einstein_indices,
)


class MomentTensor(AtomicDescriptor):
    r"""Contractions of the moment tensors of the neighbours, up to a level.

    The neighbours of species α around a centre have the moments

    .. math::
        M_{\mu\nu}^\alpha = \sum_{j \in \alpha} f_\mu(r_j)\, \hat r_j^{\otimes\nu}
        \qquad
        f_\mu(r) = T_\mu\!\left(\frac{2r - r_\mathrm{min} - r_\mathrm{cut}}
            {r_\mathrm{cut} - r_\mathrm{min}}\right) (r_\mathrm{cut} - r)^2,

    tensors of rank ν, with the Chebyshev polynomials :math:`T_\mu`. The features are all products
    of moments in which every index is contracted with an index of another moment,

    .. math::
        B = M_{00} \qquad B = M_{01} \cdot M_{11} \qquad
        B = \sum_{ab} (M_{02})_{ab} (M_{01})_a (M_{11})_b \qquad \ldots \qquad
        \sum \mathrm{lev}\, M_{\mu\nu} \le \mathrm{level}, \quad
        \mathrm{lev}\, M_{\mu\nu} = 2 + 4\mu + \nu,

    including products of lower features. They do not change when the structure is translated,
    rotated or reflected, or when like atoms are exchanged. A linear model
    :math:`E = \sum_i \sum_k \xi_k B_k(i)` is a moment tensor potential [1]_. A product of k moments
    describes (k + 1)-body interactions, at a cost that is linear in the number of neighbours.

    In [2]_, radial functions with trained coefficients mix the species; here every species of
    neighbours has its own moments, so that the energy is linear in all coefficients.

    Parameters
    ----------
    cutoff : float, default=5.0
        Cutoff radius in Å.
    level : int, default=8
        Largest level of a feature. With one species 8, 12, 16 and 20 give 9, 29, 92 and 288
        features; with two 32, 149, 656 and 2,630 for each species of the centre.
    mu_level : int, default=4
        Contribution of one step of μ to the level. A smaller number gives more radial functions at
        the same level, which compensates for their missing trained coefficients: level 8 has two
        of them with 4 and four with 2.
    max_factors : int, default=4
        Largest number of moments in a product. None: no limit besides the level.
    max_mu : int, default=5
        Largest μ.
    max_nu : int, default=10
        Largest rank ν. With these limits and four factors, one species has as many features as in
        the tables of the program MLIP [2]_.
    r_min : float, default=None
        Distance in Å at which the Chebyshev polynomials begin. It only changes the basis within
        the radial functions. None: the smallest distance in the structures given to `fit`.
    unit_vectors : bool, default=True
        False: tensor powers of the vectors r_j themselves, in Å, as in [1]_.
    by_center : bool, default=True
        Give each species of the centre its own block of features, with zeros in the others, so
        that a linear model has separate coefficients for each, like a moment tensor potential.
        False: the features do not depend on the species of the centre.
    include_bias : bool, default=False
        Add a first feature that is 1, in every block if ``by_center``: the energies of isolated
        atoms, for a linear model without a baseline or an intercept.
    species_compression : int or array-like of shape (n_channels, n_species), default=None
        Mix the species of neighbours into fewer channels, as in `SOAP`. An array U: channel J
        receives U_Ja times the moments of species a. An int: that many leading eigenvectors of a
        similarity from covalent radii and groups of the periodic table.
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
    mixing_ : ndarray of float, shape (n_channels, n_species)
        Weight of each species in each channel; the identity without compression.
    r_min_ : float
        Distance in Å at which the Chebyshev polynomials begin.

    Notes
    -----
    The features have the unit Å² to the power of the number of moments (with unit vectors) and
    differ by orders of magnitude: scale them, for example with
    :class:`~sklearn.preprocessing.StandardScaler`, before a model that penalises coefficients.

    A linear model needs more features than a model with trained radial functions, and
    ``mu_level=2`` is the better choice for it: on the silicon data of [3]_ the 475 features of
    ``level=18, mu_level=2`` have the test errors of the moment tensor potential published there,
    2.2 meV per atom and 0.06 eV/Å.

    References
    ----------
    .. [1] A. V. Shapeev, Multiscale Model. Simul. 14, 1153 (2016).
    .. [2] I. S. Novikov, K. Gubaev, E. V. Podryabinkin, A. V. Shapeev, Mach. Learn.: Sci. Technol.
       2, 025002 (2021).
    .. [3] Y. Zuo et al., J. Phys. Chem. A 124, 731 (2020).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import MomentTensor
    >>> molecules = [molecule("H2O"), molecule("CH3OH")]
    >>> MomentTensor(level=8).fit_transform(molecules)
    AtomicFeatures(2 structures, 9 atoms, 228 features, species H C O)
    >>> moments = MomentTensor(level=6, by_center=False, pool="sum").fit(molecules[:1])
    >>> moments.transform(molecules[:1]).shape
    (1, 14)
    >>> moments.get_feature_names_out()[[0, 5, 8]]
    array(['mt_H0', 'mt_H1', 'mt_H0a_O0a'], dtype=object)
    """

    _loops = _cpu
    _parameter_constraints = {
        **AtomicDescriptor._parameter_constraints,
        "cutoff": [POSITIVE],
        "level": [Interval(Integral, 2, 28, closed="both")],
        "mu_level": [Interval(Integral, 1, None, closed="left")],
        "max_factors": [Interval(Integral, 1, None, closed="left"), None],
        "max_mu": [Interval(Integral, 0, None, closed="left")],
        "max_nu": [Interval(Integral, 0, None, closed="left")],
        "r_min": [Interval(Real, 0, None, closed="left"), None],
        "unit_vectors": ["boolean"],
        "by_center": ["boolean"],
        "include_bias": ["boolean"],
        "species_compression": [Interval(Integral, 1, None, closed="left"), "array-like", None],
    }
    _size_parameters = "level, or use species_compression"

    def __init__(
        self,
        cutoff: float = 5.0,
        level: int = 8,
        *,
        mu_level: int = 4,
        max_factors: int = 4,
        max_mu: int = 5,
        max_nu: int = 10,
        r_min: float | None = None,
        unit_vectors: bool = True,
        by_center: bool = True,
        include_bias: bool = False,
        species_compression: ArrayLike | None = None,
        pool: str | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.cutoff = cutoff
        self.level = level
        self.mu_level = mu_level
        self.max_factors = max_factors
        self.max_mu = max_mu
        self.max_nu = max_nu
        self.r_min = r_min
        self.unit_vectors = unit_vectors
        self.by_center = by_center
        self.include_bias = include_bias
        self.species_compression = species_compression
        self.pool = pool
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _prepare(self, structures):
        if self.r_min is not None and self.r_min >= self.cutoff:
            raise ValueError(f"r_min={self.r_min} must be smaller than cutoff={self.cutoff}")
        self.mixing_ = mixing_matrix(self.species_compression, self.species_)
        contractions(self._basis())
        self.r_min_ = self._smallest_distance(structures) if self.r_min is None else self.r_min

    def _smallest_distance(self, structures):
        """The smallest distance below the cutoff; 0 if there is none."""
        squares = [self.cutoff**2]
        for batch in self._batches(structures):
            vectors = self._neighbors(structures[batch]).vectors
            squares.append(np.einsum("pa,pa->p", vectors, vectors).min(initial=np.inf))
        smallest = float(np.sqrt(min(squares)))
        return smallest if smallest < self.cutoff else 0.0

    def _basis(self):
        return Basis(
            int(self.level),
            int(self.mu_level),
            None if self.max_factors is None else int(self.max_factors),
            int(self.max_mu),
            int(self.max_nu),
            len(self.mixing_),
        )

    def _compiled(self):
        return _cpu.Moments(
            float(self.cutoff),
            float(self.r_min_),
            bool(self.unit_vectors),
            bool(self.by_center),
            int(self.include_bias),
            self.mixing_,
            *compile_program(self._basis()),
        )

    def _n_features(self):
        n_blocks = len(self.species_) if self.by_center else 1
        return n_blocks * (len(contractions(self._basis())) + bool(self.include_bias))

    def feature_degrees(self) -> Array:
        """Levels of the features, 1 for the bias.

        Returns
        -------
        ndarray of float, shape (n_features,)
        """
        check_is_fitted(self)
        levels = contraction_levels(self._basis())
        one = [1.0, *levels] if self.include_bias else levels
        return np.tile(np.array(one, float), len(self.species_) if self.by_center else 1)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the features.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str
            Species of the neighbours, μ and indices of each moment, after the species of the
            centre if ``by_center``: ``mt_Si:Si0ab_Si1ab`` contracts M_02 and M_12. Channels of
            compressed species are called ``mix0-``, ``mix1-`` and so on. The bias is ``mt_Si:1``.
        """
        check_is_fitted(self)
        symbols = [chemical_symbols[z] for z in self.species_]
        channels = symbols
        if self.species_compression is not None:
            channels = [f"mix{j}-" for j in range(len(self.mixing_))]
        names = ["1"] if self.include_bias else []
        for parts in contractions(self._basis()):
            moments = [moment for graph in parts for moment in graph.moments]
            names.append(
                "_".join(
                    f"{channels[moment.channel]}{moment.mu}{indices}"
                    for moment, indices in zip(moments, einstein_indices(parts), strict=True)
                )
            )
        centers = [f"{symbol}:" for symbol in symbols] if self.by_center else [""]
        return np.array([f"mt_{center}{name}" for center in centers for name in names], object)
