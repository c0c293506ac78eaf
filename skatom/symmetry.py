"""Permutational symmetries of a molecule, recovered from its trajectory."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import minimum_spanning_tree
from sklearn.utils import check_random_state

from skatom._progress import tqdm
from skatom._typing import Array, ArrayLike, RandomState, StructuresLike
from skatom.descriptors.inverse_distances import pair_features, pair_indices
from skatom.descriptors.one_composition import fixed_composition
from skatom.structures import as_structures

_MAX_ORDER = 100


def find_permutations(
    X: StructuresLike,
    *,
    max_structures: int = 1000,
    random_state: RandomState = None,
    verbose: int = 0,
) -> Array:
    r"""Permutations of like atoms that map frames of a trajectory onto each other.

    For each pair of frames, find the assignment of atoms that minimises the difference of their
    distance matrices,

    .. math:: \min_P \lVert A_i - P A_j P^\top \rVert_F ,

    by spectral matching: the Hungarian algorithm on the overlap of the absolute eigenvectors.
    Pairwise assignments may contradict each other; assignments along the minimum spanning tree of
    all frames do not. Their closure under composition is the group.

    Parameters
    ----------
    X : Structures or list of ase.Atoms
        Frames of one molecule from molecular dynamics, at a temperature at which atoms move
        between symmetry-equivalent positions (the eigenvectors of a relaxed structure are
        degenerate and carry no information).
    max_structures : int, default=1000
        Largest number of frames to compare; more are subsampled at random, since the cost is
        quadratic.
    random_state : int, RandomState or None, default=None
        Seed of the subsample.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    ndarray of int, shape (S, N)
        The permutations, identity first. Row q stands for the structure whose atom a is atom q[a]
        of the original.

    References
    ----------
    Chmiela et al., Nat. Commun. 9, 3887 (2018), https://doi.org/10.1038/s41467-018-06169-2

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.symmetry import find_permutations
    >>> len(find_permutations(load_ethanol().structures[:100], random_state=0))
    6
    """
    structures = as_structures(X)
    numbers = fixed_composition(structures)
    if len(structures) > max_structures:
        rng = check_random_state(random_state)
        structures = structures[rng.choice(len(structures), max_structures, replace=False)]
    distances = _distance_matrices(structures)
    costs, assignments = _match_pairs(distances, numbers, verbose)
    # Weights of zero count as missing edges, but frames may be equal: raise all weights a little.
    tree = minimum_spanning_tree(np.triu(costs + 1e-6, k=1)).tocoo()
    generators = {tuple(assignments[i][j - i - 1]) for i, j in zip(tree.row, tree.col, strict=True)}
    return _generate_group(generators, len(numbers))


def check_permutations(permutations: ArrayLike, numbers: Array) -> Array:
    """Check permutations given by a user, and return them with the identity first.

    Parameters
    ----------
    permutations : array-like of int, shape (S, N)
        One permutation of the atoms in each row.
    numbers : ndarray of int, shape (N,)
        Atomic numbers.

    Returns
    -------
    ndarray of int, shape (S, N)

    Raises
    ------
    ValueError
        If a row is not a permutation or exchanges unlike atoms, or the rows are not a group.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.symmetry import check_permutations
    >>> check_permutations([[0, 2, 1], [0, 1, 2]], np.array([8, 1, 1]))
    array([[0, 1, 2],
           [0, 2, 1]])
    """
    permutations = np.asarray(permutations)
    n_atoms = len(numbers)
    if permutations.ndim != 2 or permutations.shape[1] != n_atoms:
        raise ValueError(
            f"permutations have the shape {permutations.shape}; give (S, {n_atoms}), one row each"
        )
    for row in permutations:
        if not np.array_equal(np.sort(row), np.arange(n_atoms)):
            raise ValueError(f"{row} is not a permutation of 0 … {n_atoms - 1}")
        if not np.array_equal(numbers[row], numbers):
            raise ValueError(f"the permutation {row} exchanges unlike atoms")
    rows = {tuple(row) for row in permutations.tolist()}
    identity = tuple(range(n_atoms))
    products = {tuple(p[a] for a in q) for p in rows for q in rows}
    if identity not in rows or products != rows or len(rows) != len(permutations):
        raise ValueError(
            f"the {len(permutations)} permutations are not a group: include the identity and every "
            "product, each once, or the kernel would not be symmetric"
        )
    return _identity_first(rows)


def _distance_matrices(structures):
    inverse = pair_features(structures).values
    n_atoms = structures.n_atoms[0]
    first, second = pair_indices(n_atoms)
    distances = np.zeros((len(structures), n_atoms, n_atoms))
    distances[:, first, second] = distances[:, second, first] = 1.0 / inverse
    return distances


def _match_pairs(distances, numbers, verbose):
    """Costs (n, n) for j > i, and for each i the assignments (n - i - 1, N) to j > i."""
    n, n_atoms, _ = distances.shape
    vectors = np.abs(np.linalg.eigh(distances)[1])
    # Overlaps lie in [0, 1], so with this penalty no assignment of unlike atoms can be optimal.
    unlike = (n_atoms + 1.0) * (numbers[:, None] != numbers)
    identity = np.arange(n_atoms)
    costs = np.zeros((n, n))
    assignments = []
    for i in tqdm(range(n - 1), desc="symmetries", disable=not verbose, leave=False):
        overlap = unlike - vectors[i] @ vectors[i + 1 :].transpose(0, 2, 1)
        matched = np.array([linear_sum_assignment(cost)[1] for cost in overlap])
        others = distances[i + 1 :]
        permuted = others[
            np.arange(len(others))[:, None, None], matched[:, :, None], matched[:, None, :]
        ]
        matched_cost = np.linalg.norm(distances[i] - permuted, axis=(1, 2))
        identity_cost = np.linalg.norm(distances[i] - others, axis=(1, 2))
        better = matched_cost < identity_cost * (1 - 1e-9)
        costs[i, i + 1 :] = np.where(better, matched_cost, identity_cost)
        assignments.append(np.where(better[:, None], matched, identity))
    return costs, assignments


def _generate_group(generators, n_atoms):
    group = _close(generators, n_atoms)
    if group is None:  # too large to be real: an accidental match combines with true ones
        group = _close(_without_subsumed_cycles(generators), n_atoms)
    if group is None:
        raise ValueError(
            f"the matched frames generate more than {_MAX_ORDER} permutations: give the "
            "permutations, or frames of one molecule from a longer trajectory"
        )
    return _identity_first(group)


def _close(generators, n_atoms):
    """The set that the generators span under composition, or None beyond the largest order."""
    identity = tuple(range(n_atoms))
    group, frontier = {identity}, [identity]
    while frontier:
        new = {tuple(p[a] for a in q) for p in generators for q in frontier} - group
        group |= new
        if len(group) > _MAX_ORDER:
            return None
        frontier = list(new)
    return group


def _without_subsumed_cycles(generators):
    """Generators none of whose cycles shares atoms with a larger cycle of another one."""
    cycles = {generator: _cycles(generator) for generator in generators}
    return {
        generator
        for generator, own in cycles.items()
        if not any(
            len(cycle) < len(larger) and cycle & larger
            for other, theirs in cycles.items()
            if other != generator
            for larger in theirs
            for cycle in own
        )
    }


def _cycles(permutation):
    """Sets of atoms that a permutation moves in a circle, fixed points left out."""
    cycles, seen = [], set()
    for start in range(len(permutation)):
        cycle, atom = set(), start
        while atom not in seen:
            seen.add(atom)
            cycle.add(atom)
            atom = permutation[atom]
        if len(cycle) > 1:
            cycles.append(cycle)
    return cycles


def _identity_first(group):
    """The permutations in lexicographic order, in which the identity is the first."""
    return np.array(sorted(group), dtype=np.int64)
