"""Bonds of molecules: given as arrays, or perceived from geometries by RDKit."""

from __future__ import annotations

from typing import Any

import numpy as np

from skatom._typing import Array, ArrayLike, StructuresLike
from skatom._warnings import warn
from skatom.structures import as_structures, select

# Orders of bonds; 1.5 is aromatic.
BOND_KINDS = (1.0, 2.0, 3.0, 1.5)


class Bonds:
    """The bonds of n molecules, as edges of graphs.

    Parameters
    ----------
    pairs : array-like of int, shape (n_bonds, 2)
        The two atoms of each bond, numbered through all structures.
    orders : array-like of float, shape (n_bonds,), default=None
        1, 2, 3, or 1.5 for an aromatic bond. None: 1 for all.
    offsets : array-like of int, shape (n + 1,)
        Index of the first atom of each structure, and the number of atoms at the end:
        ``structures.offsets``.
    atom_features : array-like of float, shape (n_atoms, n_features), default=None
        What is known of each atom beside its element.

    Attributes
    ----------
    pairs : ndarray of int, shape (n_bonds, 2)
        With the smaller index first, in order.
    orders : ndarray of float, shape (n_bonds,)
    offsets : ndarray of int, shape (n + 1,)
    atom_features : ndarray of float, shape (n_atoms, n_features), or None

    Raises
    ------
    ValueError
        If a bond leads from an atom to itself or to another structure, occurs twice, or has another
        order, or if lengths disagree.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom import Structures
    >>> from skatom.bonds import Bonds
    >>> structures = Structures.from_ase([molecule("H2O"), molecule("N2")])
    >>> bonds = Bonds([[0, 1], [0, 2], [3, 4]], [1, 1, 3], structures.offsets)
    >>> structures.with_bonds(bonds)[1].known_bonds.orders
    array([3.])
    """

    def __init__(
        self,
        pairs: ArrayLike,
        orders: ArrayLike | None = None,
        offsets: ArrayLike | None = None,
        atom_features: ArrayLike | None = None,
    ) -> None:
        pairs = np.sort(np.asarray(pairs, dtype=np.int64).reshape(-1, 2), axis=1)
        orders = np.ones(len(pairs)) if orders is None else np.asarray(orders, dtype=float)
        if offsets is None:
            raise ValueError("offsets=None: give structures.offsets, which say whose the atoms are")
        self.offsets = np.asarray(offsets, dtype=np.int64)
        if atom_features is not None:
            atom_features = np.asarray(atom_features, dtype=float)
        order = np.lexsort(pairs.T[::-1])
        self.pairs, self.atom_features = pairs[order], atom_features
        _check(self.pairs, orders, self.offsets, atom_features)
        self.orders = orders[order]

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, key):
        """The bonds of some of the structures."""
        rows, atoms, offsets = select(self.offsets, key)
        starts = np.searchsorted(self.pairs[:, 0], self.offsets)
        _, chosen, of_rows = select(starts, key)
        moved = np.repeat(offsets[:-1] - self.offsets[rows], np.diff(of_rows))
        some = object.__new__(type(self))
        some.pairs, some.orders = self.pairs[chosen] + moved[:, None], self.orders[chosen]
        some.offsets = offsets
        some.atom_features = None if self.atom_features is None else self.atom_features[atoms]
        return some

    @classmethod
    def joined(cls, parts, offsets):
        """The bonds of batches of structures, one after the other.

        Parameters
        ----------
        parts : list of Bonds
        offsets : ndarray of int
            Where the atoms of each structure begin, and their number.
        """
        if sum(map(len, parts)) < len(offsets) - 1:
            raise ValueError(
                f"{len(offsets) - 1} structures are joined, and {sum(map(len, parts))} of them "
                "have bonds: give the bonds of all by with_bonds, or of none"
            )
        starts = np.cumsum([0] + [part.offsets[-1] for part in parts])
        features = [part.atom_features for part in parts if part.atom_features is not None]
        return cls(
            np.concatenate([p.pairs + k for p, k in zip(parts, starts, strict=False)]),
            np.concatenate([part.orders for part in parts]),
            offsets,
            np.concatenate(features) if len(features) == len(parts) else None,
        )

    def kinds(self) -> np.ndarray:
        """Index of each bond's order in `BOND_KINDS`.

        Returns
        -------
        ndarray of int, shape (n_bonds,)
        """
        return np.argmax(self.orders[:, None] == np.array(BOND_KINDS), axis=1)


def _check(pairs, orders, offsets, atom_features):
    if orders.shape != (len(pairs),):
        raise ValueError(f"{len(orders)} orders for {len(pairs)} bonds: give one for each")
    wrong = ~np.isin(orders, BOND_KINDS)
    if wrong.any():
        raise ValueError(
            f"a bond has the order {orders[wrong][0]:g}: give 1, 2, 3, or 1.5 for an aromatic one"
        )
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= offsets[-1]):
        raise ValueError(
            f"bonds name the atoms {pairs.min()} to {pairs.max()}, and there are {offsets[-1]}: "
            "number the atoms from 0 through all structures"
        )
    owners = np.searchsorted(offsets, pairs, side="right")
    apart = (owners[:, 0] != owners[:, 1]) | (pairs[:, 0] == pairs[:, 1])
    if apart.any():
        i, j = pairs[apart][0]
        raise ValueError(
            f"a bond leads from atom {i} to atom {j}: give bonds of two atoms of one structure, "
            "numbered through all structures"
        )
    twice = (np.diff(pairs, axis=0) == 0).all(axis=1)
    if twice.any():
        i, j = pairs[1:][twice][0]
        raise ValueError(f"the bond of atoms {i} and {j} occurs twice: give each bond once")
    if atom_features is not None and (atom_features.ndim != 2 or len(atom_features) != offsets[-1]):
        raise ValueError(
            f"atom_features has the shape {atom_features.shape}; {offsets[-1]} atoms need "
            f"({offsets[-1]}, n_features)"
        )


