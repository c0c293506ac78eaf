"""PaiNN: interactions of atoms that have numbers and vectors."""

from __future__ import annotations

from numbers import Integral
from os import PathLike

from sklearn.utils._param_validation import Interval

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, BaselineLike, RandomState
from skatom.models.neural.neural_potential import NeuralPotential
from skatom.models.neural.painn_architecture import PaiNNArchitecture


class PaiNN(NeuralPotential):
    r"""PaiNN: a network whose atoms have vectors beside numbers, which turn with the structure.

    .. math::

        E = E_0 + \sum_i \big( s\, o(x_i^{(T)}) + \varepsilon_{Z_i} \big), \qquad
        x_i^{(0)} = a_{Z_i}, \qquad v_i^{(0)} = 0

    .. math::

        \Delta x_i = \sum_j \varphi_1(x_j) \circ w_1(r_{ij}), \qquad
        \Delta v_i = \sum_j \varphi_2(x_j) \circ w_2(r_{ij}) \frac{r_{ij}}{|r_{ij}|}
        + \varphi_3(x_j) \circ w_3(r_{ij}) \circ v_j

    .. math::

        \Delta x_i = a_1 + a_2 \circ \langle U v_i, V v_i \rangle, \qquad
        \Delta v_i = a_3 \circ U v_i, \qquad (a_1, a_2, a_3) = a(x_i, |V v_i|)

    .. math::

        w(r) = f_c(r) \big( W^\top g(r) + b \big), \qquad
        g_k(r) = \frac{\sin(k \pi r / r_c)}{r}, \qquad
        f_c(r) = \frac{\cos(\pi r / r_c) + 1}{2}

    The features of an atom are numbers x, which begin as a vector of its element, and as many
    vectors v in space. Each of T interactions adds what neighbours send, of which every periodic
    image is one, and then combines the features of each atom [1]_. φ and a are networks of two
    layers with the activation x σ(x), as is o; U and V mix vectors. The energies do not change if a
    structure is turned or reflected, yet they know of directions: an atom sees angles by its
    vectors, for which `SchNet` needs several interactions. Energies and forces are continuous where
    atoms cross the cutoff. The length of V v is :math:`\sqrt{|V v|^2 + 10^{-4}}`, which is smooth
    where an atom's neighbourhood is symmetric. ε and the loss are those of `SchNet`.

    Parameters
    ----------
    cutoff : float, default=5.0
        Atoms closer than this are neighbours, in Å.
    n_features : int, default=64
        Numbers, and vectors, of an atom.
    n_interactions : int, default=3
        Number of interactions T.
    n_rbf : int, default=20
        Number of the radial functions g.

    See Also
    --------
    SchNet : Features that are numbers alone.

    References
    ----------
    .. [1] K. T. Schütt, O. T. Unke, M. Gastegger, ICML, PMLR 139, 9377 (2021).

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import PaiNN
    >>> data = load_ethanol()
    >>> model = PaiNN(
    ...     n_features=16, n_interactions=2, max_iter=30, learning_rate_init=5e-3, random_state=0
    ... )
    >>> model = model.fit(data.structures[::20], data.targets[::20])
    >>> energies, forces = model.predict(data.structures[1:3], return_forces=True)
    >>> energies.shape, forces.shape
    ((2,), (18, 3))
    """

    _activation = "silu"

    _parameter_constraints = {
        **NeuralPotential._parameter_constraints,
        "cutoff": [POSITIVE],
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "n_interactions": [Interval(Integral, 1, None, closed="left")],
        "n_rbf": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        cutoff: float = 5.0,
        *,
        n_features: int = 64,
        n_interactions: int = 3,
        n_rbf: int = 20,
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
        self.n_features = n_features
        self.n_interactions = n_interactions
        self.n_rbf = n_rbf
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
        return PaiNNArchitecture(
            n_species, float(self.cutoff), self.n_features, self.n_interactions, self.n_rbf
        )
