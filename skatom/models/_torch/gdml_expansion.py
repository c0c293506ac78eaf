"""The kernel expansion of GDML on tensors: energies, slopes and second derivatives.

With y a query, x_i the references (their images under the permutations are references of their
own), δ = y - x_i and t = √5|δ|/σ, let d = exp(-t). Then w1 = a (1 + t) d and w2 = b d, and

    E = Σ_i β_i k - w1 δ·u_i,     ∂E/∂y = y Σ_i h_i - Σ_i (h_i x_i + w1 u_i),
    h_i = w2 δ·u_i - β_i w1.

Two matrix products give t² and δ·u_i, two others all sums over i; between them a handful of passes
over (queries × references) numbers remains, which take most of the time.
"""

from typing import NamedTuple

import torch

from skatom.models._torch.kernels import fused_kernel

# Rows of operands begin at multiples of this many numbers, which makes products fast.
_ALIGNMENT = 8
_REFERENCES = 32


class References(NamedTuple):
    """What is known of the references before a query comes; m counts images."""

    center: torch.Tensor  # (D,)
    signs: torch.Tensor  # (N, D), ∂x_p/∂r_a = signs[a, p] c_p
    distances: torch.Tensor  # (P, m): [y, y·y, 1] @ distances = t²
    alongs: torch.Tensor  # (P, m): [y, y·y, 1] @ alongs = δ·u
    values: torch.Tensor  # (m, P): b [x, 1, 0]
    slopes: torch.Tensor  # (m, P): a [u, 0, x·u]
    energies: torch.Tensor | None  # β (m,), None if all are zero
    sigma: float


def references(x, u, beta, images, center, signs, sigma):
    """`References` from x and u (M, D), relative to ``center``, and β (M,).

    Parameters
    ----------
    images : Tensor of int, shape (S, D)
        The group, acting on the pairs.
    """
    a, b = 5.0 / (3.0 * sigma**2), 25.0 / (3.0 * sigma**4)
    x, u = (part[:, images].transpose(0, 1).reshape(-1, part.shape[1]) for part in (x, u))
    squares, along = (x * x).sum(1, keepdim=True), (x * u).sum(1, keepdim=True)
    one, zero = torch.ones_like(along), torch.zeros_like(along)
    scale = 5.0 / sigma**2
    alongs, slopes = _of_coefficients(u, along, a)
    return References(
        center, signs,
        _padded(torch.cat([-2.0 * scale * x, scale * one, scale * squares], 1)).T.contiguous(),
        alongs,
        _padded(b * torch.cat([x, one, zero], 1)),
        slopes,
        _padded(beta.repeat(len(images))[:, None])[:, 0] if beta.any() else None,
        sigma,
    )  # fmt: skip


def with_coefficients(refs, u, images):
    """`References` with other coefficients u (M, D)."""
    a, b = 5.0 / (3.0 * refs.sigma**2), 25.0 / (3.0 * refs.sigma**4)
    u = u[:, images].transpose(0, 1).reshape(-1, u.shape[1])
    along = (refs.values[: len(u), : u.shape[1]] * u).sum(1, keepdim=True) / b
    alongs, slopes = _of_coefficients(u, along, a)
    return refs._replace(alongs=alongs, slopes=slopes)


def _of_coefficients(u, along, a):
    """``alongs`` and ``slopes`` of `References`, for u and x·u of all images."""
    zero = torch.zeros_like(along)
    return (
        _padded(torch.cat([u, zero, -along], 1)).T.contiguous(),
        _padded(a * torch.cat([u, zero, along], 1)),
    )


def _padded(rows):
    """Zeros to the right and below, up to multiples of the alignments."""
    n, width = rows.shape
    out = rows.new_zeros(-n % _REFERENCES + n, -width % _ALIGNMENT + width)
    out[:n, :width] = rows
    return out


def numbers_per_query(refs):
    """How many numbers a query takes while it is worked on."""
    n_atoms, n_pairs = refs.signs.shape
    return 3 * refs.distances.shape[1] + 4 * len(refs.distances) + 16 * n_pairs + 6 * n_atoms


def pair_vectors(positions, signs):
    """r_a - r_b of all pairs, shape (n, 3, D), from positions (n, N, 3)."""
    n, n_atoms, _ = positions.shape
    rows = positions.transpose(1, 2).reshape(3 * n, n_atoms)
    return (rows @ -signs).view(n, 3, -1)


def of_vectors(refs, vectors, with_virial=False):
    """Energies and derivatives from the pair vectors (n, 3, D).

    Returns
    -------
    energies (n,), gradient ∂E/∂R (n, N, 3), virial (n, 3, 3) or None, and the smallest |r|²
    """
    squares = (vectors * vectors).sum(1)
    x = squares.rsqrt()
    energies, slopes = energies_and_slopes(refs, x - refs.center)
    on_pairs = vectors * (slopes * (x * x * x))[:, None]  # ∂E/∂x c
    n, _, n_pairs = vectors.shape
    gradient = (on_pairs.view(3 * n, n_pairs) @ refs.signs.T).view(n, 3, -1).transpose(1, 2)
    virial = -(on_pairs @ vectors.transpose(1, 2)) if with_virial else None
    return energies, gradient, virial, squares.amin()


