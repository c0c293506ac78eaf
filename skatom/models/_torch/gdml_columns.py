"""Block columns of the linear system of GDML, as operations on tensors.

A frame is a vector x of D inverse distances and a matrix A (k, D), the transposed Jacobian ∂x/∂R
of the coordinates that are kept. With δ = P_q x_i - x_j, and the permutations acting on the row
frames, a block of K_FF is

    Σ_q A_iq (w1 I - w2 δδᵀ) A_jᵀ = Σ_q [w1 A_iq A_jᵀ - w2 (A_iq δ)(A_j δ)ᵀ].

The products A_iq A_jᵀ are one matrix product for many frames; all else is element by element.
"""

from typing import NamedTuple

import torch

from skatom.models._torch.kernels import fused_kernel

# Numbers of a block of K that are worked on at once.
_BLOCK = 2**23
# Numbers of permuted Jacobians, and of their products, that are held at once.
_IMAGES, _PRODUCTS = 2**25, 2**26


class Frames(NamedTuple):
    """M frames on a device."""

    values: torch.Tensor  # x (M, D), relative to a common centre
    squares: torch.Tensor  # x·x (M,)
    jacobians: torch.Tensor  # A (M, k, D)
    along: torch.Tensor  # A x (M, k)


def dense_jacobians(gradients, signs, kept):
    """A (M, k, D) from the pair gradients c (M, D, 3), for ``kept`` coordinates (M, k).

    Coordinates of -1 have rows of zeros.
    """
    n_frames, n_pairs, _ = gradients.shape
    dense = torch.zeros(
        (n_frames, 3 * len(signs) + 1, n_pairs), dtype=gradients.dtype, device=gradients.device
    )  # the last row is that of -1
    by_atom = dense[:, :-1].view(n_frames, len(signs), 3, n_pairs)
    torch.mul(signs[None, :, None], gradients.transpose(1, 2)[:, None], out=by_atom)
    return dense.gather(1, (kept % dense.shape[1])[..., None].expand(-1, -1, n_pairs))


def frames_of(values, jacobians):
    """`Frames` from x (M, D) and A (M, k, D)."""
    return Frames(
        values, (values * values).sum(1), jacobians, torch.einsum("mkd,md->mk", jacobians, values)
    )


