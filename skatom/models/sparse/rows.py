"""Rows of the design matrix of a sparse Gaussian process.

A model is a list of blocks. A block has the kernel of one descriptor and the representative
environments z_m of one species; atoms of other species do not contribute to it. Its columns are
Σ_i k(x_i, z_m), and their derivatives. For features of structures, a structure is one centre.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from skatom.kernels.base import squared_norms
from skatom.models._cpu import sparse_rows as _cpu
from skatom.models.sparse.centers import WholeStructures, symmetrised
from skatom.parallel import split_rows

# Size of the derivatives of one piece of centres: near the size of the cache, and large enough that
# threads seldom wait for each other's steps between the products.
_PIECE_BYTES = 2**22
# Atoms of one matrix product.
_ATOMS = 256


@dataclass(frozen=True)
class Block:
    """Representative environments of one species in the features of one descriptor.

    Attributes
    ----------
    term : int
        Index of the descriptor.
    number : int
        Atomic number, or `WHOLE`.
    kernel : Kernel
    vectors : ndarray of float, shape (M, n_features)
        The features z_m.
    columns : slice
        Its columns among the columns of the model.
    """

    term: int
    number: int
    kernel: object
    vectors: np.ndarray
    columns: slice
    norms: np.ndarray = field(init=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "norms", squared_norms(self.vectors))

    def values(self, x):
        """k(x_i, z_m) of rows x: ndarray, shape (n, M)."""
        return self.kernel.value(x @ self.vectors.T, squared_norms(x)[:, None], self.norms)

    def slopes(self, x):
        """The derivatives of the kernel with respect to x · z and |x|², for rows x."""
        products, norms = x @ self.vectors.T, squared_norms(x)[:, None]
        return self.kernel.first_derivatives(products, norms, self.norms)[1:]


def energy_rows(blocks, features, n_columns):
    """Σ_i k(x_i, z_m) of each structure of a batch.

    Parameters
    ----------
    blocks : list of Block
    features : list of AtomicFeatures or WholeStructures
        Features of one batch of n structures by each descriptor.
    n_columns : int

    Returns
    -------
    ndarray of float, shape (n, n_columns)
    """
    rows = np.zeros((len(features[0]), n_columns))
    for block in blocks:
        of_term = features[block.term]
        owner = np.repeat(np.arange(len(rows)), of_term.n_atoms)
        atoms = np.flatnonzero(of_term.numbers == block.number)
        for part in split_rows(len(atoms), _ATOMS):
            some = atoms[part]
            values = block.values(of_term.values[some])
            first = np.flatnonzero(np.diff(owner[some], prepend=-1))
            if len(first):
                rows[owner[some[first]], block.columns] += np.add.reduceat(values, first, axis=0)
    return rows


def weighted_rows(blocks, features, place, energies, labels, s):
    """Rows and labels of one structure, divided by the standard deviations of their noise.

    Parameters
    ----------
    blocks, features
        See `energy_rows` and `with_neighbors`.
    place : int
        Index of the structure in the batch.
    energies : ndarray of float, shape (n_columns,)
        Its row of `energy_rows`.
    labels : Labels
        The labels of all structures.
    s : int
        Index of the structure in the labels.

    Returns
    -------
    rows : ndarray of float, shape (n_labels, n_columns)
    values : ndarray of float, shape (n_labels,)
    log_noise : float
        Sum of the logarithms of the standard deviations.
    """
    values, noises = labels.of_structure(s)
    rows = []
    if labels.has_energy[s]:
        rows.append(energies[None])
    if labels.has_forces[s] or labels.has_virial[s]:
        forces, virial = all_derivative_rows(blocks, features, place, labels.has_virial[s])
        if labels.has_forces[s]:
            rows.append(forces.reshape(-1, len(energies)))
        if labels.has_virial[s]:
            rows.append(virial)
    rows = np.concatenate([np.empty((0, len(energies))), *rows])
    rows /= noises[:, None]
    return rows, values / noises, np.log(noises).sum()


def all_derivative_rows(blocks, features, structure, strained=True):
    """`derivative_rows` of all blocks: (n_atoms, 3, n_columns) and (6, n_columns)."""
    parts = [derivative_rows(block, features[block.term], structure, strained) for block in blocks]
    forces, virials = zip(*parts, strict=True)
    return np.concatenate(forces, axis=2), np.concatenate(virials, axis=1)


def with_neighbors(features):
    """The features of a batch with neighbour lists, which its rows of forces need."""
    return [of_term.with_neighbors() for of_term in features]


def derivative_rows(block, features, structure, strained=True):
    """−d/dR and d/dε of Σ_i k(x_i, z_m), for one structure of a batch.

    Parameters
    ----------
    block : Block
    features : AtomicFeatures or WholeStructures
        Features of the batch by the block's descriptor, with their neighbour lists.
    structure : int
        Index of the structure in the batch.
    strained : bool, default=True
        Whether to compute the derivatives with respect to the strain.

    Returns
    -------
    forces : ndarray of float, shape (n_atoms, 3, M)
    virial : ndarray of float, shape (6, M)
        Symmetrised, in the order xx, yy, zz, yz, xz, xy; zeros if not computed.
    """
    if isinstance(features, WholeStructures):
        return _rows_of_whole(block, features, structure)
    start, stop = features.offsets[structure : structure + 2]
    forces = np.zeros((stop - start, 3, len(block.vectors)))
    virial = np.zeros((6, len(block.vectors)))
    centers = start + np.flatnonzero(features.numbers[start:stop] == block.number)
    for some in split_rows(len(centers), _ATOMS):
        _add_rows(block, features, centers[some], start, forces, virial, strained)
    return forces, virial


def _rows_of_whole(block, features, structure):
    """`derivative_rows` where the structure is one centre."""
    jacobian = features.jacobian(structure)
    slopes = block.slopes(features.values[structure : structure + 1])
    slope, radial = (np.broadcast_to(a, (1, len(block.vectors)))[0] for a in slopes)

    def along(tangents):
        own = tangents @ features.values[structure]
        return slope * (tangents @ block.vectors.T) + 2 * own[..., None] * radial

    return -along(jacobian.gradients), along(symmetrised(jacobian.strains)[0])


def pieces(centers, pairs, width):
    """Split centres such that the derivatives of a piece fit `_PIECE_BYTES`.

    Parameters
    ----------
    centers : ndarray of int
        Indices of atoms.
    pairs : NeighborList
        The neighbour list of all atoms.
    width : int
        Number of derivatives along each component of a pair vector.

    Returns
    -------
    list of ndarray of int
    """
    runs = _runs(np.diff(pairs.offsets)[centers], width)
    return [centers[run] for run in runs]


def _runs(counts, width):
    """`pieces` as slices of centres with so many pairs."""
    filled = np.cumsum(counts) * 24 * width // _PIECE_BYTES
    edges = [0, *(np.flatnonzero(np.diff(filled)) + 1).tolist(), len(counts)]
    return [slice(a, b) for a, b in pairwise(edges) if b > a]


def _add_rows(block, features, centers, start, forces, virial, strained):
    """Add what some centres contribute to the rows of a structure; ``start``: its first atom.

    What is not a loop or a product happens once for all pieces: threads wait for each other where
    the interpreter has to take a step.
    """
    values, pairs = features.values[centers], features.neighbors.take(centers)
    slope, radial = (
        np.ascontiguousarray(np.broadcast_to(a, (len(centers), len(block.vectors))))
        for a in block.slopes(values)
    )
    runs = _runs(np.diff(pairs.offsets), sum(block.vectors.shape))
    longest = max(pairs.offsets[run.stop] - pairs.offsets[run.start] for run in runs)
    products = np.empty((longest, 3, len(block.vectors)))
    jacobians = features.derivatives.runs_along_pairs(pairs, runs)
    for run, jacobian in zip(runs, jacobians, strict=True):
        _cpu.add_run(
            run.start, run.stop, pairs.offsets, pairs.indices, pairs.vectors, pairs.atoms, start,
            np.ascontiguousarray(jacobian), block.vectors, products, values, slope, radial, forces,
            virial, strained,
        )  # fmt: skip
