"""Features of atoms with derivatives that are computed on demand."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from skatom._device import check_together, device_of, is_tensor, namespace
from skatom._typing import Array, ArrayLike
from skatom.descriptors.atomic_derivatives import PairJacobian
from skatom.descriptors.features import Features
from skatom.descriptors.structure_derivatives import PooledDerivatives
from skatom.descriptors.structure_features import StructureFeatures
from skatom.elements import species_index
from skatom.memory import check_memory
from skatom.structures import select


class AtomicFeatures(Features, Sequence):
    """Features x_i of every atom i of a batch of structures, with lazy derivatives.

    The ``transform`` of an atomic descriptor returns them. Their length is the number of
    structures, and indexing with an int, slice, mask or index array gives ``AtomicFeatures`` again,
    so scikit-learn splits them like an array; ``[:, columns]`` keeps some of the features.
    Structure ``s`` owns the rows ``offsets[s]:offsets[s + 1]`` of the values.

    Derivatives are never stored: `pullback`, `jacobian`, `jacobian_of` and `project` compute them
    from the structures and the fitted descriptor, which are kept. The neighbour list of
    ``transform`` is kept too if it takes less memory than the values or than 16 MiB; otherwise, and
    after pickling, it is computed again when it is needed.

    Parameters
    ----------
    values : ndarray of float, shape (n_atoms, n_features), or None
        The features. None: the derivatives compute them when they are used.
    derivatives : AtomicDerivatives
        The structures, and the dependence of the values on them.

    Attributes
    ----------
    values, derivatives
        The parameters.
    structures : Structures
        The structures of the atoms.
    descriptor : AtomicDescriptor
        The fitted descriptor that computed the features, before any maps.
    feature_names : ndarray of str, shape (n_features,)
        Names of the features.
    n_features : int
        Number of features.
    neighbors : NeighborList
        Neighbour list within the cutoff of the descriptor.
    n_pairs : ndarray of int, shape (n,)
        Number of pairs of neighbours in each structure.
    numbers : ndarray of int, shape (n_atoms,)
        Atomic number of every atom.
    species : ndarray of int
        Sorted atomic numbers that occur.
    offsets : ndarray of int, shape (n + 1,)
        Index of the first atom of each structure, and the number of atoms at the end.
    n_atoms : ndarray of int, shape (n,)
        Number of atoms of each structure.
    feature_species : ndarray of bool, shape (n_species, n_features), or None
        Which features say anything of atoms of which species of the descriptor; None if it does
        not tell.

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
    def numbers(self) -> Any:
        return self.structures.numbers

    @property
    def species(self) -> Any:
        return self.structures.species

    @property
    def offsets(self) -> Any:
        return self.structures.offsets

    @property
    def n_atoms(self) -> Any:
        return self.structures.n_atoms

    @property
    def feature_species(self) -> Any:
        return self.derivatives.feature_species()

    @property
    def neighbors(self) -> Any:
        return self.derivatives.neighbors()

    @property
    def n_features(self) -> Any:
        return self.derivatives.n_features

    @property
    def n_pairs(self) -> Any:
        return np.diff(self.neighbors.offsets[self.offsets])

    @property
    def shape(self) -> Any:
        """``(len(self),)``; tells scikit-learn that index arrays are welcome."""
        return self.structures.shape

    def _rows(self, key):
        if isinstance(key, slice) and key.step in (None, 1):
            start, stop, _ = key.indices(len(self))
            atoms = slice(*self.offsets[[start, max(start, stop)]])
        else:
            _, atoms, _ = select(self.offsets, key)
        return AtomicFeatures(self.values[atoms], self.derivatives.select(key))

    def with_neighbors(self) -> AtomicFeatures:
        """The same features with a neighbour list that is kept whatever its size.

        For loops that compute derivatives repeatedly.

        Returns
        -------
        AtomicFeatures
        """
        return AtomicFeatures(vars(self).get("values"), self.derivatives.with_neighbors())

    def map(self, feature_map: Any) -> AtomicFeatures:
        """Features y = f(x) of every atom, with their derivatives.

        Parameters
        ----------
        feature_map : FeatureMap
            The map f.

        Returns
        -------
        AtomicFeatures

        Raises
        ------
        ValueError
            If the map takes another number of features, or is not defined for these species.
        """
        self._check_map(feature_map, self.structures)
        values = feature_map.value(self.values, self.numbers)
        mapped = self.derivatives.mapped(feature_map, self.values, values.nbytes)
        return AtomicFeatures(values, mapped)

    def pullback(self, cotangent: ArrayLike) -> tuple:
        """Apply the transposed Jacobian: the chain rule from features back to atoms.

        For a scalar E with the derivatives ``cotangent[i] = dE/d values[i]`` the result is

            gradient[k] = dE/dR_k = Σ_i cotangent[i] · d values[i] / dR_k
            virial[s]   = dE/dε,   R → (1 + ε) R and cell vectors likewise,

        so that forces are ``-gradient`` and the stress (tension positive, as in ASE) is
        ``virial / volume``. The cost is one more pass over the neighbours, for any number of
        features; no Jacobian is formed.

        Parameters
        ----------
        cotangent : array-like of float, shape (n_atoms, n_features) or (n_features,)
            Derivatives dE/d values. The second shape is for one row that all atoms share, as in a
            linear model.

        Returns
        -------
        gradient : ndarray of float, shape (n_atoms, 3)
            dE/dR.
        virial : ndarray of float, shape (n, 3, 3)
            dE/dε.
        """
        return self.derivatives.pullback(self._checked_cotangent(cotangent, "atom"))

    def jacobian(self, batch: slice | ArrayLike) -> PairJacobian:
        """Derivatives of the features of a few structures along all pairs of neighbours.

        Parameters
        ----------
        batch : int, slice, mask or index array
            The structures. The result has 3 · n_features numbers for each pair of neighbours, so
            take a few structures at a time.

        Returns
        -------
        PairJacobian
            Its atoms are numbered within the batch.
        """
        part = self.derivatives.select(batch)
        pairs = part.neighbors()
        self._check_jacobian(pairs)
        return PairJacobian(pairs, part.along_pairs(pairs))

    def jacobian_of(self, centers: ArrayLike) -> PairJacobian:
        """Derivatives of the features of some atoms along the pairs with their neighbours.

        Parameters
        ----------
        centers : array-like of int
            Indices of atoms.

        Returns
        -------
        PairJacobian
            Its pairs are the pairs of these centres only.
        """
        pairs = self.derivatives.pairs_of(np.asarray(centers))
        self._check_jacobian(pairs)
        return PairJacobian(pairs, self.derivatives.along_pairs(pairs))

    def project(self, centers: ArrayLike, vectors: Array) -> tuple:
        """Products of the Jacobian of some atoms with given vectors and with their own features.

        Parameters
        ----------
        centers : array-like of int
            Indices of atoms.
        vectors : ndarray of float, shape (M, n_features)
            Vectors z_m, for example representative environments.

        Returns
        -------
        products : ndarray of float, shape (n_pairs, 3, M)
            z_m · J_ij for the pairs of ``neighbors.take(centers)``.
        along : ndarray of float, shape (n_pairs, 3)
            x_i · J_ij.
        """
        pairs = self.derivatives.pairs_of(np.asarray(centers))
        jacobian = self.derivatives.along_pairs(pairs)
        check_together(vectors, self.values, "vectors")
        products = jacobian.reshape(-1, jacobian.shape[2]) @ vectors.T
        along = namespace(jacobian).einsum("paf,pf->pa", jacobian, self.values[pairs.centers])
        return products.reshape(len(pairs), 3, len(vectors)), along

    def _check_jacobian(self, pairs):
        n_features = max(self.n_features, self.descriptor.n_features_out_)
        device = device_of(self.values)
        check = check_memory if device is None else device.check_memory
        check(
            24.0 * len(pairs) * n_features,
            f"the Jacobian of {len(pairs)} pairs and {n_features} features",
            "take fewer structures or atoms at a time",
        )

    def pool(self, how: str, species: ArrayLike | None = None) -> StructureFeatures:
        """Sum or average the features over the atoms of each structure.

        Parameters
        ----------
        how : {"sum", "mean"}
            Whether to sum or to average.
        species : array-like of int, shape (n_species,), default=None
            Sorted atomic numbers. The atoms of each have columns of their own, so that a linear
            model has coefficients for each species: n_species times as many features. None: all
            atoms share the columns.

        Returns
        -------
        StructureFeatures

        Raises
        ------
        ValueError
            If there are atoms of none of the ``species``.
        """
        if how not in {"sum", "mean"}:
            raise ValueError(f"pool={how!r} must be 'sum' or 'mean'")
        if species is not None:
            species = np.asarray(species)
            values = self._pooled_by_species(how, species)
        else:
            values = pool_atoms(self.values, self.offsets, how)
        atomic = self.derivatives.limited(values.nbytes)
        return StructureFeatures(values, PooledDerivatives(atomic, how, species=species))

    def _pooled_by_species(self, how, species):
        index, n_features = species_index(self.structures, species), self.n_features
        device = device_of(self.values)
        check = check_memory if device is None else device.check_memory
        check(
            8.0 * len(self) * len(species) * n_features,
            f"the array of {len(self)} x {len(species) * n_features} pooled features",
            "pool fewer structures at a time",
        )
        if device is not None:
            pooled = import_module("skatom.descriptors._torch.features").pooled_by_species
            return pooled(self.values, index, len(species), self.offsets, how)
        values = np.zeros((len(self), len(species), n_features))
        owners = np.repeat(np.arange(len(self)), self.n_atoms)
        for block in range(len(species)):
            chosen = np.flatnonzero(index == block)
            own, first = np.unique(owners[chosen], return_index=True)
            if len(own):
                values[own, block] = np.add.reduceat(self.values[chosen], first, axis=0)
        if how == "mean":
            values /= self.n_atoms[:, None, None]
        return values.reshape(len(self), len(species) * n_features)

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "AtomicFeatures have one row for each atom, not for each structure: use "
            "features.pool('sum') or the descriptor's parameter pool='sum' for a plain array, or "
            "features.values for the rows of the atoms"
        )

    def __repr__(self):
        from ase.data import chemical_symbols

        symbols = " ".join(chemical_symbols[z] for z in self.species)
        return (
            f"AtomicFeatures({len(self)} structures, {len(self.numbers)} atoms, "
            f"{self.n_features} features, "
            f"species {symbols})"
        )


def pool_atoms(values, offsets, how):
    """Sums or means (n, n_features) of the rows (n_atoms, n_features) of each structure."""
    if how not in {"sum", "mean"}:
        raise ValueError(f"pool={how!r} must be 'sum' or 'mean'")
    if is_tensor(values):
        return import_module("skatom.descriptors._torch.features").pooled(values, offsets, how)
    if len(offsets) == 1:
        return np.empty((0, values.shape[1]))
    sums = np.add.reduceat(values, offsets[:-1], axis=0)
    if how == "mean":
        sums /= np.diff(offsets)[:, None]
    return sums
