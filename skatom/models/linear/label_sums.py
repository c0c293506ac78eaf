"""Sums of squares of the labels of a linear model: what a fit knows of its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from skatom.baseline import count_species
from skatom.memory import check_memory
from skatom.models._labels import VOIGT
from skatom.parallel import (
    available_threads,
    reduce_jobs,
    split_rows,
    split_sizes,
    threads_over_blas,
    tree_reduce,
    works_elsewhere,
)
from skatom.solvers import StreamedQR
from skatom.structures import groups_by_size

KINDS = ("energy", "forces", "virial")
# Rows of a chunk in multiples of the columns, and the fewest. To merge the triangles of two chunks
# takes as long as a number of rows that is a third of that of the columns.
_ROWS, _FEWEST_ROWS = 4, 2048
# Parts of a group of jobs, whose sums are merged where they were made.
_GROUP = 8
# Rows of derivatives that are made at once.
_BATCH_BYTES = 2**26


@dataclass(frozen=True)
class LabelSums:
    r"""The least squares :math:`|\Lambda_t^{-1/2} (A_t w - y_t)|^2` of each kind t of labels.

    Rows of a kind are kept as they are while they are fewer than the columns, then as a triangle.
    They are weighed by the given noises; other noises of a kind weigh its triangle anew.

    Attributes
    ----------
    n_columns : int
    parts : dict
        ``(rows, targets)`` or `StreamedQR` of each kind.
    n_labels : dict of float
        The number of labels of each kind; of weighted samples of a table, their total weight.
    log_noise : float
        Sum of the logarithms of the noises.
    n_structures : int
    """

    n_columns: int
    parts: dict = field(default_factory=dict)
    n_labels: dict = field(default_factory=dict)
    log_noise: float = 0.0
    n_structures: int = 0

    def add(self, kind, rows, targets, noises, n_labels=None):
        """These sums and those of further rows, which are divided by their noises."""
        part = rows / noises[:, None], targets / noises
        more = len(targets) if n_labels is None else n_labels
        added = {kind: part if len(targets) <= self.n_columns else _triangle(part)}
        other = LabelSums(self.n_columns, added, {kind: more}, float(np.log(noises).sum()))
        return self.merge(other)

    def merge(self, other):
        """The sums of the labels of both."""
        parts = {
            kind: _joined([s.parts[kind] for s in (self, other) if kind in s.parts])
            for kind in KINDS
            if kind in self.parts or kind in other.parts
        }
        n_labels = {k: self.n_labels.get(k, 0) + other.n_labels.get(k, 0) for k in parts}
        return LabelSums(
            self.n_columns, parts, n_labels, self.log_noise + other.log_noise,
            self.n_structures + other.n_structures,
        )  # fmt: skip

    def reduced(self):
        """The same sums, each kind as its triangle."""
        parts = {k: _triangle(p) if isinstance(p, tuple) else p for k, p in self.parts.items()}
        return LabelSums(self.n_columns, parts, self.n_labels, self.log_noise, self.n_structures)


def _triangle(part):
    triangle = StreamedQR(part[0].shape[1])
    triangle.update(*part)
    return triangle


def _joined(parts):
    """One or two parts as one."""
    if len(parts) == 1:
        return parts[0]
    first, second = sorted(parts, key=lambda part: isinstance(part, tuple))
    if not isinstance(second, tuple):
        return parts[0].merge(parts[1])
    if isinstance(first, tuple):
        both = tuple(np.concatenate(same) for same in zip(*parts, strict=True))
        return both if len(both[1]) <= both[0].shape[1] else _triangle(both)
    longer = first.copy()
    longer.update(*second)
    return longer


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
    """

    species: np.ndarray
    by_species: bool
    intercept: bool
    n_features: int

    @property
    def n_constants(self):
        return len(self.species) if self.intercept else 0

    @property
    def n_blocks(self):
        return len(self.species) if self.by_species else 1

    @property
    def n_columns(self):
        return self.n_constants + self.n_blocks * self.n_features

    def pooled(self, X):
        """StructureFeatures whose columns are those of the model, without the constants."""
        if not hasattr(X, "pool"):
            return X
        return X.pool("sum", self.species if self.by_species else None)

    def energy_rows(self, pooled):
        """Rows (n, n_columns) of the energies of structures."""
        counts = count_species(pooled.structures, self.species)[:, : self.n_constants]
        return np.hstack([counts, pooled.values])

    def derivative_rows(self, pooled, batch):
        """Rows (n_atoms, 3, n_columns) of −dE/dR and (n, 6, n_columns) of dE/dε, in Voigt's order.

        The constants have no derivatives.
        """
        jacobian, m = pooled.jacobian(batch), self.n_constants
        forces = np.zeros((*jacobian.gradients.shape[:2], self.n_columns))
        np.negative(jacobian.gradients, out=forces[:, :, m:])
        virials = np.zeros((len(jacobian.strains), 6, self.n_columns))
        virials[:, :, m:] = jacobian.strains[:, *VOIGT]
        return forces, virials

    def batches(self, structures):
        """Slices of structures whose rows of derivatives are made at once."""
        size = _BATCH_BYTES // (24 * self.n_columns)
        return groups_by_size(structures.offsets, max(1, size))

    def sums(self, chunk):
        """`LabelSums` of a chunk ``(X, labels)``."""
        X, labels = chunk
        pooled, sums = self.pooled(X), LabelSums(self.n_columns)
        if (chosen := labels.has_energy).any():
            rows = self.energy_rows(pooled)[chosen]
            sums = sums.add("energy", rows, labels.energy[chosen], labels.noise_energy[chosen])
        if (labels.has_forces | labels.has_virial).any():
            for batch in self.batches(pooled.structures):
                sums = self._with_derivatives(sums, pooled, labels[batch], batch)
        n_structures = LabelSums(self.n_columns, n_structures=len(X))
        return sums.merge(n_structures)

    def _with_derivatives(self, sums, pooled, labels, batch):
        has_virial = labels.has_virial
        if not (labels.has_forces | has_virial).any():
            return sums
        forces, virials = self.derivative_rows(pooled, batch)
        if labels.has_forces.any():
            atoms = np.repeat(labels.has_forces, np.diff(labels.offsets))
            noises = np.repeat(labels.noise_forces[atoms], 3)
            rows = forces if atoms.all() else forces[atoms]
            rows = rows.reshape(-1, self.n_columns)
            sums = sums.add("forces", rows, labels.forces[atoms].ravel(), noises)
        if has_virial.any():
            rows = virials[has_virial].reshape(-1, self.n_columns)
            noises = np.repeat(labels.noise_virial[has_virial], 6)
            sums = sums.add("virial", rows, labels.virial[has_virial].ravel(), noises)
        return sums


