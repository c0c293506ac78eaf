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
from skatom.descriptors._cpu.moment_radial import coefficient_slopes
from skatom.descriptors.alchemy import mixing_matrix
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.base import AtomicDescriptor
from skatom.descriptors.contractions import (
    Basis,
    compile_program,
    contraction_levels,
    contractions,
    einstein_indices,
)
from skatom.parallel import ThreadTeam, available_threads, split_rows

# Atoms of a piece whose derivatives with respect to coefficients are summed at once.
_SLOPE_ATOMS = 256


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

    Every species of neighbours has its own moments, so that a linear model is linear in all its
    coefficients. With ``radial_coefficients`` there is one moment of all neighbours instead, whose
    radial functions are those of [2]_, for each pair of species of the centre i and the neighbour j

    .. math::
        f_\mu(r; Z_i, Z_j) = \sum_\beta c_{\mu Z_i Z_j \beta}\,
        T_\beta\!\left(\ldots\right) (r_\mathrm{cut} - r)^2 .

    `MomentTensorPotential <skatom.models.MomentTensorPotential>` trains the coefficients c.

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
    radial_coefficients : array-like of shape (n_mu, n_species, n_species, n_radial), default=None
        Coefficients c of radial functions for all species. None: species have their own moments.
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

    _loops, _gives_products = _cpu, True
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
        "radial_coefficients": ["array-like", None],
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
        radial_coefficients: ArrayLike | None = None,
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
        self.radial_coefficients = radial_coefficients
        self.pool = pool
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _prepare(self, structures):
        if self.r_min is not None and self.r_min >= self.cutoff:
            raise ValueError(f"r_min={self.r_min} must be smaller than cutoff={self.cutoff}")
        if self.radial_coefficients is None:
            self.mixing_ = mixing_matrix(self.species_compression, self.species_)
        else:
            self.mixing_ = np.ones((1, len(self.species_)))
            self._check_coefficients()
        contractions(self._basis())
        self.r_min_ = self._smallest_distance(structures) if self.r_min is None else self.r_min

    def _check_coefficients(self):
        if self.species_compression is not None:
            raise ValueError(
                "radial_coefficients mix the species already: leave species_compression out"
            )
        shape, n_species = np.shape(self.radial_coefficients), len(self.species_)
        expected = (len(compile_program(self._basis()).degrees), n_species, n_species)
        if shape[:3] != expected or len(shape) != 4 or shape[3] == 0:
            raise ValueError(
                f"radial_coefficients have the shape {shape}, but level={self.level} has "
                f"{expected[0]} radial functions for each pair of the {n_species} species: give an "
                f"array of the shape {expected} and one more axis"
            )

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
            self._coefficients(),
            *compile_program(self._basis()),
        )

    def _coefficients(self):
        if self.radial_coefficients is None:
            return np.empty((0, 0, 0, 0))
        return np.ascontiguousarray(self.radial_coefficients, float)

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

    @property
    def n_mu_(self) -> int:
        """Number of radial functions, of the smallest and all other μ that the level allows."""
        check_is_fitted(self)
        return len(compile_program(self._basis()).degrees)

    def coefficient_slopes(
        self, X: AtomicFeatures, coef: ArrayLike, weights: ArrayLike, motions: ArrayLike
    ) -> Array:
        r"""Derivatives of energies and forces with respect to ``radial_coefficients``.

        .. math:: \frac{\partial}{\partial c} \sum_i \Big( u_i E_i
            + \sum_j \frac{\partial E_i}{\partial r_{ij}} \cdot v_{ij} \Big), \qquad
            E_i = x_i \cdot w_{Z_i}

        Parameters
        ----------
        X : AtomicFeatures
            Features x of this descriptor, with ``by_center=False`` and without the bias.
        coef : array-like of float, shape (n_species, n_features)
            Coefficients w.
        weights : array-like of float, shape (n_atoms,)
            Weights u of the energies of the atoms.
        motions : array-like of float, shape (n_pairs, 3)
            Changes v of the vectors of ``X.neighbors``; with forces :math:`v_{ij} = v_j - v_i`.

        Returns
        -------
        ndarray of float, shape (n_mu, n_species, n_species, n_radial)
        """
        pairs, species = X.neighbors, self._species_index(X.structures)
        arrays = [np.ascontiguousarray(a, float) for a in (coef, weights, motions)]
        parts = split_rows(len(pairs.atoms), _SLOPE_ATOMS)
        compiled = self._compiled()

        def add(part):
            out = np.zeros(compiled.coefficients.shape)
            coefficient_slopes(
                part.start, part.stop, pairs.offsets, pairs.vectors, species[pairs.atoms],
                species[pairs.indices], compiled, *arrays, out,
            )  # fmt: skip
            return out

        with ThreadTeam(available_threads()) as team:
            return sum(team.map(add, parts), np.zeros(compiled.coefficients.shape))

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
            compressed species are called ``mix0-``, ``mix1-`` and so on, moments of trained radial
            functions ``M``. The bias is ``mt_Si:1``.
        """
        check_is_fitted(self)
        symbols = [chemical_symbols[z] for z in self.species_]
        channels = symbols
        if self.radial_coefficients is not None:
            channels = ["M"]
        elif self.species_compression is not None:
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
