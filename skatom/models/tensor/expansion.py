"""The kernel expansion of one spherical component of a tensor: its linear system and its sum."""

import numpy as np
from sklearn.base import clone

from skatom.elements import species_index
from skatom.memory import check_memory
from skatom.parallel import split_rows, threads_over_blas
from skatom.solvers import PackedCholesky

# Largest numbers of unknowns in a block column of the kernel matrix and of elements in the features
# of its structures, and the number of structures in a piece of a thread's work.
_COLUMNS, _NUMBERS, _PIECE = 400, 2**24, 8
# Squared features of an atom below this are rounding errors in symmetric surroundings.
_ROUNDING = 1e-20


class CovariantEnvironments:
    """Covariant features F and normalised invariants p of the atoms of a batch, by species.

    Parameters
    ----------
    descriptors : tuple of two LambdaSOAP
        Fitted descriptors for F and for p.
    structures : Structures

    Attributes
    ----------
    n : int
        Number of structures.
    groups : dict of int to tuple
        For each species: the structure of each atom (n_atoms,), sorted; F, shape (2λ + 1, n_atoms,
        n_features); p, shape (n_atoms, n_invariants).
    """

    def __init__(self, descriptors, structures):
        covariants, invariants = (d.transform(structures).values for d in descriptors)
        owner = np.repeat(np.arange(len(structures)), structures.n_atoms)
        self.n = len(structures)
        self.groups = {}
        for z in structures.species:
            atoms = np.flatnonzero(structures.numbers == z)
            components = np.ascontiguousarray(covariants[atoms].transpose(1, 0, 2))
            self.groups[z] = owner[atoms], components, invariants[atoms, 0]


