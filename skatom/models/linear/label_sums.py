"""Sums of squares of the labels of a linear model: what a fit knows of its data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial, reduce

import numpy as np

from skatom._device import beside, device_of, is_tensor, moved, namespace, on_host
from skatom.memory import check_memory
from skatom.models.linear.labelled_rows import (
    derivative_labels,
    sums_of_chunk,
    sums_of_energies,
)
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
from skatom.solvers.packed_equations import PackedEquations

KINDS = ("energy", "forces", "virial")
# The part that has the normal equations of forces and virials together.
EQUATIONS = "derivatives"
# Rows of a chunk in multiples of the columns, and the fewest. To merge the triangles of two chunks
# takes as long as a number of rows that is a third of that of the columns.
_ROWS, _FEWEST_ROWS = 4, 2048
# Parts of a group of jobs, whose sums are merged where they were made.
_GROUP = 8


@dataclass(frozen=True)
class LabelSums:
    r"""The least squares :math:`|\Lambda_t^{-1/2} (A_t w - y_t)|^2` of each kind t of labels.

    Rows of a kind are kept as they are while they are few beside the columns, then as a triangle.
    Where they are as exact, normal equations take their place, of forces and virials together; of
    energies never, since the constants of elements explain all but a small part of them, which
    normal equations would round. Rows are weighed by the given noises; other noises of a kind weigh
    its triangle anew.

    Attributes
    ----------
    n_columns : int
    as_equations : bool
        Whether the rows become normal equations.
    parts : dict
        ``(rows, targets)`` or `StreamedQR` of each kind; ``"derivatives"`` are `PackedEquations`.
        Rows and equations of features on a device are tensors there.
    n_labels : dict of float
        The total weight of the labels of each kind.
    log_noise : float
        Sum of the logarithms of the noises, with these weights.
    n_structures : int
    """

    n_columns: int
    as_equations: bool = False
    parts: dict = field(default_factory=dict)
    n_labels: dict = field(default_factory=dict)
    log_noise: float = 0.0
    n_structures: int = 0

    def add(self, kind, rows, targets, noises, weights):
        """These sums and those of further rows, which are divided by their noises.

        The noises are those divided by the roots of the weights, so that a label of weight 2 is the
        same as two.
        """
        part = rows / beside(noises[:, None], rows), beside(targets / noises, rows)
        counted = self.counted(kind, noises, weights)
        return self.merge(replace(counted, parts={kind: self._reduced(part)}))

    def counted(self, kind, noises, weights):
        """The numbers of labels of these noises and weights, without their sums of squares."""
        log_noise = float(weights @ np.log(noises * np.sqrt(weights)))
        n_labels = {kind: float(weights.sum())}
        return LabelSums(self.n_columns, self.as_equations, {}, n_labels, log_noise)

    def _reduced(self, part, always=False):
        """The sums of rows; of few rows these themselves."""
        return part if len(part[1]) <= self.n_columns and not always else _triangle(*part)

    def merge(self, other):
        """The sums of the labels of both; as normal equations, if one of them is."""
        if self.as_equations != other.as_equations:
            return self._with_equations().merge(other._with_equations())
        parts = {
            name: self._joined([s.parts[name] for s in (self, other) if name in s.parts])
            for name in (*KINDS, EQUATIONS)
            if name in self.parts or name in other.parts
        }
        n_labels = {
            kind: self.n_labels.get(kind, 0) + other.n_labels.get(kind, 0)
            for kind in KINDS
            if kind in self.n_labels or kind in other.n_labels
        }
        return LabelSums(
            self.n_columns, self.as_equations, parts, n_labels, self.log_noise + other.log_noise,
            self.n_structures + other.n_structures,
        )  # fmt: skip

    def _joined(self, parts):
        """One or two parts of a kind as one."""
        if len(parts) == 1:
            return parts[0]
        first, second = sorted(parts, key=lambda part: isinstance(part, tuple))
        if isinstance(first, tuple):
            return self._reduced(tuple(map(_appended, first, second)))
        if isinstance(second, tuple):
            longer = first.copy()
            longer.update(*map(on_host, second))
            return longer
        return parts[0].merge(parts[1])

    def _with_equations(self):
        """The same sums, with normal equations instead of triangles but for energies."""
        if self.as_equations:
            return self
        parts = dict(self.parts)
        others = [_equations_of(parts.pop(kind)) for kind in self.parts if kind != "energy"]
        if others:
            parts[EQUATIONS] = reduce(PackedEquations.merge, others)
        return replace(self, as_equations=True, parts=parts)

    def reduced(self):
        """The same sums, without rows but for a few of energies beside normal equations."""
        parts = {
            kind: self._reduced(part, not self.as_equations) if isinstance(part, tuple) else part
            for kind, part in self.parts.items()
        }
        return replace(self, parts=parts)

    def __getstate__(self):
        parts = {
            kind: tuple(map(on_host, part)) if isinstance(part, tuple) else part
            for kind, part in self.parts.items()
        }
        return {**vars(self), "parts": parts}


def _appended(rows, others):
    """Rows and others below them, where the former are."""
    return namespace(rows).concatenate([rows, moved(others, device_of(rows))])


def _equations_of(part):
    """The normal equations of rows or of a triangle."""
    rows, targets, left = rows_of(part)
    found = PackedEquations.of_rows(rows, targets)
    return replace(found, total=found.total + left)


def rows_of(part):
    """Rows, targets and what is left of squares, of rows or of a triangle."""
    if isinstance(part, tuple):
        return *part, 0.0
    return part.triangle, part.projections[:, 0], float(part.residuals[0])


def _triangle(rows, targets):
    if is_tensor(rows):
        return _triangle_of_tensors(rows, targets)
    triangle = StreamedQR(rows.shape[1])
    triangle.update(rows, targets)
    return triangle


def _triangle_of_tensors(rows, targets):
    """The factorisation of tensors, which are reduced to a triangle where they are."""
    n_rows, place = len(targets), device_of(rows)
    rows = namespace(rows).hstack([rows, targets[:, None]])
    if n_rows > rows.shape[1]:
        rows = namespace(rows).linalg.qr(rows, mode="r")[1]
    rows = place.array(rows)
    triangle = StreamedQR(rows.shape[1] - 1)
    triangle.update(rows[:, :-1], rows[:, -1])
    triangle.n_rows = n_rows
    return triangle


def sums_of_structures(design, X, labels, weights, as_equations=False):
    """`LabelSums` of all structures, in threads or jobs, in chunks that do not depend on these."""
    n_atoms = np.diff(labels.offsets)
    n_rows = labels.has_energy + 3 * n_atoms * labels.has_forces + 6 * labels.has_virial
    pieces = split_sizes(n_rows, max(_ROWS * design.n_columns, _FEWEST_ROWS))
    start = LabelSums(design.n_columns, as_equations)
    if (device := device_of(X.values)) is not None:
        return _sums_on_device(design, start, device, X, labels, weights).reduced()
    items = ((X[piece], labels[piece], weights[piece]) for piece in pieces)
    elsewhere = works_elsewhere() and len(pieces) > 1
    if as_equations:
        _check_equations(design, labels)
        if not elsewhere:
            return _equations_of_chunks(design, start, items).reduced()
        items, sums = ([item] for item in items), partial(_equations_of_chunks, design, start)
    else:
        check_sums(design.n_columns, int(n_rows.sum()), len(pieces))
        sums = partial(sums_of_chunk, design, start)
    if elsewhere:
        return tree_reduce(reduce_jobs(sums, items, _GROUP)).reduced()
    with threads_over_blas() as team:
        return tree_reduce(team.map(sums, items)).reduced()


def _equations_of_chunks(design, start, chunks, at_once=None):
    """The sums with normal equations that grow in place, some batches of rows at a time."""
    equations, sums = None, start
    with threads_over_blas() as team:
        for X, labels, weights in chunks:
            pooled = design.pooled(X)
            sums = sums_of_energies(design, sums, pooled, labels, weights)
            batches = design.batches(pooled)
            rows = partial(_weighted_rows, design, pooled, labels, weights)
            for some in split_rows(len(batches), at_once or available_threads()):
                made = [part for parts in team.map(rows, batches[some]) for part in parts]
                if made and equations is None:
                    equations = PackedEquations.empty(design.n_columns, device_of(X.values))
                for labels_of_rows in [one[0] for one in made]:
                    sums = sums.merge(sums.counted(*labels_of_rows))
                if made:
                    equations.add([one[1] for one in made], team)
                del made  # before the next are made
    return sums if equations is None else replace(sums, parts=sums.parts | {EQUATIONS: equations})


def _check_equations(design, labels):
    """Raise a MemoryError if normal equations, their factor, and rows would not fit."""
    n = design.n_columns
    half = PackedEquations.memory(n)
    of_energies = 8.0 * n * int(labels.has_energy.sum())
    in_work = available_threads() * design.batch_memory(labels.offsets)
    check_memory(half + 2 * of_energies + max(half, in_work), *_memory_message(n))


def _weighted_rows(design, pooled, labels, weights, batch):
    """What is learnt of some structures, each in two parts.

    The kind, the noises and the weights of labels; rows and targets divided by their noises.
    """
    made = []
    for kind, rows, targets, noises, of_rows in derivative_labels(
        design, pooled, labels, weights, batch
    ):
        rows /= beside(noises[:, None], rows)
        made.append(((kind, noises, of_rows), (rows, beside(targets / noises, rows))))
    return made


def _sums_on_device(design, start, device, X, labels, weights):
    """The sums of features on a device, batch by batch."""
    n, message = design.n_columns, _memory_message(design.n_columns)
    squares = 1 if start.as_equations else len(KINDS) + 1
    device.check_memory(8.0 * n * n * squares, *message)
    with device.room_for(8.0 * n * n, *message):
        if start.as_equations:
            return _equations_of_chunks(design, start, [(X, labels, weights)], at_once=1)
        return sums_of_chunk(design, start, (X, labels, weights))


def sums_of_table(X, y, weights, intercept):
    """`LabelSums` of the samples of a table."""
    n_columns = X.shape[1] + intercept
    pieces = split_rows(len(X), max(_ROWS * n_columns, _FEWEST_ROWS))
    check_sums(n_columns, len(X), len(pieces))
    start = LabelSums(n_columns)
    with threads_over_blas() as team:
        parts = team.map(partial(_piece_of_table, start, X, y, weights, intercept), pieces)
        return tree_reduce(parts).reduced()


def _piece_of_table(start, X, y, weights, intercept, piece):
    chosen = np.flatnonzero(weights[piece]) + piece.start
    rows = np.ones((len(chosen), start.n_columns))
    rows[:, int(intercept) :] = X[chosen]
    noises = 1 / np.sqrt(weights[chosen])
    sums = start.add("energy", rows, y[chosen], noises, weights[chosen])
    return replace(sums, n_structures=len(chosen))


def check_sums(n_columns, n_rows, n_pieces):
    """Raise a MemoryError if the sums of squares and the rows of some chunks do not fit."""
    threads = min(available_threads(), n_pieces)
    in_work = min(n_rows, threads * max(_ROWS * n_columns, _FEWEST_ROWS))
    triangles = len(KINDS) * min(n_pieces, threads + 3) + 3
    check_memory(
        8.0 * n_columns * (triangles * n_columns + 3 * in_work), *_memory_message(n_columns)
    )


def _memory_message(n_columns):
    return (
        f"the sums of squares of {n_columns} coefficients",
        "take fewer features, for example by FeatureSelector",
    )
