"""Blocks of the global FCHL18 kernel, which compares the sums of the environments of structures.

With the expansions Φ_z of the environments around an element z, summed over a structure,
⟨A, B⟩ = Σ_zz' p_zz' (N_z N_z' + Φ_z(A) · Φ_z'(B)), so everything is a matrix product.
"""

from dataclasses import dataclass

import numpy as np

from skatom.kernels.fchl18.blocks import common_span, mixings
from skatom.kernels.fchl18.second_derivatives import expanded_slopes


@dataclass(frozen=True)
class StructureVectors:
    """Vectors of the structures of a batch, whose scalar products are those of FCHL18.

    Attributes
    ----------
    values : ndarray of float, shape (n, n_dimensions)
    slopes : ndarray of float, shape (n_coordinates, n_dimensions), or None
        Derivatives along the coordinates, see `coordinates`.
    """

    values: np.ndarray
    slopes: np.ndarray | None


def coordinates(batch, kind):
    """The structure of each row: one row for each energy, position coordinate or strain."""
    n = len(batch.structures)
    return {
        "energy": np.arange(n),
        "positions": np.repeat(batch.owners, 3),
        "strain": np.repeat(np.arange(n), 9),
    }[kind]


def global_block(rows, columns, form, sigma, row_kind, column_kind):
    """The kernel of the structures of two batches, or its derivatives.

    Parameters
    ----------
    rows, columns : Batch
    form : Form
    sigma : float
    row_kind, column_kind : {"energy", "positions", "strain"}
        What to differentiate with respect to; positions are in the order of the environments.

    Returns
    -------
    ndarray of float, shape (n_rows, n_columns)
    """
    here, there = _vectors(rows, columns, form, row_kind, column_kind)
    own, others = (_self(b, form, k) for b, k in ((rows, row_kind), (columns, column_kind)))
    products = here.values @ there.values.T
    weight = 1 / sigma**2
    kernel = np.exp(weight * np.minimum(products - 0.5 * (own[0][:, None] + others[0]), 0.0))
    owners = coordinates(rows, row_kind), coordinates(columns, column_kind)
    out = kernel[np.ix_(*owners)]
    if row_kind == column_kind == "energy":
        return out
    along_rows, along_columns = 0.0, 0.0
    if row_kind != "energy":
        slopes = (here.slopes @ there.values.T)[:, owners[1]]
        along_rows = weight * (slopes - own[1][:, None])
    if column_kind != "energy":
        slopes = (here.values @ there.slopes.T)[owners[0]]
        along_columns = weight * (slopes - others[1])
    if row_kind == "energy":
        return out * along_columns
    if column_kind == "energy":
        return out * along_rows
    return out * (weight * (here.slopes @ there.slopes.T) + along_rows * along_columns)


def _vectors(rows, columns, form, row_kind, column_kind):
    """The vectors of both sides; the overlaps of elements are on the side of the columns."""
    if rows.span and columns.span:
        grid, mixing = form.grid(*common_span(rows, columns)), mixings(rows, columns, form)
    else:
        grid, mixing = None, (None, None)
    here = _sums(rows, form, mixing[0], grid, row_kind)
    there = _sums(columns, form, mixing[1], grid, column_kind)
    overlap = form.overlap(rows.species, columns.species)
    return _flat(here), _flat(tuple(None if part is None else overlap @ part for part in there))


def _self(batch, form, kind):
    """⟨A, A⟩ of each structure, and half of its derivatives."""
    here, there = _vectors(batch, batch, form, kind, "energy")
    products = np.einsum("nd,nd->n", here.values, there.values)
    if kind == "energy":
        return products, None
    return products, np.einsum("xd,xd->x", here.slopes, there.values[coordinates(batch, kind)])


def _sums(batch, form, mixing, grid, kind):
    """Sums over the environments around each element: (n, n_species, n_dimensions), and slopes.

    The first dimension is the number of atoms of the element.
    """
    n_species = len(batch.species)
    expanded = np.zeros((len(batch), 0))
    if grid is not None:
        expanded = form.expanded(batch, mixing, grid).reshape(len(batch), -1)
    values = np.zeros((len(batch.structures), n_species, 1 + expanded.shape[1]))
    np.add.at(values[..., 0], (batch.owners, batch.centers), 1.0)
    np.add.at(values[..., 1:], (batch.owners, batch.centers), expanded)
    if kind == "energy":
        return values, None
    slopes = np.zeros((len(coordinates(batch, kind)), *values.shape[1:]))
    if grid is not None:
        for e in range(len(batch)):
            part = expanded_slopes(batch, e, e + 1, form, mixing, grid, kind == "strain")
            # the images of an atom in a small cell are neighbours of their own
            np.add.at(slopes[:, batch.centers[e], 1:], part.targets, part.values)
    return values, slopes


def _flat(parts):
    return StructureVectors(*(None if p is None else p.reshape(len(p), -1) for p in parts))
