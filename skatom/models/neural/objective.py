"""The loss of networks whose outputs are summed, and its derivative by their weights."""

from __future__ import annotations

import numpy as np

from skatom._device import beside, is_tensor, namespace
from skatom.models.neural.perceptron import Passage
from skatom.models.neural.sums import sums_of
from skatom.parallel import threads_over_blas

# Rows that pass through the networks at once in a prediction.
_TOGETHER = 2**13


class SummedNetworks:
    r"""Networks of kinds of rows, whose outputs add up: :math:`E_s = c \sum_{i \in s} f(x_i)`.

    Parameters
    ----------
    networks : list of Perceptron
        One for each kind of rows.
    scale : float
        c.
    """

    def __init__(self, networks, scale):
        self.networks, self.scale = networks, scale

    def outputs(self, x, kinds):
        """c f of every row, where the rows are."""
        return self._of_rows(x, kinds, RowPassages.outputs, namespace(x).empty_like(x[:, 0]))

    def slopes(self, x, kinds):
        """c ∂f/∂x of every row, where the rows are."""
        return self._of_rows(x, kinds, RowPassages.input_slopes, namespace(x).empty_like(x))

    def _of_rows(self, x, kinds, of, out):
        """What passages give, some rows at a time: those keep all hidden layers."""
        networks = self.of_vector(beside(self.vector(), x)) if is_tensor(x) else self
        for start in range(0, len(x), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            out[some] = of(RowPassages(networks, x[some], kinds[some]))
        return out

    def vector(self):
        """All weights and biases."""
        return np.concatenate([part.ravel() for n in self.networks for part in n.parts()])

    def of_vector(self, theta):
        """The networks of other weights and biases."""
        networks, at = [], 0
        for network in self.networks:
            parts = []
            for part in network.parts():
                parts.append(theta[at : at + part.size].reshape(part.shape))
                at += part.size
            networks.append(network.with_parts(parts))
        return SummedNetworks(networks, self.scale)

    def are_weights(self):
        """Whether each number of `vector` is a weight, not a bias."""
        return np.concatenate(
            [np.full(p.size, p.ndim == 2) for n in self.networks for p in n.parts()]
        )


class RowPassages:
    """The passages of rows through the networks of their kinds.

    Parameters
    ----------
    summed : SummedNetworks
        Its weights are where the rows are.
    x : ndarray or Tensor of float, shape (n, n_features)
    kinds : ndarray of int, shape (n,)
    """

    def __init__(self, summed, x, kinds):
        self.summed, self.x = summed, x
        if len(summed.networks) == 1:
            self.ways = [(Passage(summed.networks[0], x), slice(None))]
            return
        rows = [beside(np.flatnonzero(kinds == k), x) for k in range(len(summed.networks))]
        self.ways = [
            (Passage(network, x[own]) if len(own) else None, own)
            for network, own in zip(summed.networks, rows, strict=True)
        ]

    def outputs(self):
        """c f of every row."""
        empty = namespace(self.x).empty_like(self.x[:, 0])
        return self._joined(empty, lambda way: way.outputs)

    def input_slopes(self):
        """c ∂f/∂x of every row."""
        return self._joined(namespace(self.x).empty_like(self.x), Passage.input_slopes)

    def _joined(self, out, of):
        for way, own in self.ways:
            if way is not None:
                out[own] = of(way)
        return self.summed.scale * out

    def parameter_slopes(self, weights, tangents):
        r"""Derivatives of :math:`\sum_i c\,[w_i f(x_i) + t_i \cdot \nabla f(x_i)]`.

        See `Passage.parameter_slopes`; they are in the order of `SummedNetworks.vector`, and zero
        for networks without rows.
        """
        found, xp = [], namespace(self.x)
        for network, (way, own) in zip(self.summed.networks, self.ways, strict=True):
            if way is None:
                found += [xp.zeros_like(part).ravel() for part in network.parts()]
                continue
            along = None if tangents is None else tangents[own]
            found += [part.ravel() for part in way.parameter_slopes(weights[own], along)]
        return self.summed.scale * xp.concatenate(found)


class SquaredErrors:
    r"""The loss :math:`\sum_t w_t (y_t - \hat y_t)^2 / \sum_t w_t + \alpha |W|^2`.

    It sums over the labels t, energies, forces and virials, divided by their noises, and over the
    weights W of all layers, without the biases.

    Parameters
    ----------
    data : LabelledRows
    summed : SummedNetworks
        The form of the networks, and their scale.
    alpha : float
    chosen : ndarray of int
        The structures whose errors are summed.
    """

    def __init__(self, data, summed, alpha, chosen):
        self.data, self.summed, self.chosen = data, summed, chosen
        self.decay = self.place(summed.are_weights() * alpha)
        self.n_labels = float(data.counts[chosen].sum())

    def __len__(self):
        return len(self.chosen)

    def place(self, theta):
        """Parameters where the data are."""
        return beside(theta, self.data.x)

    def errors(self, theta):
        """The mean squared error."""
        return self._evaluate(self.summed.of_vector(self.place(theta)), self.chosen, False)[0]

    def __call__(self, theta, some=slice(None)):
        """The loss and its derivative; of some of the structures, as if all were like them.

        Both are where the data are, and so must be the parameters, see `place`.
        """
        chosen = self.chosen[some]
        share = len(chosen) / len(self.chosen)
        errors, slopes = self._evaluate(self.summed.of_vector(theta), chosen, True)
        decay = self.decay * theta
        return errors / share + decay @ theta, slopes / share + 2 * decay

    def _evaluate(self, summed, chosen, with_slopes):
        """The sum of squared errors over all labels, and its slope if it is wanted."""
        with threads_over_blas() as team:
            run = map if is_tensor(self.data.x) else team.map
            found = run(
                lambda some: self._piece(summed, self.data.of(some), with_slopes),
                self.data.pieces(chosen),
            )
            errors, slopes = zip(*found, strict=True)
        return sum(errors), sum(slopes) if with_slopes else None

    def _piece(self, summed, some, with_slopes):
        """What `ChosenRows` add to the sum and to its slope."""
        ways = RowPassages(summed, some.x, some.kinds)
        errors, pull = self._of_energies(ways.outputs(), some)
        tangents = None
        if some.has_slopes:
            more, vector = self._of_derivatives(some.along(ways.input_slopes()), some)
            errors += more
            if with_slopes:
                tangents = some.tangents(vector)
        if not with_slopes:
            return errors, None
        return errors, ways.parameter_slopes(pull, tangents)

    def _of_energies(self, local, some):
        """The error of the energies of structures, and its slope by the energy of each row."""
        left = some.energy_weights * (sums_of(local, some.starts) - some.energy)
        pull = 2 / self.n_labels * some.energy_weights * left
        return left @ left / self.n_labels, pull[some.owners]

    def _of_derivatives(self, found, some):
        """The error of forces and virials, and its slope by each dE/dR and dE/dε."""
        left = some.slope_weights * (found - some.slopes)
        return left @ left / self.n_labels, 2 / self.n_labels * some.slope_weights * left
