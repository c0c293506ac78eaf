"""FCHL19 features of many centres, and their derivatives along pairs, on a device.

Pairs and triplets are rows of long arrays: the functions of each, then sums over the rows of each
centre. The formulae are those of the compiled loops, except that a shell of a triplet is one
exponential, exp(-η (ȳ - ρ_l)²) with the mean ȳ of the two distances; to start a few large
operations matters more than their number.
"""

from typing import NamedTuple

import numpy as np
import torch

from skatom.descriptors._torch.kernels import fused_kernels
from skatom.descriptors._torch.triplets import block_of, enumerate_triplets

# The sine of an angle has a cusp at 0 and π, where its derivative is set to zero.
_LINEAR = 1e-8


def scratch(counts, basis):
    """Bytes of the intermediate results of centres with these numbers of neighbours.

    Parameters
    ----------
    counts : ndarray of int, shape (n_centers,)
    basis : FCHL19Functions

    Returns
    -------
    values, jacobian : ndarray of float, shape (n_centers,)
        For `values` and `pair_gradients`, and for `pair_jacobian`.
    """
    block = 2 * len(basis.harmonics) * len(basis.shells3)
    n_blocks = basis.n_species * (basis.n_species + 1) // 2
    triplets = counts * (counts - 1.0) / 2
    values = 8.0 * (triplets * (4 * block + 40) + counts * 8 * len(basis.log_shells2) + 1)
    row = block * n_blocks + basis.n_species * len(basis.log_shells2)
    return values, 8.0 * (triplets * (16 * block + 40) + counts * 9 * row + 1)


def values(pairs, basis):
    """Features of the centres, (n_centers, n_features)."""
    fused = fused_kernels("fchl19", str(pairs.vectors.device))
    if fused is not None:
        return fused.values(pairs, basis)
    n, n_two = len(pairs.own), len(basis.log_shells2)
    two = torch.zeros((n * basis.n_species, n_two), dtype=torch.float64, device=pairs.own.device)
    radial = _log_normals(_lengths(pairs.vectors), basis)
    two.index_add_(0, pairs.centers * basis.n_species + pairs.species, radial.values)
    triplets = _triplets(pairs, basis)
    terms = (triplets.weight[:, None] * triplets.angular)[:, None] * triplets.shells[:, :, None]
    three = two.new_zeros((n * _n_blocks(basis), terms.shape[1:].numel()))
    three.index_add_(0, triplets.block, terms.flatten(1))
    return torch.cat([two.view(n, -1), three.view(n, -1)], 1)


def pair_gradients(pairs, basis, cotangent):
    """dE/dr_ij (n_pairs, 3) for dE/d features, (n_centers, n_features) or (1, n_features)."""
    fused = fused_kernels("fchl19", str(pairs.vectors.device))
    if fused is not None:
        return fused.pair_gradients(pairs, basis, cotangent)
    n, n_two = len(pairs.own), basis.n_species * len(basis.log_shells2)
    cotangent = cotangent.expand(n, -1)
    r = _lengths(pairs.vectors)
    rows = cotangent[:, :n_two].reshape(n * basis.n_species, -1)
    rows = rows[pairs.centers * basis.n_species + pairs.species]
    along = (rows * _log_normal_slopes(r, basis)).sum(1) / r
    gradients = along[:, None] * pairs.vectors
    triplets = _triplets(pairs, basis)
    rows = cotangent[:, n_two:].reshape(n * _n_blocks(basis), len(basis.shells3), -1)
    rows = rows[triplets.block] * triplets.shells[:, :, None]
    plain = rows.sum(1)
    t, m = plain * triplets.angular, (rows * basis.shells3[:, None]).sum(1) * triplets.angular
    v = (plain * triplets.slopes).sum(1)
    of_j, of_k = _along(triplets, pairs.vectors, t.sum(1), v, m.sum(1))
    gradients.index_add_(0, triplets.j, of_j)
    gradients.index_add_(0, triplets.k, of_k)
    return gradients


