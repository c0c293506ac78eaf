"""Deep tensor neural networks of the atoms of molecules and crystals."""

from __future__ import annotations

from numbers import Integral
from os import PathLike

from sklearn.utils._param_validation import Interval, StrOptions

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, BaselineLike, RandomState
from skatom.models.neural.dtnn_architecture import DTNNArchitecture
from skatom.models.neural.neural_potential import NeuralPotential


class DTNN(NeuralPotential):
    r"""A deep tensor neural network: tensor layers of features of atoms and their distances.

    .. math::

        E = E_0 + \sum_i \big( s\, o(x_i^{(T)}) + \varepsilon_{Z_i} \big), \qquad
        x_i^{(0)} = a_{Z_i}, \qquad
        x_i^{(t+1)} = x_i^{(t)} + \sum_{j} v(x_j^{(t)}, r_{ij}) f_c(r_{ij})

    .. math::

        v(x, r) = \tanh\big[ W_3^\top \big( (W_1^\top x + b_1) \circ (W_2^\top g(r) + b_2) \big)
        \big], \qquad g_k(r) = e^{-\gamma (r - \mu_k)^2}

    The features x of an atom begin as a vector of its element and are refined in T passes by
    messages of its neighbours, of which every periodic image is one [1]_. The argument of the tanh
    is a tensor of x and g, in factors; its weights are the same in all passes. o is a network of
    two layers. The last weights are zero at first, so training begins with the energies ε of the
    elements. The loss is that of `SchNet`.

    Parameters
    ----------
    cutoff : float, default=5.0
        Atoms closer than this are neighbours, in Å.
    cutoff_function : {"cosine", "hard"}, default="cosine"
        "cosine": messages are multiplied by :math:`f_c = (\cos(\pi r / r_c) + 1) / 2`. "hard": they
        end at the cutoff, where energies and forces have a step; without one, and so for molecules
        smaller than the cutoff, this is the network of [1]_.
    n_features : int, default=30
        Features of an atom.
    n_factors : int, default=60
        Factors of the tensor.
    n_interactions : int, default=3
        Number of passes T.
    n_rbf : int, default=26
        Number of the radial functions g, with equal distances between their centres μ.
    rbf_stop : float, default=None
        The last centre in Å; the first one is 0. None: ``cutoff``.
    gamma : float, default=12.5
        Sharpness γ of the radial functions in Å⁻².

    See Also
    --------
    SchNet : Filters of distances in place of tensors.

    Notes
    -----
    The published networks have no cutoff and radial functions up to 20 Å, 0.2 Å apart:
    ``DTNN(20.0, cutoff_function="hard", n_rbf=100)``.

    References
    ----------
    .. [1] K. T. Schütt, F. Arbabzadah, S. Chmiela, K.-R. Müller, A. Tkatchenko, Nat. Commun. 8,
       13890 (2017).

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import DTNN
    >>> data = load_ethanol()
    >>> model = DTNN(n_interactions=2, max_iter=50, learning_rate_init=5e-3, random_state=0)
    >>> model = model.fit(data.structures[::50], data.targets[::50])
    >>> energies, forces = model.predict(data.structures[1:3], return_forces=True)
    >>> energies.shape, forces.shape
    ((2,), (18, 3))
    """

    _activation = "tanh"

    _parameter_constraints = {
        **NeuralPotential._parameter_constraints,
        "cutoff": [POSITIVE],
        "cutoff_function": [StrOptions({"cosine", "hard"})],
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "n_interactions": [Interval(Integral, 1, None, closed="left")],
        "n_rbf": [Interval(Integral, 2, None, closed="left")],
        "rbf_stop": [POSITIVE, None],
        "gamma": [POSITIVE],
    }

    def __init__(
        self,
        cutoff: float = 5.0,
        *,
        cutoff_function: str = "cosine",
        n_features: int = 30,
        n_factors: int = 60,
        n_interactions: int = 3,
        n_rbf: int = 26,
        rbf_stop: float | None = None,
        gamma: float = 12.5,
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
        self.n_factors = n_factors
        self.n_interactions = n_interactions
        self.n_rbf = n_rbf
        self.rbf_stop = rbf_stop
        self.gamma = gamma
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
        return DTNNArchitecture(
            n_species,
            float(self.cutoff),
            self.n_features,
            self.n_factors,
            self.n_interactions,
            self.n_rbf,
            float(self.rbf_stop or self.cutoff),
            float(self.gamma),
            self.cutoff_function,
        )
