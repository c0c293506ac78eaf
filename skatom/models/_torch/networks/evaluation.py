"""Predictions of a network of graphs on a device."""

from threading import Lock

import numpy as np
import torch

from skatom._numba import is_installed
from skatom.models._torch.networks.recorded import RecordedWork, new_stream, on_stream


class NetworkOnDevice:
    """The weights of a fitted network on a device.

    Parameters
    ----------
    potential : GraphPotential
    theta : ndarray of float, shape (n_weights,)
    device : Device
    """

    def __init__(self, potential, theta, device):
        self.potential = potential
        self.theta = torch.tensor(theta, device=device.name)
        if not device.is_card and theta.dtype == np.float32 and is_installed():
            potential.tables = potential.architecture.tables(potential.weights(self.theta))
        self._stream, self._lock = new_stream(device), Lock()
        self._plain = RecordedWork(self._outputs, device, self._stream)
        self._differentiated = RecordedWork(self._with_derivatives, device, self._stream)
        self._latent = RecordedWork(self._features, device, self._stream)

    def __call__(self, arrays, layout, derivatives):
        """Numpy arrays of a batch by name, and with derivatives those of the energy."""
        return self._done(self._differentiated if derivatives else self._plain, arrays, layout)

    def features(self, arrays, layout):
        """The features of the atoms of a batch before the head, a numpy array by its name."""
        return self._done(self._latent, arrays, layout)

    def _done(self, work, arrays, layout):
        with self._lock, on_stream(self._stream):  # the buffers belong to one call at a time
            found = work(arrays, layout).items()
            return {name: tensor.cpu().numpy().astype(float) for name, tensor in found}

    def _outputs(self, batch):
        with torch.no_grad():
            return self.potential.outputs(self.theta, batch)

    def _features(self, batch):
        with torch.no_grad():
            return {"features": self.potential.features(self.theta, batch)}

    def _with_derivatives(self, batch):
        return self.potential.predict(self.theta, batch)