def pair_jacobian(pairs, basis):
    """d features_i / dr_ij, (n_pairs, 3, n_features)."""
    n_pairs, n_blocks = len(pairs.centers), _n_blocks(basis)
    r = _lengths(pairs.vectors)
    slopes = _log_normal_slopes(r, basis) / r[:, None]
    two = slopes.new_zeros((n_pairs, 3, basis.n_species, slopes.shape[1]))
    every = torch.arange(n_pairs, device=r.device)
    two[every, :, pairs.species] = pairs.vectors[:, :, None] * slopes[:, None]
    triplets = _triplets(pairs, basis)
    shells = triplets.shells[:, :, None]
    t, v = shells * triplets.angular[:, None], shells * triplets.slopes[:, None]
    m = basis.shells3[:, None] * t
    of_j, of_k = _along(triplets, pairs.vectors, t.flatten(1), v.flatten(1), m.flatten(1))
    three = slopes.new_zeros((n_pairs * n_blocks, *of_j.shape[1:]))
    which = triplets.block % n_blocks
    three.index_add_(0, triplets.j * n_blocks + which, of_j)
    three.index_add_(0, triplets.k * n_blocks + which, of_k)
    three = three.view(n_pairs, n_blocks, *of_j.shape[1:]).transpose(1, 2)
    return torch.cat([two.flatten(2), three.flatten(2)], 2)


def _n_blocks(basis):
    return basis.n_species * (basis.n_species + 1) // 2


def _lengths(vectors):
    return torch.linalg.vector_norm(vectors, dim=1)


def _cutoff_value(r, cutoff):
    return torch.cos(0.5 * np.pi / cutoff * r) ** 2


def _cutoff_slope(r, cutoff):
    """The derivative of its logarithm."""
    return -np.pi / cutoff * torch.tan(0.5 * np.pi / cutoff * r)


class LogNormalTensors(NamedTuple):
    """Two-body functions (n_pairs, n_r2) of all pairs, and ln R_k - μ and the variance s."""

    values: torch.Tensor
    z: torch.Tensor
    s: torch.Tensor  # (n_pairs, 1)


def _log_normals(r, basis):
    r = r[:, None]
    s = torch.log1p(basis.eta2 / (r * r))
    z = basis.log_shells2 - torch.log(r) + 0.5 * s
    scale = r**-basis.decay2 * _cutoff_value(r, basis.cutoff) / torch.sqrt(2 * np.pi * s)
    return LogNormalTensors(torch.exp(-0.5 / s * z * z) * scale * basis.inverse_shells2, z, s)


def _log_normal_slopes(r, basis):
    """d/dr of the two-body functions, (n_pairs, n_r2)."""
    radial, r = _log_normals(r, basis), r[:, None]
    z, s = radial.z, radial.s
    ds = -2 * basis.eta2 / (r * (r * r + basis.eta2))
    constant = _cutoff_slope(r, basis.cutoff) - basis.decay2 / r - 0.5 * ds / s
    return radial.values * (constant + z * ((1 / r - 0.5 * ds) / s + z * (0.5 * ds / (s * s))))


class TripletTensors(NamedTuple):
    """All pairs j < k of neighbours of one centre within the cutoff of three-body terms."""

    j: torch.Tensor  # the pairs with j and with k
    k: torch.Tensor
    block: torch.Tensor  # the pair of species of every centre
    weight: torch.Tensor  # without shells and harmonics
    shells: torch.Tensor  # exp(-η (ȳ - ρ_l)²), (n, n_r3)
    angular: torch.Tensor  # cos θ, sin θ, cos 3θ, … times their factors, (n, 2 n_fourier)
    slopes: torch.Tensor  # their derivatives with respect to cos θ
    along_j: tuple  # (p, q, z): r_ij is multiplied by p t + q v + z m, as t, v and m stand in the
    along_k: tuple  # compiled `triplet_slopes`
    cross: tuple


