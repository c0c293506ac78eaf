"""Products of sparse derivatives of rows of features with vectors, structure by structure."""

from skatom._numba import njit
from skatom.parallel import run_in_threads


def slopes_along(blocks, chosen, starts, shifts, slopes, out):
    """Add Σ_f values[b, c, f] slopes[row, f] of the blocks of chosen structures.

    Parameters
    ----------
    blocks : tuple of ndarray
        values (n_blocks, k, n_features), rows, outputs, and offsets of the structures.
    chosen : ndarray of int, shape (m,)
        The structures.
    starts, shifts : ndarray of int, shape (m,)
        What the rows and the outputs of each structure are less than in all data.
    slopes : ndarray of float, shape (n_rows, n_features)
    out : ndarray of float, shape (n_outputs,)
    """
    run_in_threads(_slopes_along, len(chosen), *blocks, chosen, starts, shifts, slopes, out)


def tangents_of(blocks, chosen, starts, shifts, vector, out):
    """Add Σ_c values[b, c] vector[output] to the rows ``out`` (n_rows, n_features)."""
    run_in_threads(_tangents_of, len(chosen), *blocks, chosen, starts, shifts, vector, out)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _slopes_along(first, last, values, rows, outputs, offsets, chosen, starts, shifts, slopes, out):
    for m in range(first, last):
        s = chosen[m]
        for b in range(offsets[s], offsets[s + 1]):
            own = slopes[rows[b] - starts[m]]
            for c in range(values.shape[1]):
                along, total = values[b, c], 0.0
                for f in range(len(own)):
                    total += along[f] * own[f]
                out[outputs[b] - shifts[m] + c] += total


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _tangents_of(first, last, values, rows, outputs, offsets, chosen, starts, shifts, vector, out):
    for m in range(first, last):
        s = chosen[m]
        for b in range(offsets[s], offsets[s + 1]):
            own = out[rows[b] - starts[m]]
            for c in range(values.shape[1]):
                along, factor = values[b, c], vector[outputs[b] - shifts[m] + c]
                for f in range(len(own)):
                    own[f] += along[f] * factor
