"""Rows of the design matrix of a sparse Gaussian process for batches of structures, on a device."""

import numpy as np
import torch

from skatom._cpu.voigt import VOIGT
from skatom._device import device_of

# Numbers in the derivatives of a piece of centres along their pairs.
_NUMBERS = 2**26


def energy_rows(block, features, out):
    """Add Σ_i k(x_i, z_m) to ``out`` (n, M), for a block whose arrays are tensors."""
    centers = np.flatnonzero(features.numbers == block.number)
    offsets = np.searchsorted(centers, features.offsets)
    out += segment_sums(block.values(features.values[centers]), offsets)


def derivative_rows(block, features, forces, virial):
    """Add −dk/dR to ``forces`` (n_atoms, 3, M) and dk/dε to ``virial`` (n, 6, M) or None.

    The formulae are those of the compiled `scatter`.
    """
    owners = np.repeat(np.arange(len(features)), features.n_atoms)
    centers = np.flatnonzero(features.numbers == block.number)
    device, pairs = device_of(forces), features.neighbors
    of_pair = 3 * max(block.vectors.shape[0] + features.n_features, 1)
    filled = np.cumsum(np.diff(pairs.offsets)[centers]) * of_pair // _NUMBERS
    for some in np.split(centers, np.flatnonzero(np.diff(filled)) + 1):
        mine = pairs.take(some)
        if len(mine) == 0:
            continue
        products, along = features.project(some, block.vectors)
        slopes = block.slopes(features.values[some])
        place = device.tensor(np.repeat(np.arange(len(some)), np.diff(mine.offsets)))
        shape = len(some), len(block.vectors)
        slope, radial = (full(f, shape, along) for f in slopes)
        products *= slope[place][:, None]
        products.addcmul_(along[:, :, None], radial[place][:, None], value=2.0)
        forces[device.tensor(some)] += segment_sums(products, mine.offsets)
        order = np.argsort(mine.indices, kind="stable")
        moved, first = np.unique(mine.indices[order], return_index=True)
        sums = segment_sums(products[device.tensor(order)], np.append(first, len(order)))
        forces[device.tensor(moved)] -= sums
        if virial is not None:
            structures = device.tensor(owners[mine.centers])
            _strain(device.tensor(mine.vectors), products, structures, virial)


def _strain(vectors, products, structures, virial):
    """Add the symmetrised products of pair vectors and derivatives to ``virial``."""
    for k, (a, b) in enumerate(zip(*VOIGT, strict=True)):
        terms = 0.5 * (vectors[:, a, None] * products[:, b] + vectors[:, b, None] * products[:, a])
        virial[:, k].index_add_(0, structures, terms)


def full(f, shape, like):
    """A derivative of a kernel, which may be a number or a row, as a matrix."""
    return f.broadcast_to(shape) if isinstance(f, torch.Tensor) else like.new_full(shape, f)


def segment_sums(rows, offsets):
    """Sums (n, …) of consecutive rows; ``offsets`` (n + 1,) is an array of numpy."""
    offsets = device_of(rows).tensor(offsets)
    return torch.segment_reduce(rows, "sum", offsets=offsets, unsafe=True)


def reduced(rows):
    """The triangle of a QR factorisation of rows, which stands for them in a least squares."""
    return torch.linalg.qr(rows, mode="r")[1]
