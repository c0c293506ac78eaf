"""FCHL19: two- and three-body functions of distances and angles."""

from __future__ import annotations

from math import pi
from numbers import Integral, Real
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skatom._device import DEVICES
from skatom._intervals import POSITIVE
from skatom._typing import Array
from skatom.descriptors._cpu import fchl19 as _cpu
from skatom.descriptors.base import AtomicDescriptor

# Largest η (R/2)² of the three-body shells, which keeps their factors within the range of floats.
_SHARPEST = 600.0


class FCHL19(AtomicDescriptor):
    r"""Faber-Christensen-Huang-Lilienfeld representation of 2019.

    Two-body functions are log-normal functions of the distances to the neighbours of each element;
    three-body functions, for each pair of elements, are shells of the mean distance of two
    neighbours times harmonics of their angle:

    .. math::
        G^{(2)}_k &= \sum_j \frac{f_c(r_{ij})}{r_{ij}^{\nu_2}} \frac{1}{R_k \sqrt{2\pi s}}
            \exp\left(-\frac{(\ln R_k - \mu)^2}{2 s}\right), \quad
            s = \ln\left(1 + \frac{\eta_2}{r_{ij}^2}\right), \; \mu = \ln r_{ij} - \frac{s}{2}

        G^{(3)}_{lm} &= \sum_{j<k} \xi\, f_c(r_{ij}) f_c(r_{ik})
            e^{-\eta_3 \left(\frac{r_{ij} + r_{ik}}{2} - R_l\right)^2}
            2 e^{-(\zeta m)^2 / 2} \left\{\cos m\theta_{jik}, \sin m\theta_{jik}\right\}

        \xi &= w_3 \sqrt{\frac{\eta_3}{\pi}}\,
            \frac{1 + 3 \cos\theta_{jik} \cos\theta_{ijk} \cos\theta_{ikj}}
            {(r_{ij} r_{ik} r_{jk})^{\nu_3}}

    where :math:`f_c(r) = \frac12 (1 + \cos \pi r / r_c)`, the shells R divide the cutoff evenly and
    m = 1, 3, … is odd. The neighbours j and k lie within the cutoff of the centre; their own
    distance is not restricted. The features do not change when the structure is translated,
    rotated or reflected, or when like atoms are exchanged. They are smooth except where an angle
    :math:`\theta_{jik}` is 0 or π: its sine has a cusp there, whose derivative is taken as zero.

    The defaults were published for learning forces; `for_energies` has the parameters for energies.

    Parameters
    ----------
    cutoff : float, default=8.0
        Cutoff radius r_c in Å.
    n_r2 : int, default=24
        Number of two-body functions R_k = k cutoff / n_r2 for each element.
    n_r3 : int, default=20
        Number of three-body shells R_l = l cutoff3 / n_r3 for each pair of elements.
    eta2 : float, default=0.32
        Width η₂ of the two-body functions, Å².
    eta3 : float, default=2.7
        Sharpness η₃ of the three-body shells, Å⁻²; at most 2400 / cutoff3².
    decay2 : float, default=1.8
        Exponent ν₂ by which two-body functions fall with the distance.
    decay3 : float, default=0.57
        Exponent ν₃ by which three-body functions fall with each of the three distances.
    weight3 : float, default=13.4
        Weight w₃ of three-body functions relative to two-body functions.
    zeta : float, default=π
        Damping ζ of the harmonics. A larger ζ lowers all three-body functions, which ``weight3``
        can compensate.
    n_fourier : int, default=1
        Number of harmonics m = 1, 3, …, 2 n_fourier − 1. With the published ζ all but the first
        are nearly zero.
    cutoff3 : float, default=None
        Cutoff radius of the three-body functions in Å, at most ``cutoff``. None: ``cutoff``.
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

    References
    ----------
    .. [1] A. S. Christensen, L. A. Bratholm, F. A. Faber, O. A. von Lilienfeld, J. Chem. Phys.
       152, 044107 (2020).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import FCHL19
    >>> molecules = [molecule("H2O"), molecule("CH3OH")]
    >>> features = FCHL19().fit_transform(molecules)
    >>> features
    AtomicFeatures(2 structures, 9 atoms, 312 features, species H C O)
    >>> FCHL19.for_energies(pool="sum").fit_transform(molecules).shape
    (2, 270)
    """

    _loops = _cpu
    _tensor_loops = "skatom.descriptors._torch.fchl19"
    _parameter_constraints = {
        **AtomicDescriptor._parameter_constraints,
        "device": [DEVICES],
        "cutoff": [POSITIVE],
        "n_r2": [Interval(Integral, 1, None, closed="left")],
        "n_r3": [Interval(Integral, 1, None, closed="left")],
        "eta2": [POSITIVE],
        "eta3": [POSITIVE],
        "decay2": [Interval(Real, 0, None, closed="left")],
        "decay3": [Interval(Real, 0, None, closed="left")],
        "weight3": [Interval(Real, 0, None, closed="left")],
        "zeta": [Interval(Real, 0, None, closed="left")],
        "n_fourier": [Interval(Integral, 1, None, closed="left")],
        "cutoff3": [POSITIVE, None],
    }
    _size_parameters = "n_r2, n_r3 or n_fourier"

    def __init__(
        self,
        cutoff: float = 8.0,
        n_r2: int = 24,
        n_r3: int = 20,
        *,
        eta2: float = 0.32,
        eta3: float = 2.7,
        decay2: float = 1.8,
        decay3: float = 0.57,
        weight3: float = 13.4,
        zeta: float = pi,
        n_fourier: int = 1,
        cutoff3: float | None = None,
        pool: str | None = None,
        device: str = "cpu",
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.cutoff = cutoff
        self.n_r2 = n_r2
        self.n_r3 = n_r3
        self.eta2 = eta2
        self.eta3 = eta3
        self.decay2 = decay2
        self.decay3 = decay3
        self.weight3 = weight3
        self.zeta = zeta
        self.n_fourier = n_fourier
        self.cutoff3 = cutoff3
        self.pool = pool
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose

    @classmethod
    def for_energies(cls, **parameters: Any) -> FCHL19:
        """The representation with the parameters published for learning energies only.

        Parameters
        ----------
        **parameters
            Parameters of the constructor that override the published ones.

        Returns
        -------
        FCHL19
        """
        published = {
            "n_r2": 22, "n_r3": 17, "eta2": 0.41, "eta3": 0.97,
            "decay2": 2.39, "decay3": 2.39, "weight3": 45.83,
        }  # fmt: skip
        return cls(**{**published, **parameters})

    def _prepare(self, structures):
        cutoff3 = self._cutoff3()
        if cutoff3 > self.cutoff:
            raise ValueError(f"cutoff3={cutoff3} must not be larger than cutoff={self.cutoff}")
        if self.eta3 * cutoff3**2 / 4 > _SHARPEST:
            raise ValueError(
                f"eta3={self.eta3} must not be larger than {4 * _SHARPEST:.0f} / cutoff3² = "
                f"{4 * _SHARPEST / cutoff3**2:.4g}: shells that sharp leave gaps between them"
            )

    def _cutoff3(self):
        return self.cutoff if self.cutoff3 is None else self.cutoff3

    def _compiled(self):
        cutoff, cutoff3 = float(self.cutoff), float(self._cutoff3())
        shells2 = cutoff * np.arange(1, self.n_r2 + 1) / self.n_r2
        shells3 = cutoff3 * np.arange(1, self.n_r3 + 1) / self.n_r3 - cutoff3 / 2
        m = 2 * np.arange(self.n_fourier) + 1
        weight = 2 * self.weight3 * np.sqrt(self.eta3 / pi)
        return _cpu.FCHL19Functions(
            n_species=len(self.species_),
            cutoff=cutoff,
            eta2=float(self.eta2),
            decay2=float(self.decay2),
            log_shells2=np.log(shells2),
            inverse_shells2=1 / shells2,
            cutoff3=cutoff3,
            eta3=float(self.eta3),
            decay3=float(self.decay3),
            shells3=shells3,
            gaussians3=np.exp(-self.eta3 * shells3**2 / 2),
            harmonics=weight * np.exp(-((self.zeta * m) ** 2) / 2),
        )

    def _n_features(self):
        n = len(self.species_)
        return n * self.n_r2 + n * (n + 1) * self.n_r3 * self.n_fourier

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the features.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str
            Species and shell of two-body functions, ``fchl19_C_r0``; species, shell and harmonic
            of three-body functions, ``fchl19_H_C_r0_cos1``.
        """
        check_is_fitted(self)
        symbols = [chemical_symbols[z] for z in self.species_]
        names = [f"{symbol}_r{k}" for symbol in symbols for k in range(self.n_r2)]
        names += [
            f"{symbol}_{other}_r{l}_{function}{2 * n + 1}"
            for p, symbol in enumerate(symbols)
            for other in symbols[p:]
            for l in range(self.n_r3)
            for n in range(self.n_fourier)
            for function in ("cos", "sin")
        ]
        return np.array([f"fchl19_{name}" for name in names], dtype=object)
