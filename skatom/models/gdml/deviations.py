"""Standard deviations of GDML: the posterior of the Gaussian process of its energy."""

from weakref import WeakKeyDictionary

import numpy as np

from skatom._device import on_host, resolve
from skatom.descriptors.inverse_distances import PairFeatures, pair_features
from skatom.memory import check_memory
from skatom.models._cpu.sgdml import force_kernel_columns
from skatom.models.gdml.system import _square_matrices, _transposed_jacobian
from skatom.parallel import split_rows

# Right-hand sides of the factor that are made at once.
_COLUMNS = 512
# Factors on devices, by the posterior to which they belong; they are no part of it in files.
_factors = WeakKeyDictionary()


class GDMLPosterior:
    r"""Posterior variances of energies and forces.

    .. math:: s^2 \big[ k_{**} - k_*^\top (K + \lambda I)^{-1} k_* \big], \qquad
        s^2 = y^\top (K + \lambda I)^{-1}\, y / n

    with the covariances k of a quantity with itself and with the n labels y of the training frames,
    and the s² that maximises their likelihood. Both :math:`k_*` and K have no part along the rigid
    motions of a training frame, so the rows that `GDMLSystem` strikes from K are struck from
    :math:`k_*` as well and the factor of the struck system serves: with Q and S as there,

    .. math:: k_*^\top Q\, (Q^\top K Q + \lambda I)^{-1} Q^\top k_* =
        (S^\top k_*)^\top (S^\top K S + \lambda S^\top P S)^{-1}\, S^\top k_* .

    Which coordinates are struck does not matter.

    Without energy labels in K the energy has an arbitrary constant, and the model fixes its mean
    over the training frames. The variance is therefore that of :math:`E(R) - \frac1M \sum_i
    E(R_i)`, for which covariances with the mean are subtracted.

    Parameters
    ----------
    system : GDMLSystem
        The system, after ``solve``.
    """

    def __init__(self, system):
        self.cholesky = system.factor.to("cpu")
        self.scale = float(system.quadratic_form) / system.n_labels
        self.values, self.gradients = system.features
        self.permutations = system.permutations
        self.pair_permutations = system.pair_permutations
        self.sigma = system.sigma
        self.kept, self.rows = system.kept, system.rows
        self.has_energies = system.n_energies > 0
        if not self.has_energies:
            rows, kernels = zip(*(self._of_energy(x) for x in self.values), strict=True)
            self.mean_row, self.mean_kernel = np.mean(rows, axis=0), np.mean(kernels)

    def by_name(self, structures, names, device="cpu"):
        """Those of energy_std, (n,), and forces_std, (n_atoms, 3), that are named.

        The factor is copied to a device at the first call, and kept there as long as this is.
        """
        if not {"energy_std", "forces_std"} & {*names}:
            return {}
        features, found = pair_features(structures), {}
        factor = self._factor_on(device)
        if "energy_std" in names:
            found["energy_std"] = np.concatenate([
                self._energy_deviations(features.values[rows], factor)
                for rows in split_rows(len(features.values), _COLUMNS)
            ])  # fmt: skip
        if "forces_std" in names:
            n_frames = max(1, _COLUMNS // (3 * self.permutations.shape[1]))
            found["forces_std"] = np.concatenate([
                self._force_deviations(features.values[rows], features.gradients[rows], factor)
                for rows in split_rows(len(features.values), n_frames)
            ])  # fmt: skip
        return found

    def _factor_on(self, device):
        place = resolve(device)
        if place is None:
            return self.cholesky
        known = _factors.setdefault(self, {})
        if place not in known:
            known[place] = self.cholesky.to(device)
        return known[place]

    def _deviations(self, prior, cross, factor):
        place = resolve(factor.device)
        half = factor.half_solve(cross if place is None else place.tensor(cross))
        left = prior - on_host((half * half).sum(0))
        return np.sqrt(self.scale * np.maximum(left, 0.0))

    def _energy_deviations(self, values, factor):
        rows, kernels = map(np.array, zip(*(self._of_energy(x) for x in values), strict=True))
        own = np.array([self._kernels(x, x[None])[0] for x in values])
        if not self.has_energies:
            rows = rows - self.mean_row
            own = own - 2.0 * kernels.mean(axis=1) + self.mean_kernel
        else:
            own = own + len(self.permutations)
        return self._deviations(own, np.ascontiguousarray(rows.T), factor)

    def _force_deviations(self, values, gradients, factor):
        n, n_coordinates = len(values), 3 * self.permutations.shape[1]
        n_columns = n * n_coordinates
        check_memory(
            8.0 * 3 * (n_columns + self.rows[-1]) * n_columns,
            f"the covariances of {n} frames with {len(self.values)} training frames",
            "train on fewer frames",
        )
        both = PairFeatures(
            np.concatenate([values, self.values]), np.concatenate([gradients, self.gradients])
        )
        # of the frames to predict no coordinate is struck
        kept = np.concatenate([np.tile(np.arange(n_coordinates), n), self.kept])
        rows = np.concatenate([n_coordinates * np.arange(n), n_columns + self.rows])
        kernel = np.empty((rows[-1], n_columns))
        force_kernel_columns(
            *_square_matrices(both), self.permutations, self.sigma, kept, rows, 0, n, kernel
        )
        cross = kernel[n_columns:]
        if self.has_energies:
            of_energies = [
                self._energies_with_forces(x, c) for x, c in zip(values, gradients, strict=True)
            ]
            cross = np.concatenate([cross, np.concatenate(of_energies, axis=1)])
        return self._deviations(kernel[:n_columns].diagonal(), cross, factor).reshape(-1, 3)

    def _of_energy(self, x):
        """Covariances of the energy at x with all labels; and Σ_q k - 1 with the energies."""
        along, kernels = np.zeros_like(self.values), self._kernels(x, self.values)
        for permutation in self.pair_permutations:
            delta = x[permutation] - self.values
            along += self._slopes(delta)[:, None] * delta
        # Cov(E, F_j) = -Σ_q w1 J_jᵀ (P_q x - x_j)
        forces = -_transposed_jacobian(along, self.gradients)
        frames = np.repeat(np.arange(len(self.values)), np.diff(self.rows))
        row = forces[frames, self.kept]
        if self.has_energies:
            row = np.concatenate([row, kernels + len(self.permutations)])
        return row, kernels

    def _energies_with_forces(self, x, gradients):
        """Covariances of the energies of the training frames with the forces at x, (M, 3 N)."""
        along = np.zeros_like(self.values)
        for permutation in self.pair_permutations:
            delta = self.values[:, permutation] - x
            along += self._slopes(delta)[:, None] * delta
        return -_transposed_jacobian(along, gradients)

    def _slopes(self, delta):
        t = self._distances(delta)
        return 5.0 / (3.0 * self.sigma**2) * (1.0 + t) * np.exp(-t)

    def _kernels(self, x, others):
        """Σ_q (k(P_q x, y) - 1) of all others y: differences of k lose fewer digits."""
        total = np.zeros(len(others))
        for permutation in self.pair_permutations:
            t = self._distances(x[permutation] - others)
            total += np.expm1(-t) * (1.0 + t + t * t / 3.0) + t + t * t / 3.0
        return total

    def _distances(self, delta):
        return np.sqrt(5.0 * np.einsum("ip,ip->i", delta, delta)) / self.sigma
