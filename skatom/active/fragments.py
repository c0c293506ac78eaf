"""Fragments around atoms of a large structure, for references that cannot compute all of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from skatom._typing import Array
from skatom.neighbors import neighbor_list

# The noise of labels that are not to be learnt, in eV/Å and eV per atom: none has this size.
_NOT_LEARNT = 1e6


def cut_fragment(
    atoms: Atoms,
    centers: Sequence[int],
    radius: float,
    *,
    buffer: float,
    vacuum: float = 5.0,
) -> Atoms:
    r"""Cut the surroundings of some atoms out of a large or periodic structure, into a vacuum.

    .. math:: \min_c |r_i - r_c| < \text{radius} + \text{buffer}, \qquad
        \text{trusted: } \min_c |r_i - r_c| < \text{radius}

    The forces on trusted atoms are those in the whole structure if a force does not depend on atoms
    beyond the ``buffer``. For a potential of atomic energies within a cutoff that is twice the
    cutoff; for a quantum-chemical reference it is to be found out, by larger buffers. Energies, and
    forces on other atoms, are those of a piece with a surface: `fragment_noises` keeps models from
    learning them.

    Bonds that are cut stay cut: no hydrogens are added, nothing is relaxed, and the charge is not
    balanced. So it suits metals, and insulators whose reference does not mind dangling bonds; for
    molecules choose ``centers`` and ``radius`` so that whole molecules are taken.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure.
    centers : list of int
        Atoms in the middle, near each other, such as those with a score above a threshold.
    radius : float
        Distance from the nearest center within which forces are trusted, in Å.
    buffer : float
        Distance beyond it within which atoms are taken, too, in Å.
    vacuum : float, default=5.0
        Empty space on each side, in Å. The fragment is not periodic.

    Returns
    -------
    ase.Atoms
        The fragment. Its arrays have the "index" of each atom in the structure and whether it is
        "trusted". An atom and its periodic images may all be in it.

    Raises
    ------
    ValueError
        If there is no center, no such atom, or a distance is not positive.

    References
    ----------
    .. [1] M. Gastegger, J. Behler, P. Marquetand, Chem. Sci. 8, 6924 (2017).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skatom.active import cut_fragment
    >>> copper = bulk("Cu", cubic=True) * 4
    >>> fragment = cut_fragment(copper, [0], 2.7, buffer=5.2)
    >>> len(copper), len(fragment), int(fragment.arrays["trusted"].sum())
    (256, 177, 13)
    """
    centers = np.atleast_1d(np.asarray(centers))
    _check(atoms, centers, radius, buffer)
    middles = atoms.positions[centers]
    near, _ = find_mic(middles - middles[0], atoms.cell, atoms.pbc)
    indices, places = [centers], [middles[0] + near]
    pairs = neighbor_list([atoms], radius + buffer)
    for center, place in zip(centers, places[0], strict=True):
        part = slice(*pairs.offsets[center : center + 2])
        indices.append(pairs.indices[part])
        places.append(place + pairs.vectors[part])
    indices, places = np.concatenate(indices), np.concatenate(places)
    first = _first_of_each(indices, places, atoms)
    indices, places = indices[first], places[first]
    distances = np.linalg.norm(places[:, None] - (middles[0] + near), axis=2).min(axis=1)
    fragment = Atoms(atoms.numbers[indices], places)
    fragment.arrays["index"], fragment.arrays["trusted"] = indices, distances < radius
    fragment.center(vacuum=vacuum)
    return fragment


def fragment_noises(
    frames: Sequence, *, noise_energy: float = 1e-3, noise_forces: float = 0.03
) -> dict[str, Array]:
    r"""Noises of labels, by which models learn of fragments the forces on trusted atoms alone.

    .. math:: \sigma_i = \begin{cases} \sigma & \text{trusted} \\ 10^6\,\text{eV/Å} &
        \text{otherwise} \end{cases}

    Labels with a noise of 10⁶ have no weight. `Targets` cannot leave out the forces on some atoms
    of a structure, but models take the noise of each atom.

    Parameters
    ----------
    frames : list of ase.Atoms
        Structures in the order in which a model learns them. Those that `cut_fragment` made have
        the array "trusted"; all labels of others are learnt.
    noise_energy : float, default=1e-3
        Noise standard deviation of energies in eV per atom.
    noise_forces : float, default=0.03
        Noise standard deviation of force components in eV/Å.

    Returns
    -------
    dict of ndarray
        ``noise_energy``, shape (n,), and ``noise_forces``, shape (n_atoms,): parameters of
        `LinearPotential`, `SparseGaussianProcess` and others that take noises by atom.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skatom.active import cut_fragment, fragment_noises
    >>> from skatom.models import LinearPotential
    >>> copper = bulk("Cu", cubic=True) * 4
    >>> frames = [bulk("Cu"), cut_fragment(copper, [0], 2.7, buffer=2.6)]
    >>> noises = fragment_noises(frames)
    >>> noises["noise_energy"].tolist()
    [0.001, 1000000.0]
    >>> model = LinearPotential(**noises)
    """
    forces, energies = [], []
    for frame in frames:
        trusted = frame.arrays.get("trusted")
        cut = trusted is not None and not trusted.all()
        energies.append(_NOT_LEARNT if cut else noise_energy)
        whole = np.full(len(frame), noise_forces)
        forces.append(np.where(trusted, whole, _NOT_LEARNT) if cut else whole)
    return {"noise_energy": np.array(energies), "noise_forces": np.concatenate(forces)}


def _first_of_each(indices, places, atoms):
    """One of each atom and image, of atoms that several centers have found."""
    shifts = np.zeros((len(indices), 3))
    if atoms.pbc.any():
        cell = atoms.cell.complete()
        shifts = np.round(np.linalg.solve(cell.T, (places - atoms.positions[indices]).T).T)
    keys = np.column_stack([indices, shifts])
    return np.sort(np.unique(keys, axis=0, return_index=True)[1])


def _check(atoms, centers, radius, buffer):
    if not len(centers):
        raise ValueError("there are no centers: give the atoms in the middle of the fragment")
    if centers.dtype.kind not in "iu" or centers.min() < 0 or centers.max() >= len(atoms):
        raise ValueError(
            f"centers={centers.tolist()} of {len(atoms)} atoms: give their numbers, from 0"
        )
    if not radius > 0 or not buffer >= 0:
        raise ValueError(
            f"radius={radius:g} must be positive, and buffer={buffer:g} not negative, in Å"
        )
