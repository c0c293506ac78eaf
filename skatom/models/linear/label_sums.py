"""Sums of squares of the labels of a linear model: what a fit knows of its data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

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
from skatom.solvers import NormalEquations, StreamedQR
from skatom.solvers.normal_equations import EquationsInPlace

KINDS = ("energy", "forces", "virial")
# Rows of a chunk in multiples of the columns, and the fewest. To merge the triangles of two chunks
# takes as long as a number of rows that is a third of that of the columns.
_ROWS, _FEWEST_ROWS = 4, 2048
# Rows that are fewer than this part of the columns are no normal equations yet.
_FEW = 4
# Parts of a group of jobs, whose sums are merged where they were made.
_GROUP = 8


@dataclass(frozen=True)
class LabelSums:
    r"""The least squares :math:`|\Lambda_t^{-1/2} (A_t w - y_t)|^2` of each kind t of labels.

    Rows of a kind are kept as they are while they are few beside the columns, then as a triangle
    or, where these are as exact, as normal equations; of energies never, since the constants of
    elements explain all but a small part of them, which normal equations would round. They are
    weighed by the given noises; other noises of a kind weigh its sums anew.

    Attributes
    ----------
    n_columns : int
    as_equations : bool
        Whether the rows become normal equations.
    parts : dict
        ``(rows, targets)``, `StreamedQR` or `NormalEquations` of each kind. Rows and equations of
        features on a device are tensors there.
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
        return self.merge(self.of_part(kind, self._reduced(kind, part), noises, weights))

    def of_part(self, kind, part, noises, weights):
        """The sums of one part alone, whose labels have these noises and weights."""
        log_noise = float(weights @ np.log(noises * np.sqrt(weights)))
        n_labels = {kind: float(weights.sum())}
        return LabelSums(self.n_columns, self.as_equations, {kind: part}, n_labels, log_noise)

    def _reduced(self, kind, part, always=False):
        """The sums of rows; of few rows these themselves."""
        as_equations = self.as_equations and kind != "energy"
        few = self.n_columns // _FEW if as_equations else self.n_columns
        if len(part[1]) <= few and not always:
            return part
        return NormalEquations.of_rows(*part) if as_equations else _triangle(*part)

    def merge(self, other):
        """The sums of the labels of both; as normal equations, if one of them is."""
        if self.as_equations != other.as_equations:
            return self._with_equations().merge(other._with_equations())
        parts = {
            kind: self._joined(kind, [s.parts[kind] for s in (self, other) if kind in s.parts])
            for kind in KINDS
            if kind in self.parts or kind in other.parts
        }
        n_labels = {k: self.n_labels.get(k, 0) + other.n_labels.get(k, 0) for k in parts}
        return LabelSums(
            self.n_columns, self.as_equations, parts, n_labels, self.log_noise + other.log_noise,
            self.n_structures + other.n_structures,
        )  # fmt: skip

    def _joined(self, kind, parts):
        """One or two parts of a kind as one."""
        if len(parts) == 1:
            return parts[0]
        first, second = sorted(parts, key=lambda part: isinstance(part, tuple))
        if isinstance(first, tuple):
            return self._reduced(kind, tuple(map(_appended, first, second)))
        if isinstance(second, tuple) and isinstance(first, StreamedQR):
            longer = first.copy()
            longer.update(*map(on_host, second))
            return longer
        if isinstance(second, tuple):
            return first.merge(self._reduced(kind, second, always=True))
        return parts[0].merge(parts[1])

    def _with_equations(self):
        """The same sums, with normal equations instead of triangles but for energies."""
        parts = {
            kind: _equations_of(part) if kind != "energy" and isinstance(part, StreamedQR) else part
            for kind, part in self.parts.items()
        }
        return replace(self, as_equations=True, parts=parts)

    def reduced(self):
        """The same sums, without rows but for a few of energies beside normal equations."""
        parts = {
            kind: self._reduced(kind, part, always=kind != "energy" or not self.as_equations)
            if isinstance(part, tuple) else part
            for kind, part in self.parts.items()
        }  # fmt: skip
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
    """The normal equations of a triangle."""
    found = NormalEquations.of_rows(part.triangle, part.projections[:, 0])
    return replace(found, total=found.total + float(part.residuals[0]))


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
    if as_equations and not elsewhere:
        _check_equations(design, labels)
        return _sums_in_place(design, start, items).reduced()
    check_sums(design.n_columns, int(n_rows.sum()), len(pieces))
    sums = partial(sums_of_chunk, design, start)
    if elsewhere:
        return tree_reduce(reduce_jobs(sums, items, _GROUP)).reduced()
    with threads_over_blas() as team:
        return tree_reduce(team.map(sums, items)).reduced()


def _sums_in_place(design, start, items):
    """The sums with normal equations that grow in place, some batches of rows at a time."""
    grown, sums = {}, start
    with threads_over_blas() as team:
        for X, labels, weights in items:
            pooled = design.pooled(X)
            sums = sums_of_energies(design, sums, pooled, labels, weights)
            batches = design.batches(pooled)
            rows = partial(_weighted_rows, design, pooled, labels, weights)
            for some in split_rows(len(batches), available_threads()):
                made = [part for parts in team.map(rows, batches[some]) for part in parts]
                sums = _grow(grown, sums, made, team)
                del made  # before the next are made
    parts = {kind: equations.finished() for kind, equations in grown.items()}
    return replace(sums, parts=sums.parts | parts)


def _check_equations(design, labels):
    """Raise a MemoryError if Gram matrices, one more to solve them, and rows would not fit."""
    n = design.n_columns
    gram = 8.0 * n * n
    kinds = int(labels.has_forces.any()) + int(labels.has_virial.any())
    of_energies = 8.0 * n * int(labels.has_energy.sum())
    in_work = available_threads() * design.batch_memory(labels.offsets)
    check_memory(kinds * gram + 2 * of_energies + max(gram, in_work), *_memory_message(n))


def _weighted_rows(design, pooled, labels, weights, batch):
    """Kind, rows and targets divided by their noises, noises and weights of some structures."""
    return [
        (kind, np.divide(rows, noises[:, None], out=rows), targets / noises, noises, of_rows)
        for kind, rows, targets, noises, of_rows in derivative_labels(
            design, pooled, labels, weights, batch
        )
    ]


def _grow(grown, sums, made, team):
    """Add rows to the equations of their kinds; the sums with their labels counted."""
    for kind in KINDS:
        blocks = [(rows, targets) for k, rows, targets, _, _ in made if k == kind]
        if blocks:
            if kind not in grown:
                grown[kind] = EquationsInPlace(sums.n_columns)
            grown[kind].add(blocks, team)
    for kind, _, _, noises, weights in made:
        counted = sums.of_part(kind, None, noises, weights)
        n_labels = sums.n_labels | {kind: sums.n_labels.get(kind, 0) + counted.n_labels[kind]}
        sums = replace(sums, n_labels=n_labels, log_noise=sums.log_noise + counted.log_noise)
    return sums


def _sums_on_device(design, start, device, X, labels, weights):
    """The sums of features on a device, batch by batch."""
    n, message = design.n_columns, _memory_message(design.n_columns)
    device.check_memory(8.0 * n * n * (len(KINDS) + 1), *message)
    with device.room_for(8.0 * n * n, *message):
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
