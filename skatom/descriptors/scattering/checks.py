"""What parameters of `WaveletScattering` may be, which features they name, and which structures."""

import numpy as np

from skatom.descriptors.scattering.lengths import widths


def check_numbers(exponents, scales, grid_shape):
    """Raise a ValueError for exponents, scales and shapes of grids that make no sense."""
    powers = np.asarray(exponents, dtype=float)
    if powers.ndim != 1 or not len(powers) or not (powers > 0).all():
        raise ValueError(f"exponents={exponents!r} must be positive numbers, at least one")
    array = np.array(scales)
    if not len(array) or (array < 0).any() or (2 * array % 1 != 0).any():
        raise ValueError(f"scales={scales!r} must be multiples of 1/2, >= 0, at least one")
    if len(set(scales)) < len(array):
        raise ValueError(f"scales={scales!r} has one of them twice: give each scale once")
    if grid_shape is not None:
        shape = np.asarray(grid_shape)
        if shape.shape != (3,) or shape.dtype.kind not in "iu" or (shape < 1).any():
            raise ValueError(f"grid_shape={grid_shape!r} must be three positive integers")


def indices_of(features, names):
    """Indices of the given features, a parameter, among all."""
    if features is None:
        return np.arange(len(names))
    chosen = np.asarray(features)
    if chosen.dtype.kind in "OU":
        place = {name: index for index, name in enumerate(names)}
        unknown = [name for name in chosen if name not in place]
        if unknown:
            raise ValueError(
                f"there is no feature {str(unknown[0])!r}: names look like {names[0]!r}, and "
                "get_feature_names_out() lists them"
            )
        chosen = np.array([place[name] for name in chosen], dtype=int)
    chosen = as_indices(chosen, len(names))
    if len(np.unique(chosen)) < len(chosen):
        raise ValueError("features names one of them twice: give each feature once")
    return chosen


def as_indices(chosen, n_features):
    """Indices from indices or a mask."""
    if chosen.ndim != 1 or not len(chosen) or chosen.dtype.kind not in "iub":
        raise ValueError("features must be indices, a mask or names, at least one")
    if chosen.dtype.kind == "b":
        if len(chosen) != n_features:
            raise ValueError(f"the mask of features has {len(chosen)} entries for {n_features}")
        chosen = np.flatnonzero(chosen)
    if not len(chosen) or chosen.min() < 0 or chosen.max() >= n_features:
        raise ValueError(f"features must be at least one index from 0 to {n_features - 1}")
    return chosen


def check_periodicity(structures):
    """Raise a ValueError for structures that are periodic in some directions only."""
    partly = np.flatnonzero(structures.pbc.any(axis=1) & ~structures.pbc.all(axis=1))
    if len(partly):
        raise ValueError(
            f"structure {partly[0]} is periodic along {structures.pbc[partly[0]]} only: give it a "
            "cell with enough empty space and pbc=True, or pbc=False"
        )


def check_cells(structures, order, scale, beta):
    """Raise a ValueError if a cell is narrower than the widest Gaussian, that of the scale."""
    periodic = np.flatnonzero(structures.pbc.all(axis=1))
    if order == 0 or not len(periodic):
        return
    across = widths(structures.cells[periodic])
    narrowest = int(across.argmin())
    width, widest = across[narrowest], 2.0**scale * beta
    if width < widest:
        raise ValueError(
            f"the cell of structure {periodic[narrowest]} is {width:.3g} Å across, but the widest "
            f"wavelet, of scale {scale:g}, has the standard deviation {widest:.3g} Å: leave out "
            "the largest scales, reduce beta, or repeat the cell"
        )
