"""Networks of messages between atoms."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from os import PathLike

from sklearn.utils._param_validation import Interval, StrOptions

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, BaselineLike, RandomState
from skatom.bonds import with_known_bonds
from skatom.models._labels import check_labels
from skatom.models.neural.message_parts import MESSAGES, UPDATES
from skatom.models.neural.message_passing_architecture import (
    MessagePassingArchitecture,
    check_parts,
)
from skatom.models.neural.message_passing_presets import PRESETS
from skatom.models.neural.molecular_graphs import BONDED, DISCRETE
from skatom.models.neural.neural_potential import NeuralPotential
from skatom.models.neural.read_outs import READ_OUTS, Set2SetReadOut
from skatom.targets import Targets

_EDGES = ("distances", "gaussians", *DISCRETE)
# Numbers of neighbours that have matrices of their own.
_DEGREES = 6
_COUNT = Interval(Integral, 1, None, closed="left")


class MessagePassingNetwork(NeuralPotential):
    r"""Message passing: atoms send messages along the edges of a graph and change their states.

    .. math::

        m_v^{t+1} = \sum_{w \in N(v)} M_t(h_v^t, h_w^t, e_{vw}), \qquad
        h_v^{t+1} = U_t(h_v^t, m_v^{t+1}), \qquad
        E = E_0 + s\, R(\{h_v^T\}) + \sum_v \varepsilon_{Z_v}

    The state h of an atom begins as a vector of its element and passes T times through messages M
    from its neighbours w and updates U; a read-out R makes the energy of all states [1]_. Networks
    of this form differ in M, U, R and in what is known of an edge, e: ``preset`` names them. The
    default is the edge network with a set-to-set read-out,

    .. math::

        M = A(e_{vw})\, h_w, \qquad
        U = \mathrm{GRU}(h_v, m_v), \qquad
        R = N o(q^*_S), \quad q^*_s = \Big(q_s, \sum_v \alpha_v p_v\Big), \quad
        q_s = \mathrm{LSTM}(q^*_{s-1}), \quad \alpha_v = \mathrm{softmax}_v(p_v \cdot q_s)

    with matrices A that a network makes of e, and p linear in the last and first states of the N
    atoms. The factor N, which is 1 in [1]_, makes o the energy of an atom. The last weights are
    zero at first, so training begins with the energies ε of the elements; the loss is that of
    `SchNet`.

    Parameters
    ----------
    preset : str, default="edge_network"
        "edge_network", "gated_graph", "neural_fingerprints", "interaction_network", "weave",
        "schnet_edge_updates", "spectral", "chebyshev" or "graph_convolution"; the guide has a table
        of them, with equations and sources.
    message : str, default=None
        M instead of that of the preset. "edge_network": :math:`A(e) h_w`; "matrix":
        :math:`\sum_k e_k A_k h_w`; "pair": :math:`f(h_v, h_w, e)`; "concatenation":
        :math:`(h_w, e)`; "edges": e; "filters": :math:`W h_w \circ w(e)`; "operators":
        :math:`\sum_k P_k h \Theta_k` with matrices P of the graph.
    update : str, default=None
        U instead of that of the preset. "gru": a gated recurrent unit; "residual":
        :math:`h_v + f(m_v)`; "network": :math:`f(h_v, h_v^0, m_v)`; "weave":
        :math:`\rho(W_1(\rho(W_0 h_v), m_v))` with :math:`\rho(x) = \max(x, 0)`; "by_degree":
        :math:`\sigma(H_{\deg v} m_v)`; "sigmoid": :math:`\sigma(m_v)`; "relu": :math:`\rho(m_v)`.
    read_out : str, default=None
        R instead of that of the preset. "set2set": the above; "gated_sum":
        :math:`\sum_v \sigma(i(h_v^T, h_v^0)) j(h_v^T)`; "sum": :math:`\sum_v f(h_v^T)`;
        "network_of_sum": :math:`f(\sum_v h_v^T)`; "fingerprint":
        :math:`f(\sum_{v, t} \mathrm{softmax}(W_t h_v^t))`. Energies of molecules far apart add up
        with "gated_sum" and "sum" alone, which also give local energies.
    edges : str, default=None
        Edges instead of those of the preset. "distances", "gaussians": neighbours within the
        cutoff, with the distance or Gaussians of it; "bins": the same with one of ten bins of the
        distance, or the kind of the bond; "bonds": bonded atoms, with the kind of the bond. The
        others are elements of matrices of the Laplacian L of the bonds: "spectral",
        :math:`V B_k(\Lambda) V^\top` with hat functions B of its eigenvalues; "chebyshev",
        polynomials :math:`T_k(L - 1)`; "renormalized", the adjacency with loops, scaled by degrees.
        Bonds are those of `Structures.with_bonds`, or else `skatom.bonds.perceive_bonds` finds
        them. Where they are given, edges by distance have the kind of the bond, too. Only
        "distances" and "gaussians" give forces.
    cutoff : float, default=5.0
        Atoms closer than this are neighbours, in Å; bonds have no cutoff.
    cutoff_function : {"cosine", "hard"}, default="cosine"
        "cosine": messages of distances are multiplied by :math:`(\cos(\pi r / r_c) + 1) / 2`, so
        that energies and forces are continuous. "hard": they end at the cutoff, as is right for
        molecules that are smaller than it.
    n_features : int, default=64
        Size of the state of an atom.
    n_passes : int, default=4
        Number of passes T.
    n_filters : int, default=None
        Size of hidden layers in M, U and the updates of edges; 16 are enough for an edge network,
        whose matrices are as many. None: ``n_features``.
    n_layers : int, default=2
        Hidden layers of the edge network.
    n_rbf : int, default=32
        Number of Gaussians, with equal distances between their centres, from 0 to the cutoff.
    gamma : float, default=10.0
        Sharpness of the Gaussians in Å⁻².
    order : int, default=4
        Number of matrices of the Laplacian, for "spectral" and "chebyshev".
    n_readout_steps : int, default=6
        Steps S of "set2set".
    n_towers : int, default=1
        Parts of the states that pass through networks of their own and are mixed after each pass:
        messages take so many times less work.
    virtual_edges : bool, default=False
        Whether, with ``edges="bonds"``, all other pairs of atoms have edges too, of one more kind.
    master_size : int, default=0
        Size of the state of a master node, which all atoms write to and read from. 0: none.
    target : {"energy", "dipole", "dipole_norm", "charges"}, default="energy"
        What is learnt, see `SchNet`. All but energies are made of charges of the atoms, networks of
        their states, instead of a read-out.

    Attributes
    ----------
    n_bond_features_ : int or None
        Number of ``atom_features`` of the bonds; None if there were no bonds.

    Raises
    ------
    ImportError
        If bonds are not given, and RDKit is not installed.
    ValueError
        If the parts do not fit together.

    See Also
    --------
    SchNet : Continuous-filter convolutions.
    skatom.bonds.perceive_bonds : Bonds by RDKit.

    References
    ----------
    .. [1] J. Gilmer, S. S. Schoenholz, P. F. Riley, O. Vinyals, G. E. Dahl, ICML (2017),
       arXiv:1704.01212.

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import MessagePassingNetwork
    >>> data = load_ethanol()
    >>> model = MessagePassingNetwork(
    ...     n_features=8, n_passes=1, n_filters=4, max_iter=30, batch_size=16,
    ...     learning_rate_init=1e-2, random_state=0,
    ... )
    >>> model = model.fit(data.structures[::40], data.targets[::40])
    >>> energies, forces = model.predict(data.structures[1:3], return_forces=True)
    >>> energies.shape, forces.shape
    ((2,), (18, 3))
    """

    pooling = "sum"

    _parameter_constraints = {
        **{k: v for k, v in NeuralPotential._parameter_constraints.items() if k != "pooling"},
        "preset": [StrOptions({*PRESETS})],
        "message": [StrOptions({*MESSAGES}), None],
        "update": [StrOptions({*UPDATES}), None],
        "read_out": [StrOptions({*READ_OUTS}), None],
        "edges": [StrOptions({*_EDGES}), None],
        "cutoff": [POSITIVE],
        "cutoff_function": [StrOptions({"cosine", "hard"})],
        "n_features": [_COUNT],
        "n_passes": [_COUNT],
        "n_filters": [_COUNT, None],
        "n_layers": [_COUNT],
        "n_rbf": [Interval(Integral, 2, None, closed="left")],
        "gamma": [POSITIVE],
        "order": [Interval(Integral, 2, None, closed="left")],
        "n_readout_steps": [_COUNT],
        "n_towers": [_COUNT],
        "virtual_edges": ["boolean"],
        "master_size": [Interval(Integral, 0, None, closed="left")],
    }  # fmt: skip

    def __init__(
        self,
        preset: str = "edge_network",
        *,
        message: str | None = None,
        update: str | None = None,
        read_out: str | None = None,
        edges: str | None = None,
        cutoff: float = 5.0,
        cutoff_function: str = "cosine",
        n_features: int = 64,
        n_passes: int = 4,
        n_filters: int | None = None,
        n_layers: int = 2,
        n_rbf: int = 32,
        gamma: float = 10.0,
        order: int = 4,
        n_readout_steps: int = 6,
        n_towers: int = 1,
        virtual_edges: bool = False,
        master_size: int = 0,
        target: str = "energy",
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
        self.preset = preset
        self.message = message
        self.update = update
        self.read_out = read_out
        self.edges = edges
        self.cutoff = cutoff
        self.cutoff_function = cutoff_function
        self.n_features = n_features
        self.n_passes = n_passes
        self.n_filters = n_filters
        self.n_layers = n_layers
        self.n_rbf = n_rbf
        self.gamma = gamma
        self.order = order
        self.n_readout_steps = n_readout_steps
        self.n_towers = n_towers
        self.virtual_edges = virtual_edges
        self.master_size = master_size
        self.target = target
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

    def _parts(self):
        """The preset with what is given instead of its parts."""
        names = ("message", "update", "read_out", "edges")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(PRESETS[self.preset], **given)

    def _data(self, X, y):
        before = vars(self).pop("n_bond_features_", None)  # bonds of the last fit do not count
        try:
            structures, targets = super()._data(X, y)
        finally:
            self.n_bond_features_ = before
        if self.target == "energy" and self._parts().edges in DISCRETE:
            check_labels(targets, ("energy",), type(self).__name__)
            targets = Targets(energy=targets.energy, offsets=targets.offsets)
        self.n_bond_features_ = None
        if structures.known_bonds is not None:
            features = structures.known_bonds.atom_features
            self.n_bond_features_ = 0 if features is None else features.shape[1]
        return structures, targets

    def _checked(self, X):
        structures = super()._checked(X)
        fitted = hasattr(self, "n_bond_features_") and hasattr(self, "network_")
        has_bonds = fitted and self.network_.architecture.has_bonds
        if has_bonds or self._parts().edges in BONDED:
            return with_known_bonds(structures)
        return structures

    def _architecture(self, n_species):
        parts, n = self._parts(), self.n_features
        read_out = READ_OUTS[parts.read_out]
        sizes = {"last": n, "ends": 2 * n, "all": (self.n_passes + 1) * n}
        architecture = MessagePassingArchitecture(
            n_species,
            float(self.cutoff),
            sizes[read_out.keeps],
            n,
            self.n_passes,
            parts.message,
            parts.update,
            parts.edge_update,
            read_out.keeps,
            parts.edges,
            "hard" if parts.edges in DISCRETE else self.cutoff_function,
            self.n_bond_features_ is not None,
            bool(self.virtual_edges),
            parts.directed,
            parts.tied,
            self.n_bond_features_ or 0,
            self.n_filters or n,
            self.n_layers,
            self.n_rbf,
            _DEGREES + 1,
            self.n_towers,
            self.master_size,
            1 if parts.edges == "renormalized" else self.order,
            float(self.gamma),
        )
        check_parts(architecture)
        return architecture

    def _head(self, n_features):
        if self.target != "energy":
            return super()._head(n_features)
        parts, n = self._parts(), self.n_features
        sizes = n_features, n, n, parts.edges not in DISCRETE
        read_out = READ_OUTS[parts.read_out]
        more = (self.n_readout_steps,) if read_out is Set2SetReadOut else ()
        return read_out(*sizes, *more)
