"""Batches of graphs in two buffers, one of floats and one of integers.

Two copies bring a batch to a card, and views of the buffers are the arrays of the batch. Batches of
one layout have equal shapes, so that recorded work on them can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np

from skatom.models.neural.neighbor_table import fill_table
from skatom.properties import OUTPUTS

# Whether structures or atoms have the numbers of a network, and the shape of one.
NUMBERS = {p.name: (p.per, p.shape) for p in OUTPUTS.values()} | {
    "gradient": ("atom", (3,)), "virial": ("structure", (6,)),
}  # fmt: skip
# Numbers of atoms and edges of padded batches are those of a grid with this ratio.
_GRID = 2**0.25


@dataclass(frozen=True)
class BatchLayout:
    """The shapes of a batch.

    Attributes
    ----------
    n_structures, n_atoms, n_edges, n_species : int
        Numbers in the batch, those that pad it included.
    labels : tuple of str
        Names of the labels, of `NUMBERS`.
    sorted : bool
        Whether the edges are also listed by atom, from both ends, for sums over segments.
    dtype : {"float32", "float64"}
    n_slots : int
        Columns of the table of neighbours, 0 if there is none.
    n_edge_numbers, n_atom_numbers : int
        What is known of an edge beside its vector, and of an atom beside its element.
    faded : bool
        Whether neighbours see atoms in part.
    """

    n_structures: int
    n_atoms: int
    n_edges: int
    n_species: int
    labels: tuple
    sorted: bool
    dtype: str
    n_slots: int = 0
    n_edge_numbers: int = 0
    n_atom_numbers: int = 0
    faded: bool = False

    @classmethod
    def of(cls, graphs, n_structures, n_species, *, labels, on_card, dtype):
        """The layout of a batch: as it is, or padded and sorted for a card."""
        n_slots = max(1, int(graphs.degrees(1).max())) if graphs.tabled else 0
        layout = cls(
            n_structures, len(graphs.kinds), len(graphs.first), n_species, tuple(labels), on_card,
            dtype, n_slots, _width(graphs.edge_numbers), _width(graphs.atom_numbers),
            graphs.presence is not None,
        )  # fmt: skip
        if not on_card:
            return layout
        # an atom to spare is the end of the edges that pad
        return replace(
            layout, n_atoms=_on_grid(layout.n_atoms + 1), n_edges=_on_grid(layout.n_edges + 1),
            n_slots=_on_grid(n_slots) if n_slots else 0,
        )  # fmt: skip

    @cached_property
    def floats(self):
        """Shapes of the arrays of floats by name."""
        n, atoms, edges = self.n_structures, self.n_atoms, self.n_edges
        shapes = {
            "vectors": (edges, 3), "one_hot": (atoms, self.n_species), "degrees": (atoms, 1),
            "positions": (atoms, 3), "shares": (n,),
        }  # fmt: skip
        for name in self.labels:
            per, shape = NUMBERS[name]
            rows = n if per == "structure" else atoms
            shapes |= {name: (rows, *shape), f"{name}_weight": (rows, *(1,) * len(shape))}
        if self.sorted:
            shapes["signs"] = (2 * edges, 1)
        if self.n_slots:
            shapes["slot_mask"] = (atoms, self.n_slots, 1)
        known = {"edge_numbers": (edges, self.n_edge_numbers),
                 "atom_numbers": (atoms, self.n_atom_numbers),
                 "presence": (atoms, int(self.faded))}  # fmt: skip
        return shapes | {name: shape for name, shape in known.items() if shape[1]}

    @cached_property
    def integers(self):
        """Shapes of the arrays of integers by name."""
        n, atoms, edges = self.n_structures, self.n_atoms, self.n_edges
        shapes = {
            "first": (edges,), "second": (edges,), "atom_owners": (atoms,), "edge_owners": (edges,)
        }  # fmt: skip
        if self.sorted:
            shapes |= {
                "neighbors": (2 * edges,), "entries": (2 * edges,), "starts": (atoms + 1,),
                "atom_starts": (n + 1,), "edge_starts": (n + 1,),
            }  # fmt: skip
        if self.n_slots:
            size = (atoms * self.n_slots,)
            shapes |= {"slot_neighbors": size, "slot_edges": size, "slot_reverse": size,
                       "edge_slots": (2, edges)}  # fmt: skip
        return shapes

    @property
    def sizes(self):
        """Lengths of the buffers of floats and of integers."""
        return [sum(map(prod, shapes.values())) for shapes in (self.floats, self.integers)]


def _width(numbers):
    return 0 if numbers is None else numbers.shape[1]


def _on_grid(n):
    """The next number of the grid."""
    size = max(8, int(np.ceil(_GRID ** np.ceil(np.log(n) / np.log(_GRID) - 1e-9))))
    return max(size, n)


def views(buffer, shapes):
    """The arrays, or tensors, that a buffer is divided into."""
    found, start = {}, 0
    for name, shape in shapes.items():
        stop = start + prod(shape)
        found[name] = buffer[start:stop].reshape(shape)
        start = stop
    return found


def packed(graphs, layout, cutoff, labels=None):
    """A batch in the buffers of a layout.

    What is left of a layout is padded with edges from an atom of no structure to itself, of the
    length of the cutoff: at length zero derivatives would not be finite.

    Parameters
    ----------
    graphs : Graphs
    layout : BatchLayout
        With at least the numbers of the graphs.
    cutoff : float
    labels : dict of ndarray, default=None
        Labels and their weights by name.

    Returns
    -------
    tuple of ndarray
        The floats and the integers.
    """
    n_floats, n_integers = layout.sizes
    floats, integers = np.zeros(n_floats, layout.dtype), np.zeros(n_integers, np.int64)
    real, whole = views(floats, layout.floats), views(integers, layout.integers)
    n, n_atoms, n_edges = len(graphs), len(graphs.kinds), len(graphs.first)
    first, second = graphs.ends()
    real["vectors"][:n_edges] = graphs.vectors
    real["vectors"][n_edges:, 0] = cutoff
    if graphs.shares is None:
        real["one_hot"][np.arange(n_atoms), graphs.kinds] = 1
    else:
        real["one_hot"][:n_atoms] = graphs.shares
    degrees = graphs.degrees(layout.n_atoms)
    real["degrees"][:, 0] = graphs.seen_degrees(layout.n_atoms)
    real["positions"][:n_atoms] = graphs.positions
    real["shares"][:n] = 1 / graphs.n_atoms
    for name, ends in (("first", first), ("second", second)):
        whole[name][:n_edges] = ends
        whole[name][n_edges:] = layout.n_atoms - 1
    # the sums of structure n, which is none, are not used
    for name, offsets in (("atom_owners", graphs.offsets), ("edge_owners", graphs.edge_offsets)):
        whole[name][...] = layout.n_structures
        whole[name][: offsets[-1]] = np.repeat(np.arange(n), np.diff(offsets))
    if layout.sorted:
        _sort(real, whole, graphs, first, second, degrees)
    if layout.n_slots:
        fill_table(real, whole, first, second, degrees)
    for name in ("edge_numbers", "atom_numbers", "presence"):
        if name in real:
            values = getattr(graphs, name)
            real[name][: len(values)] = values
    for name, values in (labels or {}).items():
        real[name][: len(values)] = values.reshape(-1, *real[name].shape[1:])
    return floats, integers


def _sort(real, whole, graphs, first, second, degrees):
    """Fill the lists of edges by atom; those of the padding are behind the end of all segments."""
    n, n_edges = len(graphs), len(first)
    order = np.argsort(np.concatenate([first, second]), kind="stable")
    if graphs.one_way is not None:
        order = order[~np.concatenate([np.zeros(n_edges, bool), graphs.one_way])[order]]
    n_ends = len(order)
    whole["neighbors"][:n_ends] = np.concatenate([second, first])[order]
    whole["neighbors"][n_ends:] = whole["first"][-1]
    whole["entries"][:n_ends] = order % max(n_edges, 1)
    whole["entries"][n_ends:] = len(whole["first"]) - 1
    real["signs"][:n_ends, 0] = np.where(order < n_edges, -1, 1)
    whole["starts"][1:] = np.cumsum(degrees)
    for name, offsets in (("atom_starts", graphs.offsets), ("edge_starts", graphs.edge_offsets)):
        whole[name][...] = offsets[-1]
        whole[name][: n + 1] = offsets
