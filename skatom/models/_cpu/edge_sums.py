"""Sums over the edges of graphs, each of which joins two atoms, see `_torch.networks.edge_sums`.

Edges are taken one after the other, so sums repeat themselves. Loops over features are innermost,
with one sum each: compilers then take several features at once.
"""

from skatom._numba import njit


@njit(cache=True, nogil=True)
def convolve(h, filters, first, second, out):
    """Add h_j w_e to the sum of atom i, and h_i w_e to that of atom j, for each edge (i, j)."""
    for e in range(len(first)):
        i, j = first[e], second[e]
        for f in range(h.shape[1]):
            out[i, f] += h[j, f] * filters[e, f]
        for f in range(h.shape[1]):
            out[j, f] += h[i, f] * filters[e, f]


@njit(cache=True, nogil=True)
def multiply(u, h, first, second, out):
    """u_i h_j + u_j h_i of each edge."""
    for e in range(len(first)):
        i, j = first[e], second[e]
        for f in range(h.shape[1]):
            out[e, f] = u[i, f] * h[j, f] + u[j, f] * h[i, f]


@njit(cache=True, nogil=True)
def convolve_vectors(sources, filters, first, second, out):
    """Add (s a, p d + q c) of the other end of each edge to the sums (n_atoms, 4, F) of one."""
    n = sources.shape[2]
    for e in range(len(first)):
        i, j = first[e], second[e]
        for f in range(n):
            out[i, 0, f] += sources[j, 0, f] * filters[e, 0, f]
        for f in range(n):
            out[j, 0, f] += sources[i, 0, f] * filters[e, 0, f]
        for k in range(1, out.shape[1]):
            for f in range(n):
                out[i, k, f] += sources[j, 1, f] * filters[e, k, f]
            for f in range(n):
                out[j, k, f] -= sources[i, 1, f] * filters[e, k, f]
        for k in range(2, sources.shape[1]):
            for f in range(n):
                out[i, k - 1, f] += sources[j, k, f] * filters[e, 4, f]
            for f in range(n):
                out[j, k - 1, f] += sources[i, k, f] * filters[e, 4, f]


@njit(cache=True, nogil=True)
def convolve_back(results, filters, first, second, out):
    """Add the derivatives of `convolve_vectors` by sources, (n_atoms, 5 or 2, F)."""
    n = results.shape[2]
    for e in range(len(first)):
        i, j = first[e], second[e]
        for f in range(n):
            out[i, 0, f] += results[j, 0, f] * filters[e, 0, f]
        for f in range(n):
            out[j, 0, f] += results[i, 0, f] * filters[e, 0, f]
        for k in range(1, results.shape[1]):
            for f in range(n):
                out[i, 1, f] -= results[j, k, f] * filters[e, k, f]
            for f in range(n):
                out[j, 1, f] += results[i, k, f] * filters[e, k, f]
        for k in range(2, out.shape[1]):
            for f in range(n):
                out[i, k, f] += results[j, k - 1, f] * filters[e, 4, f]
            for f in range(n):
                out[j, k, f] += results[i, k - 1, f] * filters[e, 4, f]


@njit(cache=True, nogil=True)
def multiply_vectors(results, sources, first, second, out):
    """The derivatives of `convolve_vectors` by filters, (n_edges, 5 or 4, F)."""
    n = out.shape[2]
    for e in range(len(first)):
        i, j = first[e], second[e]
        for f in range(n):
            out[e, 0, f] = results[i, 0, f] * sources[j, 0, f] + results[j, 0, f] * sources[i, 0, f]
        for k in range(1, results.shape[1]):
            for f in range(n):
                of_j = results[i, k, f] * sources[j, 1, f]
                out[e, k, f] = of_j - results[j, k, f] * sources[i, 1, f]
        for k in range(4, out.shape[1]):  # none without vectors
            for f in range(n):
                total = results[i, 1, f] * sources[j, 2, f] + results[j, 1, f] * sources[i, 2, f]
                total += results[i, 2, f] * sources[j, 3, f] + results[j, 2, f] * sources[i, 3, f]
                total += results[i, 3, f] * sources[j, 4, f] + results[j, 3, f] * sources[i, 4, f]
                out[e, k, f] = total
