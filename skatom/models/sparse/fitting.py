"""The fit of a sparse Gaussian process: representatives, batches of rows, the likelihood."""

from collections import deque
from functools import partial
from itertools import chain
from numbers import Integral
from threading import Lock

import numpy as np
from ase.data import chemical_symbols
from scipy.linalg import block_diag

from skatom._device import is_tensor
from skatom._progress import tqdm
from skatom._warnings import warn
from skatom.descriptors.features import Features, structures_of
from skatom.elements import symbols
from skatom.memory import check_memory
from skatom.models.sparse.centers import WHOLE, CenterSource, as_centers
from skatom.models.sparse.device_fitting import learn_on_device
from skatom.models.sparse.representatives import choose_representatives, prior_root
from skatom.models.sparse.rows import Block, energy_rows, weighted_rows, with_neighbors
from skatom.parallel import available_threads, threads_over_blas
from skatom.solvers import StreamedQR

# A batch of rows: large enough for fast products, small compared with the memory.
_BATCH_ATOMS, _BATCH_BYTES = 128, 2**24
# Atoms of a batch of predictions, and of one whose features are on a device already.
_PREDICTED_ATOMS, _PREDICTED_ON_DEVICE = 4096, 65536


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
            limit = number_of(term.n_sparse, number)
            vectors = choose_representatives(
                source, number, term.kernel, limit, selection, n_candidates, rng
            )
            if len(vectors):
                columns = slice(start, start + len(vectors))
                blocks.append(Block(t, int(number), term.kernel, vectors, columns))
                start = columns.stop
    return blocks


def factorisation_memory(n_columns, n_rows):
    """Bytes of the factorisation for so many representatives and rows, before either is known."""
    in_batch, threads = 4 * batch_size(n_columns), available_threads()
    waiting = (threads + 2) * min(in_batch, n_columns)
    in_work = in_batch * (threads if in_batch > n_columns else 1)
    return 8.0 * n_columns * (4 * n_columns + min(waiting + in_work, n_rows))


def start_solver(blocks, max_memory=None):
    """Begin the factorisation with the prior, whose rows are a root of K_MM.

    Returns
    -------
    solver : StreamedQR
    prior_factors : list of ndarray
        Lower Cholesky factors of K_MM of each block.
    """
    n_columns = blocks[-1].columns.stop
    # the factors, then their triangle as a whole and in the solver
    _check_memory(8.0 * (_factor_size(blocks) + 2 * n_columns**2), n_columns, max_memory)
    factors = [prior_root(block) for block in blocks]
    return StreamedQR(n_columns, prior=block_diag(*(factor.T for factor in factors))), factors


def check_rows(solver, blocks, structures, labels, max_memory=None):
    """Raise a MemoryError if the rows of some batches and a second triangle would not fit.

    Parameters
    ----------
    solver : StreamedQR
    blocks : list of Block
    structures : Structures
    labels : Labels
    max_memory : float, default=None
        Limit in GiB for these and for what `start_solver` has made. None: the available memory.
    """
    n_columns, threads = solver.n_columns, available_threads()
    starts = [batch.start for batch in batches(structures, batch_size(n_columns))]
    n_rows = labels.has_energy + 3 * structures.n_atoms * labels.has_forces + 6 * labels.has_virial
    in_batch = np.sort(np.add.reduceat(n_rows, starts))[::-1]
    # of batches that wait for their turn, a triangle if that is smaller
    waiting = np.minimum(in_batch, n_columns)[: threads + 2].sum()
    # of batches in work all rows, where a triangle is made of them; another puts its together
    in_work = in_batch[:threads]
    in_work = max(in_batch[0], in_work[in_work > n_columns].sum())
    second = n_columns * (2 if in_batch[0] > n_columns else 1)
    n_bytes = 8.0 * n_columns * (second + waiting + in_work)
    if max_memory is not None:
        n_bytes += 8.0 * (_factor_size(blocks) + n_columns**2)
    _check_memory(n_bytes, n_columns, max_memory)


def _factor_size(blocks):
    """Numbers in the factors of K_MM of all blocks."""
    return sum(len(block.vectors) ** 2 for block in blocks)


def _check_memory(n_bytes, n_columns, max_memory):
    check_memory(
        n_bytes,
        f"the factorisation for {n_columns} representative environments",
        "reduce n_sparse" + ("" if max_memory is None else ", or raise max_memory"),
        max_memory,
    )


def warn_of_isolated_atoms(blocks, n_columns, descriptors, X, structures, unexplained):
    """Warn of structures of one atom whose kernels are zero and whose energy the baseline lacks.

    Parameters
    ----------
    blocks : list of Block
    n_columns : int
    descriptors : list of fitted descriptors, or None where X are features
    X : AtomicFeatures, StructureFeatures or Structures
    structures : Structures
    unexplained : ndarray of bool, shape (n,)
        Structures whose energy is learnt and is not that of the baseline.
    """
    alone = np.flatnonzero((structures.n_atoms == 1) & unexplained)
    if not len(alone):
        return
    features = [of_term.to("cpu") for of_term in features_of(descriptors, X, alone)]
    rows = energy_rows(blocks, features, n_columns)
    lost = alone[~rows.any(axis=1)]
    if len(lost):
        numbers = np.unique(structures.numbers[structures.offsets[lost]])
        warn(
            f"the model cannot represent isolated atoms of {symbols(numbers)} (structure "
            f"{lost[0]}): their features are zero and their energy is that of the baseline alone, "
            "which differs; give one isolated atom of each element (baseline='isolated' says which "
            "is missing), or use a descriptor that counts the centre, such as SOAP",
            UserWarning,
        )


