"""Energies of networks of graphs, their derivatives, and the loss of labels."""

import torch

from skatom.models._torch.networks.batch import GraphBatch


class GraphPotential:
    """An architecture and its head, as functions of one vector of all weights.

    Parameters
    ----------
    architecture : Architecture
    head : EnergyHead
    """

    def __init__(self, architecture, head):
        self.architecture, self.head = architecture, head
        self.shapes = architecture.shapes | head.shapes
        self._sizes = [torch.Size(shape).numel() for shape in self.shapes.values()]

    def weights(self, theta):
        """The weights by name, parts of a vector."""
        parts = theta.split(self._sizes)
        return {
            name: part.view(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def local_energies(self, theta, batch):
        """Energies of the atoms (n_atoms,); those of padding are some number."""
        weights = self.weights(theta)
        features = self.architecture.features(weights, batch)
        return self.head.local_energies(weights, features)

    def differentiate(self, theta, batch, training=False):
        """Energies of atoms and of structures, and ∂E/∂v of the vectors of edges (n_edges, 3)."""
        batch.vectors = batch.vectors.detach().requires_grad_(True)
        local = self.local_energies(theta, batch)
        energies = batch.sums_of_atoms(local)
        (slopes,) = torch.autograd.grad(
            energies.sum(), batch.vectors, create_graph=training, materialize_grads=True
        )
        return local, energies, slopes

    def errors(self, theta, batch, derivatives, training=True):
        """The sum of the weighted squared errors of a batch.

        Parameters
        ----------
        theta : Tensor
        batch : GraphBatch
            With labels.
        derivatives : tuple of bool
            Whether there are labels of forces, and of virials.
        """
        if any(derivatives):
            _, energies, slopes = self.differentiate(theta, batch, training)
        else:
            energies = batch.sums_of_atoms(self.local_energies(theta, batch))
        total = _weighted(energies, batch.energy, batch.energy_weight)
        if derivatives[0]:
            gradients = batch.gradients(slopes)
            total = total + _weighted(gradients, batch.gradient, batch.gradient_weight)
        if derivatives[1]:
            virials = _virials(batch, slopes)
            total = total + _weighted(virials, batch.virial, batch.virial_weight)
        return total

    def predict(self, theta, batch):
        """Energies of atoms (n_atoms,), ∂E/∂R (n_atoms, 3) and ∂E/∂ε (n, 6)."""
        local, _, slopes = self.differentiate(theta, batch)
        return local.detach(), batch.gradients(slopes), _virials(batch, slopes)


def _weighted(found, labels, weights):
    return (weights * (found - labels) ** 2).sum()


def _virials(batch, slopes):
    """∂E/∂ε in the components xx, yy, zz, yz, xz, xy; that of a turn is zero."""
    v, g = batch.vectors.detach(), slopes
    parts = [v * g, v[:, 1:2] * g[:, 2:], v[:, :1] * g[:, 2:], v[:, :1] * g[:, 1:2]]
    return batch.sums_of_edges(torch.cat(parts, 1))


def batch_of(arrays, layout, device):
    """The `GraphBatch` of the two numpy buffers of a batch, on a device."""
    return GraphBatch(*(to_device(array, device) for array in arrays), layout)


def to_device(array, device):
    """A buffer as a tensor; on a card the copy does not wait."""
    tensor = torch.from_numpy(array)
    if not device.is_card:
        return tensor
    return tensor.pin_memory().to(device.name, non_blocking=True)
