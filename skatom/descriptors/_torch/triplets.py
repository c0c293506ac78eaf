"""The triplets of many centres: all pairs of neighbours of each."""

import torch


def enumerate_triplets(near, centers):
    """The places j < k among all pairs, of those in ``near`` that have the same centre.

    Parameters
    ----------
    near : Tensor of int, shape (n,)
        Places of the pairs that form triplets, in rising order.
    centers : Tensor of int, shape (n_pairs,)
        The centre of each pair, in rising order.

    Returns
    -------
    j, k : Tensor of int, shape (n_triplets,)
    """
    counts = torch.bincount(centers[near])
    ends = torch.cumsum(counts, 0)[centers[near]]
    place = torch.arange(len(near), device=near.device)
    partners = ends - place - 1
    first = torch.repeat_interleave(place, partners)
    begin = torch.cumsum(partners, 0) - partners
    second = torch.arange(len(first), device=near.device) - begin[first] + first + 1
    return near[first], near[second]


def block_of(first, second, n_species):
    """The number of each unordered pair of species p <= q, in the order (0, 0), (0, 1), …"""
    p, q = torch.minimum(first, second), torch.maximum(first, second)
    return p * n_species - p * (p - 1) // 2 + q - p
