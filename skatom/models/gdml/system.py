"""The linear system for the coefficients of GDML."""

import copy
from contextlib import nullcontext
from functools import cached_property

import numpy as np

from skatom._rigid_motions import kept_coordinates, rigid_motions
from skatom.descriptors.inverse_distances import PairFeatures, incidence, pair_indices
from skatom.memory import check_memory
from skatom.models._cpu.sgdml import force_kernel_columns, some_force_kernel_columns
from skatom.models.gdml.expansion import KernelExpansion
from skatom.solvers import PackedCholesky
from skatom.structures import offsets_from_counts

# Target width of block columns of K, and the fewest frames in one.
_WIDTH = 512
_MIN_FRAMES = 16


def check_kernel_memory(n_frames, n_atoms, max_memory, energies=False):
    """Raise MemoryError if the triangle of K for ``n_frames`` frames would not fit.

    Rows of ``energies`` are one block column.
    """
    size = n_frames * (3 * n_atoms - 6 + energies)
    check_memory(
        PackedCholesky.memory(size, max(_WIDTH, n_frames * energies)),
        *memory_message(n_frames, n_atoms, max_memory),
        max_memory,
    )


def memory_message(n_frames, n_atoms, max_memory):
    """What does not fit, and the remedy."""
    return (
        f"the kernel matrix of {n_frames} frames of {n_atoms} atoms",
        "train on fewer frames (it grows with their square), or use solver='cg' without keep_factor"
        + ("" if max_memory is None else ", or raise max_memory"),
    )


