r"""A small linear model, with which labels of energies, forces and stresses are compared.

.. math::

    E = \sum_i \Big[ \sum_{j,k} a_k\, g_k(r_{ij})
        + \sum_{k,l} b_{kl}\, \big| M_{kl}^i \big|^2 \Big], \qquad
    M_{kl}^i = \sum_j g_k(r_{ij})\, \hat r_{ij}^{\otimes l}, \quad l \le 2

with coefficients for each pair of elements. A few structures determine them, and forces alone
determine energies up to constants.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from skatom.neighbors import neighbor_list
from skatom.parallel import threads_over_blas
from skatom.properties import VOIGT

# Radial functions of pairs and of moments; the first centre in Å.
_PAIRS, _MOMENTS, _SHORTEST = 10, 4, 0.8
# The cutoff in Å: such that atoms have about this number of neighbours, but within these limits.
_NEIGHBORS, _CUTOFFS = 25, (3.0, 5.5)
# Elements whose neighbours' moments are kept apart, at most.
_ELEMENTS = 3
# Atoms whose pairs one thread holds at a time, and those of which the density is taken.
_BATCH_ATOMS, _DENSITY_ATOMS = 64, 128
# √2 of the off-diagonal components makes a product of Voigt vectors that of matrices
_ROOTS = np.sqrt([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])


@dataclass(frozen=True)
class ProbeRows:
    """What p functions give: energy (n, p), forces (n_atoms, 3, p), virial (n, 6, p)."""

    energy: np.ndarray
    forces: np.ndarray
    virial: np.ndarray


def probe_rows(structures):
    """The rows of some structures, whose coefficients are common.

    Parameters
    ----------
    structures : Structures, n of them

    Returns
    -------
    ProbeRows
    """
    cutoff = _cutoff(structures)
    with threads_over_blas() as team:
        parts = list(
            team.map(lambda part: _rows_of(part, structures.species, cutoff), _batches(structures))
        )
    return ProbeRows(*(np.concatenate([getattr(part, name) for part in parts])
                  for name in ("energy", "forces", "virial")))  # fmt: skip


def _cutoff(structures):
    """A radius with some 25 neighbours, as far as the density is uniform."""
    some = structures[: 1 + np.searchsorted(structures.offsets[1:], _DENSITY_ATOMS)]
    counts = np.diff(neighbor_list(some, _CUTOFFS[1]).offsets)
    factor = np.cbrt(_NEIGHBORS / max(counts.mean(), 1.0))
    return float(np.clip(_CUTOFFS[1] * factor, *_CUTOFFS))


def probe_energies(structures):
    """The rows of energies alone, which takes a fourth of the time of all.

    Parameters
    ----------
    structures : Structures, n of them

    Returns
    -------
    ndarray of shape (n, p)
    """
    cutoff = _cutoff(structures)

    def rows(batch):
        pairs = neighbor_list(batch, cutoff)
        to_structure = _sums(np.repeat(np.arange(len(batch)), batch.n_atoms), len(batch))
        kinds = _pairs_of_kinds(batch, structures.species, pairs)
        found = [
            to_structure @ _values(_sums(i, len(batch.numbers)), hot, vectors, cutoff)
            for i, _, hot, vectors in kinds
        ]
        return np.concatenate(found, axis=1)

    with threads_over_blas() as team:
        return np.concatenate(list(team.map(rows, _batches(structures))))


def n_functions(n_species):
    """The number p of functions for a number of species."""
    fields = n_species if n_species <= _ELEMENTS else 1
    return n_species * (_PAIRS * n_species + 3 * _MOMENTS * fields * (fields + 1) // 2)


def _batches(structures):
    """Structures of some atoms together, one after the other."""
    firsts = np.searchsorted(
        structures.offsets, np.arange(0, structures.offsets[-1] + 1, _BATCH_ATOMS)
    )
    edges = np.unique([0, *firsts, len(structures)])
    return [structures[start:stop] for start, stop in pairwise(edges)]


def _pairs_of_kinds(structures, species, pairs):
    """For the atoms of each species: both atoms of their pairs, the second's species, vectors."""
    centers = np.repeat(np.arange(len(structures.numbers)), np.diff(pairs.offsets))
    kinds = np.searchsorted(species, structures.numbers)
    for kind in range(len(species)):
        mine = kinds[centers] == kind
        j = pairs.indices[mine]
        yield centers[mine], j, np.eye(len(species))[kinds[j]], pairs.vectors[mine]