def sums_of_structures(design, X, labels):
    """`LabelSums` of all structures, in threads or jobs, in chunks that do not depend on these."""
    n_atoms = np.diff(labels.offsets)
    n_rows = labels.has_energy + 3 * n_atoms * labels.has_forces + 6 * labels.has_virial
    pieces = split_sizes(n_rows, max(_ROWS * design.n_columns, _FEWEST_ROWS))
    check_sums(design.n_columns, int(n_rows.sum()), len(pieces))
    items = ((X[piece], labels[piece]) for piece in pieces)
    if works_elsewhere() and len(pieces) > 1:
        return tree_reduce(reduce_jobs(design.sums, items, _GROUP)).reduced()
    with threads_over_blas() as team:
        return tree_reduce(team.map(design.sums, items)).reduced()


def sums_of_table(X, y, weights, intercept):
    """`LabelSums` of the samples of a table; a weight counts equal samples."""
    n_columns = X.shape[1] + intercept
    pieces = split_rows(len(X), max(_ROWS * n_columns, _FEWEST_ROWS))
    check_sums(n_columns, len(X), len(pieces))
    with threads_over_blas() as team:
        parts = team.map(partial(_piece_of_table, X, y, weights, intercept), pieces)
        return tree_reduce(parts).reduced()


def _piece_of_table(X, y, weights, intercept, piece):
    chosen = np.flatnonzero(weights[piece]) + piece.start
    rows = np.ones((len(chosen), X.shape[1] + intercept))
    rows[:, int(intercept) :] = X[chosen]
    noises = 1 / np.sqrt(weights[chosen])
    sums = LabelSums(rows.shape[1]).add(
        "energy", rows, y[chosen], noises, float(weights[chosen].sum())
    )
    return sums.merge(LabelSums(rows.shape[1], n_structures=len(chosen)))


def check_sums(n_columns, n_rows, n_pieces):
    """Raise a MemoryError if the triangles and the rows of some chunks do not fit."""
    threads = min(available_threads(), n_pieces)
    in_work = min(n_rows, threads * max(_ROWS * n_columns, _FEWEST_ROWS))
    triangles = len(KINDS) * min(n_pieces, threads + 3) + 3
    check_memory(
        8.0 * n_columns * (triangles * n_columns + 3 * in_work),
        f"the sums of squares of {n_columns} coefficients",
        "take fewer features, for example by FeatureSelector",
    )
