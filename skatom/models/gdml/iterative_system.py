"""The linear system of GDML, solved without making its matrix."""

import time
from dataclasses import dataclass, replace
from math import ceil, sqrt

import numpy as np
from sklearn.utils import check_random_state

from skatom.descriptors.inverse_distances import PairFeatures
from skatom.memory import available_memory, check_memory
from skatom.models.gdml.checkpoint import Checkpoint
from skatom.models.gdml.groups import alike_groups
from skatom.solvers import NystromPreconditioner, conjugate_gradients

# The diagonal blocks have at most so many rows, and this fraction of the memory.
_BLOCK_ROWS, _BLOCK_MEMORY = 1500, 0.25
# Products of the matrix that take as long as the preconditioner that is tried first.
_PRODUCTS = 200
# It grows by this factor if so many iterations do not reduce the residual to this fraction.
_GROWTH, _PATIENCE, _PROGRESS = 1.5, 100, 0.5
# Of the columns, this fraction is drawn at random to find the others.
_TRIAL = 0.25
# Seconds between two checkpoints.
_SECONDS = 60.0


@dataclass(frozen=True)
class IterativeOptions:
    """Parameters of GDML for ``solver="cg"``."""

    n_inducing: int | None
    tol: float
    max_iter: int
    max_memory: float | None
    random_state: object
    checkpoint: object


@dataclass(frozen=True)
class Plan:
    """Sizes of a preconditioner: frames in a diagonal block, columns at first and at most."""

    frames: int
    columns: int
    most: int

    @classmethod
    def of(cls, n_frames, n_atoms, options, device):
        """The plan for ``max_memory``, or a MemoryError.

        Parameters
        ----------
        n_frames, n_atoms : int
        options : IterativeOptions
        device : Device or None
        """
        rows = max(3 * n_atoms - 6, 1)
        size, memory = n_frames * rows, NystromPreconditioner.memory
        budget = _budget(n_frames, n_atoms, options.max_memory, device)
        columns = options.n_inducing or rows
        columns = min(columns, size)
        message = _message(columns, n_frames, n_atoms, options)
        check = check_memory if device is None else device.check_memory
        check(memory(size, columns, rows), *message, options.max_memory)
        left = budget - (memory(size, columns, 0) if options.n_inducing else 0.0)
        fraction = 1.0 if options.n_inducing else _BLOCK_MEMORY
        fitting = sqrt(size**2 / 16 + fraction * left / 16) - size / 4
        frames = int(np.clip(min(fitting, _BLOCK_ROWS) / rows, 1, n_frames))
        free = budget / 8 - frames * rows * (size + 2 * frames * rows)
        most = int(np.clip((sqrt(size**2 + 8 * max(free, 0.0)) - size) / 4, 1, size))
        return cls(frames, min(options.n_inducing or most, most), most)

    def worthwhile(self, n_frames, n_pairs, n_permutations):
        """The plan whose first preconditioner takes no longer than some products."""
        product = 8.0 * n_frames**2 * n_permutations * n_pairs
        rows = n_frames * sqrt(18.0 * n_pairs)  # 3N for each frame
        columns = 1 + int(sqrt(_PRODUCTS * product / (3.0 * rows)))
        return replace(self, columns=min(self.columns, columns))

    def grown(self):
        return replace(self, columns=min(self.most, ceil(_GROWTH * self.columns)))


def _message(columns, n_frames, n_atoms, options):
    """What does not fit, and the remedy."""
    return (
        f"the preconditioner of {columns} columns for {n_frames} frames of {n_atoms} atoms",
        ("lower n_inducing" if options.n_inducing else "train on fewer frames")
        + ("" if options.max_memory is None else ", or raise max_memory"),
    )


def _budget(n_frames, n_atoms, max_memory, device):
    """Bytes for the preconditioner."""
    if max_memory is not None:
        return max_memory * 2**30
    if device is None:
        return 0.9 * available_memory()
    from skatom.models._torch.gdml_columns import memory

    return max(0.9 * device.free_memory() - memory(n_frames, n_atoms), 0.0)


