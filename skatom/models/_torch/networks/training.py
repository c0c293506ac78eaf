"""Training steps on a device."""

import numpy as np
import torch

from skatom.models._torch.networks.optimisers import AdamSteps, MomentumSteps
from skatom.models._torch.networks.recorded import RecordedWork, new_stream, on_stream

_RULES = {"adam": AdamSteps, "sgd": MomentumSteps}


class TrainingSteps:
    """The weights of a network and all that changes with them.

    Parameters
    ----------
    potential : GraphPotential
    theta : ndarray of float, shape (n_weights,)
        The first weights.
    solver : {"adam", "sgd"}
    ema_decay : float
        Decay of the mean of the weights.
    max_gradient_norm : float or None
    labels : tuple of str
        Names of the labels.
    device : Device
    """

    def __init__(self, potential, theta, solver, ema_decay, max_gradient_norm, labels, device):
        self.potential, self.labels, self.device = potential, labels, device
        self.ema_decay, self.max_gradient_norm = ema_decay, max_gradient_norm
        self.theta = torch.tensor(theta, device=device.name).requires_grad_(True)
        self.mean = self.theta.detach().clone()
        self.rule = _RULES[solver](self.mean)
        self.time, self.rate, self.total, self.left_out = (
            torch.zeros((), dtype=torch.float64, device=device.name) for _ in range(4)
        )
        self._stream = new_stream(device)
        self._training = RecordedWork(self._step, device, self._stream)
        self._validation = RecordedWork(self._validate, device, self._stream)
        self._count = 0

    def step(self, arrays, layout, rate):
        """One step along the slope of a batch."""
        with on_stream(self._stream):
            self.rate.fill_(rate)
        self._training(arrays, layout)
        self._count += 1

    def _step(self, batch):
        loss = self.potential.errors(self.theta, batch, self.labels)
        (slope,) = torch.autograd.grad(loss, self.theta)
        with torch.no_grad():
            if self.max_gradient_norm is not None:
                slope = slope * (self.max_gradient_norm / slope.norm()).clamp(max=1)
            self.time += 1
            self.total += loss
            self.rule.step(self.theta, slope, self.rate, self.time)
            # the mean of few weights forgets the first ones
            fresh = 1 - torch.minimum((1 + self.time) / (10 + self.time), self._decay())
            self.mean.lerp_(self.theta, fresh.to(self.mean.dtype))

    def _decay(self):
        return torch.full_like(self.time, self.ema_decay)

    def mean_loss(self):
        """The mean loss of the steps since the last call; NaN if one of them was not finite."""
        with on_stream(self._stream):
            total, count = float(self.total), max(self._count, 1)
            self.total.zero_()
        self._count = 0
        return total / count

    def validation_loss(self, batches):
        """The loss of the mean weights for batches, each of buffers and a layout."""
        with on_stream(self._stream):
            self.left_out.zero_()
        for arrays, layout in batches:
            self._validation(arrays, layout)
        with on_stream(self._stream):
            return float(self.left_out)

    def _validate(self, batch):
        loss = self.potential.errors(self.mean, batch, self.labels, training=False)
        with torch.no_grad():
            self.left_out += loss.detach()

    def weights(self):
        """The mean weights as an array."""
        with on_stream(self._stream):
            return self.mean.cpu().numpy().copy()

    def state(self):
        """All tensors as arrays by name."""
        with on_stream(self._stream):
            return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self._tensors()}

    def restore(self, state):
        """Go on from what `state` gave."""
        with torch.no_grad(), on_stream(self._stream):
            for name, tensor in self._tensors():
                tensor.copy_(torch.from_numpy(np.asarray(state[name])))

    def _tensors(self):
        own = {"theta": self.theta, "theta_mean": self.mean, "time": self.time}
        return (own | {f"rule_{k}": v for k, v in self.rule.tensors.items()}).items()
