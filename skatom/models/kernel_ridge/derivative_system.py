"""The linear system of a Gaussian process of energies and derivatives, and its solution."""

from copy import copy

import numpy as np

from skatom._device import beside, check_together, device_of, device_parameter, on_host
from skatom._rigid_motions import kept_coordinates, rigid_motions
from skatom.kernels.bases import jacobian_bases
from skatom.kernels.blocks import (
    fill_columns,
    layout,
    row_counts,
    row_groups,
)
from skatom.kernels.coordinates import by_element, coordinates_of
from skatom.kernels.environments import Environments, loops_of
from skatom.kernels.structure import StructureKernel
from skatom.kernels.structure_blocks import own_covariances
from skatom.memory import check_memory
from skatom.models._environment_expansion import EnvironmentExpansion
from skatom.models.kernel_ridge.labels import parameter_of
from skatom.models.kernel_ridge.structure_kernel_expansion import StructureKernelExpansion
from skatom.parallel import threads_over_blas
from skatom.solvers import PackedCholesky
from skatom.structures import groups_by_size, offsets_from_counts

# Target width of block columns of the matrix.
_WIDTH = 512
# The same on a device.
_TENSOR_WIDTH = 2048


class DerivativeSystem:
    r"""Rows of energies, forces and virials, and the predictor of their coefficients.

    Parameters
    ----------
    kernel : DotKernel or StructureKernel
    features : AtomicFeatures or StructureFeatures
    labels : RidgeLabels
        Which rows structures have, and the diagonal Λ in each.
    max_memory : float or None
        Memory limit in GiB.
    """

    def __init__(self, kernel, features, labels, max_memory=None):
        self.kernel = kernel
        self.features = features
        self.labels = labels
        self.max_memory = max_memory
        has_energy, has_forces, has_virial = (
            labels.labelled[kind] for kind in ("energy", "forces", "virial")
        )
        structures = features.structures
        self._motions = [
            rigid_motions(structures[s])[0] if forces else None
            for s, forces in enumerate(has_forces)
        ]
        self._kept = [
            np.arange(0)
            if motions is None
            else by_element(self._coordinates(motions), structures[s].numbers)
            for s, motions in enumerate(self._motions)
        ]
        self.coordinates = [
            coordinates_of(kept, virial, n)
            for kept, virial, n in zip(self._kept, has_virial, labels.n_atoms, strict=True)
        ]
        self.layout = layout(np.array([len(c) for c in self.coordinates]), has_energy)
        self._check_memory(int(self.layout.starts[-1]))
        derived = has_forces.any() or has_virial.any()
        self._bases = jacobian_bases(features) if derived else None
        self._environments = Environments(features, self.coordinates, self._bases)

    def has_labels_of(self, labels, structures):
        """Whether some of the structures have the same kinds of labels as ``labels`` has."""
        return all(
            np.array_equal(mask[structures], labels.labelled[kind])
            for kind, mask in self.labels.labelled.items()
        )

    def part(self, structures, kernel, labels, max_memory=None):
        """The system of some of the structures (indices), with other labels and another kernel."""
        part = copy(self)
        part.kernel, part.labels, part.max_memory = kernel, labels, max_memory
        part._motions, part._kept, part.coordinates = (
            [of_all[s] for s in structures]
            for of_all in (self._motions, self._kept, self.coordinates)
        )
        n_dof = np.array([len(c) for c in part.coordinates])
        part.layout = layout(n_dof, labels.labelled["energy"])
        part._check_memory(int(part.layout.starts[-1]))
        part._environments = self._environments.part(structures)
        part.features = part._environments.features
        return part

    def right_side(self):
        """Sᵀ P y: the labels in the order of the rows."""
        rows = np.empty(self.layout.starts[-1])
        for s, (start, motions, kept) in enumerate(self._blocks()):
            if self.layout.has_energy[s]:
                rows[start] = self.labels.values["energy"][s]
                start += 1
            if motions is not None:
                a, b = self.features.structures.offsets[s : s + 2]
                f = self.labels.values["forces"][a:b].ravel()
                rows[start : start + len(kept)] = (f - motions @ (motions.T @ f))[kept]
                start += len(kept)
            if self.labels.labelled["virial"][s]:
                rows[start : start + 6] = self.labels.values["virial"][s]
        return rows

    def expansion(self, solution):
        """The predictor with the coefficients of the rows."""
        environments, of_structure = self._environments, self._energy_coefficients(solution)
        if isinstance(self.kernel, StructureKernel):
            own, along = self._own(solution)
            return StructureKernelExpansion(
                self.kernel, environments, own, of_structure, self._directions(solution), along,
                self._bases,
            )  # fmt: skip
        of_row = np.repeat(of_structure, environments.rows.counts)
        by_species = {z: of_row[environments.rows.numbers == z] for z in environments.values}
        arrays = (
            arrays and {z: on_host(x) for z, x in arrays.items()}
            for arrays in (
                environments.projected, by_species, self._directions(solution), self._bases,
            )
        )  # fmt: skip
        return EnvironmentExpansion(self.kernel, *arrays)

    def _own(self, solution):
        """The kernel of structures with themselves, and its derivatives times the coefficients."""
        own = own_covariances(self.kernel, self._environments)
        starts = offsets_from_counts(1 + self._environments.n_dof)
        along = np.zeros(len(self.features))
        for s, (first, start) in enumerate(zip(starts[:-1], self.layout.starts[:-1], strict=True)):
            start += self.layout.has_energy[s]
            gamma = solution[start : self.layout.starts[s + 1]]
            along[s] = gamma @ own[first + 1 : starts[s + 1]]
        return own[starts[:-1]], along

    def _blocks(self):
        return zip(self.layout.starts[:-1], self._motions, self._kept, strict=True)

    def _energy_coefficients(self, solution):
        """The coefficient of the energy of every structure, zero where it was not learnt."""
        of_structure = np.zeros(len(self.features))
        of_structure[self.layout.has_energy] = solution[
            self.layout.starts[:-1][self.layout.has_energy]
        ]
        return of_structure

    def _directions(self, solution):
        """-PᵀJα of every row, by species, or None; Jα = Jγ since J has no rigid motions."""
        if not self._environments.n_dof.any():
            return None
        sides, energies = self._environments.sides, self.layout.starts[:-1][self.layout.has_energy]
        gamma = np.delete(solution, energies)
        sums_along = loops_of(self.features.values).sums_along
        return {z: -sums_along(side, beside(gamma, side.projected)) for z, side in sides.items()}


