"""Rows of linear models of features: what their predictions are products of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skatom._device import on_host
from skatom._linear_design import Design
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.features import Features
from skatom.elements import species_index
from skatom.memory import check_memory


@dataclass(frozen=True)
class LinearRows:
    """What a model that is linear in its coefficients multiplies them by.

    Attributes
    ----------
    kind : {"structure", "atom", "labels"}
        Rows for energies per atom, for energies of atoms, or for energies per atom, forces and, of
        periodic structures, virials per atom, divided by their noises.
    species : ndarray of int, or None
        None for arrays.
    by_species : bool
        Whether each species has coefficients of its own.
    noises : tuple of float
        Of energies in eV per atom, forces in eV/Å and virials in eV per atom.
    """

    kind: str
    species: np.ndarray | None
    by_species: bool
    noises: tuple

    def of(self, X):
        """Rows (n_rows, n_columns) and the samples (n_rows,) they belong to, by set of columns."""
        if not isinstance(X, Features):
            return {0: (np.hstack([np.ones((len(X), 1)), X]), np.arange(len(X)))}
        if self.kind == "atom":
            return self._of_atoms(X)
        own_columns = self.by_species and isinstance(X, AtomicFeatures)
        design = Design(self.species, own_columns, True, X.n_features)
        pooled, owners = design.pooled(X), np.arange(len(X))
        rows = on_host(design.energy_rows(pooled)) / X.structures.n_atoms[:, None]
        if self.kind == "structure":
            return {0: (rows, owners)}
        rows = [rows / self.noises[0], *self._derivatives(design, pooled)]
        owners = [owners, *self._owners(X.structures)]
        return {0: (np.concatenate(rows), np.concatenate(owners))}

    def _of_atoms(self, X):
        kinds, owners = (
            species_index(X.structures, self.species),
            np.repeat(np.arange(len(X)), X.n_atoms),
        )
        values = on_host(X.values)
        if not self.by_species:
            constants = np.eye(len(self.species))[kinds]
            return {0: (np.hstack([constants, values]), owners)}
        found = {}
        for kind in np.unique(kinds):
            atoms = np.flatnonzero(kinds == kind)
            rows = np.hstack([np.ones((len(atoms), 1)), values[atoms]])
            found[int(kind)] = rows, owners[atoms]
        return found

    def _derivatives(self, design, pooled):
        """Rows of forces of all structures, then those of virials of periodic ones."""
        structures, width = pooled.structures, design.n_columns
        periodic = structures.pbc.all(axis=1)
        n_rows = 3 * len(structures.numbers) + 6 * int(periodic.sum())
        check_memory(
            8.0 * n_rows * width,
            f"the {n_rows} rows of {width} numbers for forces and virials",
            "give fewer structures at a time, or rows='structure'",
        )
        forces = np.empty((len(structures.numbers), 3, width))
        virials = np.empty((len(structures), 6, width))
        for batch in design.batches(pooled):
            atoms = slice(*structures.offsets[[batch.start, batch.stop]])
            forces[atoms], virials[batch] = map(on_host, design.derivative_rows(pooled, batch))
        virials /= structures.n_atoms[:, None, None]
        yield forces.reshape(-1, width) / self.noises[1]
        yield virials[periodic].reshape(-1, width) / self.noises[2]

    def _owners(self, structures):
        yield np.repeat(np.arange(len(structures)), 3 * structures.n_atoms)
        yield np.repeat(np.flatnonzero(structures.pbc.all(axis=1)), 6)
