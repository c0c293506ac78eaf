"""Radial, power and bispectra of many centres, their derivatives along pairs, on a device.

The channel q of c[lm, q] runs over (species, n). The power spectrum keeps q <= q' and multiplies
q < q' by √2, as in the compiled loops; the sum over m is a product of small matrices for each
centre.
"""

from math import pi, sqrt

import torch

from skatom.descriptors._torch import bispectrum
from skatom.descriptors._torch import density as plain
from skatom.descriptors._torch.density import by_degree
from skatom.descriptors._torch.kernels import fused_kernels


def scratch(counts, density):
    """Bytes of the intermediate results of centres with these numbers of neighbours.

    Parameters
    ----------
    counts : ndarray of int, shape (n_centers,)
    density : Density

    Returns
    -------
    values, jacobian : ndarray of float, shape (n_centers,)
        For `values` and `pair_gradients`, and for `pair_jacobian`.
    """
    n_lm, channels = (density.l_max + 1) ** 2, len(density.mixing) * density.n_max
    n_features, of_cubes = channels, 0
    if density.nu == 2:
        n_features = channels**2 * (density.l_max + 1)
    elif density.nu == 3:
        # squares of each m and cubes of one triple, beside the features of all
        n_features = channels**3 * len(density.coupling[0]) / 6
        of_cubes = 3 * channels**3 + 6 * channels**2 * (2 * density.l_max + 1)
    of_center = 3.0 * n_features + of_cubes + 4 * n_lm * density.n_max * density.mixing.shape[1]
    of_pair = n_lm * (density.n_max + 8) + 4 * (density.l_max + 1) * density.n_max
    of_tangents = 12 * n_lm * density.n_max + 3 * n_lm * channels + 9 * n_features + 4 * of_cubes
    return 8 * (of_center + counts * of_pair), 8 * (of_center + counts * (of_pair + of_tangents))


def values(pairs, density):
    """Features of the centres, (n_centers, n_features)."""
    loops = _loops(pairs, density)
    c = _coefficients(loops.pair_functions(pairs, density, False), loops)
    if _fits(loops, c, density):
        return loops.power_spectrum(c, density)
    p = _spectrum(c, density)
    return p.mul_(_inverse_lengths(p)) if density.normalize else p


def pair_gradients(pairs, density, cotangent):
    """dE/dr_ij (n_pairs, 3) for dE/d features, (n_centers, n_features) or (1, n_features)."""
    loops = _loops(pairs, density)
    functions = loops.pair_functions(pairs, density, True)
    c = _coefficients(functions, loops)
    if _fits(loops, c, density):
        dc = loops.power_spectrum_cotangent(c, density, cotangent)
    else:
        cotangent = cotangent.expand(len(c), -1)
        if density.normalize:
            p = _spectrum(c, density)
            cotangent = _project(p, _inverse_lengths(p), cotangent)
        dc = _cotangent(c, density, cotangent)
    return loops.expansion_gradients(functions, _unmixed(dc, density))


def _loops(pairs, density):
    """The fused kernels of a card, or torch's operations."""
    fused = fused_kernels("soap", str(pairs.vectors.device))
    return plain if fused is None or density.l_max > fused.LARGEST_L else fused


def _coefficients(functions, loops):
    """c (n_centers, n_lm, n_channels)."""
    return _mixed(loops.expand(functions), functions.density)


def _fits(loops, c, density):
    """Whether fused kernels make the power spectrum of so many channels."""
    return density.nu == 2 and loops is not plain and c.shape[2] <= loops.MOST_CHANNELS


def pair_jacobian(pairs, density):
    """d features_i / dr_ij, (n_pairs, 3, n_features)."""
    loops = _loops(pairs, density)
    functions = loops.pair_functions(pairs, density, True)
    c = _coefficients(functions, loops)
    if _fits(loops, c, density):
        return loops.power_spectrum_jacobian(functions, c)
    if loops is not plain:
        functions = plain.pair_functions(pairs, density, True)
    dc, mixing = plain.tangents(functions), density.mixing[:, pairs.species]
    # (n_pairs, 3, n_lm, channels): a neighbour changes the channels of its species
    dc = torch.einsum("jp,paln->paljn", mixing, dc).flatten(3)
    jacobian = _spectrum_tangent(c[pairs.centers], dc, density)
    if density.normalize:
        p = _spectrum(c, density)
        scale = _inverse_lengths(p)[pairs.centers, None]
        jacobian = _project(p[pairs.centers, None], scale, jacobian)
    return jacobian