class GDMLSystem:
    r"""(K + λI) α = y for forces and optionally energies, without the rigid-body directions.

    Forces have no component along the 3 translations and 3 rotations of their frame, nor does K:
    with Q an orthonormal basis of all other directions, the system to solve is
    :math:`(Q^\top K Q + \lambda I)\,\beta = Q^\top f` with :math:`\alpha = Q\beta`. Q need not be
    applied. Strike from each frame as many coordinates as there are rigid motions, with S the
    selection of the others and :math:`P = QQ^\top`; then

    .. math:: (S^\top K S + \lambda\, S^\top P S)\,\gamma = S^\top P f, \qquad \alpha = P S \gamma

    is the same system in other variables (:math:`\beta = Q^\top S \gamma`, because K = PKP). Its
    matrix is K without the struck rows and columns, which are never computed.

    Parameters
    ----------
    structures : Structures of one composition, M frames of N atoms
    features : PairFeatures
    permutations : ndarray of int, shape (S, N)
    pair_permutations : ndarray of int, shape (S, D)
    sigma, alpha : float
        Length scale (1/Å) and λ.
    energy_constraint : bool
        Append one row for the energy of each frame.
    """

    device = "cpu"
    n_iter = 1
    _stored = None

    def __init__(
        self, structures, features, permutations, pair_permutations, sigma, alpha, energy_constraint
    ):
        self.features = features
        self.permutations = permutations
        self.pair_permutations = pair_permutations
        self.sigma = sigma
        self.alpha = alpha
        self.rigid = rigid_motions(structures)
        kept = kept_coordinates(self.rigid)
        self.kept = np.concatenate(kept)
        self.rows = offsets_from_counts([len(row) for row in kept])
        self.n_energies = len(structures) if energy_constraint else 0

    @cached_property
    def _squares(self):
        return _square_matrices(self.features)

    def solve(self, forces, energies, verbose):
        """Coefficients u = Jα (M, D) and β (M,) of the energies, zero without energies."""
        n_frames = len(self.rigid)
        solver = self.solver(verbose)
        try:
            solver.factor(self)
        except np.linalg.LinAlgError as error:
            raise ValueError(
                f"the kernel matrix is not positive definite with alpha={self.alpha:g}: raise "
                "alpha tenfold, or remove frames that are equal"
            ) from error
        labels = np.concatenate([self.right_side(forces), energies])
        solution = solver.solve(labels)
        self.factor, self.quadratic_form, self.n_labels = solver, labels @ solution, len(labels)
        n_forces = self.rows[-1]
        energy_coefficients = np.zeros(n_frames)
        energy_coefficients[: self.n_energies] = solution[n_forces:]
        return self.project_on_pairs(solution[:n_forces]), energy_coefficients

    def solver(self, verbose=0):
        """The Cholesky solver of this system, whose block columns are whole frames."""
        n_frames = len(self.rigid)
        frames = np.append(np.arange(0, n_frames, self._frames_in_column()), n_frames)
        edges = self.rows[frames]
        if self.n_energies:
            edges = np.append(edges, edges[-1] + self.n_energies)
        return PackedCholesky(edges, verbose=verbose, device=self.device)

    def _frames_in_column(self):
        return max(_MIN_FRAMES, -(-_WIDTH * len(self.rigid) // max(self.rows[-1], 1)))

    def right_side(self, forces):
        """SᵀPf."""
        flat = forces.reshape(len(self.rigid), -1)
        along = np.einsum("ick,ic->ik", self.rigid, flat)
        projected = flat - np.einsum("ick,ik->ic", self.rigid, along)
        return projected[self.frame_of_row(), self.kept]

    def frame_of_row(self):
        return np.repeat(np.arange(len(self.rigid)), np.diff(self.rows))

    def project_on_pairs(self, solution):
        """u = JPSγ = JSγ, since J has no rigid motions: (Jv)_p = c_p · (v_b - v_a)."""
        n_frames, n_coordinates, _ = self.rigid.shape
        alpha = np.zeros((n_frames, n_coordinates))
        alpha[self.frame_of_row(), self.kept] = solution
        differences = incidence(n_coordinates // 3).T @ alpha.reshape(n_frames, -1, 3)
        return np.einsum("ipx,ipx->ip", self.features.gradients, differences)

    def copy_from(self, stored, rows):
        """Copy the matrix without λ from rows of a `StoredMatrix` instead of computing it."""
        self._stored = stored, rows

    def can_be_copied(self):
        """Whether a matrix of this system may be copied into systems of some of its frames."""
        return True

    def fill(self, start, stop, out):
        """The block column of the matrix that begins at a row, into ``out``."""
        if self._stored is None:
            self._fill_kernel(start, stop, out)
        else:
            stored, rows = self._stored
            stored.copy(rows, start, stop, out)
        self._add_noise(start, stop, out)

    def _fill_kernel(self, start, stop, out):
        n_forces = self.rows[-1]
        if start == n_forces:
            out[:] = self._energy_energy()
            return
        first, last = np.searchsorted(self.rows, [start, stop])
        force_kernel_columns(
            *self._squares, self.permutations, self.sigma, self.kept, self.rows, first, last,
            out[: n_forces - start],
        )  # fmt: skip
        if self.n_energies:
            for j in range(first, last):
                place = slice(self.rows[j] - start, self.rows[j + 1] - start)
                out[n_forces - start :, place] = self._energy_force(j)

    def _add_noise(self, start, stop, out):
        """Add λ SᵀPS, and λ in the rows of energies."""
        if start == self.rows[-1]:
            out[np.diag_indices(self.n_energies)] += self.alpha
            return
        for j in range(*np.searchsorted(self.rows, [start, stop])):
            place = slice(self.rows[j] - start, self.rows[j + 1] - start)
            motions = self.rigid[j][self.kept[self.rows[j] : self.rows[j + 1]]]
            out[place, place] += self.alpha * (np.eye(len(motions)) - motions @ motions.T)

    def part(self, frames):
        """The system of a slice of the frames, without energies."""
        part = copy.copy(self)
        for made in ("_squares", "_kept_motions"):
            vars(part).pop(made, None)
        part.features = PairFeatures(*(array[frames] for array in self.features))
        part.rigid, part.n_energies = self.rigid[frames], 0
        first, last = self.rows[frames.start], self.rows[frames.stop]
        part.kept = self.kept[first:last]
        part.rows = self.rows[frames.start : frames.stop + 1] - first
        return part

    def matrix(self):
        """The lower triangle of the matrix; what is above the diagonal has no meaning."""
        size = int(self.rows[-1])
        out = self.zeros(size, size)
        self.fill(0, size, out)
        return out

    def zeros(self, *shape):
        return np.zeros(shape)

    def room_for(self, n_bytes, what, remedy):
        """A context in which an error of a full device has a remedy."""
        return nullcontext()

    def to_device(self, array):
        """An array where the matrix is."""
        return array

    on_host = to_device

    def product(self, v):
        """The matrix times a vector (n,), of a system without energies."""
        values, gradients = self.features
        expansion = KernelExpansion(
            values, self.project_on_pairs(v), np.zeros(len(values)), self.pair_permutations,
            self.sigma,
        )  # fmt: skip
        _, slopes = expansion.of_descriptors(values)
        forces = _transposed_jacobian(-slopes, gradients)
        frames, motions = self.frame_of_row(), self._kept_motions
        along = np.add.reduceat(motions * v[:, None], self.rows[:-1])
        rigid = np.einsum("rk,rk->r", motions, along[frames])
        return forces[frames, self.kept] + self.alpha * (v - rigid)

    @cached_property
    def _kept_motions(self):
        return self.rigid[self.frame_of_row(), self.kept]

    def kernel_columns(self, index):
        """SᵀKS[:, index], with sorted indices."""
        out = np.empty((self.rows[-1], len(index)))
        some_force_kernel_columns(
            *self._squares, self.permutations, self.sigma, self.kept, self.rows, index, out
        )
        return out

    def _differences(self, j):
        """δ = P_q x_i - x_j of all frames i and permutations q: (M, S, D); and t."""
        values = self.features.values
        delta = values[:, self.pair_permutations] - values[j]
        return delta, np.sqrt(5.0 * np.einsum("iqp,iqp->iq", delta, delta)) / self.sigma

    def _energy_force(self, j):
        """Cov(E_i, F_j) = -Σ_q w1 J_jᵀ (P_q x_i - x_j) for all i, struck coordinates left out."""
        delta, t = self._differences(j)
        w1 = 5.0 / (3.0 * self.sigma**2) * (1.0 + t) * np.exp(-t)
        gradients = np.einsum("iq,iqp->ip", w1, delta)
        pairs = gradients[:, :, None] * self.features.gradients[j]
        rows = -(incidence(self.permutations.shape[1]) @ pairs).reshape(len(pairs), -1)
        return rows[:, self.kept[self.rows[j] : self.rows[j + 1]]]

    def _energy_energy(self):
        """Cov(E_i, E_j) = Σ_q k(P_q x_i, x_j)."""
        kernel = np.zeros((self.n_energies, self.n_energies))
        for j in range(self.n_energies):
            _, t = self._differences(j)
            kernel[:, j] += np.sum((1.0 + t + t * t / 3.0) * np.exp(-t), axis=1)
        return kernel


def permute_pairs(permutations):
    """Pair p = (a, b) goes to the place of (q[a], q[b]): indices (S, D)."""
    n_atoms = permutations.shape[1]
    first, second = pair_indices(n_atoms)
    place = np.zeros((n_atoms, n_atoms), dtype=np.int64)
    place[first, second] = place[second, first] = np.arange(len(first))
    return place[permutations[:, first], permutations[:, second]]


def _transposed_jacobian(on_pairs, gradients):
    """Jᵀ of vectors of pairs (M, D), as (M, 3 N)."""
    n_atoms = int((1 + np.sqrt(1 + 8 * on_pairs.shape[1])) / 2)
    return (incidence(n_atoms) @ (on_pairs[:, :, None] * gradients)).reshape(len(on_pairs), -1)


def _square_matrices(features):
    """x as (M, N, N) symmetric and C as (M, 3, N, N) antisymmetric matrices."""
    n_frames, n_pairs = features.values.shape
    n_atoms = int((1 + np.sqrt(1 + 8 * n_pairs)) / 2)
    first, second = pair_indices(n_atoms)
    values = np.zeros((n_frames, n_atoms, n_atoms))
    values[:, first, second] = values[:, second, first] = features.values
    gradients = np.zeros((n_frames, 3, n_atoms, n_atoms))
    gradients[:, :, first, second] = features.gradients.transpose(0, 2, 1)
    gradients[:, :, second, first] = -features.gradients.transpose(0, 2, 1)
    return values, gradients