def with_known_bonds(structures):
    """Structures with bonds: theirs by `Structures.with_bonds`, or else those perceived."""
    if structures.known_bonds is not None:
        return structures
    return structures.with_bonds(perceive_bonds(structures))


def check_not_periodic(structures):
    """Raise a ValueError if bonds would be those of periodic structures."""
    periodic = structures.pbc.any(axis=1)
    if periodic.any():
        raise ValueError(
            f"structure {np.argmax(periodic)} is periodic, and bonds are those of molecules: set "
            "pbc=False, or learn from structures without bonds"
        )


def perceive_bonds(structures: StructuresLike, charges: ArrayLike = 0) -> Bonds:
    """Bonds of molecules, found from elements and positions by RDKit [1]_.

    The features of an atom are its atomic number, whether it is an acceptor or a donor of hydrogen
    bonds, is aromatic, is hybridised as sp, sp² or sp³, and its number of hydrogens.

    Parameters
    ----------
    structures : Structures or list of ase.Atoms
        n molecules, hydrogens included.
    charges : int or array-like of int, shape (n,), default=0
        Total charges in e.

    Returns
    -------
    Bonds

    Raises
    ------
    ImportError
        If RDKit is not installed.
    ValueError
        If a structure is periodic.

    Warns
    -----
    UserWarning
        If no orders of bonds fit a geometry and its charge: all of them are 1 then.

    References
    ----------
    .. [1] Y. Kim, W. Y. Kim, Bull. Korean Chem. Soc. 36, 1769 (2015).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.bonds import perceive_bonds
    >>> perceive_bonds([molecule("C2H4")]).orders  # doctest: +SKIP
    array([2., 1., 1., 1., 1.])
    """
    structures = as_structures(structures)
    check_not_periodic(structures)
    chemistry = _rdkit()
    charges = np.broadcast_to(np.asarray(charges, dtype=int), len(structures))
    pairs, orders, features, failed = [], [], [], []
    for s, start in enumerate(structures.offsets[:-1]):
        molecule, has_orders = _molecule(chemistry, structures, s, int(charges[s]))
        if not has_orders:
            failed.append(s)
        for bond in molecule.GetBonds():
            pairs.append((start + bond.GetBeginAtomIdx(), start + bond.GetEndAtomIdx()))
            orders.append(bond.GetBondTypeAsDouble())
        features.append(_features(chemistry, molecule))
    if failed:
        warn(
            f"RDKit finds no orders of the bonds of {len(failed)} structures, the first of which "
            f"is {failed[0]} with the charge {charges[failed[0]]}: all are 1; give charges, or the "
            "bonds by structures.with_bonds"
        )
    return Bonds(pairs, orders, structures.offsets, np.concatenate(features))


def _rdkit():
    """The modules of RDKit, and its definitions of acceptors and donors."""
    try:
        from rdkit import Chem, RDConfig
        from rdkit.Chem import ChemicalFeatures, rdDetermineBonds
    except ImportError as error:
        raise ImportError(
            "bonds that are not given are perceived by RDKit, which is not installed: pip install "
            "'skatom[rdkit]', or give them by structures.with_bonds"
        ) from error
    factory = ChemicalFeatures.BuildFeatureFactory(f"{RDConfig.RDDataDir}/BaseFeatures.fdef")
    return Chem, rdDetermineBonds, factory


def _molecule(chemistry, structures, s, charge):
    """A structure as RDKit's molecule with bonds, and whether their orders were found."""
    chem, bonding, _ = chemistry
    atoms = slice(structures.offsets[s], structures.offsets[s + 1])
    molecule = chem.RWMol()
    for number in structures.numbers[atoms]:
        atom = chem.Atom(int(number))
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    conformer = chem.Conformer(molecule.GetNumAtoms())
    for k, position in enumerate(structures.positions[atoms]):
        conformer.SetAtomPosition(k, [float(x) for x in position])
    molecule.AddConformer(conformer)
    if molecule.GetNumAtoms() > 1:
        bonding.DetermineConnectivity(molecule)
    try:
        with_orders = chem.RWMol(molecule)
        if molecule.GetNumAtoms() > 1:
            bonding.DetermineBondOrders(with_orders, charge=charge, embedChiral=False)
        chem.SanitizeMol(with_orders)
    except (ValueError, RuntimeError):
        most = chem.SANITIZE_ALL ^ chem.SANITIZE_PROPERTIES  # valences are wrong
        chem.SanitizeMol(molecule, most, catchErrors=True)
        return molecule, False
    return with_orders, True


def _features(chemistry, molecule) -> Array:
    chem, _, factory = chemistry
    found: Any = np.zeros((molecule.GetNumAtoms(), 8))
    for feature in factory.GetFeaturesForMol(molecule):
        column = {"Acceptor": 1, "Donor": 2}.get(feature.GetFamily())
        if column is not None:
            found[list(feature.GetAtomIds()), column] = 1
    hybrids = [getattr(chem.HybridizationType, name) for name in ("SP", "SP2", "SP3")]
    for k, atom in enumerate(molecule.GetAtoms()):
        found[k, 0] = atom.GetAtomicNum()
        found[k, 3] = atom.GetIsAromatic()
        found[k, 4:7] = [atom.GetHybridization() == kind for kind in hybrids]
        found[k, 7] = atom.GetTotalNumHs(includeNeighbors=True)
    return found