def energies_and_slopes(refs, queries):
    """E (n,) and ∂E/∂y (n, D) at queries y (n, D), relative to the centre."""
    n_pairs = queries.shape[1]
    extended = _extended(queries, len(refs.distances))
    w1, h, energies = _weights(refs, extended @ refs.distances, extended @ refs.alongs)
    of_values, of_slopes = h @ refs.values, w1 @ refs.slopes
    along = of_slopes[:, :n_pairs]
    energies = energies + of_slopes[:, n_pairs + 1] - (queries * along).sum(1)
    sums = of_values[:, n_pairs, None]
    return energies, torch.addcmul(-along - of_values[:, :n_pairs], queries, sums)


def _extended(queries, width):
    """[y, y·y, 1, 0 …]."""
    n, n_pairs = queries.shape
    out = queries.new_zeros(n, width)
    out[:, :n_pairs] = queries
    torch.sum(queries * queries, 1, out=out[:, n_pairs])
    out[:, n_pairs + 1] = 1.0
    return out


def _weights(refs, t, along):
    """w1 / a, h / b and Σ_i β_i k, in place of t² and δ·u."""
    if refs.energies is not None:
        return _weights_and_kernel(refs, t, along)
    (fused_kernel("weigh", str(t.device)) or weigh)(t, along)
    return t, along, 0.0


def weigh(t, along):
    """t² into (1 + t) d and δ·u into d δ·u, in place."""
    t.clamp_(min=0.0).sqrt_()
    decay = torch.neg(t).exp_()
    along.mul_(decay)
    torch.addcmul(decay, t, decay, out=t)


def _weights_and_kernel(refs, t, along):
    t.clamp_(min=0.0).sqrt_()
    decay = torch.neg(t).exp_()
    kernel = (t * t).mul_(decay).div_(3.0)
    w1 = torch.addcmul(decay, t, decay, out=t)
    # a / b = σ² / 5
    h = along.mul_(decay).addcmul_(w1, refs.energies, value=-(refs.sigma**2) / 5.0)
    return w1, h, kernel.add_(w1) @ refs.energies


def hessians(refs, vectors):
    """∂²E/∂R² (n, 3N, 3N) from the pair vectors (n, 3, D)."""
    n, _, n_pairs = vectors.shape
    n_coordinates = 3 * len(refs.signs)
    squares = (vectors * vectors).sum(1)
    x = squares.rsqrt()
    _, slopes = energies_and_slopes(refs, x - refs.center)
    c = vectors * (x * x * x)[:, None]
    jacobians = torch.einsum("ap,nxp->naxp", refs.signs, c).reshape(n, n_coordinates, n_pairs)
    of_x = torch.stack([_second_derivatives(refs, query) for query in x - refs.center])
    # ∂²x/∂r∂r = 3vvᵀ/d⁵ - I/d³, with v/d³ = c and 1/d = x
    curvature = 3.0 * torch.einsum("nxp,nyp->nxyp", c, c / x[:, None])
    curvature -= torch.eye(3, dtype=x.dtype, device=x.device)[..., None] * (x**3)[:, None, None]
    curvature *= slopes[:, None, None]
    bent = (refs.signs[:, None, None] * curvature[:, None]) @ refs.signs.T  # (n, a, x, y, b)
    bent = bent.transpose(3, 4)
    return jacobians @ of_x @ jacobians.transpose(1, 2) + bent.reshape(n, n_coordinates, -1)


def _second_derivatives(refs, query):
    """∂²E/∂y² (D, D) at one query (D,), see `KernelExpansion.hessian`."""
    n_pairs = len(query)
    a, b = 5.0 / (3.0 * refs.sigma**2), 25.0 / (3.0 * refs.sigma**4)
    delta = query - refs.values[:, :n_pairs] / b
    u = refs.slopes[:, :n_pairs] / a
    along = (delta * u).sum(1)
    t = (5.0 * (delta * delta).sum(1)).sqrt() / refs.sigma
    decay = torch.exp(-t)
    w1, w2 = a * (1.0 + t) * decay, b * decay
    # the term in w3 vanishes with δ
    w3 = torch.where(t > 0, 5.0 * w2 / (refs.sigma**2 * t), 0.0)
    beta = 0.0 if refs.energies is None else refs.energies
    mixed = (w2[:, None] * u).T @ delta
    outer = ((beta * w2 - w3 * along)[:, None] * delta).T @ delta
    h = (w2 * along - beta * w1).sum()
    return mixed + mixed.T + outer + h * torch.eye(n_pairs, dtype=query.dtype, device=query.device)