class IterativeGDMLSystem:
    r"""The system of `GDMLSystem`, solved by conjugate gradients.

    .. math:: \lambda^{-1} (S^\top K S + \lambda\, S^\top P S)\,\gamma = \lambda^{-1} S^\top P f

    A product with the matrix is a prediction for the training frames, O(M² S N²) operations. The
    preconditioner approximates K by some of its columns, and by its diagonal blocks of some frames
    that are alike. Columns are drawn with probabilities that are their leverages in a smaller
    preconditioner, whose columns are drawn with equal ones. If the residual does not fall, the
    iteration begins again from its solution with more columns.

    Parameters
    ----------
    make : callable
        Makes the `GDMLSystem` or `DeviceGDMLSystem`.
    plan : Plan
    options : IterativeOptions
    structures, features, permutations, pair_permutations, sigma, alpha
        Those of `GDMLSystem`.
    """

    def __init__(
        self, make, plan, options, structures, features, permutations, pair_permutations, sigma,
        alpha,
    ):  # fmt: skip
        self.plan, self.options = plan, options
        if options.n_inducing is None:
            self.plan = plan.worthwhile(*features.values.shape, len(permutations))
        groups = alike_groups(features.values, pair_permutations, plan.frames)
        self._order = np.concatenate(groups)
        self._edges = np.cumsum([0, *map(len, groups)])
        self._structures = structures
        self.system = make(
            structures[self._order], PairFeatures(*(part[self._order] for part in features)),
            permutations, pair_permutations, sigma, alpha, False,
        )  # fmt: skip

    @property
    def rigid(self):
        """Rigid motions of the frames, as given."""
        return self.system.rigid[np.argsort(self._order)]

    def solve(self, forces, energies, verbose):
        """Coefficients u = Jα (M, D), and zeros for the energies, as `GDMLSystem` has it."""
        system, options = self.system, self.options
        by_frame = forces.reshape(len(self._order), -1)
        watch = _Watch(self._checkpoint(by_frame), self._coefficients)
        right_side = system.to_device(system.right_side(by_frame[self._order]) / system.alpha)
        random_state = check_random_state(options.random_state)
        solution, self.n_iter = watch.start(self._kept), 0
        while True:
            watch.may_stall = self.plan.columns < self.plan.most
            with self._room():
                solution, n_iter = conjugate_gradients(
                    self, right_side, self._preconditioner(random_state), options.tol,
                    options.max_iter - self.n_iter, verbose, solution, watch,
                )  # fmt: skip
            self.n_iter += n_iter
            if not watch.stalled:
                break
            self.plan = self.plan.grown()
        watch.end(solution, options.tol)
        coefficients = system.project_on_pairs(system.on_host(solution))
        return coefficients[np.argsort(self._order)], np.zeros(len(by_frame))

    def _room(self):
        sizes = len(self._structures), self.system.permutations.shape[1]
        n_bytes = NystromPreconditioner.memory(int(self.system.rows[-1]), self.plan.columns)
        return self.system.room_for(n_bytes, *_message(self.plan.columns, *sizes, self.options))

    def product(self, v):
        """The matrix times a vector, over λ."""
        return self.system.product(v) / self.system.alpha

    def _preconditioner(self, random_state):
        n_rows, n_columns = int(self.system.rows[-1]), self.plan.columns
        index = np.arange(n_rows)
        if n_columns < n_rows:
            trial = max(1, int(_TRIAL * n_columns))
            trial = np.sort(random_state.choice(n_rows, trial, replace=False))
            leverages = NystromPreconditioner(self._columns(trial), trial).leverages()
            # rows of which the trial knows nothing may matter, too, and all if it knows of none: a
            # linear molecule has columns of zeros
            chances = self.system.on_host(leverages) + 1e-6 * float(leverages.mean())
            chances = chances / chances.sum() if chances.any() else None
            index = np.sort(random_state.choice(n_rows, n_columns, replace=False, p=chances))
        edges = self.system.rows[self._edges]
        return NystromPreconditioner(self._columns(index), index, edges, self._block)

    def _columns(self, index):
        columns = self.system.kernel_columns(index)
        columns /= self.system.alpha
        return columns

    def _block(self, start, stop):
        frames = slice(*np.searchsorted(self.system.rows, [start, stop]).tolist())
        block = self.system.part(frames).matrix()
        block /= self.system.alpha
        return block

    def _checkpoint(self, forces):
        if self.options.checkpoint is None:
            return None
        system, structures = self.system, self._structures
        return Checkpoint(
            self.options.checkpoint, structures.numbers, structures.positions, structures.cells,
            structures.pbc, forces, system.permutations, system.sigma, system.alpha,
        )  # fmt: skip

    def _coefficients(self, solution):
        """Sγ of the frames as given, (M, 3 N), whatever their order and the device here."""
        out = np.zeros(self.system.rigid.shape[:2])
        frames = self._order[self.system.frame_of_row()]
        out[frames, self.system.kept] = self.system.on_host(solution)
        return out

    def _kept(self, coefficients):
        """The inverse of `_coefficients`."""
        frames = self._order[self.system.frame_of_row()]
        return self.system.to_device(coefficients[frames, self.system.kept])


class _Watch:
    """Looks at an iteration: writes checkpoints, and stops it if it stalls.

    Parameters
    ----------
    checkpoint : Checkpoint or None
    coefficients : callable
        Makes of a solution what a checkpoint holds.
    """

    def __init__(self, checkpoint, coefficients):
        self.checkpoint, self._coefficients = checkpoint, coefficients
        self.may_stall = False
        self._saved, self.residual = time.monotonic(), np.inf

    def start(self, kept):
        """The solution of the checkpoint, None without one; ``kept`` makes it of what is there."""
        found = None if self.checkpoint is None else self.checkpoint.load()
        return None if found is None else kept(found)

    def __call__(self, solution, n_iter, residual):
        if n_iter == 1:
            self._best, self._before, self.stalled = residual, np.inf, False
        self._best, self.residual = min(self._best, residual), residual
        if n_iter % _PATIENCE == 0:
            self.stalled = self.may_stall and self._best > _PROGRESS * self._before
            self._before = self._best
        if self.checkpoint is not None and time.monotonic() - self._saved > _SECONDS:
            self._save(solution)
        return self.stalled

    def _save(self, solution):
        self.checkpoint.save(self._coefficients(solution))
        self._saved = time.monotonic()

    def end(self, solution, tol):
        """Write the last checkpoint, or remove the file if the fit is complete."""
        if self.checkpoint is None:
            return
        if self.residual <= tol:
            self.checkpoint.remove()
        else:
            self._save(solution)
