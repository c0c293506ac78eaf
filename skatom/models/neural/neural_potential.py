"""The base class of potentials that are networks of graphs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict
from numbers import Integral, Real
from typing import Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from skatom._device import DEVICES, resolve_torch
from skatom._docstrings import share_docstring
from skatom._intervals import POSITIVE
from skatom._misuse import check_may_be_labels
from skatom._typing import ArrayLike, StructuresLike, TargetsLike
from skatom.baseline import fit_baseline
from skatom.models._labels import check_labels
from skatom.models._regressor import StructureRegressor
from skatom.models.neural.cluster_heads import CLUSTERED
from skatom.models.neural.first_network import first_network, first_weights
from skatom.models.neural.fitted_network import FittedNetwork, vector_of, weights_of
from skatom.models.neural.graph_training import GraphTraining, check_training_memory, parted
from skatom.models.neural.heads import HEADS, POOLINGS, EnergyHead
from skatom.models.neural.labelled_graphs import LabelledGraphs
from skatom.models.neural.network_inspection import NetworkInspection
from skatom.models.neural.network_labels import labels_of_energies, labels_of_property
from skatom.models.neural.training_checkpoint import TrainingCheckpoint
from skatom.properties import in_order
from skatom.structures import as_structures
from skatom.targets import Targets, as_targets

_NOISES = ("noise_energy", "noise_forces", "noise_virial")
# What a training that goes on from a checkpoint may change.
_FREE = {
    *_NOISES, "baseline", "max_iter", "max_time", "n_iter_no_change", "warm_start", "checkpoint",
    "device", "random_state", "verbose",
}  # fmt: skip


class NeuralPotential(NetworkInspection, StructureRegressor):
    r"""Base class of potentials that are networks of graphs, trained by gradients.

    A subclass implements ``_architecture(n_species)``, which returns an `Architecture`, has the
    parameters below beside those of the architecture, and adds the constraints of its own to
    ``_parameter_constraints``. Everything else is here: batches, the loss of all labels, training,
    files, predictions. The parameters ``target`` and ``pooling`` choose the `Head`; a subclass with
    heads of its own overrides ``_head``.

    The docstring of a subclass describes what it has of its own, or otherwise than here; the
    entries below become part of it. Its ``__init__`` has all parameters, as scikit-learn wants it.

    Parameters
    ----------
    target : {"energy", "dipole", "dipole_norm", "charges"}, default="energy"
        What is learnt: energies, forces and stresses; or dipoles in e·Å of neutral molecules,
        :math:`\sum_i q_i r_i`, whose charges :math:`q_i` the network gives; their lengths alone; or
        charges of atoms in e. All but energies have the labels' mean squared error as their loss.
    pooling : {"sum", "mean", "diffpool", "positions"}, default="sum"
        Energies are sums over the atoms, or means, for numbers that do not grow with the structure,
        such as those of orbitals; then noises of energies do not grow, either. The others pool the
        atoms to four clusters, to which each belongs in part, and sum over these: "diffpool" with
        the graph of neighbours, "positions", for molecules, with the positions, and angular filters
        of the clusters. They are for structures of similar size; atoms have no energies of their
        own then.
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
    """

    gives = in_order({"energy", "forces", "stress", "local_energies", *HEADS})
    learns = ("energy", "forces", "stress", *HEADS)
    _activation, _trained_in_steps = "shifted_softplus", True
    # derivatives of the features of ``transform`` ask for pairs first, and there is the error
    _pools_jacobian, _is_function_of_pairs = False, True

    _parameter_constraints = {
        "target": [StrOptions({"energy", *HEADS})],
        "pooling": [StrOptions({*POOLINGS, *CLUSTERED})],
        "noise_energy": [POSITIVE, dict, "array-like"],
        "noise_forces": [POSITIVE, dict, "array-like"],
        "noise_virial": [POSITIVE, dict, "array-like"],
        "baseline": "no_validation",
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "max_time": [POSITIVE, None],
        "solver": [StrOptions({"adam", "sgd"})],
        "learning_rate_init": [POSITIVE],
        "learning_rate_min": [POSITIVE],
        "schedule": [StrOptions({"cosine", "exponential", "plateau"})],
        "n_cycles": [Interval(Integral, 1, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "ema_decay": [Interval(Real, 0, 1, closed="left")],
        "max_gradient_norm": [POSITIVE, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), None],
        "warm_start": ["boolean"],
        "checkpoint": "no_validation",
        "dtype": [StrOptions({"float32", "float64"})],
        "device": [DEVICES],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init_subclass__(cls, **keywords):
        super().__init_subclass__(**keywords)
        share_docstring(cls, NeuralPotential)

    @abstractmethod
    def _architecture(self, n_species):
        """The `Architecture` that the parameters describe."""

    def _head(self, n_features):
        """The `Head` that the parameters describe."""
        sizes = n_features, self._n_hidden(n_features), self._activation
        if self.target != "energy":
            return HEADS[self.target](*sizes)
        if self.pooling in CLUSTERED:
            return CLUSTERED[self.pooling](*sizes, float(self.cutoff))
        return POOLINGS[self.pooling](*sizes)

    def _n_hidden(self, n_features):
        """Neurons of the head."""
        return max(1, n_features // 2)

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: StructuresLike,
        y: TargetsLike,
        sample_weight: ArrayLike | None = None,
        configurations: ArrayLike | None = None,
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The n training structures.
        y : Targets, or array-like of shape (n,)
            Labels: energies in eV, forces in eV/Å, stresses in eV/Å³, each of all structures or of
            some; or those of ``target``, which an array is taken for.
        sample_weight : array-like of shape (n,), default=None
            Weights of the structures, by which their noise variance is divided; those of weight 0
            are ignored.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for noises given as a dict.

        Returns
        -------
        self
        """
        before = getattr(self, "network_", None) if self.warm_start else None
        weighing = configurations, sample_weight
        structures, labels, baseline, learnt = self._learnable(X, y, weighing, None)
        network, training = self._training(structures, labels, before, self.validation_fraction)
        course = training.run()
        self._keep(network, course.best["weights"], baseline, learnt)
        self.n_iter_, self.best_iteration_ = training.iteration, course.kept_iteration
        self.history_ = {name: np.array(values) for name, values in course.history.items()}
        self.steps_ = None
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(
        self,
        X: StructuresLike,
        y: TargetsLike,
        sample_weight: ArrayLike | None = None,
        configurations: ArrayLike | None = None,
    ) -> Self:
        """Go on with the training by one iteration, which sees all of these structures once.

        The first call, of a model that is not fitted, chooses the baseline, the energies of the
        elements and the scale, so it needs all elements and typical energies. Steps have the length
        ``learning_rate_init``; no structures are left out, and the moving average of the weights
        is kept.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The n structures.
        y : Targets, or array-like of shape (n,)
            Labels, as in `fit`.
        sample_weight, configurations : array-like of shape (n,), default=None
            Weights and names of configurations, as in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is an element that the first structures did not have, or the loss becomes
            infinite or NaN; the model is then that of the last call.
        """
        before, weighing = getattr(self, "network_", None), (configurations, sample_weight)
        structures, labels, baseline, learnt = self._learnable(X, y, weighing, before)
        network, training = self._training(structures, labels, before, 0)
        weights, steps = training.once(getattr(self, "steps_", None))
        self._keep(network, weights, baseline, learnt)
        self.n_iter_, self.steps_ = getattr(self, "n_iter_", 0) + 1, steps
        return self

    def _learnable(self, X, y, weighing, before):
        """The structures that have labels, these, the baseline, and whether energies are learnt."""
        structures, targets = self._data(X, y)
        names = EnergyHead.learns if self.target == "energy" else (self.target,)
        learnt = check_labels(targets, names, type(self).__name__)
        if before is None:
            baseline = fit_baseline(self.baseline, structures, targets, weighing[1])
        else:
            baseline = self.baseline_
        labels = self._labels(structures, targets, baseline, *weighing)
        used = np.flatnonzero(np.logical_or.reduce([label.has for label in labels.values()]))
        if not len(used):
            raise ValueError(
                "no label has weight: give at least one labelled sample a positive sample_weight"
            )
        if len(used) < len(structures):
            some = {name: label.some(used, structures.offsets) for name, label in labels.items()}
            structures, labels = structures[used], some
        known = before is not None and self.absolute_energies_
        return structures, labels, baseline, known or "energy" in learnt

    def _data(self, X, y):
        """The structures and their labels."""
        structures = self._checked(X)
        if self.target == "energy":
            return structures, as_targets(y, structures)
        if self.baseline is not None:
            raise ValueError(
                f"baseline={self.baseline!r} is one of energies, and target={self.target!r} learns "
                "none: set baseline=None"
            )
        if not isinstance(y, Targets):
            check_may_be_labels(y, n_atoms=-1)  # dipoles have the shape of forces
            y = Targets(**{self.target: y}, offsets=structures.offsets)
        return structures, as_targets(y, structures)

    def _labels(self, structures, targets, baseline, configurations, weights):
        """What is learnt, a dict of `NetworkLabel`."""
        if self.target != "energy":
            return labels_of_property(self.target, structures, targets, weights)
        noise = {name: getattr(self, name) for name in _NOISES}
        extensive = self._head(1).extensive
        return labels_of_energies(
            structures, targets, baseline, noise, configurations, weights, extensive
        )

    def _training(self, structures, labels, before, validation_fraction):
        """The network before training, and its training."""
        device = resolve_torch(self.device, type(self).__name__)

        from skatom.models._torch.networks.potential import GraphPotential
        from skatom.models._torch.networks.training import TrainingSteps

        random = check_random_state(self.random_state)
        species = structures.species if before is None else before.species
        architecture = self._architecture(len(species))
        head = self._head(architecture.n_features)
        graphs = architecture.graphs(structures, species)
        network = first_network(architecture, head, graphs, labels, species, before)
        constants = network.head.of_elements(graphs, network.constants)
        data = LabelledGraphs.of(graphs, labels, constants, network.scale)
        check_training_memory(self, data, network.architecture, device, self.dtype)
        parts = parted(len(data), validation_fraction, random)
        potential = GraphPotential(network.architecture, network.head)
        first = network.weights or first_weights(network, random)
        steps = TrainingSteps(
            potential, vector_of(first).astype(self.dtype), self.solver, self.ema_decay,
            self.max_gradient_norm, data.names, device,
        )  # fmt: skip
        place = len(network.species), network.architecture.cutoff, self.dtype, device
        content = [data.graphs.vectors, data.graphs.kinds, *data.labels.values()]
        checkpoint = TrainingCheckpoint.of(self, _FREE, asdict(network.architecture), content)
        return network, GraphTraining(self, steps, data, parts, place, random, checkpoint)

    def _keep(self, network, weights, baseline, learnt):
        """Take the trained weights."""
        weights = weights_of(weights, network.architecture.shapes | network.head.shapes)
        self.network_ = FittedNetwork(
            network.architecture, network.head, weights, network.scale, network.constants,
            network.species,
        )  # fmt: skip
        self.species_, self.outputs_ = network.species, in_order(network.head.gives)
        self.baseline_, self.absolute_energies_ = baseline, learnt

    def _contradictions(self, structures, targets, names):
        """Labels of energies contradict each other, if they are learnt."""
        if self.target != "energy":
            return []
        return super()._contradictions(structures, targets, names)

    def _remedy(self, name):
        targets = [target for target, head in HEADS.items() if name in head.gives]
        if targets and name not in self.outputs_:
            return f"; fit this one with target={targets[0]!r}"
        return super()._remedy(name)

    def _checked(self, X):
        structures = as_structures(X)
        periodic = structures.pbc.any(axis=1)
        if self.target in ("dipole", "dipole_norm") and periodic.any():
            raise ValueError(
                f"structure {np.argmax(periodic)} is periodic, and the dipole of its charges "
                "depends on the choice of the cell: set pbc=False for molecules"
            )
        if self.target == "energy" and self.pooling == "positions" and periodic.any():
            raise ValueError(
                f"structure {np.argmax(periodic)} is periodic, and positions of clusters depend on "
                "the choice of the cell: set pbc=False for molecules, or pooling='diffpool'"
            )
        return structures

    def _evaluate(self, X, names):
        device = resolve_torch(self.device, type(self).__name__)
        derivatives = bool({"gradient", "virial"} & {*names})
        found = self.network_.evaluate(X, device, derivatives)
        return {name: found[name] for name in names}
