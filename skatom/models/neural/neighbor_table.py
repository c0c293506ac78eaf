"""The table of neighbours: a row for each atom, a slot for each of its edges."""

import numpy as np


def fill_table(real, whole, first, second, degrees):
    """Fill the arrays of the table of a batch.

    Each edge has two slots, one in the row of either end. Slots that are left, and edges that pad,
    count for nothing: their mask is zero, and they point to the last slot of all.

    Parameters
    ----------
    real, whole : dict of ndarray
        The floats and integers of a batch by name. ``slot_mask`` is 1 for a slot with an edge,
        ``slot_neighbors`` and ``slot_edges`` are its neighbour and its edge, ``slot_reverse`` the
        slot of the edge's other end, and ``edge_slots`` both slots of an edge.
    first, second : ndarray of int, shape (n_edges,)
        The ends of the edges.
    degrees : ndarray of int, shape (n_atoms,)
    """
    n_atoms, n_slots, _ = real["slot_mask"].shape
    n_edges, last = len(first), n_atoms * n_slots - 1
    centers, others = np.concatenate([first, second]), np.concatenate([second, first])
    order = np.argsort(centers, kind="stable")
    starts = np.cumsum(degrees) - degrees
    slots = np.empty(2 * n_edges, int)
    slots[order] = centers[order] * n_slots + np.arange(2 * n_edges) - starts[centers[order]]
    real["slot_mask"].reshape(-1)[slots] = 1
    for name in ("slot_neighbors", "slot_edges", "slot_reverse"):
        whole[name][...] = last if name == "slot_reverse" else 0
    whole["slot_neighbors"][slots] = others
    whole["slot_edges"][slots] = np.tile(np.arange(n_edges), 2)
    whole["slot_reverse"][slots] = np.roll(slots, n_edges)
    whole["edge_slots"][...] = last
    whole["edge_slots"][:, :n_edges] = slots.reshape(2, n_edges)
