"""Features of atoms with derivatives that are computed when asked for."""

from collections.abc import Sequence

import numpy as np

from skatom.descriptors.atomic_derivatives import PairJacobian
from skatom.descriptors.features import Features
from skatom.descriptors.structure_derivatives import PooledDerivatives
from skatom.descriptors.structure_features import StructureFeatures
from skatom.memory import check_memory
from skatom.structures import select


class AtomicFeatures(Features, Sequence):
    """Features of every atom of a batch of structures, with lazy derivatives.

    What the ``transform`` of a local descriptor returns. Its length is the number of structures,
    and indexing with an int, slice, mask or index array gives an ``AtomicFeatures`` again, so
    scikit-learn splits it as it would an array; ``[:, columns]`` keeps some of the features.
    Structure ``s`` owns the rows ``offsets[s]:offsets[s + 1]`` of the values.

    Derivatives are never stored: the structures and the fitted descriptor are kept, from which
    `pullback`, `jacobian`, `jacobian_of` and `project` compute what is asked for. The neighbours
    that ``transform`` found are kept, too, as long as they take less memory than the values; else,
    and after pickling, they are found again when they are needed.

    Parameters
    ----------
    values : ndarray of float, shape (n_atoms, n_features)
    derivatives : AtomicDerivatives
        The structures, and how the values depend on them.

    Attributes
    ----------
    values, derivatives
        The parameters.
    structures : Structures
        What the values belong to.
    descriptor : AtomicDescriptor
        The fitted descriptor that made them, before any maps.
    feature_names : ndarray of str, shape (n_features,)
    n_features : int
    neighbors : NeighborList
        The neighbours within the cutoff of the descriptor.
    n_pairs : ndarray of int, shape (n,)
        Number of pairs of neighbours of each structure.
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
    def neighbors(self):
        return self.derivatives.neighbors()

    @property
    def n_pairs(self):
        return np.diff(self.neighbors.offsets[self.offsets])

    @property
    def shape(self):
        """``(len(self),)``; tells scikit-learn that index arrays are welcome."""
        return self.structures.shape

    def _rows(self, key):
        _, atoms, _ = select(self.offsets, key)
        return AtomicFeatures(self.values[atoms], self.derivatives.select(key))

    def with_neighbors(self):
        """The same features with their neighbours, which are kept whatever memory they take.

        For a loop that asks for derivatives again and again.

        Returns
        -------
        AtomicFeatures
        """
        return AtomicFeatures(self.values, self.derivatives.with_neighbors())

    def map(self, feature_map):
        """Features y = f(x) of every atom, with their derivatives.

        Parameters
        ----------
        feature_map : FeatureMap

        Returns
        -------
        AtomicFeatures

        Raises
        ------
        ValueError
            If the map is one of another number of features, or of other species.
        """
        feature_map.check(self.n_features, self.structures)
        values = feature_map.value(self.values, self.numbers)
        mapped = self.derivatives.mapped(feature_map, self.values, values.nbytes)
        return AtomicFeatures(values, mapped)

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
        return self.derivatives.pullback(self._checked_cotangent(cotangent, "atom"))

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
            Its atoms are numbered within the batch.
        """
        part = self.derivatives.select(batch)
        pairs = part.neighbors()
        self._check_jacobian(pairs)
        return PairJacobian(pairs, part.along_pairs(pairs))

    def jacobian_of(self, centers):
        """Derivatives of the features of some atoms along the pairs with their neighbours.

        Parameters
        ----------
        centers : array-like of int
            Indices of atoms.

        Returns
        -------
        PairJacobian
            Its pairs are those of these centres alone.
        """
        pairs = self.derivatives.pairs_of(np.asarray(centers))
        self._check_jacobian(pairs)
        return PairJacobian(pairs, self.derivatives.along_pairs(pairs))

    def project(self, centers, vectors):
        """Products of the Jacobian of some atoms with given vectors and with their own features.

        Parameters
        ----------
        centers : array-like of int
            Indices of atoms.
        vectors : ndarray of float, shape (M, n_features)
            z_m, for example representative environments.

        Returns
        -------
        products : ndarray of float, shape (n_pairs, 3, M)
            z_m · J_ij for the pairs of ``neighbors.take(centers)``.
        along : ndarray of float, shape (n_pairs, 3)
            x_i · J_ij.
        """
        pairs = self.derivatives.pairs_of(np.asarray(centers))
        jacobian = self.derivatives.along_pairs(pairs)
        products = np.matmul(jacobian.reshape(-1, jacobian.shape[2]), vectors.T)
        along = np.einsum("paf,pf->pa", jacobian, self.values[pairs.centers])
        return products.reshape(len(pairs), 3, len(vectors)), along

    def _check_jacobian(self, pairs):
        n_features = max(self.n_features, self.descriptor.n_features_out_)
        check_memory(
            24.0 * len(pairs) * n_features,
            f"the Jacobian of {len(pairs)} pairs and {n_features} features",
            "take fewer structures or atoms at a time",
        )

    def pool(self, how):
        """One row for each structure.

        Parameters
        ----------
        how : {"sum", "mean"}
            Over the atoms of a structure.

        Returns
        -------
        StructureFeatures
        """
        values = pool_atoms(self.values, self.offsets, how)
        atomic = self.derivatives.limited(values.nbytes)
        return StructureFeatures(values, PooledDerivatives(atomic, how))

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


def pool_atoms(values, offsets, how):
    """Sums or means (n, n_features) of the rows (n_atoms, n_features) of each structure."""
    if how not in {"sum", "mean"}:
        raise ValueError(f"pool={how!r} must be 'sum' or 'mean'")
    if len(offsets) == 1:
        return np.empty((0, values.shape[1]))
    sums = np.add.reduceat(values, offsets[:-1], axis=0)
    return sums if how == "sum" else sums / np.diff(offsets)[:, None]