def _mixed(c, density):
    """(n_centers, n_lm, channels) from (n_centers, n_lm, n_species, n_max)."""
    return (torch.einsum("js,ilsm->iljm", density.mixing, c) if density.mixes else c).flatten(2)


def _unmixed(dc, density):
    """The transpose of `_mixed`."""
    dc = dc.view(*dc.shape[:2], len(density.mixing), density.n_max)
    return torch.einsum("js,iljm->ilsm", density.mixing, dc) if density.mixes else dc


def _inverse_lengths(p):
    """1/|p| (n, 1), and 0 for empty environments, whose normalised features are 0."""
    lengths = torch.linalg.vector_norm(p, dim=1, keepdim=True)
    return torch.where(lengths > 0, 1 / lengths, 0.0)


def _project(p, scale, rows):
    """scale (row - p (p · row) / |p|²): the transpose, and itself, of d(p / |p|) / dp."""
    along = (p * rows).sum(-1, keepdim=True) * scale**2
    return scale * (rows - along * p)


def _degrees(density):
    """The components of each degree l, and √(8π² / (2l + 1))."""
    for l, part in by_degree(density.l_max):
        yield part, sqrt(8 * pi**2 / (2 * l + 1))


def _packing(n_channels, device):
    """Where q <= q' are in a flat square, the place of (q, q') among them, and their factors."""
    upper = torch.triu_indices(n_channels, n_channels, device=device)
    place = torch.empty((n_channels, n_channels), dtype=torch.long, device=device)
    place[upper[0], upper[1]] = place[upper[1], upper[0]] = torch.arange(
        upper.shape[1], device=device
    )
    factors = 2 ** (0.5 * (upper[0] != upper[1]).double())
    return upper[0] * n_channels + upper[1], place.flatten(), factors


def _spectrum(c, density):
    """Unnormalised features (n, n_features) of coefficients (n, n_lm, channels)."""
    if density.nu == 1:
        return sqrt(8 * pi**2) * c[:, 0]
    if density.nu == 3:
        return bispectrum.spectrum(c, density.coupling[0])
    upper, _, factors = _packing(c.shape[2], c.device)
    out = c.new_empty((len(c), density.l_max + 1, len(upper)))
    for l, (part, weight) in enumerate(_degrees(density)):
        square = torch.bmm(c[:, part].transpose(1, 2), c[:, part])
        torch.mul(square.flatten(1)[:, upper], weight * factors, out=out[:, l])
    return out.flatten(1)


def _cotangent(c, density, cotangent):
    """dE/dc (n, n_lm, channels) for dE/d features (n, n_features)."""
    if density.nu == 3:
        return bispectrum.cotangent(c, density.coupling[0], cotangent)
    dc = torch.zeros_like(c)
    if density.nu == 1:
        dc[:, 0] = sqrt(8 * pi**2) * cotangent
        return dc
    upper, place, factors = _packing(c.shape[2], c.device)
    rows = cotangent.reshape(len(c), density.l_max + 1, len(upper))
    # (q, q') and (q', q) in a square; the diagonal counts twice
    factors = (factors * torch.where(factors == 1, 2.0, 1.0))[place]
    for l, (part, weight) in enumerate(_degrees(density)):
        square = (rows[:, l, place] * (weight * factors)).view(len(c), c.shape[2], c.shape[2])
        dc[:, part] = torch.bmm(c[:, part], square)
    return dc


def _spectrum_tangent(c, dc, density):
    """Derivatives (n_pairs, 3, n_features) for changes dc (n_pairs, 3, n_lm, channels)."""
    if density.nu == 1:
        return sqrt(8 * pi**2) * dc[:, :, 0]
    if density.nu == 3:
        return bispectrum.tangent(c, dc, density.coupling[0])
    upper, _, factors = _packing(c.shape[2], c.device)
    out = dc.new_empty((*dc.shape[:2], density.l_max + 1, len(upper)))
    for l, (part, weight) in enumerate(_degrees(density)):
        square = torch.matmul(dc[:, :, part].transpose(2, 3), c[:, None, part])
        square = (square + square.transpose(2, 3)).flatten(2)
        torch.mul(square[:, :, upper], weight * factors, out=out[:, :, l])
    return out.flatten(2)
