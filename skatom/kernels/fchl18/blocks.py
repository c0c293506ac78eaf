"""Blocks of FCHL18 kernels between two batches of environments."""

import numpy as np

from skatom.kernels._cpu.fchl18 import expansions, sums
from skatom.kernels._cpu.fchl18.pairs import feature_slopes

# Pairs of neighbours whose slopes are made together.
_CHUNK = 128


def kernel_block(rows, columns, form, sigma, per_atom):
    """κ summed over the atoms of the structures of a batch, and over those of the other.

    Shape (n structures, m structures), or with ``per_atom`` (n structures, m environments).
    """
    kappa = _indicator(rows.owners, len(rows.structures)) @ _kernel(rows, columns, form, sigma)
    return kappa if per_atom else kappa @ _indicator(columns.owners, len(columns.structures)).T


def field_block(rows, columns, form, sigma, field_features):
    """∂/∂E of κ summed over the atoms of structures, (n structures, 3, m environments)."""
    out = np.zeros((len(rows.structures), 3, len(columns)))
    slopes = np.array([_products(rows, columns, form, field_features[:, a]) for a in range(3)])
    self_slopes = _self_field_slopes(rows, form, field_features)
    products = _products(rows, columns, form)
    *alike, precision = _comparison(rows, columns, form, sigma)
    sums.field_sums(products, slopes, *alike, self_slopes, precision, rows.owners, out)
    return out


def charge_block(rows, columns, form, sigma, arms):
    """Σ κ (r_c − r_I) over the atoms of structures, (n structures, 3, m environments)."""
    weights = np.zeros((len(rows.structures), 3, len(rows)))
    weights[rows.owners, :, np.arange(len(rows))] = -arms
    return weights @ _kernel(rows, columns, form, sigma)


def _kernel(rows, columns, form, sigma):
    """κ of all pairs of environments, ordered by their elements."""
    overlap, _, _, sums_own, sums_others, precision = _comparison(rows, columns, form, sigma)
    kappa = _products(rows, columns, form)
    for z, i in enumerate(rows.of_element):
        for y, j in enumerate(columns.of_element):
            alike = 2 * precision * overlap[z, y]
            block = kappa[i, j]
            block *= alike
            block += (alike - precision * sums_own[i])[:, None]
    kappa -= precision * sums_others
    np.minimum(kappa, 0.0, out=kappa)
    return np.exp(kappa, out=kappa)


def _indicator(owners, n):
    """Whether an environment belongs to a structure, (n structures, n environments)."""
    return (np.arange(n)[:, None] == owners).astype(float)


def _comparison(rows, columns, form, sigma):
    """Arguments of the loops that make κ of scalar products."""
    overlap = form.overlap(rows.species, columns.species)
    return (
        overlap, rows.centers, columns.centers, rows.self_products, columns.self_products,
        1 / (2 * sigma**2),
    )  # fmt: skip


def _products(rows, columns, form, features=None):
    """Scalar products (n, m) of environments without the overlap of their centres and the 1."""
    out = np.zeros((len(rows), len(columns)))
    left, right = mixings(rows, columns, form)
    if not (len(left) and rows.span and columns.span):
        return out
    grid = form.grid(*common_span(rows, columns))
    same = rows is columns and features is None and np.array_equal(left, right)
    left = form.expanded(rows, left, grid, features).reshape(len(rows), -1)
    # numpy takes half the work for a matrix times its own transpose
    right = left if same else form.expanded(columns, right, grid).reshape(len(columns), -1)
    for i, j in _partners(rows, columns, form):
        out[i, j] = left[i] @ right[j].T
    return out


def mixings(rows, columns, form):
    """Matrices that mix the elements of both sides into the fewest common channels.

    The channels are the elements of one side, unmixed there, and mixed by their overlaps on the
    other side; elements without any overlap are left out.
    """
    fewer, more = (rows, columns) if len(rows.species) <= len(columns.species) else (columns, rows)
    overlap = form.overlap(fewer.species, more.species)
    used = overlap.any(axis=1)
    mixings = np.eye(len(fewer.species))[used], overlap[used]
    return mixings if fewer is rows else mixings[::-1]


def common_span(rows, columns):
    """The range of the overlaps of two Gaussians, halfway between their distances."""
    return np.mean([rows.span, columns.span], axis=0)


def _partners(rows, columns, form):
    """Pairs of slices of environments that have scalar products: all, or element by element."""
    overlap = form.overlap(rows.species, columns.species)
    if np.count_nonzero(overlap, axis=1).max() > 1:
        return [(slice(0, len(rows)), slice(0, len(columns)))]
    return [
        (rows.of_element[z], columns.of_element[y[0]] if len(y) else slice(0, 0))
        for z, y in enumerate(map(np.flatnonzero, overlap))
    ]


def _self_field_slopes(batch, form, field_features):
    """Half of ∂⟨e, e⟩/∂E of each environment, (n, 3)."""
    slopes = np.zeros((len(batch), 3))
    if batch.span:
        grid = form.grid(*batch.span)
        alike = form.overlap(batch.species, batch.species)
        mixed = form.expanded(batch, alike, grid)
        for a in range(3):
            plain = form.expanded(batch, np.eye(len(alike)), grid, field_features[:, a])
            slopes[:, a] = np.diag(alike)[batch.centers] * np.einsum("ezfk,ezfk->e", plain, mixed)
    return slopes


