"""ACSF: atom-centred symmetry functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.data import chemical_symbols
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._cpu.elementwise import COSINE, POLYNOMIAL, TANH3, TANH3_PLAIN
from skatom._device import DEVICES
from skatom._intervals import POSITIVE
from skatom._typing import Array, ArrayLike
from skatom.descriptors._cpu import acsf as _cpu
from skatom.descriptors.base import AtomicDescriptor

_CUTOFFS = {
    "cosine": COSINE,
    "tanh3": TANH3,
    "tanh3-plain": TANH3_PLAIN,
    "polynomial": POLYNOMIAL,
}
_G2 = tuple((eta, 0.0) for eta in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0))
_G4 = tuple((eta, z, sign) for eta in (0.01, 0.1) for z in (1.0, 4.0) for sign in (-1.0, 1.0))
# Columns of the parameters of each kind, and how many of the last may be omitted (and are then 0).
_COLUMNS = {
    "g2": (("eta", "shift"), 0),
    "g3": (("kappa",), 0),
    "g4": (("eta", "zeta", "lambda", "shift"), 1),
    "g5": (("eta", "zeta", "lambda", "shift"), 1),
    "ani": (("eta", "zeta", "shift", "theta"), 0),
}
# Allowed ranges of the columns.
_RANGES = {
    "eta": (0, np.inf, "η must not be negative"),
    "zeta": (1, np.inf, "ζ must be at least 1, or forces do not exist"),
    "lambda": (-1, 1, "λ must lie between -1 and 1"),
    "theta": (0, np.pi, "θ must lie between 0 and π"),
}


class ACSF(AtomicDescriptor):
    r"""Atom-centred symmetry functions: smooth histograms of distances and angles around an atom.

    For every species J, and every pair of species J ≤ K, of the neighbours of atom i:

    .. math::
        G^1_i &= \sum_{j \in J} f_c(r_{ij}) \qquad
        G^2_i = \sum_{j \in J} e^{-\eta (r_{ij} - R)^2} f_c(r_{ij}) \qquad
        G^3_i = \sum_{j \in J} \cos(\kappa r_{ij}) f_c(r_{ij})

        G^4_i &= 2^{1-\zeta} \sum_{j<k} (1 + \lambda \cos\theta_{jik})^\zeta
            e^{-\eta [(r_{ij} - R)^2 + (r_{ik} - R)^2 + (r_{jk} - R)^2]}
            f_c(r_{ij}) f_c(r_{ik}) f_c(r_{jk})

        G^5_i &= 2^{1-\zeta} \sum_{j<k} (1 + \lambda \cos\theta_{jik})^\zeta
            e^{-\eta [(r_{ij} - R)^2 + (r_{ik} - R)^2]} f_c(r_{ij}) f_c(r_{ik})

        G^{ANI}_i &= 2^{1-\zeta} \sum_{j<k} [1 + \cos(\theta_{jik} - \theta)]^\zeta
            e^{-\eta [(r_{ij} + r_{ik})/2 - R]^2} f_c(r_{ij}) f_c(r_{ik})

    Each pair j, k counts once. The functions do not change when the structure is translated,
    rotated or reflected, or when like atoms are exchanged. They do not encode the species of the
    centre, which `AtomicFeatures.numbers` gives.

    Parameters
    ----------
    cutoff : float, default=6.0
        Cutoff radius in Å.
    g1 : bool, default=False
        Whether to include G1.
    g2 : array-like of shape (n, 2), default=6 widths without shift
        (η, R) of each function, in Å⁻² and Å.
    g3 : array-like of shape (n,), default=()
        κ of each function, Å⁻¹.
    g4 : array-like of shape (n, 3) or (n, 4), default=η of 0.01 and 0.1, ζ of 1 and 4, λ=±1
        (η, ζ, λ) or (η, ζ, λ, R) of each function, η in Å⁻², R in Å. ζ is at least 1; integers
        are much faster.
    g5 : array-like of shape (n, 3) or (n, 4), default=()
        Parameters of G5, as for ``g4``.
    ani : array-like of shape (n, 4), default=()
        (η, ζ, R, θ) of each function, in Å⁻², 1, Å and radians. These functions have a kink where
        three atoms are collinear; their derivative there is the mean of both slopes.
    cutoff_function : {"cosine", "tanh3", "tanh3-plain", "polynomial"}, default="cosine"
        With x = r/cutoff: (cos πx + 1)/2, with a continuous first derivative at the cutoff;
        tanh³(1 − x)/tanh³(1), with a continuous second derivative, and the same without the
        denominator, as in RuNNer and n2p2; 1 − 35x⁴ + 84x⁵ − 70x⁶ + 20x⁷, with a continuous third
        derivative.
    angular_cutoff : float, default=None
        Cutoff radius of the angular functions in Å, at most ``cutoff``. None: ``cutoff``.
    weighting : {"Z"}, default=None
        "Z": one set of functions for all species, in which a neighbour is weighted by its atomic
        number, and a pair by the product of both [2]_; the number of features then does not
        depend on the number of species. None: a set for each species.
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

    See Also
    --------
    skatom.descriptors.symmetry_functions : Parameters of systematic sets of functions.

    References
    ----------
    .. [1] J. Behler, J. Chem. Phys. 134, 074106 (2011).
    .. [2] M. Gastegger, L. Schwiedrzik, M. Bittermann, F. Berzsenyi, P. Marquetand, J. Chem. Phys.
       148, 241709 (2018).
    .. [3] J. S. Smith, O. Isayev, A. E. Roitberg, Chem. Sci. 8, 3192 (2017).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import ACSF
    >>> molecules = [molecule("H2O"), molecule("CH3OH")]
    >>> ACSF().fit_transform(molecules)
    AtomicFeatures(2 structures, 9 atoms, 66 features, species H C O)
    >>> acsf = ACSF(g2=[(0.5, 1.0), (0.5, 2.0)], g4=[(0.05, 1, -1)], pool="sum").fit(molecules)
    >>> acsf.get_feature_names_out()[:4]
    array(['acsf_g2_H_0', 'acsf_g2_H_1', 'acsf_g2_C_0', 'acsf_g2_C_1'], dtype=object)
    >>> acsf.transform(molecules).shape
    (2, 12)
    """

    _loops = _cpu
    _tensor_loops = "skatom.descriptors._torch.acsf"
    _parameter_constraints = {
        **AtomicDescriptor._parameter_constraints,
        "device": [DEVICES],
        "cutoff": [POSITIVE],
        "g1": ["boolean"],
        **{kind: ["array-like"] for kind in _COLUMNS},
        "cutoff_function": [StrOptions(set(_CUTOFFS))],
        "angular_cutoff": [POSITIVE, None],
        "weighting": [StrOptions({"Z"}), None],
    }
    _size_parameters = "the number of functions, or use weighting='Z'"

    def __init__(
        self,
        cutoff: float = 6.0,
        *,
        g1: bool = False,
        g2: ArrayLike = _G2,
        g3: ArrayLike = (),
        g4: ArrayLike = _G4,
        g5: ArrayLike = (),
        ani: ArrayLike = (),
        cutoff_function: str = "cosine",
        angular_cutoff: float | None = None,
        weighting: str | None = None,
        pool: str | None = None,
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.cutoff = cutoff
        self.g1 = g1
        self.g2 = g2
        self.g3 = g3
        self.g4 = g4
        self.g5 = g5
        self.ani = ani
        self.cutoff_function = cutoff_function
        self.angular_cutoff = angular_cutoff
        self.weighting = weighting
        self.pool = pool
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _prepare(self, structures):
        if self.angular_cutoff is not None and self.angular_cutoff > self.cutoff:
            raise ValueError(
                f"angular_cutoff={self.angular_cutoff} must not be larger than cutoff={self.cutoff}"
            )
        for kind in _COLUMNS:
            _check_ranges(kind, self._table(kind))
        if self._n_features() == 0:
            raise ValueError("there are no functions: give g1, g2, g3, g4, g5 or ani")

    def _table(self, kind):
        """Parameters (n, n_columns) of the functions of one kind."""
        return _table(kind, getattr(self, kind))

    def _compiled(self):
        g2, g3, g4, g5, ani = (self._table(kind) for kind in _COLUMNS)
        if self.g1:
            g2 = np.vstack([np.zeros(2), g2])
        n_species = len(self.species_)
        if self.weighting is None:
            channels, weights = np.arange(n_species), np.ones(n_species)
        else:
            channels, weights = np.zeros(n_species, int), self.species_.astype(float)
        angular_cutoff = self.cutoff if self.angular_cutoff is None else self.angular_cutoff
        return _cpu.Functions(
            cutoff=float(self.cutoff),
            angular_cutoff=float(angular_cutoff),
            cutoff_kind=_CUTOFFS[self.cutoff_function],
            n_channels=self._n_channels(),
            channels=channels,
            weights=weights,
            radial=g2.copy(),
            kappa=g3[:, 0].copy(),
            **_angular_factors(g4, g5, ani),
        )

    def _n_channels(self):
        return len(self.species_) if self.weighting is None else 1

    def _n_features(self):
        n = self._n_channels()
        radial, angular = self._names()
        return n * len(radial) + n * (n + 1) // 2 * len(angular)

    def _names(self):
        """Kind and number of each radial and of each angular function, in their order."""
        counts = {kind: len(self._table(kind)) for kind in _COLUMNS}
        names = {kind: [(kind, i) for i in range(n)] for kind, n in counts.items()}
        radial = [("g1", 0)] * bool(self.g1) + names["g2"] + names["g3"]
        return radial, names["g4"] + names["g5"] + names["ani"]

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the features.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str
            Kind, species of the neighbours, and index of the function within its kind:
            ``acsf_g2_C_0``, ``acsf_g4_H_C_3``. With ``weighting`` there are no species:
            ``acsf_g2_0``.
        """
        check_is_fitted(self)
        radial, angular = self._names()
        if self.weighting is not None:
            names = [f"acsf_{kind}_{i}" for kind, i in radial + angular]
            return np.array(names, dtype=object)
        symbols = [chemical_symbols[z] for z in self.species_]
        names = [f"acsf_{kind}_{a}_{i}" for a in symbols for kind, i in radial]
        names += [
            f"acsf_{kind}_{a}_{b}_{i}"
            for first, a in enumerate(symbols)
            for b in symbols[first:]
            for kind, i in angular
        ]
        return np.array(names, dtype=object)


