"""The loss of the coefficients of radial functions, with all linear coefficients eliminated."""

import numpy as np
from sklearn.base import clone

from skatom._cpu.voigt import VOIGT
from skatom._linear_design import Design
from skatom.descriptors.features import structures_of
from skatom.elements import species_index
from skatom.models.linear.label_sums import sums_of_structures
from skatom.models.linear.ridge import RidgeProblem
from skatom.neighbors import neighbor_list


class RadialProblem:
    r"""The inner minimum of a moment tensor potential as a function of its radial functions.

    .. math:: L(c) = \min_w |\Lambda^{-1/2} (A(c)\, w - y)|^2 + w^\top P\, w, \qquad
        \frac{\partial L}{\partial c} = 2 \sum_l \frac{\hat y_l - y_l}{\sigma_l^2}\,
        \frac{\partial \hat y_l}{\partial c}\Big|_w

    The penalty P is that of the first coefficients, see `begin`.

    Parameters
    ----------
    descriptor : MomentTensor
    potential : LinearPotential
        With the noises, the baseline and the prior.
    structures : Structures
    y : Targets, or array of energies
    sample_weight, configurations
        See `LinearPotential.fit`.
    """

    def __init__(self, descriptor, potential, structures, y, sample_weight, configurations):
        self._descriptor = clone(descriptor).set_params(
            by_center=False, include_bias=False, radial_coefficients=None,
            species_compression=np.ones((1, len(structures.species))), pool=None,
        )  # fmt: skip
        self._descriptor.fit(structures)
        self.n_mu = self._descriptor.n_mu_
        self._descriptor.set_params(species_compression=None, r_min=self._descriptor.r_min_)
        pairs = neighbor_list(structures, descriptor.cutoff)
        self._structures = structures.with_neighbors(pairs)
        self._potential = clone(potential)
        self._given = y, sample_weight, configurations

    def descriptor_of(self, coefficients):
        """The fitted descriptor with these coefficients."""
        made = clone(self._descriptor).set_params(radial_coefficients=coefficients)
        return made.fit(structures_of(self._structures))

    def begin(self, coefficients):
        """Fix the penalty, as that of the largest evidence for these coefficients."""
        y, sample_weight, configurations = self._given
        X = self.descriptor_of(coefficients).transform(self._structures)
        first = self._potential.fit(X, y, sample_weight, configurations=configurations)
        self._labels, self._weights = first.labels_of(X, y, sample_weight, configurations)
        species = X.structures.species
        self._design = Design(species, True, bool(first.fit_intercept), X.n_features)
        problem = self._ridge(X)
        alpha, _ = problem.best()
        self._penalties = alpha * problem.penalties

    def _ridge(self, X):
        sums = sums_of_structures(self._design, X, self._labels, self._weights)
        n_columns = self._design.n_columns - self._design.n_constants
        return RidgeProblem(sums, self._design.n_constants, np.ones(n_columns))

    def loss(self, coefficients):
        """L and its derivatives, of the shape of the coefficients."""
        descriptor = self.descriptor_of(coefficients)
        X = descriptor.transform(self._structures).with_neighbors()
        problem = self._ridge(X)
        problem.penalties = self._penalties
        posterior = problem.posterior(1.0, np.ones(len(problem.kinds)))
        w = problem.solve(posterior)
        m = self._design.n_constants
        coef = w[m:].reshape(-1, X.n_features)
        weights, motions = self._pulls(X, coef, w[:m])
        slopes = descriptor.coefficient_slopes(X, coef, weights, motions)
        return float(posterior.residuals[0]), slopes

    def _pulls(self, X, coef, constants):
        """2 (ŷ − y)/σ² of the energies, on atoms, and of forces and virials, along pairs."""
        x, labels, pairs = X.structures, self._labels, X.neighbors
        index, owners = species_index(x, x.species), np.repeat(np.arange(len(x)), x.n_atoms)
        energies = np.einsum("if,if->i", X.values, coef[index])
        if len(constants):
            energies = energies + constants[index]
        energies = np.add.reduceat(energies, x.offsets[:-1])
        gradient, virial = X.pullback(coef[index])
        on_energy = _pull(energies, labels.energy, labels.noise_energy, labels.has_energy)
        moved = np.repeat(labels.has_forces, x.n_atoms)
        on_atoms = _pull(-gradient, labels.forces, labels.noise_forces[:, None], moved)
        on_strain = np.zeros((len(x), 3, 3))
        on_strain[:, *VOIGT] = _pull(
            virial[:, *VOIGT], labels.virial, labels.noise_virial[:, None], labels.has_virial
        )
        motions = on_atoms[pairs.centers] - on_atoms[pairs.indices]
        motions += np.einsum("pab,pb->pa", on_strain[owners[pairs.centers]], pairs.vectors)
        return on_energy[owners], motions


def _pull(found, labels, noises, labelled):
    """2 (ŷ − y)/σ², zero where there is no label."""
    return np.where(
        labelled.reshape(-1, *[1] * (found.ndim - 1)), 2 * (found - labels) / noises**2, 0.0
    )
