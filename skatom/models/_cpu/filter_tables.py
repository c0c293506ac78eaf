"""Tables of functions of the distance, see `_torch.networks.filter_tables`."""

from skatom._numba import njit


@njit(cache=True, nogil=True)
def look_up(distances, table, step, values, slopes):
    """Values and slopes (T, n_edges, F) of the cubics (n_intervals, 4, T, F) at some distances."""
    last = len(table) - 1
    for e in range(len(distances)):
        scaled = distances[e] / step[0]
        k = min(int(scaled), last)
        x, left = scaled - k, 1 / step[0]
        for t in range(values.shape[0]):
            for f in range(values.shape[2]):
                b, c, d = table[k, 1, t, f], table[k, 2, t, f], table[k, 3, t, f]
                values[t, e, f] = ((d * x + c) * x + b) * x + table[k, 0, t, f]
                slopes[t, e, f] = ((3 * d * x + 2 * c) * x + b) * left
