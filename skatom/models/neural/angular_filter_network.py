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
