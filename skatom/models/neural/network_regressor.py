"""The base class of models that are sums of networks of rows of features."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skatom._device import is_tensor, on_host
from skatom._input_checks import structure_weights
from skatom._intervals import POSITIVE
from skatom._layers import LayeredRows
from skatom._typing import FeaturesLike
from skatom.baseline import count_species, fit_baseline
from skatom.descriptors.origin import origin_of
from skatom.elements import species_index
from skatom.models._feature_regressor import FeatureRegressor, kind_of
from skatom.models._labels import Labels, check_labels
from skatom.models.neural.labelled_rows import LabelledRows
from skatom.models.neural.objective import SquaredErrors, SummedNetworks
from skatom.models.neural.perceptron import Perceptron
from skatom.models.neural.standard_energies import energies_of_elements, scale_of
from skatom.models.neural.training import train
from skatom.models.neural.training_checkpoint import TrainingCheckpoint
from skatom.properties import in_order
from skatom.targets import as_targets

_NOISES = ("noise_energy", "noise_forces", "noise_virial")
# What a training that goes on from a checkpoint may change.
_FREE = {
    *_NOISES, "descriptor", "baseline", "max_iter", "max_time", "tol", "n_iter_no_change",
    "warm_start", "checkpoint", "random_state", "verbose",
}  # fmt: skip


class SummedNetworkRegressor(FeatureRegressor):
    """Base class of models whose energies are sums of networks of rows of features.

    The rows are atoms, or parts of structures or of samples of a table. A subclass has the
    parameters below, or attributes of the same names, and a ``fit`` that makes the `LabelledRows`
    of its input, by `_start_structures` for features of structures, and calls `_train`.
    """

    gives = in_order({"energy", "forces", "stress", "local_energies"})
    _trained_in_steps = True
    # type of the derivatives of features that are kept for a fit
    _dtype = "float64"
    # what may be parameters of a subclass
    max_time = checkpoint = None

    _parameter_constraints = {
        "hidden_layer_sizes": ["array-like"],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [POSITIVE],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, 1, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
        "noise_energy": [POSITIVE, dict, "array-like"],
        "noise_forces": [POSITIVE, dict, "array-like"],
        "noise_virial": [POSITIVE, dict, "array-like"],
        "baseline": "no_validation",
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def _start_structures(self, X, y, sample_weight, configurations, before):
        if len(X) == 0:
            raise ValueError("got no structures: pass at least one")
        atomic = kind_of(X) == "AtomicFeatures"
        if atomic and self.n_groups is not None:
            raise ValueError(
                f"n_groups={self.n_groups} divides the features of structures, and X is "
                "AtomicFeatures, whose parts are atoms: leave out n_groups, or pool the features"
            )
        targets = as_targets(y, X.structures)
        learnt = check_labels(targets, self.learns, type(self).__name__)
        noise = {name: getattr(self, name) for name in _NOISES}
        self._learnt_from, self.species_ = kind_of(X), X.structures.species
        self._origin = origin_of(X)
        self.n_features_in_ = X.n_features
        self.absolute_energies_ = "energy" in learnt
        self.outputs_ = tuple(n for n in self.gives if atomic or n != "local_energies")
        self.baseline_ = fit_baseline(self.baseline, X.structures, targets, sample_weight)
        labels = Labels.of(
            X.structures, targets, self.baseline_, noise, configurations, sample_weight
        )
        weights = structure_weights(sample_weight, len(X))
        used = np.flatnonzero(
            (labels.has_energy | labels.has_forces | labels.has_virial) & (weights > 0)
        )
        _check_some_weight(used)
        if len(used) < len(X):
            X, labels, weights = X[used], labels[used], weights[used]
        rows = self._rows(X)
        counts = count_species(X.structures, self.species_)
        if before is None:
            self.intercept_ = energies_of_elements(counts, labels)
            self.scale_ = scale_of(labels, counts @ self.intercept_, np.diff(rows[2]))
        energies = labels.energy - counts @ self.intercept_
        return LabelledRows.of_structures(
            X, rows, labels, energies, self._n_groups, weights, self._dtype
        )

    @property
    def _n_groups(self):
        return self.n_groups or 1

    @property
    def _has_networks_of_species(self):
        return self._learnt_from == "AtomicFeatures" and bool(self.by_species)

    def _table_rows(self, X):
        """The parts of samples or structures (n n_groups, n_features / n_groups)."""
        n, p = X.shape
        if p % self._n_groups:
            raise ValueError(
                f"{p} features cannot be divided into n_groups={self.n_groups} parts of equal "
                "length: give a divisor of the number of features"
            )
        rows = X if is_tensor(X) else np.ascontiguousarray(X)
        return rows.reshape(n * self._n_groups, -1)

    def _rows(self, X):
        """Rows of features, the network of each, and where those of each structure begin."""
        if self._learnt_from != "AtomicFeatures":
            x = self._table_rows(X if self._learnt_from is None else X.values)
            return x, np.zeros(len(x), np.int64), self._n_groups * np.arange(len(X) + 1)
        kinds = np.zeros(len(X.values), np.int64)
        if self._has_networks_of_species:
            kinds = species_index(X.structures, self.species_)
        return X.values, kinds, X.offsets

    def _train(self, data, before):
        random = check_random_state(self.random_state)
        networks = self._networks_to_train(data, before, random)
        progress = train(self, data, networks, random)
        self._keep(networks.of_vector(progress.theta))
        self.loss_curve_, self.validation_curve_ = progress.losses, progress.scores
        self.n_iter_, self.best_loss_ = len(progress.losses), float(progress.best)
        return self

    def _training_checkpoint(self, data, networks):
        """Where the training is kept, with all that it depends on."""
        sizes = {"weights": len(networks.vector())}
        content = [data.x, data.kinds, data.energy, data.energy_weights, data.slopes,
                   data.slope_weights]  # fmt: skip
        return TrainingCheckpoint.of(self, _FREE, sizes, content)

    def _errors(self, data):
        """What makes a loss of data, networks, weight decay and chosen structures."""
        return SquaredErrors

    def _networks_to_train(self, data, before, random):
        return SummedNetworks(self._first_networks("networks_", data, before, random), self.scale_)

    def _keep(self, trained):
        self.networks_ = trained.networks

    def _first_networks(self, name, data, before, random):
        """Random networks, or those of the last fit, an attribute of some name."""
        sizes = self._sizes(data.x.shape[1])
        n = len(self.species_) if self._has_networks_of_species else 1
        if before is None:
            return [
                Perceptron.random(sizes, self.activation, float(self.beta), random)
                for _ in range(n)
            ]
        known = before[name] or []
        same = len(known) == n and known[0].sizes == sizes
        for name in ("species_", "_learnt_from"):
            same = same and np.array_equal(before[name], getattr(self, name))
        if not same:
            raise ValueError(
                f"warm_start=True goes on with {len(known)} networks of the layers "
                f"{[k.sizes for k in known[:1]]}, but these data need {n} of {sizes}, or are of "
                "other species: give features of the same kind, or warm_start=False"
            )
        return [Perceptron(k.coefs, k.intercepts, self.activation, float(self.beta)) for k in known]

    def _sizes(self, n_in):
        hidden = np.atleast_1d(np.asarray(self.hidden_layer_sizes))
        if hidden.size and (hidden.dtype.kind not in "iu" or (hidden < 1).any()):
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} must be positive integers, one "
                "for each hidden layer, such as (25, 25)"
            )
        return [int(n_in), *hidden.astype(int).tolist(), 1]

    def __sklearn_is_fitted__(self):
        return hasattr(self, "networks_")

    def layers_of(self, X: FeaturesLike) -> tuple:
        """The layers that a prediction is made of, for `skatom.attribution`.

        Parameters
        ----------
        X : array-like of shape (n, n_features), features or structures
            As in `fit`.

        Returns
        -------
        inputs : ndarray of float, shape (n_rows, n_inputs)
            What enters the first layers: features of atoms, or of parts of structures.
        parts : list of LayeredRows
            The layers of all rows; their outputs add up to the prediction without the baseline.
        """
        check_is_fitted(self)
        X = self._before_layers(X)
        x, kinds, offsets = self._rows(X)
        counts = np.diff(offsets)
        if self._learnt_from == "AtomicFeatures":
            constants = self.intercept_[species_index(X.structures, self.species_)]
        else:
            constants = np.repeat(self._constants(X) / counts, counts)
        parts = [
            LayeredRows(rows, self._layers(k), constants[rows])
            for k in range(len(self.networks_))
            if len(rows := np.flatnonzero(kinds == k))
        ]
        return on_host(x), parts

    def _before_layers(self, X):
        """The features that enter the first layers."""
        return self._checked(X)

    def _layers(self, k):
        """The layers of a network."""
        return self.networks_[k].layers(self.scale_)

    @property
    def _summed(self):
        return SummedNetworks(self.networks_, self.scale_)

    def _constants(self, X):
        """The constants of samples or structures, (n,)."""
        if self._learnt_from is None:
            return np.full(len(X), self.intercept_)
        return count_species(X.structures, self.species_) @ self.intercept_

    def _evaluate(self, X, names):
        x, kinds, offsets = self._rows(X)
        found = {}
        if {"energy", "local_energies"} & {*names}:
            outputs = on_host(self._summed.outputs(x, kinds))
            sums = np.add.reduceat(outputs, offsets[:-1]) if len(X) else np.empty(0)
            found["energy"] = sums + self._constants(X)
            if "local_energies" in names:
                index = species_index(X.structures, self.species_)
                found["local_energies"] = outputs + self.intercept_[index]
        if {"gradient", "virial"} & {*names}:
            cotangent = self._summed.slopes(x, kinds).reshape(X.values.shape)
            found["gradient"], found["virial"] = map(on_host, X.pullback(cotangent))
        return found

    def _checked(self, X):
        X = super()._checked(X)
        if self._learnt_from is not None:
            species_index(X.structures, self.species_)  # raises for species not seen in fit
        return X


def _check_some_weight(used):
    if not len(used):
        raise ValueError(
            "no label has weight: give at least one labelled sample a positive sample_weight"
        )
