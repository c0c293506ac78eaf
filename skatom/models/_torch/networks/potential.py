"""Outputs of networks of graphs, derivatives of energies, and the loss of labels."""

import torch

from skatom.models._torch.networks.batch import GraphBatch

DERIVATIVES = ("gradient", "virial")


class GraphPotential:
    """An architecture and its head, as functions of one vector of all weights.

    Parameters
    ----------
    architecture : Architecture
    head : Head

    Attributes
    ----------
    tables : dict of Tensor
        What stands in place of layers whose weights do not change any more, by name.
    """

    def __init__(self, architecture, head):
        self.architecture, self.head = architecture, head
        self.shapes = architecture.shapes | head.shapes
        self.tables = {}
        self._sizes = [torch.Size(shape).numel() for shape in self.shapes.values()]

    def weights(self, theta):
        """The weights by name, parts of a vector."""
        parts = theta.split(self._sizes)
        return {
            name: part.view(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def features(self, theta, batch):
        """What the head makes its outputs of, a tensor (n_atoms, n_features)."""
        return self.architecture.features(self.weights(theta) | self.tables, batch)

    def outputs(self, theta, batch, derivatives=(), training=False):
        """Tensors by name, those of padding being some number.

        Parameters
        ----------
        theta : Tensor
        batch : GraphBatch
        derivatives : sequence of str
            Out of "gradient", ∂E/∂R (n_atoms, 3), and "virial", ∂E/∂ε (n, 6).
        training : bool
            Whether derivatives by the weights follow.
        """
        of_positions = self.head.of_positions
        if derivatives:
            batch.vectors = batch.vectors.detach().requires_grad_(True)
            if of_positions:
                batch.positions = batch.positions.detach().requires_grad_(True)
        weights = self.weights(theta) | self.tables
        features = self.architecture.features(weights, batch)
        found = self.head.outputs(weights, features, batch)
        if not derivatives:
            return found
        places = [batch.vectors, batch.positions] if of_positions else [batch.vectors]
        slopes, *more = torch.autograd.grad(
            found["energy"].sum(), places, create_graph=training, materialize_grads=True
        )
        for name in derivatives:
            if name == "gradient":
                found[name] = sum(more, batch.gradients(slopes))
            else:
                found[name] = batch.sums_of_edges(_virials(batch.vectors, slopes))
                for g in more:
                    found[name] = found[name] + batch.sums_of_atoms(_virials(batch.positions, g))
        return found

    def errors(self, theta, batch, labels, training=True):
        """The sum of the weighted squared errors of a batch.

        Parameters
        ----------
        theta : Tensor
        batch : GraphBatch
            With labels.
        labels : sequence of str
            Their names.
        training : bool
            Whether derivatives by the weights follow.
        """
        derivatives = [name for name in labels if name in DERIVATIVES]
        found = self.outputs(theta, batch, derivatives, training)
        return sum(
            _weighted(found[name], getattr(batch, name), getattr(batch, f"{name}_weight"))
            for name in labels
        )

    def predict(self, theta, batch):
        """All outputs, with the derivatives of the energy."""
        found = self.outputs(theta, batch, DERIVATIVES)
        return {name: tensor.detach() for name, tensor in found.items()}


def _weighted(found, labels, weights):
    return (weights * (found - labels) ** 2).sum()


def _virials(vectors, slopes):
    """Parts of ∂E/∂ε in the components xx, yy, zz, yz, xz, xy; that of a turn is zero in all."""
    v, g = vectors.detach(), slopes
    parts = [v * g, v[:, 1:2] * g[:, 2:], v[:, :1] * g[:, 2:], v[:, :1] * g[:, 1:2]]
    return torch.cat(parts, 1)


def batch_of(arrays, layout, device):
    """The `GraphBatch` of the two numpy buffers of a batch, on a device."""
    return GraphBatch(*(to_device(array, device) for array in arrays), layout)


def to_device(array, device):
    """A buffer as a tensor; on a card the copy does not wait."""
    tensor = torch.from_numpy(array)
    if not device.is_card:
        return tensor
    return tensor.pin_memory().to(device.name, non_blocking=True)
