"""Sums of products of earlier numbers for many centres on a device, and their derivatives.

Numbers are rows, of all centres or of changes along all pairs. The given ones come first, then the
sums

    number[k] = Σ_s factors[s] · number[left[s]] · number[right[s]]

of `cluster_basis.Products`, in levels: the operands of a level belong to those before it, so that
each level is a few operations. Backwards, each number gathers what its sums give it.
"""

from typing import NamedTuple

import numpy as np
import torch

from skatom.descriptors._torch.features import segment_sums


class ProductTerms(NamedTuple):
    """ProductTerms factors · a[left] · b[right] of consecutive sums, which begin at ``starts``."""

    starts: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    factors: torch.Tensor  # (n_terms, 1)


class ProductLevel(NamedTuple):
    """The sums ``first`` to ``stop``; backwards, those of the numbers before them."""

    first: int
    stop: int
    terms: ProductTerms
    changes: ProductTerms  # left: the number that changes
    back: ProductTerms  # left: the sum, right: the other operand


class ProductPlan(NamedTuple):
    """All levels, and which numbers are the features."""

    n_given: int
    levels: tuple
    scalars: torch.Tensor


def program(n_given, starts, left, right, factors, scalars, device):
    """The `ProductPlan` of the arrays of `cluster_basis.Products`, on a `Device`."""
    n_sums, counts = len(starts) - 1, np.diff(starts)
    owners = np.repeat(np.arange(n_sums), counts)
    level = _levels(n_given, owners, left, right, n_sums)
    order = np.argsort(level, kind="stable")
    place = np.arange(n_given + n_sums)
    place[n_given + order] = n_given + np.arange(n_sums)
    left, right, owners = place[left], place[right], place[n_given + owners]
    levels, first = [], n_given
    for depth in np.unique(level):
        stop = first + int((level == depth).sum())
        rows = np.flatnonzero((owners >= first) & (owners < stop))
        rows = rows[np.argsort(owners[rows], kind="stable")]
        parts = owners[rows], left[rows], right[rows], factors[rows]
        levels.append(_level(first, stop, *parts, device))
        first = stop
    return ProductPlan(n_given, tuple(levels), device.tensor(place[scalars]))


def _levels(n_given, owners, left, right, n_sums):
    """The level of each sum: one more than those of its operands."""
    level = np.zeros(n_given + n_sums, int)
    while True:
        found = level.copy()
        np.maximum.at(found, n_given + owners, 1 + np.maximum(level[left], level[right]))
        if (found == level).all():
            return level[n_given:]
        level = found


def _level(first, stop, owners, left, right, factors, device):
    twice = [np.concatenate(pair) for pair in ((left, right), (right, left), 2 * [owners])]
    twice_factors = np.tile(factors, 2)
    changes = _terms(twice[2] - first, twice[0], twice[1], twice_factors, stop - first, device)
    back = _terms(twice[0], twice[2], twice[1], twice_factors, first, device)
    terms = _terms(owners - first, left, right, factors, stop - first, device)
    return ProductLevel(first, stop, terms, changes, back)


def _terms(sums, left, right, factors, n_sums, device):
    order = np.argsort(sums, kind="stable")
    starts = np.searchsorted(sums[order], np.arange(n_sums + 1))
    arrays = map(device.tensor, (starts, left[order], right[order], factors[order, None]))
    return ProductTerms(*arrays)


def evaluate(plan, given):
    """All numbers (n_numbers, n) for the given ones (n_given, n)."""
    numbers = _with_room(plan, given)
    for level in plan.levels:
        numbers[level.first : level.stop] = _sums(level.terms, numbers, numbers)
    return numbers


def pullback(plan, numbers, cotangent):
    """dE/d given (n_given, n) for dE/d features, (n_features, n)."""
    adjoint = torch.zeros_like(numbers)
    adjoint.index_add_(0, plan.scalars, cotangent)
    for level in reversed(plan.levels):
        adjoint[: level.first] += _sums(level.back, adjoint, numbers)
    return adjoint[: plan.n_given]


def pushforward(plan, numbers, centers, given):
    """Changes (n_features, n_changes) of features for those of given numbers.

    Parameters
    ----------
    plan : ProductPlan
    numbers : Tensor, shape (n_numbers, n)
    centers : Tensor of int, shape (n_changes,)
        The columns of ``numbers`` that change.
    given : Tensor, shape (n_given, n_changes)
    """
    changes = _with_room(plan, given)
    for level in plan.levels:
        changes[level.first : level.stop] = _sums(level.changes, changes, numbers, centers)
    return changes[plan.scalars]


def _with_room(plan, given):
    """The given rows, and room below them for those of all sums."""
    rows = given.new_empty((plan.levels[-1].stop if plan.levels else len(given), given.shape[1]))
    rows[: len(given)] = given
    return rows


def _sums(terms, a, b, columns=None):
    """Σ factors · a[left] · b[right] of consecutive terms; ``columns`` are those of b."""
    others = b[terms.right] * terms.factors
    rows = a[terms.left]
    rows *= others if columns is None else others[:, columns]
    return segment_sums(rows, terms.starts)
