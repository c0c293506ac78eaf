"""Second derivatives of FCHL18 kernels between two batches of environments."""

from dataclasses import dataclass

import numpy as np

from skatom.kernels._cpu.fchl18 import expansions, sums
from skatom.kernels.fchl18.blocks import common_span, environment_slopes, mixings, row_targets

# Derivatives of the expansions of some environments, which are kept together.
_BYTES = 2**26
_KINDS = {False: "positions", True: "strain"}


@dataclass(frozen=True)
class ExpandedSlopes:
    """Derivatives of the expansions of some environments of a batch.

    Attributes
    ----------
    values : ndarray of float, shape (n_rows, n_dimensions)
        Along xyz of the atoms of each environment in turn, or along its nine strains.
    targets : ndarray of int, shape (n_rows,)
        The coordinate of each row: of an atom, by the environment around it, or of a structure.
    starts : ndarray of int, shape (n_environments + 1,)
        Where the rows of each environment begin.
    """

    values: np.ndarray
    targets: np.ndarray
    starts: np.ndarray


def expanded_slopes(batch, first, last, form, mixing, grid, strain):
    """Derivatives of the expansions of the environments first … last − 1."""
    parts = [_slopes_of(batch, e, form, mixing, grid, strain) for e in range(first, last)]
    targets = [row_targets(batch, e, strain) for e in range(first, last)]
    starts = np.append(0, np.cumsum([len(t) for t in targets]))
    return ExpandedSlopes(np.concatenate(parts), np.concatenate(targets), starts)


def _slopes_of(batch, e, form, mixing, grid, strain):
    pairs = slice(batch.starts[e], batch.starts[e + 1])
    n_pairs, n_features = batch.features[pairs].shape
    slopes = environment_slopes(batch, e, form, strain)[:-1]
    slopes = slopes.reshape(len(slopes), n_pairs, n_features + 1)
    mixed = form.mixed(slopes[..., :-1], mixing)
    slopes = np.concatenate([mixed, slopes[..., -1:]], axis=-1)
    features = form.mixed(batch.features[pairs], mixing)
    out = np.empty((len(slopes), len(mixing), features.shape[1], grid.size))
    expansions.expand_slopes(
        batch.distances[pairs], batch.channels[pairs], features, slopes, mixing, grid, out
    )
    return out.reshape(len(out), -1)


def second_block(rows, columns, form, sigma, strains, own, others):
    """∂²κ/∂x∂y summed over all pairs of environments.

    Parameters
    ----------
    rows, columns : Batch
    form : Form
    sigma : float
    strains : tuple of two bool
        Whether x and y are the nine strains of each structure, or positions in the order of the
        environments.
    own, others : list of ndarray
        Half of the derivatives of the scalar products with self along x and along y, see
        `self_slopes`.

    Returns
    -------
    ndarray of float, shape (n_x, n_y)
    """
    out = np.zeros(
        [len(b.places(_KINDS[s])) for b, s in zip((rows, columns), strains, strict=True)]
    )
    if not (rows.span and columns.span):
        return out
    overlap = form.overlap(rows.species, columns.species)
    grid = form.grid(*common_span(rows, columns))
    left, right = mixings(rows, columns, form)
    expanded_rows = form.expanded(rows, left, grid).reshape(len(rows), -1)
    expanded_columns = form.expanded(columns, right, grid).reshape(len(columns), -1)
    for first, last in _pieces(columns, expanded_columns.shape[1]):
        piece = slice(first, last)
        there = expanded_slopes(columns, first, last, form, right, grid, strains[1])
        self_there = np.concatenate(others[piece])
        for e in range(len(rows)):
            here = expanded_slopes(rows, e, e + 1, form, left, grid, strains[0])
            sums.second_sums(
                here.values @ there.values.T, here.values @ expanded_columns[piece].T,
                there.values @ expanded_rows[e], expanded_columns[piece] @ expanded_rows[e],
                overlap[rows.centers[e]][columns.centers[piece]], rows.self_products[e],
                columns.self_products[piece], own[e], self_there, 1 / (2 * sigma**2),
                there.starts, here.targets, there.targets, out,
            )  # fmt: skip
    return out


def _pieces(batch, n_dimensions):
    """Consecutive environments whose derivatives fit in `_BYTES` together, or one alone."""
    sizes = 8 * n_dimensions * 3 * (np.diff(batch.starts) + 1)
    ends = np.cumsum(sizes)
    first = 0
    while first < len(batch):
        used = ends[first] - sizes[first]
        last = max(int(np.searchsorted(ends, used + _BYTES, side="right")), first + 1)
        yield first, last
        first = last
