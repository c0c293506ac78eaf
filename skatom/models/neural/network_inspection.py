"""What a trained network of graphs knows: of atoms, of probes beside them, between elements."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skatom._device import resolve_torch
from skatom._typing import Array, ArrayLike, StructuresLike
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.elements import species_index
from skatom.models.neural.heads import EnergyHead
from skatom.models.neural.latent_derivatives import LatentDerivatives
from skatom.structures import Structures, as_structures


class NetworkInspection:
    """Adds to a neural potential what looks inside: it has a ``network_`` and a ``device``."""

    def transform(self, X: StructuresLike) -> AtomicFeatures:
        """What the trained network knows of the atoms, before energies are made of it.

        These features are the same for atoms that are the same to the network, so that distances
        between them say how new an atom is to it [1]_: ``NearestDistance(network)``,
        ``MaxVol(network, rows="atom")``. They have values alone, without derivatives,
        in double precision.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The n structures.

        Returns
        -------
        AtomicFeatures
            Of n_features numbers for each atom, invariant to rotations.

        Raises
        ------
        ValueError
            If an element was not seen in `fit`; if derivatives of the features are asked for.

        References
        ----------
        .. [1] J. P. Janet et al., Chem. Sci. 10, 7913 (2019).
        """
        check_is_fitted(self)
        structures = self._checked(X)
        device = resolve_torch(self.device, type(self).__name__)
        values = self.network_.features(structures, device)
        return AtomicFeatures(values, LatentDerivatives(structures, self))

    @property
    def n_features_out_(self):
        """Number of features of ``transform``."""
        return self.network_.architecture.n_features

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Array:
        """Names of the features of ``transform``.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        name = type(self).__name__.lower()
        return np.array([f"{name}{k}" for k in range(self.n_features_out_)], object)

    def probe_energies(self, structure: StructuresLike, points: ArrayLike, number: int) -> Array:
        """Energies of atoms that feel a structure and are not felt by it.

        Probes have the atoms of the structure as neighbours in all interactions, and the features
        of these are those of the structure alone; see
        `skatom.attribution.local_chemical_potential`.

        Parameters
        ----------
        structure : Structures or list of ase.Atoms
            One structure.
        points : array-like of float, shape (n, 3)
            Where the probes are, in Å.
        number : int
            Their atomic number, one that was seen in `fit`.

        Returns
        -------
        ndarray of float, shape (n,)
            In eV, without the baseline.

        Raises
        ------
        ValueError
            If the energies are not sums over atoms, neighbours are more than atoms within the
            cutoff, or the element was not seen in `fit`.
        """
        network = self._network_of_atoms()
        structure, points = as_structures(structure), np.asarray(points, float)
        probe = Structures(np.array([number]), np.zeros((1, 3)))
        (kind,) = species_index(probe, network.species)
        device = resolve_torch(self.device, type(self).__name__)
        return network.probe_energies(structure, points, kind, device)

    def mixed_energies(
        self,
        structures: StructuresLike,
        numbers: ArrayLike,
        fractions: ArrayLike,
        presence: ArrayLike | None = None,
    ) -> Array:
        """Energies of structures whose atoms are part one element, part another, or there in part.

        Their features begin as a mean of the vectors of both; messages to neighbours, and energies,
        are multiplied by their presence. See `skatom.attribution.alchemical_path`.

        Parameters
        ----------
        structures : Structures or list of ase.Atoms
            The n structures, with the first element of each atom.
        numbers : array-like of int, shape (n_atoms,)
            Atomic numbers of the second element, of all structures one after the other.
        fractions : array-like of float, shape (n,)
            Share of the second element.
        presence : array-like of float, shape (n_atoms,), default=None
            How much of each atom there is, from 0 to 1. None: all.

        Returns
        -------
        ndarray of float, shape (n,)
            In eV, without the baseline.

        Raises
        ------
        ValueError
            As in `probe_energies`.
        """
        network, structures = self._network_of_atoms(), as_structures(structures)
        others = Structures(numbers, structures.positions, structures.offsets)
        first, second = (species_index(each, network.species) for each in (structures, others))
        share = np.repeat(fractions, structures.n_atoms)[:, None]
        eye = np.eye(len(network.species))
        device = resolve_torch(self.device, type(self).__name__)
        return network.mixed_energies(
            structures,
            (1 - share) * eye[first] + share * eye[second],
            device,
            None if presence is None else np.asarray(presence, float),
        )

    def _network_of_atoms(self):
        """The network, if its energies are sums over atoms with plain neighbours."""
        check_is_fitted(self)
        network = self.network_
        if type(network.head) is not EnergyHead or not network.architecture.has_plain_graphs:
            raise ValueError(
                f"this {type(self).__name__} can neither be probed nor mix elements: use SchNet, "
                "DTNN or PaiNN of target='energy' and pooling='sum', or for probes kind='insertion'"
            )
        return network
