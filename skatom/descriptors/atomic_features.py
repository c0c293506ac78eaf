"""Features of atoms with derivatives that are computed when asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skatom._cpu.pairs import collect
from skatom.memory import check_memory
from skatom.neighbors import NeighborList
from skatom.structures import as_structures, select


class AtomicFeatures(Sequence):
    """Features of every atom of a batch of structures, with lazy derivatives.

    What the ``transform`` of a local descriptor returns. Its length is the number of structures,
    and indexing with an int, slice, mask or index array gives an ``AtomicFeatures`` again, so
    scikit-learn splits it as it would an array. Structure ``s`` owns the rows
    ``offsets[s]:offsets[s + 1]`` of the values.

    Derivatives are never stored: the structures and the fitted descriptor are kept, from which
    `pullback` and `jacobian` compute what is asked for.

    Parameters
    ----------
    values : ndarray of float, shape (n_atoms, n_features)
    structures : Structures
        What the values belong to.
    descriptor : AtomicDescriptor
        The fitted descriptor that made them.

    Attributes
    ----------
    values, structures, descriptor
        The parameters.
    numbers : ndarray of int, shape (n_atoms,)
        Atomic number of every atom.
    species : ndarray of int
        The sorted atomic numbers that occur.
    offsets : ndarray of int, shape (n + 1,)
    n_atoms : ndarray of int, shape (n,)

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import SOAP
    >>> features = SOAP(n_max=3, l_max=2).fit_transform([molecule("H2O"), molecule("CH4")])
    >>> features
    AtomicFeatures(2 structures, 8 atoms, 135 features, species H C O)
    >>> features[1].values.shape
    (5, 135)

    The forces of a linear model E = Σ_i w · values_i:

    >>> import numpy as np
    >>> gradient, virial = features.pullback(np.ones(135))
    >>> forces = -gradient
    >>> forces.shape, virial.shape
    ((8, 3), (2, 3, 3))
    """

    def __init__(self, values, structures, descriptor):
        self.values = values
        self.structures = structures
        self.descriptor = descriptor

    @property
    def numbers(self):
        return self.structures.numbers

    @property
    def species(self):
        return self.structures.species

    @property
    def offsets(self):
        return self.structures.offsets

    @property
    def n_atoms(self):
        return self.structures.n_atoms

    @property
    def shape(self):
        """``(len(self),)``; tells scikit-learn that index arrays are welcome."""
        return self.structures.shape

    def __len__(self):
        return len(self.structures)

    def __getitem__(self, key):
        _, atoms, _ = select(self.offsets, key)
        return type(self)(self.values[atoms], self.structures[key], self.descriptor)

    def pullback(self, cotangent):
        """Apply the transposed Jacobian: the chain rule from features back to atoms.

        For a scalar E with the derivatives ``cotangent[i] = dE/d values[i]`` the result is

            gradient[k] = dE/dR_k = Σ_i cotangent[i] · d values[i] / dR_k
            virial[s]   = dE/dε,   R → (1 + ε) R and cell vectors likewise,

        so that forces are ``-gradient`` and the stress (tension positive, as in ASE) is
        ``virial / volume``. The cost is one more pass over the neighbours, whatever the number of
        features; no Jacobian is formed.

        Parameters
        ----------
        cotangent : array-like of float, shape (n_atoms, n_features) or (n_features,)
            The second shape: the same for every atom, as in a linear model.

        Returns
        -------
        gradient : ndarray of float, shape (n_atoms, 3)
        virial : ndarray of float, shape (n, 3, 3)
        """
        # writeable too: compiled code is specialised to it
        cotangent = np.require(cotangent, float, ["C", "W"])
        n_atoms, n_features = self.values.shape
        if cotangent.shape not in {(n_atoms, n_features), (n_features,)}:
            raise ValueError(
                f"cotangent has the shape {cotangent.shape}; these features need "
                f"{self.values.shape}, or {(n_features,)} for the same on every atom"
            )
        pairs = self.descriptor._neighbors(self.structures)
        gradients = np.empty((len(pairs), 3))
        species = self.descriptor._species_index(self.structures)
        self.descriptor._pair_gradients(pairs, species, np.atleast_2d(cotangent), gradients)
        return collect(pairs.offsets, pairs.indices, pairs.vectors, gradients, self.offsets)

    def jacobian(self, batch):
        """Derivatives of the features of a few structures along all pairs of neighbours.

        Parameters
        ----------
        batch : int, slice, mask or index array
            Which structures. The result holds 3 · n_features numbers for each pair of
            neighbours, so take a few at a time.

        Returns
        -------
        PairJacobian
        """
        structures = self.structures[batch]
        pairs = self.descriptor._neighbors(structures)
        species = self.descriptor._species_index(structures)
        shape = (len(pairs), 3, self.values.shape[1])
        check_memory(
            8.0 * np.prod(shape),
            f"the Jacobian of {len(pairs)} pairs and {shape[2]} features",
            "take fewer structures at a time",
        )
        values = np.empty(shape)
        self.descriptor._pair_jacobian(pairs, species, values)
        return PairJacobian(pairs, values)

    def pool(self, how):
        """One row for each structure.

        Parameters
        ----------
        how : {"sum", "mean"}
            Over the atoms of a structure.

        Returns
        -------
        ndarray of float, shape (n, n_features)
        """
        return pool_atoms(self.values, self.offsets, how)

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "AtomicFeatures have one row for each atom, not for each structure: use "
            "features.pool('sum') or the descriptor's parameter pool='sum' for a plain array, or "
            "features.values for the rows of the atoms"
        )

    def __repr__(self):
        from ase.data import chemical_symbols

        symbols = " ".join(chemical_symbols[z] for z in self.species)
        n_atoms, n_features = self.values.shape
        return (
            f"AtomicFeatures({len(self)} structures, {n_atoms} atoms, {n_features} features, "
            f"species {symbols})"
        )


@dataclass(frozen=True)
class PairJacobian:
    """Derivatives of atomic features along the vectors r_ij = r_j − r_i of all neighbour pairs.

        d values[i] / dR_k = Σ_{pairs (i, j), j = k} J_ij − δ_ik Σ_{pairs (i, j)} J_ij

    where the sums run over all periodic images, each of which is a pair of its own. The
    derivative along a strain is Σ_pairs J_ij ⊗ r_ij.

    Attributes
    ----------
    pairs : NeighborList
        The centres, neighbours and vectors, numbered within the batch.
    values : ndarray of float, shape (n_pairs, 3, n_features)
        J_ij = d values[i] / d r_ij.
    """

    pairs: NeighborList
    values: np.ndarray


def as_batch(X):
    """Atomic features as they are, or the ``Structures`` of anything else."""
    return X if isinstance(X, AtomicFeatures) else as_structures(X)


def pool_atoms(values, offsets, how):
    """Sums or means (n, n_features) of the rows (n_atoms, n_features) of each structure."""
    if how not in {"sum", "mean"}:
        raise ValueError(f"pool={how!r} must be 'sum' or 'mean'")
    if len(offsets) == 1:
        return np.empty((0, values.shape[1]))
    sums = np.add.reduceat(values, offsets[:-1], axis=0)
    return sums if how == "sum" else sums / np.diff(offsets)[:, None]
