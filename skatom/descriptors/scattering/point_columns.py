"""Where the features of point scattering are in a row, for the loops that make them by scales."""

import numpy as np


def first_columns(paths, n_scales):
    """Columns (n_scales, n_orbitals, n_channels) where the powers of U_λ begin."""
    n_channels, n_exponents = paths.shapes[0]
    index = np.arange(n_channels * len(paths.wavelets)).reshape(n_channels, -1, n_scales)
    return paths.sizes[0] + n_exponents * index.transpose(2, 1, 0)


def second_columns(paths, n_scales):
    """For every scale of λ', columns (n_orbitals, n_fields) where the powers of U_λλ' begin.

    Fields run over scale, orbital and channel of U_λ; those of sufficiently small scales come
    first.
    """
    n_channels, n_exponents = paths.shapes[0]
    n_orbitals = len(paths.wavelets) // n_scales
    columns = np.full((n_scales, n_orbitals, n_scales, n_orbitals, n_channels), -1)
    start = sum(paths.sizes[:2])
    for p, (a, b) in enumerate(paths.pairs):
        place = (*divmod(b, n_scales)[::-1], *divmod(a, n_scales)[::-1])
        row = np.arange(n_channels) * len(paths.pairs) + p
        columns[place] = start + n_exponents * row
    counts = (columns[:, 0, :, 0, 0] >= 0).sum(axis=1)
    return [
        np.ascontiguousarray(part[:, :count].reshape(n_orbitals, -1))
        for part, count in zip(columns, counts, strict=True)
    ]