def learn(solver, blocks, features_of_batch, structures, labels, verbose=0):
    """Add the rows of all structures to a factorisation, batch by batch.

    Each thread computes the rows of a structure. The one that computes the last rows of a batch
    factors them, if there are enough; the calling thread adds their triangle to the factorisation.
    The given one is not changed: each batch gives the factorisation of all rows so far, so that it
    and the counts can change together, which an interrupt does not divide.

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
    solver : StreamedQR
        The factorisation of all rows so far.
    n_structures, n_labels : int
        Numbers of structures and labels that were added.
    log_noise : float
        Sum of the logarithms of the noise of these labels.
    """
    if is_tensor(features_of_batch(slice(0, 1))[0].values):
        yield from learn_on_device(solver, blocks, features_of_batch, structures, labels, verbose)
        return

    def start(pool, batch):
        """Futures of the structures of a batch; the last to end has the part of all."""
        found = _Batch(solver.n_columns, batch.stop - batch.start)
        return [
            pool.submit(_add_structure, found, place, blocks, features_of_batch, labels, batch)
            for place in range(len(found.rows))
        ]

    pieces = batches(structures, batch_size(solver.n_columns))
    progress = tqdm(pieces, desc="fit", unit="batch", disable=not verbose, leave=False)
    with threads_over_blas() as pool:
        parts = _ahead(partial(start, pool), pieces)
        for (rows, part, log_noise), batch in zip(parts, progress, strict=True):
            solver = solver.copy()
            if isinstance(part, StreamedQR):
                solver.absorb(part)
            else:
                solver.update(*part)
            yield solver, batch.stop - batch.start, rows, log_noise


def _ahead(start, batches):
    """What the batches give, in order; one a thread and one more are in work."""
    calls = deque()
    try:
        for batch in batches:
            calls.append(start(batch))
            if len(calls) > available_threads() + 1:
                yield _part(calls.popleft())
        while calls:
            yield _part(calls.popleft())
    finally:
        for call in chain(*calls):
            call.cancel()


def _part(calls):
    return next(part for part in [call.result() for call in calls] if part is not None)


def batch_size(n_columns):
    """Atoms of a batch; of few columns, so many that their forces are more rows than columns."""
    if 8 * n_columns**2 <= _BATCH_BYTES:
        return max(_BATCH_ATOMS, n_columns // 2)
    return max(1, min(_BATCH_ATOMS, _BATCH_BYTES // (24 * n_columns)))


def predicted_batches(X):
    """Slices of consecutive structures of which a model predicts together."""
    on_device = isinstance(X, Features) and is_tensor(X.values)
    return batches(structures_of(X), _PREDICTED_ON_DEVICE if on_device else _PREDICTED_ATOMS)


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


class _Batch:
    """The rows of a batch, which come from several threads."""

    def __init__(self, n_columns, n_structures):
        self.n_columns = n_columns
        self.rows = [None] * n_structures
        self.missing = n_structures
        self.lock = Lock()

    def add(self, place, found):
        """Take the rows of a structure; with the last, return what the batch gives, else None.

        Returns
        -------
        n_labels : int
        part : StreamedQR, or tuple of rows and labels
            The rows' triangle if it is smaller than they are.
        log_noise : float
        """
        self.rows[place] = found
        with self.lock:
            self.missing -= 1
            if self.missing:
                return None
        rows, values, log_noise = zip(*self.rows, strict=True)
        self.rows.clear()
        part = np.concatenate(rows), np.concatenate(values)
        del rows  # what the triangle is made of is there once
        n_labels = len(part[1])
        if n_labels > self.n_columns:
            triangle = StreamedQR(self.n_columns)
            triangle.update(*part)
            part = triangle
        return n_labels, part, float(sum(log_noise))


def _add_structure(found, place, blocks, features_of_batch, labels, batch):
    """Add the rows of a structure of a batch."""
    s = batch.start + place
    features = features_of_batch(slice(s, s + 1))
    energies = energy_rows(blocks, features, found.n_columns)[0]
    if labels.has_forces[s] or labels.has_virial[s]:
        features = with_neighbors(features)
    return found.add(place, weighted_rows(blocks, features, 0, energies, labels, s))


def number_of(n_sparse, number):
    """The number of representatives of a species, from the parameter ``n_sparse``."""
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
    limit = n_sparse[symbol]
    if not isinstance(limit, Integral) or isinstance(limit, bool) or limit < 1:
        raise ValueError(f"n_sparse={n_sparse} has {limit!r} for {symbol}: give 1, 2, 3 or more")
    return limit
