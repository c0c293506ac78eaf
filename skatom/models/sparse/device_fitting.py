"""Rows of a sparse Gaussian process from features on a device."""

from dataclasses import replace
from importlib import import_module

import numpy as np

from skatom._device import device_of
from skatom._progress import tqdm
from skatom.structures import groups_by_size

# Atoms of a batch, and bytes of the rows that are factored together.
_BATCH_ATOMS, _ROW_BYTES = 2048, 2**30


def learn_on_device(solver, blocks, features_of_batch, structures, labels, verbose=0):
    """Add the rows of all structures to a factorisation, as `learn` does.

    The rows are computed on the device and reduced there to a triangle, the rows of which the
    factorisation takes.

    Yields
    ------
    solver, n_structures, n_labels, log_noise
        See `learn`.
    """
    waiting, size, counts = [], 0, np.zeros(3)
    pieces = groups_by_size(structures.offsets, _BATCH_ATOMS)
    for batch in tqdm(pieces, desc="fit", unit="batch", disable=not verbose, leave=False):
        rows, noises = _labelled_rows(blocks, features_of_batch(batch), labels, batch)
        waiting.append(rows)
        size += rows.nbytes
        counts += batch.stop - batch.start, len(noises), np.log(noises).sum()
        if size > _ROW_BYTES or batch.stop == len(structures):
            solver = solver.copy()
            _take(solver, waiting)
            yield solver, int(counts[0]), int(counts[1]), float(counts[2])
            waiting, size, counts = [], 0, np.zeros(3)


def _take(solver, parts):
    loops = import_module("skatom.models._torch.sparse_rows")
    rows = import_module("torch").cat(parts)
    if len(rows) > rows.shape[1]:
        rows = loops.reduced(rows)
    rows = device_of(rows).array(rows)
    solver.update(rows[:, :-1], rows[:, -1])


def _labelled_rows(blocks, features, labels, batch):
    """Rows of a batch with their labels as last column, divided by the noise, and the noise."""
    chosen = range(batch.start, batch.stop)
    made = [labels.of_structure(s) for s in chosen]
    values, noises = (np.concatenate(same) for same in zip(*made, strict=True))
    rows = all_rows(blocks, features, labels.has_forces[batch], labels.has_virial[batch])
    device = device_of(rows)
    rows = rows[device.tensor(_places(labels, batch))]
    rows = import_module("torch").cat([rows, device.tensor(values)[:, None]], 1)
    rows /= device.tensor(noises)[:, None]
    return rows, noises


def _places(labels, batch):
    """Where the rows of the labels are, structure by structure, among those of `all_rows`."""
    n, offsets = batch.stop - batch.start, labels.offsets[batch.start : batch.stop + 1]
    n_atoms = offsets[-1] - offsets[0]
    some_forces, parts = labels.has_forces[batch].any(), [np.empty(0, np.int64)]
    of_virials = n + 3 * n_atoms * some_forces
    for k in range(n):
        s, (a, b) = batch.start + k, 3 * (offsets[k : k + 2] - offsets[0])
        if labels.has_energy[s]:
            parts.append([k])
        if labels.has_forces[s]:
            parts.append(n + np.arange(a, b))
        if labels.has_virial[s]:
            parts.append(of_virials + 6 * k + np.arange(6))
    return np.concatenate(parts).astype(np.int64)


def all_rows(blocks, features, has_forces, has_virial):
    """Rows of energies (n), of forces (3 n_atoms) and of virials (6 n), the latter two if needed.

    Parameters
    ----------
    blocks : list of Block
    features : list of AtomicFeatures
        Features of the n structures by each descriptor, on a device.
    has_forces, has_virial : ndarray of bool, shape (n,)

    Returns
    -------
    Tensor of shape (n_rows, n_columns)
    """
    loops = import_module("skatom.models._torch.sparse_rows")
    device, n_columns = device_of(features[0].values), blocks[-1].columns.stop
    n, n_atoms = len(features[0]), len(features[0].numbers)
    heights = n, 3 * n_atoms * has_forces.any(), 6 * n * has_virial.any()
    device.check_memory(
        16.0 * sum(heights) * n_columns,
        f"the rows of {n} structures",
        "reduce n_sparse, or make the features with device='cpu'",
    )
    rows = device.zeros(int(sum(heights)), n_columns)
    energies, forces, virials = rows.split([int(height) for height in heights])
    features = [of_term.with_neighbors() for of_term in features]
    for block in blocks:
        here, of_term = on_device(block, device), features[block.term]
        loops.energy_rows(here, of_term, energies[:, block.columns])
        if has_forces.any() or has_virial.any():
            made_forces = device.zeros(n_atoms, 3, len(block.vectors))
            made_virials = device.zeros(n, 6, len(block.vectors)) if has_virial.any() else None
            loops.derivative_rows(here, of_term, made_forces, made_virials)
            if has_forces.any():
                forces[:, block.columns] = made_forces.flatten(0, 1)
            if has_virial.any():
                virials[:, block.columns] = made_virials.flatten(0, 1)
    return rows


def on_device(block, device):
    """A block whose arrays are tensors."""
    return replace(block, vectors=device.tensor(block.vectors))
