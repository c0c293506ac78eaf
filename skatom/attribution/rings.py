"""Energies of rings of atoms, from the most stable one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from skatom._typing import Array, Estimator, StructuresLike
from skatom.attribution.explanations import energy_by_atom
from skatom.structures import as_structures

# Atoms are bonded if they are closer than this times the sum of their covalent radii.
_BONDED = 1.25


@dataclass(frozen=True)
class RankedRings:
    """Rings of atoms in order of their energies, the most stable ones first.

    `ring_energies` returns it.

    Parameters
    ----------
    structures : ndarray of int, shape (n_rings,)
        The structure of each ring.
    atoms : ndarray of int, shape (n_rings, size)
        Its atoms within the structure, one bonded to the next.
    energies : ndarray of float, shape (n_rings,)
        Sum of the energies of its atoms in eV.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.attribution import RankedRings
    >>> found = RankedRings(np.array([4, 0]), np.zeros((2, 6), int), np.array([-3.0, -1.0]))
    >>> found.structures.tolist()
    [4, 0]
    """

    structures: Array
    atoms: Array
    energies: Array


def ring_energies(
    model: Estimator, X: StructuresLike, symbol: str = "C", size: int = 6
) -> RankedRings:
    r"""Rings of one element, ranked by the energy that a model gives to their atoms.

    .. math:: E_\mathrm{ring} = \sum_{i \in \mathrm{ring}} \varepsilon_i

    Networks of many molecules give the rings that chemists call aromatic the lowest energies,
    although they have learnt energies of molecules alone [1]_. Atoms are bonded if they are closer
    than 1.25 times the sum of their covalent radii; rings have no bonds across them.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        A model that predicts ``local_energies``.
    X : Structures or list of ase.Atoms
        Molecules.
    symbol : str, default="C"
        Element of all atoms of the rings.
    size : int, default=6
        Number of their atoms, at least 3.

    Returns
    -------
    RankedRings

    See Also
    --------
    skatom.plotting.RankedRingsDisplay : A picture of the molecules and their rings.

    Raises
    ------
    ValueError
        If the element is unknown, the size is smaller than 3, a structure is periodic, or the model
        has no energies of atoms.

    References
    ----------
    .. [1] K. T. Schütt, F. Arbabzadah, S. Chmiela, K.-R. Müller, A. Tkatchenko, Nat. Commun. 8,
       13890 (2017).

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.attribution import ring_energies
    >>> from skatom.datasets import load_benzene
    >>> from skatom.descriptors import SOAP
    >>> from skatom.models import SparseGaussianProcess
    >>> data = load_benzene()
    >>> model = make_pipeline(
    ...     SOAP(cutoff=3.0, n_max=3, l_max=2), SparseGaussianProcess(n_sparse=10, random_state=0)
    ... )
    >>> model = model.fit(data.structures[::100], data.targets[::100])
    >>> found = ring_energies(model, data.structures[:4])
    >>> found.atoms.shape, bool((found.energies[1:] >= found.energies[:-1]).all())
    ((4, 6), True)
    """
    number = atomic_numbers.get(symbol, 0)
    if number == 0:
        raise ValueError(f"symbol={symbol!r} is no element: give its symbol, such as 'C'")
    if size < 3:
        raise ValueError(f"size={size} is too small for a ring: give at least 3")
    structures = as_structures(X)
    periodic = structures.pbc.any(axis=1)
    if periodic.any():
        raise ValueError(
            f"structure {np.argmax(periodic)} is periodic, and rings are those of molecules: set "
            "pbc=False"
        )
    local = energy_by_atom(model, structures)
    owners, atoms, energies = [], [], []
    for s, start in enumerate(structures.offsets[:-1]):
        own = slice(start, structures.offsets[s + 1])
        some = np.flatnonzero(structures.numbers[own] == number)
        for ring in _rings(structures.positions[own][some], covalent_radii[number], size):
            owners.append(s)
            atoms.append(some[ring])
            energies.append(local[own][some[ring]].sum())
    order = np.argsort(energies, kind="stable")
    atoms = np.array(atoms, int).reshape(-1, size)
    return RankedRings(np.array(owners, int)[order], atoms[order], np.array(energies)[order])


def _rings(positions, radius, size):
    """Cycles of bonded atoms without bonds across, each once, from its first atom."""
    distances = np.linalg.norm(positions[:, None] - positions, axis=2)
    bonded = (distances < 2 * _BONDED * radius) & ~np.eye(len(positions), dtype=bool)
    neighbors = [np.flatnonzero(row) for row in bonded]
    paths = [[first] for first in range(len(positions))]
    for _ in range(size - 1):
        paths = [
            [*path, k] for path in paths for k in neighbors[path[-1]]
            # one bond to the path alone, but for the last atom, which closes it
            if k > path[0] and k not in path and not bonded[k, path[1:-1]].any()
            and (len(path) == 1 or bonded[k, path[0]] == (len(path) == size - 1))
        ]  # fmt: skip
    return [path for path in paths if path[1] < path[-1]]