def _table(kind, parameters):
    columns, optional = _COLUMNS[kind]
    try:
        table = np.asarray(parameters, float)
    except ValueError as error:
        raise ValueError(f"{kind} must be a table of numbers with rows of equal length") from error
    if table.size == 0:
        return np.empty((0, len(columns)))
    if kind == "g3" and table.ndim == 1:
        table = table[:, None]
    missing = len(columns) - (table.shape[1] if table.ndim == 2 else 0)
    if table.ndim != 2 or not 0 <= missing <= optional:
        names = ", ".join(columns)
        raise ValueError(
            f"{kind} has the shape {table.shape}, but needs a row ({names}) for each function"
            + (", of which the last may be left out" if optional else "")
        )
    return np.pad(table, ((0, 0), (0, missing))) if missing else table  # which takes a while


def _check_ranges(kind, table):
    columns, _ = _COLUMNS[kind]
    for name, column in zip(columns, table.T, strict=True):
        if not np.isfinite(column).all():
            raise ValueError(f"{kind} contains a {name} that is not finite")
        low, high, rule = _RANGES.get(name, (-np.inf, np.inf, ""))
        wrong = column[(column < low) | (column > high)]
        if len(wrong):
            raise ValueError(f"{kind} contains {name}={wrong[0]}: {rule}")


