"""Features of atoms that rotate like tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ase.data import chemical_symbols

from skatom._typing import Array
from skatom.descriptors.atomic_features import pool_atoms
from skatom.neighbors import neighbor_list
from skatom.structures import select


class TensorFeatures(Sequence):
    r"""Features :math:`F_\mu(i)` of every atom of a batch, which rotate with the structure.

    `LambdaSOAP` returns them. Their length is the number of structures, and indexing with an int,
    slice, mask or index array gives ``TensorFeatures`` again. Structure ``s`` owns the rows
    ``offsets[s]:offsets[s + 1]`` of the values. The values are computed when they are first used:
    models take those of a few structures at a time, and of other orders than the descriptor's.

    Parameters
    ----------
    structures : Structures
        The structures.
    descriptor : LambdaSOAP
        The fitted descriptor.

    Attributes
    ----------
    structures, descriptor
        The parameters.
    values : ndarray of float, shape (n_atoms, 2 lam + 1, n_features)
        The features of the atoms.
    n_features : int
        Number of features of each component.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import LambdaSOAP
    >>> features = LambdaSOAP(n_max=2, l_max=1).fit_transform([molecule("H2O"), molecule("CO")])
    >>> features[1].values.shape
    (2, 3, 36)
    >>> features.of_order(2).values.shape
    (5, 5, 21)
    >>> features.pool("sum").shape
    (2, 3, 36)
    """

    def __init__(self, structures: Any, descriptor: Any) -> None:
        self.structures = structures
        self.descriptor = descriptor
        self._values = None

    @property
    def values(self) -> Any:
        if self._values is None:
            self._values = self.descriptor._values_of(self.structures)
        return self._values

    @property
    def n_features(self) -> Any:
        return self.descriptor.n_features_out_

    def of_order(self, lam: int) -> TensorFeatures:
        """Features of the same atoms of another order λ.

        Parameters
        ----------
        lam : int
            The order.

        Returns
        -------
        TensorFeatures
        """
        if lam == self.descriptor.lam:
            return self
        return type(self)(self.structures, self.descriptor._of_order(lam))

    def with_neighbors(self) -> TensorFeatures:
        """The same features, whose neighbours are searched now and never again.

        Returns
        -------
        TensorFeatures
        """
        pairs = neighbor_list(self.structures, self.descriptor.cutoff)
        return type(self)(self.structures.with_neighbors(pairs), self.descriptor)

    def invariants(self) -> Array:
        """The power spectrum of every atom, of length 1 unless nothing is near.

        Returns
        -------
        ndarray of float, shape (n_atoms, n_invariants)
        """
        descriptor = self.descriptor._of_order(0, parity="even", normalize=True)
        return descriptor._values_of(self.structures)[:, 0]

    @property
    def shape(self) -> Any:
        """``(len(self),)``; tells scikit-learn that index arrays are welcome."""
        return self.structures.shape

    def __len__(self):
        return len(self.structures)

    def __getitem__(self, key):
        chosen = type(self)(self.structures[key], self.descriptor)
        if self._values is not None:
            _, atoms, _ = select(self.structures.offsets, key)
            chosen._values = self._values[atoms]
        return chosen

    def pool(self, how: str) -> Array:
        """Sum or average the features over the atoms of each structure.

        Parameters
        ----------
        how : {"sum", "mean"}
            Whether to sum or to average.

        Returns
        -------
        ndarray of float, shape (n, 2 lam + 1, n_features)
        """
        flat = self.values.reshape(len(self.values), -1)
        pooled = pool_atoms(flat, self.structures.offsets, how)
        return pooled.reshape(len(self), *self.values.shape[1:])

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "TensorFeatures have one row for each atom, not for each structure: use "
            "features.pool('sum') for an array, or features.values for the rows of the atoms"
        )

    def __getstate__(self):
        return {**vars(self), "_values": None}

    def __repr__(self):
        symbols = " ".join(chemical_symbols[z] for z in self.structures.species)
        return (
            f"TensorFeatures({len(self)} structures, {len(self.structures.numbers)} atoms, "
            f"{2 * self.descriptor.lam + 1} components, {self.n_features} features, "
            f"species {symbols})"
        )