def gradient_block(rows, columns, form, sigma, strain, self_slopes):
    """Derivatives of κ summed over the atoms of structures, for each environment of ``columns``.

    Along xyz of the atoms, in the order of the environments around them: (3 n, m). With
    ``strain`` along the nine strains of each structure: (9 n structures, m).
    """
    out = np.zeros((9 * len(rows.structures) if strain else 3 * len(rows), len(columns)))
    if not rows.span:
        return out
    overlap = form.overlap(rows.species, columns.species)
    grid = form.grid(*(common_span(rows, columns) if columns.span else rows.span))
    expanded = form.expanded(columns, overlap, grid)
    for i, j in _partners(rows, columns, form):
        by_channel = np.ascontiguousarray(expanded[j].transpose(1, 2, 0, 3))
        for first, last in _chunks(rows, i):
            basis = _distance_basis(rows, first, last, grid)
            pulls = _pulls(rows, first, last, expanded[j], by_channel, basis)
            start = rows.starts[first]
            for e in range(first, last):
                pull = pulls[rows.starts[e] - start : rows.starts[e + 1] - start]
                slopes = environment_slopes(rows, e, form, strain)
                block = slopes @ pull.reshape(slopes.shape[1], j.stop - j.start)
                sums.gradient_sums(
                    block, j.start, overlap[rows.centers[e]][columns.centers],
                    rows.self_products[e], columns.self_products, self_slopes[e],
                    1 / (2 * sigma**2), row_targets(rows, e, strain), out,
                )  # fmt: skip
    return out


def self_slopes(batch, form, strain):
    """Half of the derivatives of ⟨e, e⟩ of each environment, a list of arrays."""
    if not batch.span:
        return [np.zeros(9 if strain else 3)] * len(batch)
    overlap = form.overlap(batch.species, batch.species)
    grid = form.grid(*batch.span)
    expanded = form.expanded(batch, overlap, grid)
    found = []
    for first, last in _chunks(batch, slice(0, len(batch))):
        basis = _distance_basis(batch, first, last, grid)
        for e in range(first, last):
            own, z = expanded[e : e + 1], batch.centers[e]
            by_channel = np.ascontiguousarray(own.transpose(1, 2, 0, 3))
            mine = slice(*(batch.starts[[e, e + 1]] - batch.starts[first]))
            pulls = _pulls(batch, e, e + 1, own, by_channel, basis[mine])
            slopes = environment_slopes(batch, e, form, strain)[:-1]
            found.append(overlap[z, z] * (slopes @ pulls.ravel()))
    return found


def _chunks(batch, environments):
    """Consecutive environments of at most `_CHUNK` pairs together, or of one alone."""
    first = environments.start
    while first < environments.stop:
        last = np.searchsorted(batch.starts, batch.starts[first] + _CHUNK, side="right") - 1
        last = min(max(last, first + 1), environments.stop)
        yield first, last
        first = last


def _distance_basis(batch, first, last, grid):
    """Functions of the distances of the pairs of environments first … last − 1, and slopes."""
    return expansions.distance_basis(
        batch.distances[batch.starts[first] : batch.starts[last]], grid
    )


def _pulls(rows, first, last, expanded, by_channel, basis):
    """Derivatives of scalar products along the features of pairs, and along their distances.

    They are taken for the pairs of the environments first … last − 1 and all environments of the
    other side, which are given twice: (m, n_channels, n_features, n_points), and with the first
    axis moved before the last. ``basis``: `_distance_basis` of the pairs. Shape
    (n_pairs, n_features + 1, m).
    """
    pairs = slice(rows.starts[first], rows.starts[last])
    features, channels = rows.features[pairs], rows.channels[pairs]
    n_features, m, n_points = by_channel.shape[1:]
    values, slopes = basis[:, 0], basis[:, 1]
    pulls = np.empty((len(channels), n_features + 1, m))
    for z in np.unique(channels):
        own = np.flatnonzero(channels == z)
        along_features = values[own] @ by_channel[z].reshape(-1, n_points).T
        pulls[own, :-1] = along_features.reshape(len(own), n_features, m)
        weights = (features[own, :, None] * slopes[own, None]).reshape(len(own), -1)
        pulls[own, -1] = weights @ expanded[:, z].reshape(m, weights.shape[1]).T
    return pulls


def environment_slopes(batch, e, form, strain):
    """Derivatives of the features of one environment, see `feature_slopes` of the loops."""
    pairs = slice(batch.starts[e], batch.starts[e + 1])
    features = batch.features[pairs]
    n_rows = 9 if strain else 3 * (len(features) + 1)
    out = np.zeros((n_rows + 1, features.shape[0] * (features.shape[1] + 1)))
    feature_slopes(batch.vectors[pairs], batch.channels[pairs], strain, form.terms, features, out)
    return out


def row_targets(batch, e, strain):
    """Rows of the block to which derivatives of one environment belong."""
    if strain:
        return 9 * batch.owners[e] + np.arange(9)
    atoms = np.append(batch.neighbors[batch.starts[e] : batch.starts[e + 1]], e)
    return (3 * atoms[:, None] + np.arange(3)).ravel()
