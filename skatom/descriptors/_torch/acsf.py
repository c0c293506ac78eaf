"""Symmetry functions of many centres on a device; their derivatives by torch.

The functions are those of the compiled loops, pairs and triplets being rows of long arrays.
"""

from functools import partial
from math import pi, tanh

import torch

from skatom._cpu.elementwise import COSINE, TANH3, TANH3_PLAIN
from skatom.descriptors._torch.triplets import block_of, enumerate_triplets

# sin θ of a triplet that counts as straight, whose slope is 0.
_STRAIGHT = 1e-10


def scratch(counts, functions):
    """Bytes of the intermediate results of centres with these numbers of neighbours.

    Parameters
    ----------
    counts : ndarray of int, shape (n_centers,)
    functions : Functions

    Returns
    -------
    values, jacobian : ndarray of float, shape (n_centers,)
        For `values` and `pair_gradients`, and for `pair_jacobian`.
    """
    triplets = counts * (counts - 1.0) / 2 * (len(functions.terms) > 0)
    factors = len(functions.gaussians) + len(functions.zeta) + len(functions.bases)
    of_triplet = 6 * len(functions.terms) + 8 * factors + 40
    of_pair = 8 * (len(functions.radial) + len(functions.kappa)) + 40
    n_bytes = 8.0 * (triplets * of_triplet + counts * of_pair + 1)
    n = functions.n_channels
    n_features = n * (len(functions.radial) + len(functions.kappa))
    n_features += n * (n + 1) // 2 * len(functions.terms)
    return n_bytes, n_bytes + 48.0 * counts * n_features


def values(pairs, functions):
    """Features of the centres, (n_centers, n_features)."""
    n_centers, parts = len(pairs.own), []
    for function, vectors, places, block, n_blocks in _sums(pairs, functions):
        terms, centers = function(*vectors), pairs.centers[places[0]]
        out = terms.new_zeros((n_centers * n_blocks, terms.shape[1]))
        out = out.index_add(0, centers * n_blocks + block, terms)
        parts.append(out.view(n_centers, n_blocks * terms.shape[1]))
    return torch.cat(parts, 1)


def pair_gradients(pairs, functions, cotangent):
    """dE/dr_ij (n_pairs, 3) for dE/d features, (n_centers, n_features) or (1, n_features)."""
    with torch.enable_grad():
        vectors = pairs.vectors.detach().requires_grad_()
        energy = (values(pairs._replace(vectors=vectors), functions) * cotangent).sum()
        return torch.autograd.grad(energy, vectors)[0]


def pair_jacobian(pairs, functions):
    """d features_i / dr_ij, (n_pairs, 3, n_features).

    A term depends on one vector, or on two, and on no others: one pass forwards along the axes of
    all of these gives the derivatives of all functions, whatever the blocks of species.
    """
    n_pairs, parts = len(pairs.vectors), []
    for function, vectors, places, block, n_blocks in _sums(pairs, functions):
        slopes = _along_axes(function, vectors)
        n_functions = slopes.shape[3]
        out = slopes.new_zeros((n_pairs * n_blocks, 3, n_functions))
        for place, along in zip(places, slopes, strict=True):
            out.index_add_(0, place * n_blocks + block, along.transpose(0, 1))
        out = out.view(n_pairs, n_blocks, 3, n_functions).transpose(1, 2)
        parts.append(out.reshape(n_pairs, 3, n_blocks * n_functions))
    return torch.cat(parts, 2)


def _along_axes(function, vectors):
    """Derivatives (n_vectors, 3, n, n_functions) of terms along the axes of their vectors."""
    n_vectors = len(vectors)
    axes = torch.eye(3 * n_vectors, dtype=vectors[0].dtype, device=vectors[0].device)
    tangents = axes.view(-1, n_vectors, 1, 3).expand(-1, -1, len(vectors[0]), -1)

    def along(tangent):
        return torch.func.jvp(function, tuple(vectors), tuple(tangent))[1]

    slopes = torch.func.vmap(along)(tangents)
    return slopes.unflatten(0, (n_vectors, 3))


