"""The tensors of a batch of graphs."""

from skatom.models._torch.networks.edge_sums import AtomGradients, StructureRows, StructureSums
from skatom.models.neural.packing import views


class GraphBatch:
    """Views of the two buffers of a batch, see `skatom.models.neural.packing`.

    Parameters
    ----------
    floats, integers : Tensor
        The buffers.
    layout : BatchLayout

    Attributes
    ----------
    vectors : Tensor, shape (n_edges, 3)
        r_j − r_i of each edge, in Å.
    first, second : Tensor, shape (n_edges,)
        The atoms i and j of each edge.
    one_hot : Tensor, shape (n_atoms, n_species)
        1 in the column of each atom's element.
    degrees : Tensor, shape (n_atoms, 1)
        The number of neighbours of each atom, those that are seen in part counted in part.
    presence : Tensor, shape (n_atoms, 1), or None
        How much of each atom its neighbours see. None: all.
    positions : Tensor, shape (n_atoms, 3)
        Relative to the mean of the atoms of the structure, in Å.
    shares : Tensor, shape (n_structures,)
        1 / N of the N atoms of each structure.
    n_structures : int
    is_sorted : bool
        Whether edges are listed by atom as well.
    """

    presence = None

    def __init__(self, floats, integers, layout):
        self.n_structures, self.is_sorted = layout.n_structures, layout.sorted
        for buffer, shapes in ((floats, layout.floats), (integers, layout.integers)):
            for name, tensor in views(buffer, shapes).items():
                setattr(self, name, tensor)

    def sent(self, rows):
        """What neighbours see of the rows of atoms."""
        if self.presence is None:
            return rows
        return rows * self.presence.view(-1, *(1,) * (rows.dim() - 1))

    def sums_of_atoms(self, values):
        """Sums over the atoms of each structure."""
        starts = self.atom_starts if self.is_sorted else None
        return StructureSums.apply(values, self.atom_owners, starts, self.n_structures)

    def sums_of_edges(self, values):
        """Sums over the edges of each structure."""
        starts = self.edge_starts if self.is_sorted else None
        return StructureSums.apply(values, self.edge_owners, starts, self.n_structures)

    def of_structures(self, values):
        """The row of its structure for each atom: the transpose of `sums_of_atoms`."""
        starts = self.atom_starts if self.is_sorted else None
        return StructureRows.apply(values, self.atom_owners, starts, self.n_structures)

    def gradients(self, slopes):
        """∂E/∂R (n_atoms, 3) from the slopes of E along the vectors of edges (n_edges, 3)."""
        return AtomGradients.apply(slopes, self)