def _rows_of(structures, species, cutoff):
    """The rows of a batch, the functions of each element's atoms one after the other."""
    pairs = neighbor_list(structures, cutoff)
    n, n_atoms = len(structures), len(structures.numbers)
    owners = np.repeat(np.arange(n), structures.n_atoms)
    to_structure = _sums(owners, n)
    found = []
    for i, j, hot, vectors in _pairs_of_kinds(structures, species, pairs):
        values, slopes = _functions(_sums(i, n_atoms), i, hot, vectors, cutoff)
        width = values.shape[1]
        flat = slopes.reshape(len(i), 3 * width)
        forces = (_sums(i, n_atoms) @ flat - _sums(j, n_atoms) @ flat).reshape(n_atoms, 3, width)
        of_pairs = _sums(owners[i], n)
        virial = [of_pairs @ (slopes[:, a] * vectors[:, b, None])
                  for a, b in zip(*VOIGT, strict=True)]  # fmt: skip
        found.append((to_structure @ values, forces, np.stack(virial, axis=1)))
    return ProbeRows(*(np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True)))


def _sums(targets, n):
    """A matrix that adds up rows by their target."""
    m = len(targets)
    return sparse.csr_array((np.ones(m), (targets, np.arange(m))), shape=(n, m))


def _functions(sums, i, hot, vectors, cutoff):
    """Functions of the centres (n_atoms, p), and their derivatives by pair vectors (m, 3, p)."""
    r, units = _polar(vectors)
    values, slopes = (_by_species(of_r, hot) for of_r in _radial(r, _PAIRS, cutoff))
    values, slopes = [sums @ values], [units[:, :, None] * slopes[:, None]]
    hot = _few(hot)
    radial, falls = _radial(r, _MOMENTS, cutoff)
    over = radial / r[:, None]
    for degree, angular, moments in _fields(sums, hot, radial, units):
        for a, b in zip(*np.triu_indices(len(moments)), strict=True):
            values.append((moments[a] * moments[b]).sum(axis=1))
            # what the moment of a neighbour is multiplied with
            beside = hot[:, a, None, None] * moments[b][i] + hot[:, b, None, None] * moments[a][i]
            along = (beside * angular[:, :, None]).sum(axis=1)
            slope = units[:, :, None] * ((falls - degree * over) * along)[:, None]
            if degree:
                slope += over[:, None] * _turning(degree, beside, units)
            slopes.append(slope)
    return np.concatenate(values, axis=1), np.concatenate(slopes, axis=2)


def _values(sums, hot, vectors, cutoff):
    """Functions of the centres (n_atoms, p) alone."""
    r, units = _polar(vectors)
    values = [sums @ _by_species(_radial(r, _PAIRS, cutoff)[0], hot)]
    for _, _, moments in _fields(sums, _few(hot), _radial(r, _MOMENTS, cutoff)[0], units):
        pairs = zip(*np.triu_indices(len(moments)), strict=True)
        values.extend((moments[a] * moments[b]).sum(axis=1) for a, b in pairs)
    return np.concatenate(values, axis=1)


def _polar(vectors):
    r = np.linalg.norm(vectors, axis=1)
    return r, vectors / r[:, None]


def _by_species(of_r, hot):
    """Columns for each species of the neighbours."""
    return (of_r[:, None] * hot[:, :, None]).reshape(len(hot), hot.shape[1] * of_r.shape[1])


def _few(hot):
    """Neighbours' species, or all as one if they are many."""
    return hot if hot.shape[1] <= _ELEMENTS else np.ones((len(hot), 1))


def _fields(sums, hot, radial, units):
    """The degree, the angular functions, and the moments of each species."""
    for degree, angular in enumerate(_harmonics(units)):
        field = radial[:, None] * angular[:, :, None]
        yield degree, angular, [_moments(sums, field * of[:, None, None]) for of in hot.T]


def _radial(r, count, cutoff):
    """Gaussians of log r that end smoothly at the cutoff, and their derivatives (m, count)."""
    grid, width = np.linspace(np.log(_SHORTEST), np.log(cutoff), count, retstep=True)
    x = (np.log(r)[:, None] - grid) / width
    end = (0.5 + 0.5 * np.cos(np.pi * r / cutoff))[:, None]
    fall = (-0.5 * np.pi / cutoff * np.sin(np.pi * r / cutoff))[:, None]
    values = np.exp(-0.5 * x**2)
    return values * end, values * (fall - end * x / (width * r[:, None]))


def _harmonics(units):
    """1, the unit vectors, and their dyads as Voigt vectors."""
    rows, columns = VOIGT
    return np.ones((len(units), 1)), units, units[:, rows] * units[:, columns] * _ROOTS


def _moments(sums, field):
    m, *shape = field.shape
    return (sums @ field.reshape(m, shape[0] * shape[1])).reshape(-1, *shape)


def _turning(degree, field, units):
    """r times the derivative of a field's angular part, without that along the unit vector."""
    if degree == 1:
        return field
    matrices = (field / _ROOTS[:, None])[:, [0, 5, 4, 5, 1, 3, 4, 3, 2]]
    matrices = matrices.reshape(len(field), 3, 3, field.shape[-1])
    return 2 * np.einsum("mabk,mb->mak", matrices, units)
