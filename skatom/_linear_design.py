"""The columns of a model that is linear in its coefficients, and its rows for structures."""

from dataclasses import dataclass, replace

import numpy as np

from skatom._cpu.voigt import VOIGT
from skatom._device import beside, device_of, namespace
from skatom.baseline import count_species
from skatom.structures import groups_by_size

# Rows of derivatives that are made at once, and on a device.
_BATCH_BYTES, _DEVICE_BYTES = 2**26, 2**30


@dataclass(frozen=True)
class TableColumns:
    """The columns of a linear model of a table: a constant, then features.

    Attributes
    ----------
    n_features : int
    intercept : bool
    """

    n_features: int
    intercept: bool

    n_blocks = 1

    @property
    def n_constants(self):
        return int(self.intercept)

    @property
    def n_columns(self):
        return self.n_features + self.n_constants

    def coefficients(self, w):
        """The coefficients of the features, from those of all columns."""
        return w[self.n_constants :]

    def of_columns(self, values):
        """Numbers of the columns but the constants, from one for each feature."""
        return values


@dataclass(frozen=True)
class Design:
    """What the columns of a linear model of structures are: constants of elements, then features.

    Attributes
    ----------
    species : ndarray of int
    by_species : bool
        Whether the atoms of each species have columns of their own.
    intercept : bool
        Whether the first columns are the numbers of atoms of each species.
    n_features : int
        Number of features of X.
    kept : ndarray of int, or None
        Which of the features of all blocks are columns; None: all are.
    """

    species: np.ndarray
    by_species: bool
    intercept: bool
    n_features: int
    kept: np.ndarray | None = None

    @classmethod
    def of(cls, X, by_species, intercept):
        """The design for features, without columns that say nothing of the atoms of a species."""
        design = cls(X.structures.species, by_species, intercept, X.n_features)
        told = getattr(X, "feature_species", None) if by_species else None
        if told is None:
            return design
        told = told[np.searchsorted(X.descriptor.species_, design.species)]
        return design if told.all() else replace(design, kept=np.flatnonzero(told))

    @property
    def n_constants(self):
        return len(self.species) if self.intercept else 0

    @property
    def n_blocks(self):
        return len(self.species) if self.by_species else 1

    @property
    def n_columns(self):
        return self.n_constants + (self._width if self.kept is None else len(self.kept))

    @property
    def _width(self):
        return self.n_blocks * self.n_features

    def coefficients(self, w):
        """The coefficients (n_features,) or (n_blocks, n_features), from those of all columns."""
        w = w[self.n_constants :]
        if self.kept is not None:
            given, w = w, np.zeros(self._width)
            w[self.kept] = given
        return w.reshape(-1, self.n_features) if self.n_blocks > 1 else w

    def of_columns(self, values):
        """Numbers of the columns but the constants, from one for each feature."""
        values = np.tile(values, self.n_blocks)
        return values if self.kept is None else values[self.kept]

    def pooled(self, X):
        """StructureFeatures whose columns are those of the model, without the constants."""
        if not hasattr(X, "pool"):
            return X
        return X.pool("sum", self.species if self.by_species else None)

    def energy_rows(self, pooled):
        """Rows (n, n_columns) of the energies of structures."""
        counts = count_species(pooled.structures, self.species)[:, : self.n_constants]
        values = pooled.values if self.kept is None else pooled.values[:, self.kept]
        return namespace(values).hstack([beside(counts.astype(float), values), values])

    def derivative_rows(self, pooled, batch):
        """Rows (n_atoms, 3, n_columns) of −dE/dR and (n, 6, n_columns) of dE/dε, in Voigt's order.

        The constants have no derivatives.
        """
        jacobian, m = pooled.jacobian(batch), self.n_constants
        device = device_of(jacobian.gradients)
        zeros = np.zeros if device is None else lambda shape: device.zeros(*shape)
        kept = slice(None) if self.kept is None else self.kept
        forces = zeros((*jacobian.gradients.shape[:2], self.n_columns))
        namespace(forces).negative(jacobian.gradients[:, :, kept], out=forces[:, :, m:])
        virials = zeros((len(jacobian.strains), 6, self.n_columns))
        virials[:, :, m:] = jacobian.strains[:, *VOIGT][:, :, kept]
        return forces, virials

    def batches(self, pooled):
        """Slices of structures whose rows of derivatives are made at once."""
        n_bytes = _BATCH_BYTES if device_of(pooled.values) is None else _DEVICE_BYTES
        size = n_bytes // (24 * (self.n_constants + self._width))
        return groups_by_size(pooled.structures.offsets, max(1, size))

    def batch_memory(self, offsets):
        """Bytes of the rows of derivatives of the largest batch of `batches`, with their making."""
        n_atoms = np.diff(offsets)
        row = 8.0 * (self._width + self.n_columns)
        most = max(_BATCH_BYTES / (24 * self._width), n_atoms.max(initial=1))
        rows = 3 * min(most, n_atoms.sum()) + 9 * min(most / n_atoms.mean(), len(n_atoms))
        return rows * row
