"""The linear system of a Gaussian process that learns energies and forces, and its solution."""

import numpy as np

from skatom._rigid_motions import kept_coordinates, rigid_motions
from skatom.kernels.blocks import fill_columns, layout, row_groups
from skatom.kernels.environments import Environments, jacobian_bases
from skatom.memory import check_memory
from skatom.models._environment_expansion import EnvironmentExpansion
from skatom.parallel import threads_over_blas
from skatom.solvers import PackedCholesky

# Target width of block columns of the matrix.
_WIDTH = 512


class DerivativeSystem:
    r"""Rows of energies and forces, their labels, and the predictor of their coefficients.

    Parameters
    ----------
    kernel : Kernel
    features : AtomicFeatures
    has_energy, has_forces : ndarray of bool, shape (n,)
        Which structures have rows of energies and of forces.
    alpha, alpha_forces : ndarray of float, shape (n,)
        The diagonal Λ in the rows of energies and of forces of each structure.
    max_memory : float or None
        Memory limit in GiB.
    """

    def __init__(
        self, kernel, features, has_energy, has_forces, alpha, alpha_forces, max_memory=None
    ):
        self.kernel = kernel
        self.features = features
        self.alpha = alpha
        self.alpha_forces = alpha_forces
        self.max_memory = max_memory
        self._motions = [
            rigid_motions(features.structures[s])[0] if forces else None
            for s, forces in enumerate(has_forces)
        ]
        self._kept = [
            np.arange(0) if motions is None else self._coordinates(motions)
            for motions in self._motions
        ]
        n_dof = np.array([len(kept) for kept in self._kept])
        rigid = sum(np.sum(motions**2) for motions in self._motions if motions is not None)
        has_rows = 3 * features.n_atoms * has_forces
        # independent ones: forces have no component along rigid motions
        self.n_labels = int(has_energy.sum() + has_rows.sum() - np.round(rigid))
        self.layout = layout(n_dof, has_energy)
        self._check_memory(int(self.layout.starts[-1]))
        self._bases = jacobian_bases(features) if has_forces.any() else None
        self._environments = Environments(features, self._kept, self._bases)

    def right_side(self, energies, forces):
        """Sᵀ P y: energies (n,) and forces (n_atoms, 3) in the order of the rows."""
        rows = np.empty(self.layout.starts[-1])
        for s, (start, motions, kept) in enumerate(self._blocks()):
            if self.layout.has_energy[s]:
                rows[start] = energies[s]
                start += 1
            if motions is not None:
                a, b = self.features.offsets[s : s + 2]
                f = forces[a:b].ravel()
                rows[start : start + len(kept)] = (f - motions @ (motions.T @ f))[kept]
        return rows

    def expansion(self, solution):
        """The predictor with the coefficients of the rows, an `EnvironmentExpansion`."""
        return EnvironmentExpansion(
            self.kernel, self._environments.projected, self._energy_coefficients(solution),
            self._directions(solution), self._bases,
        )  # fmt: skip

    def _blocks(self):
        return zip(self.layout.starts[:-1], self._motions, self._kept, strict=True)

    def _energy_coefficients(self, solution):
        """The coefficient of every atom's structure, by species."""
        energy_rows = self.layout.starts[:-1][self.layout.has_energy]
        of_structure = np.zeros(len(self.features))
        of_structure[self.layout.has_energy] = solution[energy_rows]
        of_atom = np.repeat(of_structure, self.features.n_atoms)
        return {z: of_atom[self.features.numbers == z] for z in self._environments.values}

    def _directions(self, solution):
        """-PᵀJα of every atom, by species, or None; Jα = Jγ since J has no rigid motions."""
        if not self._environments.n_dof.any():
            return None
        directions = {}
        for z, side in self._environments.sides.items():
            out = np.zeros(side.projected.shape)
            for s in np.flatnonzero(np.diff(side.starts) * side.n_dof):
                first = self.layout.starts[s] + self.layout.has_energy[s]
                gamma = solution[first : first + side.n_dof[s]]
                out[side.starts[s] : side.starts[s + 1]] = -np.tensordot(
                    gamma, side.jacobian_of(s), 1
                )
            directions[z] = out
        return directions


class CholeskySystem(DerivativeSystem):
    r"""(K + Λ) α = y, solved by a Cholesky factorisation, without the rigid-body directions.

    Neither forces nor K have components along the translations and rotations of their structure.
    Let S select the coordinates that remain when one is struck from each structure for each of its
    rigid motions, and let P project on all other directions. Then

    .. math:: (S^\top K S + S^\top P \Lambda P S)\,\gamma = S^\top P y, \qquad \alpha = P S \gamma

    is the same system (see `GDMLSystem`), smaller by six rows a molecule, three a crystal.
    """

    def _coordinates(self, motions):
        return kept_coordinates(motions[None])[0]

    def _check_memory(self, size):
        check_memory(
            PackedCholesky.memory(size, _WIDTH),
            f"the covariance matrix of {len(self.features)} structures with {size} rows",
            "train on fewer structures (it grows with their square), or use solver='cg'"
            + ("" if self.max_memory is None else ", or raise max_memory"),
            self.max_memory,
        )

    def factor(self, verbose=0):
        """Compute and factor the matrix."""
        groups = row_groups(self.layout.starts, _WIDTH)
        edges = [self.layout.starts[first] for first, _ in groups] + [self.layout.starts[-1]]
        self._solver = PackedCholesky(edges, verbose=verbose)
        try:
            self._solver.factor(self)
        except np.linalg.LinAlgError as error:
            raise ValueError(
                "the covariance matrix is not positive definite with "
                f"alpha={self.alpha.min():g} and alpha_forces={self.alpha_forces.min():g}: raise "
                "both tenfold, or remove structures that are equal"
            ) from error

    def solve(self, right_side):
        """Solutions γ of the system for a right-hand side (n_rows,) or several (n_rows, m)."""
        return self._solver.solve(right_side)

    def variances(self, features):
        """Prior minus explained variance of the energies of structures, in the kernel's unit."""
        prior = self.kernel.diagonal(features)
        columns = Environments(features, bases=self._bases)
        rows = layout(columns.n_dof, np.ones(len(features), bool))
        cross = np.empty((self.layout.starts[-1], len(features)))
        with threads_over_blas() as pool:
            fill_columns(
                self.kernel, self._environments, columns, self.layout, rows,
                (0, len(features)), 0, False, cross, pool,
            )  # fmt: skip
        explained = np.einsum("ij,ij->j", cross, self.solve(cross))
        return np.maximum(prior - explained, 0.0)

    def fill(self, start, stop, out):
        """The block column of the matrix that begins at a row, into ``out``."""
        first, last = np.searchsorted(self.layout.starts, [start, stop])
        with threads_over_blas() as pool:
            fill_columns(
                self.kernel, self._environments, self._environments, self.layout, self.layout,
                (first, last), first, True, out, pool,
            )  # fmt: skip
        for s in range(first, last):
            row = self.layout.starts[s] - start
            if self.layout.has_energy[s]:
                out[row, row] += self.alpha[s]
                row += 1
            if self._motions[s] is not None:
                place = slice(row, row + len(self._kept[s]))
                motions = self._motions[s][self._kept[s]]
                out[place, place] += self.alpha_forces[s] * (
                    np.eye(len(motions)) - motions @ motions.T
                )
