"""Standard deviations of a sparse Gaussian process from features on a device."""

from importlib import import_module

import numpy as np

from skatom._device import device_of
from skatom.models.sparse.device_fitting import on_device
from skatom.models.sparse.tangents import chunks, force_bytes, strain_bytes

# Bytes of the tangents of a chunk of targets.
_BYTES = 2**30


class DeviceDeviations:
    """The `Deviations` of features on a device, as arrays of numpy.

    Parameters
    ----------
    deviations : Deviations
    device : Device
    """

    def __init__(self, deviations, device):
        self._device = device
        self._loops = import_module("skatom.models._torch.tangents")
        self._blocks = [on_device(block, device) for block in deviations.blocks]
        self._prior_factors = [device.tensor(factor) for factor in deviations.prior_factors]
        self._lower = device.tensor(deviations.triangle.T)

    def of_energies(self, features):
        """See `Deviations.of_energies`."""
        add_rows = import_module("skatom.models._torch.sparse_rows").energy_rows
        rows = self._device.zeros(len(features[0]), len(self._lower))
        prior = self._device.zeros(len(rows))
        for block in self._blocks:
            of_term = features[block.term]
            add_rows(block, of_term, rows[:, block.columns])
            prior += self._loops.energy_priors(block, of_term)
        return self._deviations(rows, prior)

    def of_forces(self, features):
        """See `Deviations.of_forces`."""
        return self._of_tangents(features, self._loops.force_tangents, force_bytes, 3)

    def of_virials(self, features):
        """See `Deviations.of_virials`."""
        return self._of_tangents(features, self._loops.strain_tangents, strain_bytes, 6)

    def _of_tangents(self, features, make, n_bytes, n_axes):
        features = [of_term.with_neighbors() for of_term in features]
        sizes = np.max([n_bytes(of_term) for of_term in features], axis=0)
        parts = []
        for targets in chunks(sizes + 16 * n_axes * len(self._lower), _BYTES):
            n = targets.stop - targets.start
            prior = self._device.zeros(n, n_axes)
            rows = self._device.zeros(n, n_axes, len(self._lower))
            for block in self._blocks:
                of_term = features[block.term]
                tangents = make(of_term, block.number, targets)
                into = rows[:, :, block.columns]
                self._loops.add_functionals(block, of_term, tangents, prior, into)
            parts.append(self._deviations(rows.flatten(0, 1), prior.flatten()).reshape(n, -1))
        return np.concatenate(parts)

    def _deviations(self, rows, prior):
        """Roots of the variances (n,) of functionals with these rows and priors."""
        left = prior.clone()
        for block, factor in zip(self._blocks, self._prior_factors, strict=True):
            left -= self._loops.solved_norms(factor, rows[:, block.columns])
        variances = left.clip(min=0.0) + self._loops.solved_norms(self._lower, rows)
        return self._device.array(variances.sqrt())


def device_of_all(features):
    """The `Device` of the features of all terms, None if some of them are on the host."""
    devices = {device_of(of_term.values) for of_term in features}
    return devices.pop() if len(devices) == 1 else None
