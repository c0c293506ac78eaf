"""Matrices of graphs that are functions of the Laplacian L = I - D^-1/2 A D^-1/2."""

import numpy as np


def operators(name, adjacency, order):
    """Matrices P_k (order, n, n), whose sum with weights is a filter of a graph.

    Parameters
    ----------
    name : {"spectral", "chebyshev", "renormalized"}
        "spectral": V B_k(Λ) Vᵀ with the eigenvectors V and eigenvalues Λ of L and hat functions B_k
        of eigenvalues from 0 to 2, which add up to 1. "chebyshev": the polynomials T_k(L - I),
        which reach k bonds; eigenvalues are at most 2. "renormalized": D^-1/2 A D^-1/2 of degrees
        and adjacency with a loop at each atom.
    adjacency : ndarray of bool, shape (n, n)
    order : int
    """
    eye = np.eye(len(adjacency))
    if name == "renormalized":
        return _scaled(adjacency + eye)[None]
    scaled = -_scaled(adjacency.astype(float))
    if name == "spectral":
        values, vectors = np.linalg.eigh(eye + scaled)
        hats = np.maximum(0, 1 - np.abs(values * (order - 1) / 2 - np.arange(order)[:, None]))
        return (vectors * hats[:, None]) @ vectors.T
    found = [eye, scaled]
    for _ in range(order - 2):
        found.append(2 * scaled @ found[-1] - found[-2])
    return np.array(found[:order])


def _scaled(a):
    """D^-1/2 A D^-1/2; atoms without neighbours have zeros."""
    degrees = a.sum(axis=1)
    roots = np.where(degrees > 0, 1 / np.sqrt(np.maximum(degrees, 1)), 0.0)
    return roots[:, None] * a * roots
