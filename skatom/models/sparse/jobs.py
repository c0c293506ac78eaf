"""The fit of a sparse Gaussian process in jobs, in other processes or on a Dask cluster.

A job makes the triangle of a chunk of structures, without the prior. Of some chunks the triangles
are merged where they were made, and the calling process takes what they make together: the few
chunks of a group are all that is lost with a worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skatom._cluster import active_cluster
from skatom._device import is_tensor
from skatom._progress import tqdm
from skatom.descriptors.features import structures_of
from skatom.elements import species_index
from skatom.models._labels import Labels
from skatom.models.sparse.fitting import batch_size, features_of, learn
from skatom.parallel import reduce_jobs, split_sizes, works_elsewhere
from skatom.solvers import StreamedQR

# Rows of a chunk in multiples of the columns: merging two triangles costs as much as taking a
# number of rows that is a third of that of the columns. And the fewest, for a job of some 0.1 s.
_ROWS, _FEWEST_ROWS = 8, 2048
# A fit of few rows is cut into this many chunks, of no fewer rows than columns.
_CHUNKS = 64
# Chunks of a group. A cluster makes its triangles in the time of 8 x 8 M³ multiplications, and the
# calling process takes a group in that of M³: it keeps up with some hundred workers.
GROUP = 8


@dataclass(frozen=True)
class LearntPart:
    """What a fit has learnt from some structures."""

    solver: StreamedQR
    n_structures: int
    n_labels: int
    log_noise: float

    def merge(self, other):
        """What was learnt from the structures of both."""
        return LearntPart(
            self.solver.merge(other.solver),
            self.n_structures + other.n_structures,
            self.n_labels + other.n_labels,
            self.log_noise + other.log_noise,
        )


def learn_part(blocks, descriptors, chunk):
    """The triangle of the rows of a chunk.

    Parameters
    ----------
    blocks : list of Block
    descriptors : list of fitted descriptors, or None where X are features
    chunk : (X, Labels)

    Returns
    -------
    LearntPart
    """
    X, labels = chunk
    start, counts = StreamedQR(blocks[-1].columns.stop), np.zeros(3)
    taken = learn(
        start, blocks, lambda batch: features_of(descriptors, X, batch), structures_of(X), labels
    )
    for learnt in taken:
        counts += learnt[1:]
    return LearntPart(learnt[0], int(counts[0]), int(counts[1]), float(counts[2]))


def learn_in_jobs(solver, blocks, descriptors, X, labels, verbose=0):
    """Add the rows of all structures to a factorisation, group by group; see `fitting.learn`."""
    pieces = chunks(structures_of(X), labels, solver.n_columns)
    items = ((X[piece], labels[piece]) for piece in pieces)
    yield from add_parts(solver, partial(learn_part, blocks, descriptors), items, verbose)


def add_parts(solver, function, items, verbose=0):
    """Add the triangles that a function makes of items to a factorisation; see `fitting.learn`."""
    parts = reduce_jobs(function, items, GROUP)
    for part in tqdm(parts, desc="fit", unit="group", disable=not verbose, leave=False):
        solver = solver.merge(part.solver)
        yield solver, part.n_structures, part.n_labels, part.log_noise


def works_in_jobs(X, labels, n_columns):
    """Whether there are jobs elsewhere, and more than one chunk for them."""
    if not works_elsewhere() or is_tensor(getattr(X, "values", None)):
        return False
    return len(chunks(structures_of(X), labels, n_columns)) > 1


def chunks(structures, labels, n_columns):
    """Slices of consecutive structures that are learnt in one job, for any number of workers."""
    atoms = 3 * structures.n_atoms * labels.has_forces
    n_rows = labels.has_energy + atoms + 6 * labels.has_virial
    size = max(n_columns, min(_ROWS * n_columns, n_rows.sum() // _CHUNKS), _FEWEST_ROWS)
    return split_sizes(n_rows, size)


def job_memory(n_columns, most_atoms=1):
    """Bytes that a job takes: triangles, those that wait to be merged, and the rows of a batch."""
    in_batch = 4 * max(batch_size(n_columns), most_atoms)
    return 8.0 * n_columns * (6 * n_columns + 4 * in_batch)


def check_job_memory(blocks, structures=None):
    """Raise a MemoryError if a job would not fit in a worker of the Dask cluster."""
    cluster, n_columns = active_cluster(), blocks[-1].columns.stop
    if cluster is not None:
        cluster.check_memory(
            job_memory(n_columns, 1 if structures is None else int(structures.n_atoms.max())),
            f"the factorisation for {n_columns} representative environments",
            "reduce n_sparse, or start workers of fewer threads or more memory",
        )


class LearnsChunks:
    """Learns from files that the jobs read, for `SparseGaussianProcess`."""

    def partial_fit_chunks(self, chunks: Iterable, configurations: str | None = None) -> Self:
        """Learn from chunks of files, which are read where they are learnt.

        The structures are never together in one process: their positions are in the memory of the
        jobs, or of this process if there are none, a chunk at a time. Representatives and baseline
        come from an earlier `fit` to some structures. A call that fails or is interrupted learns
        nothing.

        Parameters
        ----------
        chunks : iterable of FileChunk
            Of `skatom.datasets.chunks`. On a cluster its workers must find the file under the same
            path.
        configurations : str, default=None
            Field of the file with the name of the configuration of each structure, for noises given
            as a dict.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the model has no ``terms``, which the jobs need to make features, or a chunk has no
            labels or other species than `fit` saw.
        """
        check_is_fitted(self)
        if self.descriptors_ is None:
            raise ValueError(
                "this model was fitted to features, but chunks of files are structures: name the "
                "descriptor in the model, SparseGaussianProcess(terms=[(SOAP(), Cosine(4), 500)])"
            )
        chunks = list(chunks)
        check_job_memory(self.blocks_)
        learner = partial(
            _learn_chunk, self.blocks_, self.descriptors_, self.baseline_, self._noise(),
            configurations, self.species_,
        )  # fmt: skip
        learnt, counts = (self.solver_,), np.zeros(3)
        for learnt in add_parts(self.solver_, learner, chunks, self.verbose):
            counts += learnt[1:]
        vars(self).update(
            solver_=learnt[0],
            n_structures_seen_=self.n_structures_seen_ + int(counts[0]),
            _n_labels=self._n_labels + int(counts[1]),
            _log_noise=self._log_noise + float(counts[2]),
        )
        return self._solve()


def _learn_chunk(blocks, descriptors, baseline, noise, field, species, chunk):
    """`learn_part` of a chunk of a file, in the process that reads it."""
    data = chunk.read(info=() if field is None else [field])
    if data.targets is None:
        raise ValueError(f"{chunk} has no labels: name their fields in chunks(path, keys=…)")
    species_index(data.structures, species)  # raises for species not seen in fit
    labels = Labels.of(data.structures, data.targets, baseline, noise, data.info.get(field))
    return learn_part(blocks, descriptors, (data.structures, labels))
