"""Predictions of a network of graphs on a device."""

from threading import Lock

import torch

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
        self._stream, self._lock = new_stream(device), Lock()
        self._energies = RecordedWork(self._of_energies, device, self._stream)
        self._derivatives = RecordedWork(self._of_derivatives, device, self._stream)

    def __call__(self, arrays, layout, derivatives):
        """Numpy arrays of a batch: energies of atoms and, with derivatives, ∂E/∂R and ∂E/∂ε."""
        work = self._derivatives if derivatives else self._energies
        with self._lock, on_stream(self._stream):  # the buffers belong to one call at a time
            return [tensor.cpu().numpy().astype(float) for tensor in work(arrays, layout)]

    def _of_energies(self, batch):
        with torch.no_grad():
            return (self.potential.local_energies(self.theta, batch),)

    def _of_derivatives(self, batch):
        return self.potential.predict(self.theta, batch)