def force_columns(frames, permutations, sigma, columns, out):
    """Σ_q A_iq (w1 I - w2 δδᵀ) A_jᵀ of some column frames j and all rows from the first on.

    Parameters
    ----------
    frames : Frames
    permutations : Tensor of int, shape (S, D), of the pairs
    sigma : float
    columns : slice of frames
    out : Tensor, overwritten
        Its columns are those of the column frames, its rows begin with them.
    """
    first, n_kept = columns.start, frames.jacobians.shape[1]
    step = max(1, _BLOCK // (n_kept * out.shape[1]))
    for start in range(first, len(frames.values), step):
        stop = min(start + step, len(frames.values))
        block = out[(start - first) * n_kept : (stop - first) * n_kept]
        block = block.view(stop - start, n_kept, -1, n_kept)
        others = Frames(*(part[columns] for part in frames))
        _force_block(frames, permutations, sigma, slice(start, stop), others, block)


def rows_of_columns(frames, permutations, sigma, others, out):
    """Σ_q A_iq (w1 I - w2 δδᵀ) A_jᵀ of all frames i and of other frames j.

    Parameters
    ----------
    frames : Frames
    permutations : Tensor of int, shape (S, D), of the pairs
    sigma : float
    others : Frames, c of them with k' coordinates each
    out : Tensor, shape (M, k, c, k'), overwritten
    """
    step = max(1, _BLOCK // out[0].numel())
    for start in range(0, len(out), step):
        rows = slice(start, min(start + step, len(out)))
        _force_block(frames, permutations, sigma, rows, others, out[rows])


def _force_block(frames, permutations, sigma, rows, others, out):
    """The block of some row frames and of others, into ``out`` (r, k, c, k')."""
    n_rows, n_kept, n_columns, width = out.shape
    x, squares, jacobians, along = others
    flat = jacobians.reshape(n_columns * width, -1)
    fused = fused_kernel("combine", str(out.device)) if width == n_kept else None
    combine_all = fused or combine
    largest = min(_IMAGES // (n_rows * n_kept * x.shape[1]), _PRODUCTS // out.numel(), n_kept)
    for group, some in enumerate(permutations.split(max(1, largest))):
        images = frames.values[rows][:, some]  # (r, s, D)
        w1, w2 = _weights(images, frames.squares[rows], x, squares, sigma)  # (s, r, c)
        row_jacobians = frames.jacobians[rows][:, :, some].permute(2, 0, 1, 3).contiguous()
        left = frames.along[rows][..., None] - row_jacobians @ x.T  # A_iq δ (s, r, k, c)
        left *= w2[:, :, None]
        right = (images @ flat.T).view(n_rows, len(some), n_columns, width)
        right -= along  # A_j δ (r, s, c, k)
        products = row_jacobians.view(-1, x.shape[1]) @ flat.T
        products = products.view(len(some), *out.shape)
        combine_all(products, w1, left, right, out, group > 0)


def combine(products, w1, left, right, out, add):
    """Σ_q (w1 products - left right), written to ``out`` or added to it, see `fused.combine`."""
    for q, product in enumerate(products):
        weight = w1[q, :, None, :, None]
        if q or add:
            out.addcmul_(product, weight)
        else:
            torch.mul(product, weight, out=out)
        out.addcmul_(left[q][..., None], right[:, q, None], value=-1.0)


def _weights(images, row_squares, x, squares, sigma):
    """w1 and w2 of the Matérn-5/2 kernel between images (r, s, D) and x (c, D), shape (s, r, c)."""
    t = scaled_distances(images.transpose(0, 1), row_squares[None], x, squares, sigma)
    decay = torch.exp(-t)
    w1 = t.add_(1.0).mul_(decay).mul_(5.0 / (3.0 * sigma**2))
    return w1, decay.mul_(25.0 / (3.0 * sigma**4))


def scaled_distances(images, image_squares, x, squares, sigma):
    """t = √5|P_q x_i - x_j|/σ from inner products, (…, c).

    They cancel, but the kernel is even in t up to third order: an error ε of t² changes it by ε.
    """
    products = torch.addcmul(
        image_squares[..., None] + squares, images @ x.T, images.new_tensor(-2.0)
    )
    return products.clamp_(min=0.0).mul_(5.0 / sigma**2).sqrt_()


def energy_force_rows(frames, permutations, sigma, columns, out):
    """Cov(E_i, F_j) = -Σ_q w1 A_j (P_q x_i - x_j) of all i and some j, into ``out`` (M, c k)."""
    x, squares, jacobians, along = (part[columns] for part in frames)
    flat = jacobians.reshape(-1, x.shape[1])
    out = out.view(len(out), *along.shape)
    out.zero_()
    for permutation in permutations:
        images = frames.values[:, permutation]
        w1, _ = _weights(images[:, None], frames.squares, x, squares, sigma)
        right = (images @ flat.T).view(out.shape) - along
        out.addcmul_(right, w1[0, :, :, None], value=-1.0)


def energy_energy(frames, permutations, sigma):
    """Cov(E_i, E_j) = Σ_q k(P_q x_i, x_j) of all frames, (M, M)."""
    kernel = torch.zeros_like(frames.values[:, :1] @ frames.values[:, :1].T)
    for permutation in permutations:
        images = frames.values[:, permutation]
        t = scaled_distances(images, frames.squares, frames.values, frames.squares, sigma)
        kernel += (1.0 + t + t * t / 3.0) * torch.exp(-t)
    return kernel


def memory(n_frames, n_atoms):
    """Bytes of frames on the device, and of the blocks that are worked on."""
    n_coordinates, n_pairs = 3 * n_atoms, n_atoms * (n_atoms - 1) / 2
    dense = 2.0 * n_frames * (n_coordinates + 1) * n_pairs
    images = max(_IMAGES, n_coordinates * n_pairs)
    return 8.0 * (dense + 2 * images + _PRODUCTS + 3 * _BLOCK)