def _sums(pairs, functions):
    """The radial and the angular functions, as terms that are summed.

    Yields
    ------
    function : callable
        Gives terms (n, n_functions) of vectors.
    vectors : list of Tensor, shape (n, 3)
    places : list of Tensor of int, shape (n,)
        The pairs whose vectors they are.
    block : Tensor of int, shape (n,)
        The block of features of each term.
    n_blocks : int
    """
    n, channels = functions.n_channels, functions.channels[pairs.species]
    weights = functions.weights[pairs.species]
    every = torch.arange(len(channels), device=channels.device)
    radial = partial(_radial, functions, weights)
    yield radial, [pairs.vectors], [every], channels, n
    if not len(functions.terms):
        return
    r = torch.linalg.vector_norm(pairs.vectors, dim=1)
    near = torch.nonzero(r < functions.angular_cutoff)[:, 0]
    j, k = enumerate_triplets(near, pairs.centers)
    angular = partial(_angular, functions, weights[j] * weights[k])
    block = block_of(channels[j], channels[k], n)
    yield angular, [pairs.vectors[j], pairs.vectors[k]], [j, k], block, n * (n + 1) // 2


def _cutoff(kind, cutoff, r):
    """f_c(r), zero from the cutoff on, as the compiled `cutoff_values`."""
    x = torch.clip(r / cutoff, max=1.0)
    if kind == COSINE:
        return 0.5 + 0.5 * torch.cos(pi * x)
    if kind in (TANH3, TANH3_PLAIN):
        scale = tanh(1.0) ** 3 if kind == TANH3 else 1.0
        return torch.tanh(1 - x) ** 3 / scale
    u = 1 - x
    return (((-20 * u + 70) * u - 84) * u + 35) * u**4


def _radial(functions, weights, vectors):
    """Radial functions of every pair, (n_pairs, n_radial)."""
    r = torch.linalg.vector_norm(vectors, dim=1)
    eta, shift = functions.radial.T
    cosines = torch.cos(r[:, None] * functions.kappa)
    e = torch.cat([torch.exp(-eta * (r[:, None] - shift) ** 2), cosines], 1)
    return e * (weights * _cutoff(functions.cutoff_kind, functions.cutoff, r))[:, None]


def _angular(functions, weights, first, second):
    """Angular functions of every triplet, (n_triplets, n_angular)."""
    kind, cutoff = functions.cutoff_kind, functions.angular_cutoff
    r_j, r_k, apart = (torch.linalg.vector_norm(v, dim=1) for v in (first, second, second - first))
    a = _powers(functions, first / r_j[:, None], second / r_k[:, None])
    f = weights * _cutoff(kind, cutoff, r_j) * _cutoff(kind, cutoff, r_k)
    b = _gaussians(functions, r_j, r_k, apart) * f[:, None]
    power, gaussian = functions.terms.T
    return functions.scale * a[:, power] * b[:, gaussian]


def _powers(functions, first, second):
    """(1 + p cos θ + q sin θ)^ζ of every triplet, (n, n_powers)."""
    cosine = (first * second).sum(1)[:, None]
    square = (torch.linalg.cross(first, second) ** 2).sum(1)[:, None]
    straight = square < _STRAIGHT**2
    sine = torch.where(straight, 0.0, torch.sqrt(torch.where(straight, 1.0, square)))
    p, q = functions.bases.T
    bases = torch.clip(1 + p * cosine + q * sine, min=0.0)
    return bases[:, functions.power_of[:, 0]] ** functions.zeta


def _gaussians(functions, r_j, r_k, r_jk):
    """The Gaussians of every triplet, (n, n_gauss), with the cutoff function of r_jk of G4."""
    eta, shift = functions.gaussians.T
    n_g4, n_g5 = functions.n_g4, functions.n_g5
    r_j, r_k, r_jk = r_j[:, None], r_k[:, None], r_jk[:, None]
    behler, g4, ani = slice(0, n_g4 + n_g5), slice(0, n_g4), slice(n_g4 + n_g5, None)
    squares = (r_j - shift[behler]) ** 2 + (r_k - shift[behler]) ** 2
    exponents = [squares[:, g4] + (r_jk - shift[g4]) ** 2, squares[:, n_g4:]]
    exponents.append((0.5 * (r_j + r_k) - shift[ani]) ** 2)
    found = torch.exp(-eta * torch.cat(exponents, 1))
    inside = _cutoff(functions.cutoff_kind, functions.angular_cutoff, r_jk)
    return torch.cat([found[:, g4] * inside, found[:, n_g4:]], 1)