def _triplets(pairs, basis):
    r = _lengths(pairs.vectors)
    j, k = enumerate_triplets(torch.nonzero(r < basis.cutoff3)[:, 0], pairs.centers)
    which = block_of(pairs.species[j], pairs.species[k], basis.n_species)
    x_j, x_k, r_j, r_k = pairs.vectors[j], pairs.vectors[k], r[j], r[k]
    inverse = 1 / (r_j * r_k)
    sine = torch.linalg.vector_norm(torch.linalg.cross(x_j, x_k), dim=1) * inverse
    d = (x_j * x_k).sum(1)
    angular, slopes = _harmonics(d * inverse, sine, basis.harmonics)
    mean = 0.5 * (r_j + r_k - basis.cutoff3)
    shells = torch.exp(-basis.eta3 * (mean[:, None] - basis.shells3) ** 2)
    over = 1 / ((x_j - x_k) ** 2).sum(1)
    weight, *derivatives = _weights(r_j, r_k, d, over, mean, basis)
    block = pairs.centers[j] * _n_blocks(basis) + which
    return TripletTensors(j, k, block, weight, shells, angular, slopes, *derivatives)


def _harmonics(cosine, sine, factors):
    """cos mθ and sin mθ of odd m, and their derivatives with respect to cos θ, times factors."""
    inverse = torch.where(sine > _LINEAR, 1 / sine, 0.0)
    twice = 2 * (cosine * cosine - sine * sine)
    c, c_before, u, u_before = cosine, cosine, torch.ones_like(cosine), -torch.ones_like(cosine)
    angular, slopes = [], []
    for n, factor in enumerate(factors.tolist()):
        m = 2 * n + 1
        angular += [factor * c, factor * sine * u]
        slopes += [factor * m * u, -factor * m * c * inverse]
        c, c_before = twice * c - c_before, c
        u, u_before = twice * u - u_before, u
    return torch.stack(angular, 1), torch.stack(slopes, 1)


def _weights(r_j, r_k, d, over, mean, basis):
    """The weight g of each triplet and its derivatives, see the compiled `triplet_slopes`."""
    gap_j, gap_k = r_j * r_j - d, r_k * r_k - d
    square = 1 / (r_j * r_k) ** 2
    x = d * gap_j * gap_k * square * over
    reach = over ** (0.5 * basis.decay3)
    for r in (r_j, r_k):
        reach = reach * _cutoff_value(r, basis.cutoff3) * r**-basis.decay3
    g, away = reach * (1 + 3 * x), basis.decay3 * over * reach * (1 + 3 * x)
    double, half = 2 * d * d * square * over, 2 * x * over
    along = []
    for r, gap in ((r_j, gap_k), (r_k, gap_j)):
        slope = _cutoff_slope(r, basis.cutoff3) - basis.decay3 / r
        p = 3 * reach * (double * gap / (r * r) - half) - away
        p = p + g / r * (slope - basis.eta3 * mean)
        along.append((p, -g * d / (r_j * r_k * r * r), g * basis.eta3 / r))
    xd = (gap_j * gap_k * over - d) * square + half
    return g, *along, (3 * reach * xd + away, g / (r_j * r_k))


def _along(triplets, vectors, t, v, m):
    """Gradients (n, 3) along r_ij and r_ik for sums t, v and m (n,); (n, 3, w) for (n, w)."""
    x_j, x_k = vectors[triplets.j], vectors[triplets.k]
    if t.ndim == 2:
        x_j, x_k = x_j[:, :, None], x_k[:, :, None]

    def times(factors):
        terms = (factor.view(-1, *[1] * (t.ndim - 1)) * s for factor, s in factors)
        return sum(terms)[:, None]

    other = times(zip(triplets.cross, (t, v), strict=True))
    of_j = times(zip(triplets.along_j, (t, v, m), strict=True)) * x_j + other * x_k
    return of_j, times(zip(triplets.along_k, (t, v, m), strict=True)) * x_k + other * x_j
