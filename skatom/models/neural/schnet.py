"""SchNet: continuous-filter convolutions of the atoms of molecules and crystals."""

from __future__ import annotations

from numbers import Integral
from os import PathLike

from sklearn.utils._param_validation import Interval, StrOptions

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, BaselineLike, RandomState
from skatom.models.neural.neural_potential import NeuralPotential
from skatom.models.neural.schnet_architecture import SchNetArchitecture


class SchNet(NeuralPotential):
    r"""SchNet: a network whose convolutions have filters of the distances of atoms.

    .. math::

        E = E_0 + \sum_i \big( s\, o(x_i^{(T)}) + \varepsilon_{Z_i} \big), \qquad
        x_i^{(0)} = a_{Z_i}, \qquad
        x_i^{(t+1)} = x_i^{(t)} + v^{(t)}\Big( \sum_{j} W^{(t)}_{in} x_j^{(t)} \circ
        w^{(t)}(r_{ij}) f_c(r_{ij}) \Big)

    .. math::

        w(r) = \rho(W_2^\top \rho(W_1^\top g(r) + b_1) + b_2), \qquad
        g_k(r) = e^{-\gamma (r - \mu_k)^2}, \qquad \rho(x) = \ln \frac{1 + e^x}{2}

    The features x of an atom begin as a vector of its element and are refined in T interactions
    with those of its neighbours, of which every periodic image is one [1]_ [2]_. v and o are
    networks of two layers. The last weights are zero at first, so training begins with the energies
    ε of the elements. It minimises

    .. math::

        \ell = \frac{1}{n_\text{labels}} \sum_s \Big[ \frac{(E_s - \hat E_s)^2}{\sigma_E^2 N_s}
        + \sum_i \frac{|F_i - \hat F_i|^2}{\sigma_F^2}
        + \frac{|V_s - \hat V_s|^2}{\sigma_V^2 N_s} \Big]

    with the noises σ of energies, forces and virials, of which each structure may have some. Equal
    noises of energies and forces are the weight :math:`\rho = N^{-2}` Å⁻² of squared errors of
    energies in [1]_, 0.01 for nine atoms.

    Parameters
    ----------
    cutoff : float, default=5.0
        Atoms closer than this are neighbours, in Å.
    cutoff_function : {"cosine", "hard"}, default="cosine"
        "cosine": filters are multiplied by :math:`f_c = (\cos(\pi r / r_c) + 1) / 2`. "hard": they
        end at the cutoff, where energies and forces have a step; without one, and so for molecules
        smaller than the cutoff, this is the network of [1]_.
    n_features : int, default=64
        Features of an atom.
    n_filters : int, default=None
        Filters of a convolution. None: ``n_features``.
    n_interactions : int, default=3
        Number of interactions T.
    n_rbf : int, default=50
        Number of the radial functions g, with equal distances between their centres μ.
    rbf_stop : float, default=None
        The last centre in Å; the first one is 0. None: ``cutoff``.
    gamma : float, default=10.0
        Sharpness γ of the radial functions in Å⁻².
    normalize_filter : bool, default=False
        Divide the sum over neighbours by their number, as crystals with a hard cutoff need.
    shared_filters : bool, default=False
        Whether all interactions have the same filters.

    See Also
    --------
    StructuredMLPRegressor : Networks of features that a descriptor gives.

    References
    ----------
    .. [1] K. T. Schütt, P.-J. Kindermans, H. E. Sauceda, S. Chmiela, A. Tkatchenko, K.-R. Müller,
       NeurIPS 30, 992 (2017).
    .. [2] K. T. Schütt, H. E. Sauceda, P.-J. Kindermans, A. Tkatchenko, K.-R. Müller, J. Chem.
       Phys. 148, 241722 (2018).

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import SchNet
    >>> data = load_ethanol()
    >>> model = SchNet(
    ...     n_features=16, n_interactions=2, max_iter=50, learning_rate_init=5e-3, random_state=0
    ... )
    >>> model = model.fit(data.structures[::20], data.targets[::20])
    >>> energies, forces = model.predict(data.structures[1:3], return_forces=True)
    >>> energies.shape, forces.shape
    ((2,), (18, 3))
    """

    _parameter_constraints = {
        **NeuralPotential._parameter_constraints,
        "cutoff": [POSITIVE],
        "cutoff_function": [StrOptions({"cosine", "hard"})],
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "n_filters": [Interval(Integral, 1, None, closed="left"), None],
        "n_interactions": [Interval(Integral, 1, None, closed="left")],
        "n_rbf": [Interval(Integral, 2, None, closed="left")],
        "rbf_stop": [POSITIVE, None],
        "gamma": [POSITIVE],
        "normalize_filter": ["boolean"],
        "shared_filters": ["boolean"],
    }

    def __init__(
        self,
        cutoff: float = 5.0,
        *,
        cutoff_function: str = "cosine",
        n_features: int = 64,
        n_filters: int | None = None,
        n_interactions: int = 3,
        n_rbf: int = 50,
        rbf_stop: float | None = None,
        gamma: float = 10.0,
        normalize_filter: bool = False,
        shared_filters: bool = False,
        target: str = "energy",
        pooling: str = "sum",
        noise_energy: dict | ArrayLike = 0.03,
        noise_forces: dict | ArrayLike = 0.03,
        noise_virial: dict | ArrayLike = 0.1,
        baseline: BaselineLike = None,
        batch_size: int = 32,
        max_iter: int = 500,
        max_time: float | None = None,
        solver: str = "adam",
        learning_rate_init: float = 1e-3,
        learning_rate_min: float = 1e-6,
        schedule: str = "cosine",
        n_cycles: int = 1,
        patience: int = 25,
        ema_decay: float = 0.998,
        max_gradient_norm: float | None = None,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | None = None,
        warm_start: bool = False,
        checkpoint: str | PathLike | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.cutoff = cutoff
        self.cutoff_function = cutoff_function
        self.n_features = n_features
        self.n_filters = n_filters
        self.n_interactions = n_interactions
        self.n_rbf = n_rbf
        self.rbf_stop = rbf_stop
        self.gamma = gamma
        self.normalize_filter = normalize_filter
        self.shared_filters = shared_filters
        self.target = target
        self.pooling = pooling
        self.noise_energy = noise_energy
        self.noise_forces = noise_forces
        self.noise_virial = noise_virial
        self.baseline = baseline
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.max_time = max_time
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.learning_rate_min = learning_rate_min
        self.schedule = schedule
        self.n_cycles = n_cycles
        self.patience = patience
        self.ema_decay = ema_decay
        self.max_gradient_norm = max_gradient_norm
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _architecture(self, n_species):
        return SchNetArchitecture(
            n_species,
            float(self.cutoff),
            self.n_features,
            self.n_filters or self.n_features,
            self.n_interactions,
            self.n_rbf,
            float(self.rbf_stop or self.cutoff),
            float(self.gamma),
            self.cutoff_function,
            bool(self.normalize_filter),
            bool(self.shared_filters),
        )
