"""Networks whose filters depend on a distance and an angle."""

from __future__ import annotations

from numbers import Integral
from os import PathLike

from sklearn.utils._param_validation import Interval, StrOptions

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, BaselineLike, RandomState
from skatom.models.neural.angular_filter_architecture import AngularFilterArchitecture
from skatom.models.neural.neural_potential import NeuralPotential

_COUNT = Interval(Integral, 1, None, closed="left")


class AngularFilterNetwork(NeuralPotential):
    r"""A network whose filters depend on a distance and an angle, of all pairs of neighbours.

    .. math::

        E = E_0 + \sum_i \big( s\, o(x_i^{(T)}) + \varepsilon_{Z_i} \big), \qquad
        x_i^{(0)} = a_{Z_i}, \qquad
        x_i^{(t+1)} = x_i^{(t)} + W_4^\top \sigma\Big( W_3^\top
        \sum_{j, k} x_k^{(t)} \circ F^{(t)}_{ijk} \Big)

    .. math::

        F_{ijk} = f_c(r_{ij}) f_c(r_{ik})\, W_2^\top \sigma\big( W_1^\top
        (g(r_{ik}) \otimes h(\cos \theta_{jik})) \big), \qquad
        f_c(r) = \frac{\cos(\pi r / r_c) + 1}{2}

    The features x of an atom begin as a vector of its element. In each of T interactions a network
    of two layers makes filters of Gaussians g of the distance to a neighbour k and Gaussians h of
    the cosine of the angle between the directions to k and to a neighbour j, which may be k itself
    [1]_. They multiply the features of k; every periodic image is a neighbour. σ is the shifted
    softplus, there are constants b after each W, and o is a network of two layers. Gaussians cross
    at one standard deviation from their centres, which lie from 0 to the cutoff and from -1 to 1.
    Energies and forces are continuous where atoms cross the cutoff. ε and the loss are those of
    `SchNet`.

    Parameters
    ----------
    cutoff : float, default=5.0
        Atoms closer than this are neighbours, in Å.
    message_from : {"neighbor", "center"}, default="neighbor"
        Whose features the filters multiply. "center": those of the atom i, as the equation of [1]_
        is printed; then atoms do not know the elements of their neighbours.
    n_features : int, default=64
        Features of an atom.
    n_hidden : int, default=64
        Size of the layers between.
    n_interactions : int, default=3
        Number of interactions T.
    n_radial, n_angular : int, default=10, 10
        Numbers of the Gaussians g and h.
    target : {"energy", "dipole", "dipole_norm", "charges"}, default="energy"
        What is learnt: energies, forces and stresses; or dipoles in e·Å of neutral molecules,
        :math:`\sum_i q_i r_i`, whose charges :math:`q_i` the network gives; their lengths alone; or
        charges of atoms in e. All but energies have the labels' mean squared error as their loss.
    pooling : {"sum", "mean"}, default="sum"
        Energies are sums over the atoms, or means, for numbers that do not grow with the structure,
        such as those of orbitals; then noises of energies do not grow, either.
    noise_energy : float, dict or array-like of shape (n,), default=0.03
        Noise standard deviation of energies in eV per atom; it is multiplied by :math:`\sqrt{N}`
        for a structure of N atoms. A dict gives it by configuration, see `fit`. Only the ratios of
        noises matter.
    noise_forces : float, dict or array-like of shape (n,) or (n_atoms,), default=0.03
        Noise standard deviation of force components in eV/Å.
    noise_virial : float, dict or array-like of shape (n,), default=0.1
        Noise standard deviation of virials, the stress times the volume, in eV per atom; it is
        multiplied by :math:`\sqrt{N}`.
    baseline : "elements", dict, estimator, list of these, or None, default=None
        Baseline :math:`E_0` that is subtracted from energies, forces and stresses before the fit
        and added to predictions, see `LinearPotential`. The constants ε are already energies of
        the elements.
    batch_size : int, default=32
        Structures in a batch.
    max_iter : int, default=500
        Iterations, each of which sees all structures once.
    max_time : float, default=None
        Seconds after which training ends, with all of ``schedule`` done. None: no limit.
    solver : {"adam", "sgd"}, default="adam"
        Adaptive steps, or steps with momentum.
    learning_rate_init, learning_rate_min : float, default=1e-3, 1e-6
        Length of the first steps, and of the last or shortest ones.
    schedule : {"cosine", "exponential", "plateau"}, default="cosine"
        How the length falls until the end: as half a cosine, exponentially, or by half where the
        error does not fall in ``patience`` checks, which are made every 50 steps or iteration.
    n_cycles : int, default=1
        How often "cosine" begins again (warm restarts).
    patience : int, default=25
        See ``schedule``.
    ema_decay : float, default=0.998
        Decay, in each step, of the exponential moving average of the weights, which are those that
        are judged and kept. 0: the last weights themselves.
    max_gradient_norm : float, default=None
        The gradient of the loss is shortened to this norm. None: it is not.
    validation_fraction : float, default=0.1
        Share of the structures that are left out to judge the weights: those of the smallest error
        are kept. 0: all are learnt from, and the last weights kept.
    n_iter_no_change : int, default=None
        Iterations without a smaller error after which training ends. None: it does not end before
        ``max_iter`` or ``max_time``.
    warm_start : bool, default=False
        Whether `fit` begins with the network of the last one.
    checkpoint : str or path, default=None
        File to which the training is written once a minute. A fit to the same data that finds it
        goes on from there; a complete one removes it.
    dtype : {"float32", "float64"}, default="float32"
        Type of the weights, and of all arithmetic but sums of energies.
    device : {"cpu", "cuda", "auto", "torch"}, default="cpu"
        Where ``fit`` and ``predict`` work, always with torch: on the CPU ("cpu", "torch"), or on a
        card ("cuda"; "auto" if there is one), where steps are recorded as CUDA graphs. A fitted
        model holds numpy arrays and may change its device: ``model.set_params(device="cuda")``.
    random_state : int, RandomState or None, default=None
        Seed of the first weights, the batches and the structures that are left out. A fit on the
        same device with the same number of threads repeats itself, if ``max_time`` is None.
    verbose : int, default=0
        1 shows a progress bar with the losses.

    Attributes
    ----------
    network_ : FittedNetwork
        The trained network; ``network_.weights`` are its arrays by name.
    history_ : dict of ndarray
        Figures of the checks during training: iteration, step, learning_rate, loss (the mean since
        the last check) and validation_loss.
    n_iter_ : int
        Number of iterations.
    best_iteration_ : int
        The iteration whose weights were kept.
    steps_ : dict of ndarray or None
        What `partial_fit` goes on from.
    species_ : ndarray of int, shape (n_species,)
        Sorted atomic numbers seen in `fit`.
    absolute_energies_ : bool
        Whether energies were learnt; if not, the zero of predicted energies is arbitrary.
    baseline_ : Baseline or None
        The fitted baseline.
    outputs_ : tuple of str
        Names of the properties that the model predicts.

    Raises
    ------
    ImportError
        If torch is not installed.
    ValueError
        If there are too few structures to leave some out, ``checkpoint`` is the file of another
        training, ``warm_start`` meets another form of network, or the loss is not finite from the
        beginning.
    MemoryError
        If a batch, or a structure to predict, does not fit in memory.

    Warns
    -----
    RuntimeWarning
        If the loss becomes infinite or NaN. The last good weights are kept.

    See Also
    --------
    PaiNN : Angles by vectors of atoms, at a cost linear in the number of neighbours.
    PointScatteringNetwork : Angles by wavelets.

    Notes
    -----
    Time and memory grow with the square of the number of neighbours, which suits molecules; for
    crystals lower the cutoff. The published networks have ``n_features=128, n_hidden=128``, no
    cutoff function, and a linear o.

    References
    ----------
    .. [1] X. Brumwell, thesis, Michigan State University (2021), chapter 6.

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import AngularFilterNetwork
    >>> data = load_ethanol()
    >>> model = AngularFilterNetwork(
    ...     n_features=16, n_hidden=16, n_interactions=2, batch_size=10, max_iter=20,
    ...     learning_rate_init=5e-3, random_state=0,
    ... )
    >>> model = model.fit(data.structures[::40], data.targets[::40])
    >>> energies, forces = model.predict(data.structures[1:3], return_forces=True)
    >>> energies.shape, forces.shape
    ((2,), (18, 3))
    """

    _parameter_constraints = {
        **NeuralPotential._parameter_constraints,
        "cutoff": [POSITIVE],
        "message_from": [StrOptions({"neighbor", "center"})],
        "n_features": [_COUNT],
        "n_hidden": [_COUNT],
        "n_interactions": [_COUNT],
        "n_radial": [Interval(Integral, 2, None, closed="left")],
        "n_angular": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        cutoff: float = 5.0,
        *,
        message_from: str = "neighbor",
        n_features: int = 64,
        n_hidden: int = 64,
        n_interactions: int = 3,
        n_radial: int = 10,
        n_angular: int = 10,
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
        self.message_from = message_from
        self.n_features = n_features
        self.n_hidden = n_hidden
        self.n_interactions = n_interactions
        self.n_radial = n_radial
        self.n_angular = n_angular
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
        return AngularFilterArchitecture(
            n_species, float(self.cutoff), self.n_features, self.n_hidden, self.n_interactions,
            self.n_radial, self.n_angular, self.message_from,
        )  # fmt: skip