class TensorExpansion:
    r"""The expansion of one order λ in a fitted `TensorKernelRidge`.

    .. math::
        T_\mu(A) = \sum_{j \in A} F_\mu(X_j) \cdot W(X_j), \qquad
        W(X) = \sum_k \big(p(X) \cdot p(X_k)\big)^{\zeta-1} g_k, \qquad
        g_k = \sum_\mu F_\mu(X_k)\, c_{A(k)\mu}

    The sum runs over the training environments k of the same species. For ζ = 1 it is a vector
    and for ζ = 2 a matrix times p, for any number of environments.

    Parameters
    ----------
    descriptor : LambdaSOAP
        The parameters of the density.
    lam, zeta : int

    Attributes
    ----------
    references : dict of int to ndarray of shape (n_k, n_invariants) or None
        p of the training environments of each species; None if the sum over them is kept instead.
    weights : dict of int to ndarray
        g_k, shape (n_k, n_features), or their sum, (n_features,) or (n_invariants, n_features).
    """

    def __init__(self, descriptor, lam, zeta):
        self.descriptors = (
            clone(descriptor).set_params(lam=lam, pool=None),
            clone(descriptor).set_params(lam=0, parity="even", normalize=True, pool=None),
        )
        self.zeta = zeta

    def fit(self, structures, components, alpha, max_memory=None, verbose=0):
        """Solve (K + α mean(diag K)) c = components, (n, 2λ + 1)."""
        n, n_mu = components.shape
        check_memory(
            PackedCholesky.memory(n * n_mu, _COLUMNS),
            f"the kernel matrix of {n} structures with {n_mu} components each",
            "train on fewer structures",
            max_memory,
        )
        for descriptor in self.descriptors:
            descriptor.fit(structures)
        blocks = self._blocks(structures)
        edges = np.cumsum([0, *(len(block) * n_mu for block in blocks)])
        trace = sum(kernel_trace(self._environments(block), self.zeta) for block in blocks)
        if trace < _ROUNDING * len(structures.numbers):
            raise ValueError(
                f"all features of order {self.descriptors[0].lam} vanish: every atom of every "
                "structure has symmetric or empty surroundings; give structures of less symmetry "
                "or a larger cutoff"
            )
        cholesky = PackedCholesky(edges, verbose)
        try:
            cholesky.factor(_System(self._fill, blocks, edges, alpha * trace / components.size))
        except np.linalg.LinAlgError as error:
            raise ValueError(
                f"the kernel matrix is singular to rounding errors with alpha={alpha}: raise alpha"
            ) from error
        coefficients = cholesky.solve(components.ravel()).reshape(n, n_mu)
        self._sum_up(blocks, np.split(coefficients, edges[1:-1] // n_mu))
        return self

    def components(self, structures):
        """The components (n, 2λ + 1) of the structures."""
        n_mu = 2 * self.descriptors[0].lam + 1
        # an unseen species is reported with its place among all structures, not in a block
        species_index(structures, self.descriptors[0].species_)
        components = []
        for block in self._blocks(structures):
            environments = self._environments(block)
            part = np.zeros((environments.n, n_mu))
            for z, (owner, covariants, invariants) in environments.groups.items():
                field = self._field(z, invariants)
                np.add.at(part, owner, np.einsum("mad,ad->am", covariants, field))
            components.append(part)
        return np.concatenate(components)

    def _blocks(self, structures):
        """A few structures at a time."""
        descriptor = self.descriptors[0]
        n_mu = 2 * descriptor.lam + 1
        numbers = n_mu * descriptor.n_features_out_ * structures.n_atoms.max()
        size = max(1, min(_COLUMNS // n_mu, _NUMBERS // numbers))
        return [structures[rows] for rows in split_rows(len(structures), size)]

    def _environments(self, structures):
        return CovariantEnvironments(self.descriptors, structures)

    def _fill(self, blocks, out):
        """K between the structures of all blocks, the rows, and those of the first."""
        columns = self._environments(blocks[0])
        stop = 0
        with threads_over_blas() as pool:
            for block in blocks:
                rows = columns if stop == 0 else self._environments(block)

                def work(piece, rows=rows):
                    return kernel_block(rows, piece, columns, self.zeta)

                for part in pool.map(work, split_rows(rows.n, _PIECE)):
                    start, stop = stop, stop + len(part)
                    out[start:stop] = part

    def _sum_up(self, blocks, coefficients):
        """`weights` and `references` from c, block by block."""
        counts = sum(np.bincount(block.numbers, minlength=119) for block in blocks)
        self.references, self.weights = {}, {}
        for block, c in zip(blocks, coefficients, strict=True):
            for z, (owner, covariants, invariants) in self._environments(block).groups.items():
                g = np.einsum("mad,am->ad", covariants, c[owner])
                if self.zeta == 1:
                    invariants, g = None, g.sum(axis=0)
                elif self.zeta == 2 and counts[z] > invariants.shape[1]:
                    invariants, g = None, invariants.T @ g
                self._add(z, invariants, g)

    def _add(self, z, reference, weights):
        if z not in self.weights:
            self.references[z], self.weights[z] = reference, weights
        elif reference is None:
            self.weights[z] += weights
        else:
            self.references[z] = np.concatenate([self.references[z], reference])
            self.weights[z] = np.concatenate([self.weights[z], weights])

    def _field(self, z, invariants):
        """W of environments of one species: shape (n_atoms, n_features)."""
        weights, reference = self.weights[z], self.references[z]
        if self.zeta == 1:
            return np.broadcast_to(weights, (len(invariants), len(weights)))
        if reference is None:
            return invariants @ weights
        return (invariants @ reference.T) ** (self.zeta - 1) @ weights


def kernel_block(rows, piece, columns, zeta):
    """K between the structures of a slice of the rows and all columns, components innermost.

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


class _System:
    """K and a multiple of the unit matrix, in block columns of a few structures each."""

    def __init__(self, fill, blocks, edges, noise):
        self.fill_kernel, self.blocks, self.edges, self.noise = fill, blocks, edges, noise

    def fill(self, start, stop, out):
        self.fill_kernel(self.blocks[np.searchsorted(self.edges, start) :], out)
        out[: stop - start] += self.noise * np.eye(stop - start)


def kernel_trace(environments, zeta):
    """The sum of the diagonal of K, of one batch."""
    trace = 0.0
    for owner, f, p in environments.groups.values():
        edges = np.searchsorted(owner, np.arange(environments.n + 1))
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            part, q = f[:, start:stop], p[start:stop]
            trace += np.sum((part @ part.transpose(0, 2, 1)) * (q @ q.T) ** (zeta - 1))
    return trace
