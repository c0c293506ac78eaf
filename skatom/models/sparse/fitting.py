"""The fit of a sparse Gaussian process: representatives, batches of rows, the likelihood."""

import warnings

import numpy as np
from ase.data import chemical_symbols
from scipy.linalg import block_diag
from tqdm import tqdm

from skatom.elements import symbols
from skatom.memory import check_memory
from skatom.models.sparse.centers import WHOLE, CenterSource, as_centers
from skatom.models.sparse.representatives import choose_representatives, prior_root
from skatom.models.sparse.rows import Block, energy_rows, weighted_rows, with_neighbors
from skatom.parallel import threads_over_blas
from skatom.solvers import StreamedQR

# A batch of rows: large enough for fast products, small compared with the memory.
_BATCH_ATOMS, _BATCH_BYTES = 128, 2**24


def features_of(descriptors, X, batch):
    """Features of a batch by each descriptor; without descriptors, X are features."""
    if descriptors is None:
        return [as_centers(X[batch])]
    return [as_centers(descriptor.transform(X[batch])) for descriptor in descriptors]


def representative_blocks(X, descriptors, terms, selection, n_candidates, rng):
    """Select the representatives of each term and species.

    Parameters
    ----------
    X : AtomicFeatures, StructureFeatures or Structures
    descriptors : list of fitted descriptors, or None where X are features
    terms : list of Term
    selection : {"fps", "cur", "random"} or array-like of int
    n_candidates : int
    rng : numpy.random.RandomState

    Returns
    -------
    list of Block
    """
    blocks, start = [], 0
    for t, term in enumerate(terms):
        term.kernel.check_parameters()
        source = CenterSource(X, None if descriptors is None else descriptors[t])
        for number in np.unique(source.numbers):
            limit = _number_of(term.n_sparse, number)
            vectors = choose_representatives(
                source, number, term.kernel, limit, selection, n_candidates, rng
            )
            if len(vectors):
                columns = slice(start, start + len(vectors))
                blocks.append(Block(t, int(number), term.kernel, vectors, columns))
                start = columns.stop
    return blocks


def start_solver(blocks, max_memory=None):
    """Begin the factorisation with the prior, whose rows are a root of K_MM.

    Returns
    -------
    solver : StreamedQR
    prior_factors : list of ndarray
        Lower Cholesky factors of K_MM of each block.
    """
    n_columns = blocks[-1].columns.stop
    check_memory(
        5 * 8.0 * n_columns**2,
        f"the factorisation for {n_columns} representative environments",
        "reduce n_sparse" + ("" if max_memory is None else ", or raise max_memory"),
        max_memory,
    )
    factors = [prior_root(block) for block in blocks]
    return StreamedQR(n_columns, prior=block_diag(*(factor.T for factor in factors))), factors


def warn_of_isolated_atoms(blocks, n_columns, descriptors, X, structures, has_energy):
    """Warn of labelled structures of one atom whose kernels are zero.

    Parameters
    ----------
    blocks : list of Block
    n_columns : int
    descriptors : list of fitted descriptors, or None where X are features
    X : AtomicFeatures, StructureFeatures or Structures
    structures : Structures
    has_energy : ndarray of bool, shape (n,)
        Structures whose energy is learnt.
    """
    alone = np.flatnonzero((structures.n_atoms == 1) & has_energy)
    if not len(alone):
        return
    rows = energy_rows(blocks, features_of(descriptors, X, alone), n_columns)
    lost = alone[~rows.any(axis=1)]
    if len(lost):
        numbers = np.unique(structures.numbers[structures.offsets[lost]])
        warnings.warn(
            f"the model cannot represent isolated atoms of {symbols(numbers)} (structure "
            f"{lost[0]}): their features are zero and their energy is that of the baseline alone, "
            "which is right with baseline='isolated'; or use a descriptor that counts the centre, "
            "such as SOAP",
            UserWarning,
            stacklevel=6,
        )


def learn(solver, blocks, features_of_batch, structures, labels, verbose=0):
    """Add the rows of all structures to the factorisation, batch by batch.

    While one batch is added to the factorisation, the rows of the next batch are computed.

    Parameters
    ----------
    solver : StreamedQR
    blocks : list of Block
    features_of_batch : callable
        Function that gives the features of a slice of structures by each descriptor.
    structures : Structures
    labels : Labels
    verbose : int

    Yields
    ------
    n_structures, n_labels : int
        Numbers of structures and labels that were added.
    log_noise : float
        Sum of the logarithms of the noise of these labels.
    """
    limit = max(1, _BATCH_BYTES // (8 * solver.n_columns) // 3)
    pieces = batches(structures, min(_BATCH_ATOMS, limit))
    progress = tqdm(pieces, desc="fit", unit="batch", disable=not verbose, leave=False)
    with threads_over_blas() as pool:
        waiting = None
        for batch in progress:
            calls = _submit(pool, solver, blocks, features_of_batch(batch), labels, batch)
            if waiting is not None:
                yield _take(solver, *waiting)
            waiting = (calls, batch)
        yield _take(solver, *waiting)


def batches(structures, n_atoms):
    """Slices of consecutive structures with at most this many atoms, or of one alone."""
    edges = [0]
    while edges[-1] < len(structures):
        limit = structures.offsets[edges[-1]] + n_atoms
        stop = np.searchsorted(structures.offsets, limit, side="right") - 1
        edges.append(max(int(stop), edges[-1] + 1))
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def log_marginal_likelihood(solver, prior_factors, log_noise, n_labels):
    r"""The logarithm of :math:`N(y \mid 0, A K_{MM}^{-1} A^\top + \Lambda)`."""
    log_determinant = 2 * np.log(np.abs(solver.triangle.diagonal())).sum()
    for factor in prior_factors:
        log_determinant -= 2 * np.log(factor.diagonal()).sum()
    return -0.5 * float(
        solver.residuals[0] + log_determinant + 2 * log_noise + n_labels * np.log(2 * np.pi)
    )


def _submit(pool, solver, blocks, features, labels, batch):
    """Start to compute the rows of a batch, each structure in a thread."""
    energies = energy_rows(blocks, features, solver.n_columns)
    derived = labels.has_forces[batch] | labels.has_virial[batch]
    if derived.any():
        features = with_neighbors(features)
    return [
        pool.submit(
            weighted_rows, blocks, features, place, energies[place], labels,
            batch.start + place,
        )
        for place in range(batch.stop - batch.start)
    ]  # fmt: skip


def _take(solver, calls, batch):
    """Add the rows of a batch to the factorisation."""
    rows, labels, log_noise = zip(*(call.result() for call in calls), strict=True)
    calls.clear()  # the rows are as large as what the factorisation works with
    rows, labels = np.concatenate(rows), np.concatenate(labels)
    solver.update(rows, labels)
    return batch.stop - batch.start, len(labels), float(sum(log_noise))


def _number_of(n_sparse, number):
    if not isinstance(n_sparse, dict):
        return n_sparse
    if number == WHOLE:
        raise ValueError(
            f"n_sparse={n_sparse} is for species, but these features are those of structures: give "
            "one number"
        )
    symbol = chemical_symbols[number]
    if symbol not in n_sparse:
        raise ValueError(
            f"n_sparse={n_sparse} has no entry for {symbol}: give one for each species"
        )
    return n_sparse[symbol]
