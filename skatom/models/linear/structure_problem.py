"""The rows of a linear model of structures: energies, forces and virials."""

import numpy as np

from skatom._device import beside, device_of, device_parameter, namespace, on_host
from skatom.baseline import count_species
from skatom.memory import available_memory, check_memory
from skatom.models.linear.rows import LinearProblem
from skatom.properties import VOIGT

# The Jacobian of a batch of structures: many structures for threads, small beside the rows.
_JACOBIAN_BYTES = 2**26
# Rows of derivatives that are kept, since a selection asks for them several times; at most this
# share of the available memory, on the host and on a device.
_KEPT_BYTES, _KEPT_ON_DEVICE, _KEPT_SHARE = 2**30, 2**34, 0.25


class StructureProblem(LinearProblem):
    r"""Energies, forces and virials of a linear model: E_s = x_s · w + Σ_{i ∈ s} ε(Z_i).

    x_s are the features of structure s, or the sum of the features of its atoms. The squared errors
    are

    .. math::

        \sum_s u_s \Big[ \frac{(E_s - \hat E_s)^2}{N_s \sigma_E^2}
        + \frac{1}{\sigma_F^2} \sum_{a \in s} |F_a - \hat F_a|^2
        + \frac{|W_s - \hat W_s|^2}{N_s \sigma_W^2} \Big]

    with the weights :math:`u_s` of the structures and the six components of the virials W. C are
    the numbers of atoms of each species. Of features on a device, the rows of derivatives of all
    columns are made there, and those of chosen columns are copied to the host.

    Parameters
    ----------
    features : StructureFeatures
    labels : Labels
    species : ndarray of int
    intercept : {True, False, "candidate"}
    """

    # features of a descriptor are of one kind: far smaller ones are the rounding of zeros
    least_share = 1e-8

    def __init__(self, features, labels, species, intercept):
        super().__init__(
            on_host(features.values),
            np.where(labels.has_energy, labels.energy, 0.0),
            count_species(features.structures, species),
            intercept,
            labels.has_energy / labels.noise_energy**2,
        )
        self.labels = labels
        self.species = species
        self.place = device_parameter(features.values)
        self.derivatives = DerivativeRows(features, labels)

    def part(self, samples):
        """The problem of a slice of the structures."""
        features = self.derivatives.features[samples]
        return StructureProblem(features, self.labels[samples], self.species, self.intercept)

    def rows_of_samples(self, sample_weight):
        """Number of rows of each structure."""
        derivatives = self.derivatives.counts * (sample_weight > 0)
        return super().rows_of_samples(sample_weight) + derivatives

    def total_weight(self, sample_weight):
        n_derivatives = float(sample_weight @ self.derivatives.counts)
        return super().total_weight(sample_weight) + n_derivatives

    def n_derivative_rows(self, sample_weight):
        return int(self.derivatives.counts[sample_weight > 0].sum())

    def derivative_blocks(self, sample_weight, columns):
        """Rows −∂x/∂R of forces and ∂x/∂ε of virials, and these, a few structures at a time."""
        ours = None if isinstance(columns, slice) else columns[columns < self.n_features]
        for batch in self.derivatives.batches(sample_weight):
            rows = self.derivatives.of(batch, ours)
            rows = rows if ours is None else on_host(rows)
            target, noise = self.derivatives.targets(batch)
            roots = np.repeat(np.sqrt(sample_weight[batch]), self.derivatives.counts[batch]) / noise
            rows *= beside(roots[:, None], rows)
            yield self._with_constants(rows, columns), beside(target * roots, rows)

    def _with_constants(self, rows, columns):
        """The given columns, where those of C have no slope."""
        if self.intercept != "candidate":
            return rows
        if isinstance(columns, slice):
            constants = beside(np.zeros((len(rows), self.C.shape[1])), rows)
            return namespace(rows).hstack([rows, constants])
        wide = np.zeros((len(rows), len(columns)))
        wide[:, columns < self.n_features] = rows
        return wide


class DerivativeRows:
    """Rows −∂x/∂R and ∂x/∂ε of the structures whose forces or virials are labelled.

    The rows of a structure are those of its forces, then the six of its virial, in Voigt's order.
    Rows of all columns are kept as far as memory allows.

    Parameters
    ----------
    features : StructureFeatures
    labels : Labels

    Attributes
    ----------
    counts : ndarray of int, shape (n,)
        Number of rows of each structure.
    """

    def __init__(self, features, labels):
        self.features, self.labels = features, labels
        n_atoms = features.structures.n_atoms
        self.counts = 3 * n_atoms * labels.has_forces + 6 * labels.has_virial
        self._device = device_of(features.values)
        self._kept, self._left = {}, None

    def __getstate__(self):
        return {**self.__dict__, "_kept": {}, "_left": None, "_device": None}

    def batches(self, sample_weight):
        """Lists of structures with rows and weight, whose Jacobians have a modest size."""
        chosen = np.flatnonzero((sample_weight > 0) & (self.counts > 0))
        if not len(chosen):
            return []
        per_feature = 8 * (3 * self.features.structures.n_atoms[chosen] + 9)
        ends = np.cumsum(per_feature * self.features.n_features)
        return np.split(chosen, np.flatnonzero(np.diff(ends // _JACOBIAN_BYTES)) + 1)

    def of(self, batch, columns=None):
        """The rows (n_rows, n_columns) of some structures; ``columns``: None for all."""
        missing = [s for s in batch if s not in self._kept]
        made = self._made(missing, columns) if missing else []
        found = dict(zip(missing, made, strict=True))
        if columns is None:
            self._keep(found)
        parts = [found[s] if s in found else _columns(self._kept[s], columns) for s in batch]
        return namespace(parts[0]).concatenate(parts)

    def targets(self, batch):
        """The labels (n_rows,) and their noise."""
        values, noises = [], []
        for s in batch:
            if self.labels.has_forces[s]:
                atoms = slice(*self.labels.offsets[s : s + 2])
                values.append(self.labels.forces[atoms].ravel())
                noises.append(np.repeat(self.labels.noise_forces[atoms], 3))
            if self.labels.has_virial[s]:
                values.append(self.labels.virial[s])
                noises.append(np.full(6, self.labels.noise_virial[s]))
        return np.concatenate(values), np.concatenate(noises)

    def _made(self, batch, columns):
        """The rows of each structure, from one Jacobian."""
        features = self.features if columns is None else self.features[:, columns]
        jacobian = features.jacobian(batch)
        n_rows, n_columns = int(self.counts[batch].sum()), features.n_features
        check = check_memory if self._device is None else self._device.check_memory
        check(
            8.0 * n_rows * n_columns,
            f"the rows of {n_rows} forces and virials and {n_columns} features",
            "select features first, or train on fewer structures",
        )
        for k, s in enumerate(batch):
            parts = []
            if self.labels.has_forces[s]:
                atoms = slice(*jacobian.offsets[k : k + 2])
                gradients = jacobian.gradients[atoms]
                parts.append(-gradients.reshape(3 * len(gradients), n_columns))
            if self.labels.has_virial[s]:
                parts.append(jacobian.strains[k][VOIGT])
            yield namespace(parts[0]).concatenate(parts)

    def _keep(self, found):
        if self._left is None:
            place = self._device
            free = available_memory() if place is None else place.free_memory()
            self._left = min(_KEPT_BYTES if place is None else _KEPT_ON_DEVICE, _KEPT_SHARE * free)
        for s, rows in found.items():
            if rows.nbytes <= self._left:
                self._kept[s] = rows
                self._left -= rows.nbytes


def _columns(rows, columns):
    return rows if columns is None else rows[:, columns]
