"""The interactions of charges that a fit reads in each of its steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skatom.memory import check_memory
from skatom.models._cpu import charges as _cpu
from skatom.models.neural.electrostatics import COULOMB, ChargePairs
from skatom.parallel import run_in_threads, threads_over_blas
from skatom.structures import offsets_from_counts


@dataclass(frozen=True)
class ChargeInteractions:
    """The matrices A of structures and their derivatives.

    Those by the positions, or by the strain, are there for structures with such labels.

    Attributes
    ----------
    squares, vector_squares, strain_squares : ndarray of int, shape (n + 1,)
        Where the elements of each structure begin.
    matrices : ndarray of float, shape (n_elements,), eV/e²
        A, row by row.
    by_vectors : ndarray of float, shape (n_elements, 3), eV/Å/e²
        ∂A_ij/∂(r_j - r_i).
    by_strain : ndarray of float, shape (n_elements, 6), eV/e²
        ∂A/∂ε in the components xx, yy, zz, yz, xz, xy.
    has_forces, has_virial : ndarray of bool, shape (n,)
    n_atoms : ndarray of int, shape (n,)
    """

    squares: np.ndarray
    vector_squares: np.ndarray
    strain_squares: np.ndarray
    matrices: np.ndarray
    by_vectors: np.ndarray
    by_strain: np.ndarray
    has_forces: np.ndarray
    has_virial: np.ndarray
    n_atoms: np.ndarray

    @classmethod
    def of(cls, structures, coordinates, width):
        """Of structures and the `Coordinates` of their labels."""
        moves, strained = coordinates.has_forces, coordinates.has_virial
        n2 = structures.n_atoms.astype(np.int64) ** 2
        squares, of_vectors, of_strain = map(offsets_from_counts, (n2, n2 * moves, n2 * strained))
        check_memory(
            8.0 * (squares[-1] + 3.0 * of_vectors[-1] + 6.0 * of_strain[-1]),
            f"the interactions of the charges of {len(structures)} structures",
            "take fewer or smaller structures",
        )
        matrices = np.empty(squares[-1])
        by_vectors, by_strain = np.empty((of_vectors[-1], 3)), np.empty((of_strain[-1], 6))

        def fill(s):
            pairs = ChargePairs(structures[s], width)
            matrices[squares[s] : squares[s + 1]] = COULOMB * pairs.matrix().ravel()
            if moves[s]:
                found = pairs.slopes_by_vectors().reshape(3, -1).T
                by_vectors[of_vectors[s] : of_vectors[s + 1]] = COULOMB * found
            if strained[s]:
                found = pairs.slopes_by_strain().reshape(6, -1).T
                by_strain[of_strain[s] : of_strain[s + 1]] = COULOMB * found

        with threads_over_blas() as team:
            for _ in team.map(fill, range(len(structures))):
                pass
        return cls(
            squares, of_vectors, of_strain, matrices, by_vectors, by_strain, moves, strained,
            structures.n_atoms,
        )  # fmt: skip

    def potentials(self, chosen, starts, charges):
        """A q of chosen structures, whose atoms begin at ``starts``."""
        out = np.zeros(len(charges))
        places = self.squares[chosen], self.matrices, starts[:-1], starts[1:]
        run_in_threads(_cpu.add_potentials, len(chosen), *places, charges, out)
        return out

    def slopes(self, chosen, starts, firsts, charges):
        """∂E/∂R and ∂E/∂ε of E = ½ q A q along the coordinates, which begin at ``firsts``."""
        out = np.zeros(firsts[-1])
        moves, strains = self._places(chosen, starts, firsts)
        run_in_threads(_cpu.add_slopes, len(moves[0]), *moves, charges, out)
        run_in_threads(_cpu.add_strains, len(strains[0]), *strains, charges, out)
        return out

    def changes(self, chosen, starts, firsts, charges, vector):
        """The changes of A along a vector of coordinates, times q."""
        out = np.zeros(len(charges))
        moves, strains = self._places(chosen, starts, firsts)
        run_in_threads(_cpu.add_changes, len(moves[0]), *moves, charges, vector, out)
        run_in_threads(_cpu.add_changes_by_strain, len(strains[0]), *strains, charges, vector, out)
        return out

    def _places(self, chosen, starts, firsts):
        """Where the derivatives by positions and by strains, the atoms and the coordinates are."""
        moves, strained = self.has_forces[chosen], self.has_virial[chosen]
        of_strain = firsts[:-1] + 3 * self.n_atoms[chosen] * moves
        return (
            (self.vector_squares[chosen][moves], self.by_vectors, starts[:-1][moves],
             starts[1:][moves], firsts[:-1][moves]),
            (self.strain_squares[chosen][strained], self.by_strain, starts[:-1][strained],
             starts[1:][strained], of_strain[strained]),
        )  # fmt: skip
