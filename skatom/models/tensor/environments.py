"""Covariant features of atomic environments by species, and the kernels between them."""

import numpy as np

from skatom.memory import check_memory
from skatom.parallel import split_rows, threads_over_blas

# Largest numbers of unknowns in a block column of the kernel matrix and of elements in the features
# of its structures, and the number of structures in a piece of a thread's work.
_COLUMNS, _NUMBERS, _PIECE = 400, 2**24, 8
# Squared features of an atom below this are rounding errors in symmetric surroundings.
ROUNDING = 1e-20


class CovariantEnvironments:
    """Covariant features F of order λ and normalised invariants p of atoms, by species.

    Parameters
    ----------
    n : int
        Number of owners of atoms: structures, or representative atoms that stand for themselves.
    groups : dict of int to tuple
        For each species: the owner of each atom (n_atoms,), sorted; F, shape (2λ + 1, n_atoms,
        n_features); p, shape (n_atoms, n_invariants).

    Attributes
    ----------
    n, groups
        The parameters.
    """

    def __init__(self, n, groups):
        self.n = n
        self.groups = groups

    @classmethod
    def of_structures(cls, features, lam):
        """All atoms of TensorFeatures; the owners are the structures."""
        owner = np.repeat(np.arange(len(features)), features.structures.n_atoms)
        rows = _rows(features, lam)
        return cls(len(features), _by_species(features.structures.numbers, owner, *rows))

    @classmethod
    def of_atoms(cls, features, lam, atoms):
        """Some atoms of TensorFeatures, counted over all structures; each is its own owner."""
        covariants = features.of_order(lam)
        check_memory(
            8.0 * len(atoms) * (2 * lam + 1) * covariants.n_features,
            f"the features of {len(atoms)} representative environments",
            "reduce n_sparse",
        )
        rows = rows_of_atoms(covariants, atoms, lambda batch: _rows(batch, lam))
        numbers = features.structures.numbers[atoms]
        return cls(len(atoms), _by_species(numbers, np.arange(len(atoms)), *rows))


def _rows(features, lam):
    # of a new slice, so that the values are not kept with the features
    return features[:].of_order(lam).values, features.invariants()


def _by_species(numbers, owner, covariants, invariants):
    groups = {}
    for z in np.unique(numbers):
        atoms = np.flatnonzero(numbers == z)
        components = np.ascontiguousarray(covariants[atoms].transpose(1, 0, 2))
        groups[int(z)] = owner[atoms], components, invariants[atoms]
    return groups


def rows_of_atoms(features, atoms, rows):
    """Arrays of some atoms, computed for a few structures at a time.

    Parameters
    ----------
    features : TensorFeatures
    atoms : ndarray of int
        Indices of the atoms, counted over all structures.
    rows : callable
        Gives a tuple of arrays for the atoms of a few structures.

    Returns
    -------
    list of ndarray of shape (len(atoms), …)
    """
    offsets = features.structures.offsets
    owners = np.searchsorted(offsets, atoms, side="right") - 1
    needed, found = np.unique(owners), None
    for piece in split_rows(len(needed), _PIECE):
        batch = features[needed[piece]]
        mine = np.flatnonzero(np.isin(owners, needed[piece]))
        first = batch.structures.offsets[np.searchsorted(needed[piece], owners[mine])]
        parts = rows(batch)
        if found is None:
            found = [np.empty((len(atoms), *part.shape[1:])) for part in parts]
        for out, part in zip(found, parts, strict=True):
            out[mine] = part[first + atoms[mine] - offsets[owners[mine]]]
    return found


def blocks_of(features, lam):
    """TensorFeatures of a few structures at a time."""
    n_mu = 2 * lam + 1
    structures = features.structures
    numbers = n_mu * features.of_order(lam).n_features * structures.n_atoms.max()
    size = max(1, min(_COLUMNS // n_mu, _NUMBERS // numbers))
    return [features[rows] for rows in split_rows(len(structures), size)]


def fill_kernel(rows, columns, zeta, out):
    """K between two sets of environments into ``out``, in threads; components innermost."""
    n_mu = len(out) // rows.n

    def work(piece):
        place = slice(piece.start * n_mu, piece.stop * n_mu)
        out[place] = _kernel_block(rows, piece, columns, zeta)

    with threads_over_blas() as pool:
        list(pool.map(work, split_rows(rows.n, _PIECE)))


def kernel_between(rows, columns, lam, zeta):
    """K between two sets of environments, shape (rows.n (2λ + 1), columns.n (2λ + 1))."""
    n_mu = 2 * lam + 1
    out = np.empty((rows.n * n_mu, columns.n * n_mu))
    fill_kernel(rows, columns, zeta, out)
    return out


def _kernel_block(rows, piece, columns, zeta):
    """K between the owners of a slice of the rows and all columns.

        K[A μ, B μ'] = Σ_jk F_μ(X_j) · F_μ'(X_k) (p(X_j) · p(X_k))^(ζ - 1)

    over the atoms j of A and k of B that are of the same species.
    """
    n_mu = len(next(iter(rows.groups.values()))[1])
    out = np.zeros((piece.stop - piece.start, n_mu, columns.n, n_mu))
    for z, (owner, f, p) in rows.groups.items():
        atoms = slice(*np.searchsorted(owner, (piece.start, piece.stop)))
        if atoms.start == atoms.stop or z not in columns.groups:
            continue
        f, p = f[:, atoms], p[atoms]
        other, g, q = columns.groups[z]
        block = (f.reshape(-1, f.shape[2]) @ g.reshape(-1, g.shape[2]).T).reshape(
            n_mu, len(p), n_mu, len(q)
        )
        if zeta > 1:
            block *= ((p @ q.T) ** (zeta - 1))[:, None]
        to, first = np.unique(owner[atoms] - piece.start, return_index=True)
        of, other_first = np.unique(other, return_index=True)
        block = np.add.reduceat(np.add.reduceat(block, other_first, axis=3), first, axis=1)
        out[np.ix_(to, range(n_mu), of, range(n_mu))] += block.transpose(1, 0, 3, 2)
    return out.reshape(len(out) * n_mu, -1)


def kernel_diagonal(environments, zeta):
    """K of every owner with itself, shape (n, 2λ + 1, 2λ + 1)."""
    n_mu = len(next(iter(environments.groups.values()))[1])
    out = np.zeros((environments.n, n_mu, n_mu))
    for owner, f, p in environments.groups.values():
        edges = np.searchsorted(owner, np.arange(environments.n + 1))
        for s, (start, stop) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            part, q = f[:, start:stop], p[start:stop]
            weighted = (q @ q.T) ** (zeta - 1) @ part
            out[s] += weighted.reshape(n_mu, -1) @ part.reshape(n_mu, -1).T
    return out


def check_not_symmetric(trace, n_atoms, lam):
    """Raise a ValueError if the trace of K is rounding error."""
    if trace < ROUNDING * n_atoms:
        raise ValueError(
            f"all features of order {lam} vanish: every atom or representative has symmetric or "
            "empty surroundings; give structures of less symmetry or a larger cutoff"
        )
