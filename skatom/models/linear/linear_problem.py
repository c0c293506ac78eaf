"""What a linear potential learns from: structures or a table, of which parts give sums."""

from typing import Self

import numpy as np

from skatom._device import on_host
from skatom._input_checks import structure_weights
from skatom.models._labels import Labels
from skatom.models.linear.label_sums import LabelSums, sums_of_structures, sums_of_table


class LabelledStructures:
    """The labels of structures, of which parts give `LabelSums`."""

    def __init__(self, design, X, labels, weights):
        self.design, self.X, self.labels, self.weights = design, X, labels, weights

    @classmethod
    def of(cls, design, X, targets, baseline, noise, configurations, sample_weight) -> Self:
        """The labels of features of structures, less a baseline; see `Labels.of`."""
        labels = Labels.of(X.structures, targets, baseline, noise, configurations, sample_weight)
        if not (labels.has_energy | labels.has_forces | labels.has_virial).any():
            raise ValueError(
                "no label has weight: give at least one labelled structure a positive sample_weight"
            )
        weights = structure_weights(sample_weight, len(X))
        return cls(design, X, labels, weights)

    def __len__(self):
        return len(self.X)

    def sums(self, chosen, as_equations=False):
        """The sums of chosen structures, as triangles or as normal equations."""
        parts = self.X, self.labels, self.weights
        if not isinstance(chosen, slice):
            parts = (part[chosen] for part in parts)
        return sums_of_structures(self.design, *parts, as_equations)


class WeightedTable:
    """The samples of a table, of which parts give `LabelSums`."""

    def __init__(self, X, y, weights, intercept):
        self.X, self.y, self.weights, self.intercept = X, y, weights, intercept

    @classmethod
    def of(cls, X, y, sample_weight, intercept) -> Self:
        """The samples of a checked table with weights to be checked."""
        weights = structure_weights(sample_weight, len(X), of="sample")
        return cls(X, np.asarray(y, float), weights, intercept)

    def __len__(self):
        return len(self.X)

    def sums(self, chosen):
        """The sums of chosen samples."""
        return sums_of_table(self.X[chosen], self.y[chosen], self.weights[chosen], self.intercept)


def belong_to_species(X, species):
    """Whether each feature is zero for the atoms of all species but one."""
    kinds = (np.flatnonzero(X.numbers == number) for number in species)
    present = [on_host((X.values[kind] != 0).any(0)) for kind in kinds]
    return bool((np.sum(present, axis=0) <= 1).all())


def sums_of_splits(problem, cv, groups, n_columns):
    """The sums of the training and test samples of each split, and those of all samples.

    Samples that are together in all splits are summed once.

    Parameters
    ----------
    problem : LabelledStructures or WeightedTable
    cv : splitter
    groups : array-like of shape (n,), or None
    n_columns : int

    Returns
    -------
    splits : list of (LabelSums, LabelSums)
    whole : LabelSums
    """
    samples = np.arange(len(problem))
    splits = cv.split(np.empty((len(samples), 1)), None, groups)
    # (n, 2 n_splits): whether a sample trains, whether it tests
    uses = np.array([np.isin(samples, samples[part]) for split in splits for part in split]).T
    patterns, pattern = np.unique(uses, axis=0, return_inverse=True)
    parts = [problem.sums(np.flatnonzero(pattern.ravel() == k)) for k in range(len(patterns))]

    def joined(chosen):
        whole = LabelSums(n_columns)
        for k in np.flatnonzero(chosen):
            whole = whole.merge(parts[k])
        if not sum(whole.n_labels.values()):
            raise ValueError(
                "a split of cv has no labels to train or test on: change cv, the groups or the "
                "weights"
            )
        return whole.reduced()

    pairs = [
        (joined(patterns[:, k]), joined(patterns[:, k + 1])) for k in range(0, uses.shape[1], 2)
    ]
    return pairs, joined(np.ones(len(parts), bool))
