"""Rows of a linear model for the labels of structures, and their sums of squares."""

from dataclasses import replace

import numpy as np


def sums_of_chunk(design, start, chunk):
    """`LabelSums` ``start`` and those of a chunk ``(X, labels, weights)`` of structures."""
    X, labels, weights = chunk
    pooled = design.pooled(X)
    sums = sums_of_energies(design, start, pooled, labels, weights)
    for batch in design.batches(pooled):
        for part in derivative_labels(design, pooled, labels, weights, batch):
            sums = sums.add(*part)
    return sums


def sums_of_energies(design, start, pooled, labels, weights):
    """`LabelSums` ``start`` and those of the energies of structures."""
    sums = start
    if (chosen := labels.has_energy).any():
        rows = design.energy_rows(pooled)[np.flatnonzero(chosen)]
        sums = sums.add(
            "energy", rows, labels.energy[chosen], labels.noise_energy[chosen], weights[chosen]
        )
    return replace(sums, n_structures=start.n_structures + len(pooled))


def derivative_labels(design, pooled, labels, weights, batch):
    """Yield kind, rows, targets, noises and weights of the derivatives of some structures."""
    labels, weights = labels[batch], weights[batch]
    has_virial = labels.has_virial
    if not (labels.has_forces | has_virial).any():
        return
    forces, virials = design.derivative_rows(pooled, batch)
    if labels.has_forces.any():
        atoms = np.repeat(labels.has_forces, np.diff(labels.offsets))
        noises = np.repeat(labels.noise_forces[atoms], 3)
        rows = forces if atoms.all() else forces[np.flatnonzero(atoms)]
        rows = rows.reshape(-1, design.n_columns)
        of_rows = np.repeat(weights, 3 * np.diff(labels.offsets))[np.repeat(atoms, 3)]
        yield "forces", rows, labels.forces[atoms].ravel(), noises, of_rows
    if has_virial.any():
        rows = virials[np.flatnonzero(has_virial)].reshape(-1, design.n_columns)
        noises = np.repeat(labels.noise_virial[has_virial], 6)
        of_rows = np.repeat(weights[has_virial], 6)
        yield "virial", rows, labels.virial[has_virial].ravel(), noises, of_rows