class CholeskySystem(DerivativeSystem):
    r"""(K + Λ) α = y, solved by a Cholesky factorisation, without the rigid-body directions.

    Neither forces nor K have components along the translations and rotations of their structure.
    Let S select the coordinates that remain when one is struck from each structure for each of its
    rigid motions, and let P project on all other directions. Then

    .. math:: (S^\top K S + S^\top P \Lambda P S)\,\gamma = S^\top P y, \qquad \alpha = P S \gamma

    is the same system (see `GDMLSystem`), smaller by six rows a molecule, three a crystal. Virials
    are kept as they are.
    """

    def _coordinates(self, motions):
        return kept_coordinates(motions[None])[0]

    def _check_memory(self, size):
        device = device_of(self.features.values)
        check = check_memory if device is None else device.check_memory
        check(
            PackedCholesky.memory(size, _WIDTH),
            f"the covariance matrix of {len(self.features)} structures with {size} rows",
            "train on fewer structures (it grows with their square), or use solver='cg'"
            + ("" if self.max_memory is None else ", or raise max_memory"),
            self.max_memory,
        )

    _stored = None

    def with_kernel(self, kernel):
        """The same system with another kernel."""
        other = copy(self)
        other.kernel = kernel
        return other

    def copy_from(self, stored, rows):
        """Copy the matrix without Λ from rows of a `StoredMatrix` instead of computing it."""
        self._stored = stored, rows

    def edges(self):
        """Where the block columns of the matrix begin, which are whole structures."""
        on_host = device_parameter(self.features.values) == "cpu"
        groups = row_groups(self.layout.starts, _WIDTH if on_host else _TENSOR_WIDTH)
        return [self.layout.starts[first] for first, _ in groups] + [self.layout.starts[-1]]

    def factor(self, verbose=0):
        """Compute and factor the matrix."""
        device = device_parameter(self.features.values)
        self._solver = PackedCholesky(self.edges(), verbose=verbose, device=device)
        try:
            self._solver.factor(self)
        except np.linalg.LinAlgError as error:
            given = ", ".join(
                f"{parameter_of(kind)}={self.labels.alphas[kind][mask].min():g}"
                for kind, mask in self.labels.labelled.items()
                if mask.any()
            )
            raise ValueError(
                f"the covariance matrix is not positive definite with {given}: raise them tenfold, "
                "or remove structures that are equal"
            ) from error

    def solve(self, right_side):
        """Solutions γ of the system for a right-hand side (n_rows,) or several (n_rows, m)."""
        return self._solver.solve(right_side)

    def variances(self, features, kind):
        """Prior minus explained variance of predictions, in the kernel's unit.

        Parameters
        ----------
        features : AtomicFeatures or StructureFeatures of n structures
        kind : {"energy", "forces", "virial"}

        Returns
        -------
        ndarray of float, shape (n,), (n_atoms, 3) or (n, 6)
        """
        check_together(features.values, self.features.values, "the features")
        starts = offsets_from_counts(row_counts(features.structures.n_atoms, (kind,)))
        batches = groups_by_size(starts, _WIDTH)
        rows = np.concatenate([np.empty(0), *(self._variances(features[b], kind) for b in batches)])
        return rows.reshape({"energy": (-1,), "forces": (-1, 3), "virial": (-1, 6)}[kind])

    def _variances(self, features, kind):
        """Variances (n_rows,) of the rows of a few structures."""
        coordinates = [
            coordinates_of(kind == "forces", kind == "virial", n)
            for n in features.structures.n_atoms
        ]
        own = Environments(features, coordinates)
        columns = layout(own.n_dof, np.full(len(features), kind == "energy"))
        prior = np.concatenate([
            on_host(self.kernel.block(own, own, columns, columns, *[(s, s + 1)] * 2, False))
            .diagonal()
            for s in range(len(features))
        ])  # fmt: skip
        device, shape = (
            device_of(self.features.values),
            (self.layout.starts[-1], columns.starts[-1]),
        )
        cross = np.empty(shape) if device is None else device.empty(*map(int, shape))
        with threads_over_blas() as pool:
            fill_columns(
                self.kernel, self._environments, own.in_bases(self._bases), self.layout, columns,
                (0, len(features)), 0, False, cross, pool,
            )  # fmt: skip
        explained = on_host((cross * self.solve(cross)).sum(0))
        return np.maximum(prior - explained, 0.0)

    def fill(self, start, stop, out):
        """The block column of the matrix that begins at a row, into ``out``."""
        first, last = np.searchsorted(self.layout.starts, [start, stop])
        if self._stored is not None:
            stored, rows = self._stored
            stored.copy(rows, start, stop, out)
        else:
            with threads_over_blas() as pool:
                fill_columns(
                    self.kernel, self._environments, self._environments, self.layout, self.layout,
                    (first, last), first, True, out, pool,
                )  # fmt: skip
        self._add_noise(first, last, start, out)

    def _add_noise(self, first, last, start, out):
        """Add Sᵀ P Λ P S of the structures first … last - 1, whose rows begin at ``start``."""
        alphas = self.labels.alphas
        for s in range(first, last):
            row = self.layout.starts[s] - start
            if self.layout.has_energy[s]:
                out[row, row] += alphas["energy"][s]
                row += 1
            if self._motions[s] is not None:
                place = slice(row, row + len(self._kept[s]))
                motions = self._motions[s][self._kept[s]]
                noise = alphas["forces"][s] * (np.eye(len(motions)) - motions @ motions.T)
                out[place, place] += beside(noise, out)
                row = place.stop
            if self.labels.labelled["virial"][s]:
                components = np.arange(row, row + 6)
                out[components, components] += beside(np.full(6, alphas["virial"][s]), out)
