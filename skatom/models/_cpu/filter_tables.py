"""Tables of functions of the distance, see `_torch.networks.filter_tables`."""

from skatom._numba import njit


@njit(cache=True, nogil=True)
def look_up(intervals, places, table, per_length, values, slopes):
    """Values and slopes (T, n, F) of the cubics (n_intervals, 4, T, F) at places within intervals.

    Places are from 0 to 1; ``per_length`` has one number, the intervals in a unit of length.
    """
    factor = per_length[0]
    for e in range(len(places)):
        k, x = intervals[e], places[e]
        for t in range(values.shape[0]):
            for f in range(values.shape[2]):
                b, c, d = table[k, 1, t, f], table[k, 2, t, f], table[k, 3, t, f]
                dx = d * x
                cx = dx + c
                values[t, e, f] = (cx * x + b) * x + table[k, 0, t, f]
                slopes[t, e, f] = ((cx + cx + dx) * x + b) * factor
