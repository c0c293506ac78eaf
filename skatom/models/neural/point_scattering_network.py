"""Learnt point scattering: wavelets at atoms, between matrices that are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from os import PathLike

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, BaselineLike, RandomState
from skatom.descriptors.scattering.wavelets import orbital_pairs
from skatom.models.neural.neural_potential import NeuralPotential
from skatom.models.neural.point_scattering_architecture import PointScatteringArchitecture
from skatom.models.neural.read_outs import NetworkOfSumReadOut


class PointScatteringNetwork(NeuralPotential):
    r"""Point scattering whose channels are learnt: wavelets of neighbours and moduli, in layers.

    .. math::

        E = E_0 + \sum_i \big( s\, o(\{ x_{i\gamma}^q \}) + \varepsilon_{Z_i} \big), \qquad
        q \in \{ 1, \tfrac43, \tfrac53, 2 \}

    .. math::

        x_{i, \lambda k} = \Big( \delta^2 + \sum_{m=-l}^{l} \Big| \sum_j
        \psi_\lambda^m(r_j - r_i)\, h_{jk} \Big|^2 \Big)^{1/2}, \qquad h_j = W_t^\top x_j,
        \qquad \lambda = (n, l, \text{width})

    .. math::

        \psi_{nl\beta}^m(r) \propto f_c(|r|)\, (|r|/\beta)^l\, L_{n-l-1}^{(l + 1/2)}
        \Big( \frac{|r|^2}{2 \beta^2} \Big) e^{-|r|^2 / 2 \beta^2}\, Y_l^m(r / |r|), \qquad
        f_c(r) = \frac{\cos(\pi r / r_c) + 1}{2}

    This is `PointScattering` with matrices W that are learnt in place of charges [1]_. The features
    of an atom begin as 1 for its element. A layer mixes them to h, convolves each with all wavelets
    at the atoms, the atom itself and every periodic image among the neighbours, and takes the
    moduli over m, which do not change if the structure is turned or reflected. Those of the last
    layer are raised to four powers, of which o, a network of two layers, makes the energy of the
    atom. The peak of :math:`|\psi|` is 1 for one neighbour. :math:`\delta = 0.01`, so that forces
    are continuous where a field vanishes. ε and the loss are those of `SchNet`.

    Parameters
    ----------
    cutoff : float, default=5.0
        Atoms closer than this are neighbours, in Å.
    n_features : int, default=16
        Features h of an atom that meet the wavelets in each layer, and neurons of o.
    n_layers : int, default=2
        Number of layers.
    orbitals : int or sequence of int and (int, int), default=(3,)
        Radial and angular forms of the wavelets: an int n stands for (n, l) with all l < n.
    widths : sequence of float, default=(0.4, 0.6, 0.8, 1.2, 1.6)
        Widths β of the wavelets' Gaussians in Å.
    pooling : {"sum", "mean", "diffpool", "positions", "network"}, default="sum"
        As for `SchNet`; "network": :math:`o(\{ \sum_i x_{i\gamma}^q \})`, a network of the sums of
        features, for structures of similar size; then atoms have no energies of their own.
    learning_rate_init, learning_rate_min : float, default=5e-3, 1e-6
        Length of the first steps, and of the last or shortest ones.

    See Also
    --------
    skatom.descriptors.PointScattering : The same wavelets without learning, as features.
    PaiNN : Directions of neighbours by vectors of atoms.

    Notes
    -----
    A layer costs as many sums over neighbours as there are products of features, widths and 2 l + 1
    of all orbitals: 45 for each feature with the defaults.

    References
    ----------
    .. [1] X. Brumwell, thesis, Michigan State University (2021), section 5.2.

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import PointScatteringNetwork
    >>> data = load_ethanol()
    >>> model = PointScatteringNetwork(
    ...     n_features=8, batch_size=10, max_iter=20, random_state=0
    ... )
    >>> model = model.fit(data.structures[::40], data.targets[::40])
    >>> energies, forces = model.predict(data.structures[1:3], return_forces=True)
    >>> energies.shape, forces.shape
    ((2,), (18, 3))
    """

    _parameter_constraints = {
        **NeuralPotential._parameter_constraints,
        "cutoff": [POSITIVE],
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "orbitals": ["array-like", Interval(Integral, 1, None, closed="left")],
        "widths": ["array-like"],
        "pooling": [*NeuralPotential._parameter_constraints["pooling"], StrOptions({"network"})],
    }

    def __init__(
        self,
        cutoff: float = 5.0,
        *,
        n_features: int = 16,
        n_layers: int = 2,
        orbitals: int | Sequence = (3,),
        widths: Sequence[float] = (0.4, 0.6, 0.8, 1.2, 1.6),
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
        learning_rate_init: float = 5e-3,
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
        self.n_layers = n_layers
        self.orbitals = orbitals
        self.widths = widths
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
        return PointScatteringArchitecture.of(
            n_species, float(self.cutoff), self.n_features, self.n_layers,
            orbital_pairs(self.orbitals), _checked_widths(self.widths),
        )  # fmt: skip

    def _head(self, n_features):
        if self.target == "energy" and self.pooling == "network":
            return NetworkOfSumReadOut(n_features, self.n_features, n_features, True)
        return super()._head(n_features)

    def _n_hidden(self, n_features):
        return self.n_features


def _checked_widths(widths):
    """The widths as floats."""
    found = np.ravel(np.asarray(widths, float))
    if not len(found) or not (np.isfinite(found) & (found > 0)).all():
        raise ValueError(f"widths={widths!r} must be positive lengths in Å: give at least one")
    if len(set(found)) < len(found):
        raise ValueError(f"widths={widths!r} has one of them twice: give each width once")
    return found.tolist()