def _angular_factors(g4, g5, ani):
    """The angular functions as products of powers and Gaussians, each listed once."""
    behler = np.vstack([g4, g5])
    kind = np.repeat([0, 1, 2], [len(g4), len(g5), len(ani)])
    eta = np.concatenate([behler[:, 0], ani[:, 0]])
    zeta = np.concatenate([behler[:, 1], ani[:, 1]])
    shift = np.concatenate([behler[:, 3], ani[:, 2]])
    cosine = np.concatenate([behler[:, 2], np.cos(ani[:, 3])])
    sine = np.concatenate([np.zeros(len(behler)), np.sin(ani[:, 3])])
    sine[np.abs(sine) < 1e-15] = 0.0  # θ = π
    # sorted by kind first
    gaussians, gauss = np.unique(np.stack([kind, eta, shift], 1), axis=0, return_inverse=True)
    bases, base = np.unique(np.stack([cosine, sine], 1), axis=0, return_inverse=True)
    powers, power = np.unique(np.stack([base.ravel(), zeta], 1), axis=0, return_inverse=True)
    index = {tuple(row): i for i, row in enumerate(powers)}
    parents = [index.get((b, z / 2), -1) for b, z in powers]
    return {
        "n_g4": int(np.sum(gaussians[:, 0] == 0)),
        "n_g5": int(np.sum(gaussians[:, 0] == 1)),
        "gaussians": gaussians[:, 1:].copy(),
        "bases": bases,
        "zeta": powers[:, 1].copy(),
        "power_of": np.stack([powers[:, 0].astype(int), np.array(parents, int)], 1),
        "terms": np.stack([power.ravel(), gauss.ravel()], 1),
        "scale": 2 ** (1 - zeta),
    }
