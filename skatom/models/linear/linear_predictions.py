"""Predictions of linear models of structures, and their standard deviations."""

import numpy as np

from skatom._cpu.voigt import FROM_VOIGT
from skatom._device import beside, device_of, is_tensor, moved, namespace, on_host
from skatom.baseline import count_species
from skatom.elements import species_index
from skatom.models.linear.equations_ridge import CholeskyPosterior
from skatom.models.sparse.variance import solved_norms
from skatom.parallel import threads_over_blas
from skatom.structures import groups_by_size

# Cotangents of the atoms that are made at once, for coefficients of several species.
_BATCH_BYTES = 2**26


class LinearExpansion:
    r"""The energy :math:`\sum_i (x_i \cdot w_{Z_i} + \varepsilon_{Z_i})` and its derivatives.

    Parameters
    ----------
    coef : ndarray of float, shape (n_features,) or (n_species, n_features)
    constants : ndarray of float, shape (n_species,)
    species : ndarray of int, shape (n_species,)
    """

    def __init__(self, coef, constants, species):
        self.coef, self.constants, self.species = coef, constants, species

    def by_name(self, X, names):
        """The arrays of ``names`` that this gives."""
        found, products = {}, None
        atomic = hasattr(X, "pool")
        if {"gradient", "virial"} & {*names}:
            products, found["gradient"], found["virial"] = self._pulled(X)
        if "local_energies" in names or ("energy" in names and atomic):
            local = self._local_energies(X, products)
            if "local_energies" in names:
                found["local_energies"] = local
            if "energy" in names:
                found["energy"] = np.add.reduceat(local, X.offsets[:-1]) if len(X) else np.empty(0)
        elif "energy" in names:
            constants = count_species(X.structures, self.species) @ self.constants
            found["energy"] = on_host(X.values @ beside(self.coef, X.values)) + constants
        return found

    def _local_energies(self, X, products=None):
        index = species_index(X.structures, self.species)
        if products is not None:
            local = products
        elif self.coef.ndim == 1:
            local = on_host(X.values @ beside(self.coef, X.values))
        else:
            local = on_host(X.values @ beside(self.coef, X.values).T)[np.arange(len(index)), index]
        return local + self.constants[index]

    def _pulled(self, X):
        """Products of the features with their coefficients, if they come for nothing; derivatives.

        Values of features that are not known yet remain so: energies and forces are one pass.
        """
        if not len(X):
            return None, np.empty((0, 3)), np.empty((0, 3, 3))
        at_once = getattr(X.derivatives, "gives_products", False)
        if self.coef.ndim == 1 or len(self.coef) == 1:
            if at_once:
                return X.derivatives.products_and_pullback(self.coef.reshape(1, -1))
            return None, *map(on_host, X.pullback(beside(self.coef.ravel(), X.values)))
        index = species_index(X.structures, self.species)
        batches = groups_by_size(X.offsets, max(1, _BATCH_BYTES // self.coef[0].nbytes))
        rows = [index[slice(*X.offsets[[batch.start, batch.stop]])] for batch in batches]
        if at_once:
            one, d = len(batches) == 1, X.derivatives
            parts = [
                (d if one else d.select(batch)).products_and_pullback(self.coef[row])
                for batch, row in zip(batches, rows, strict=True)
            ]
            return tuple(np.concatenate(same) for same in zip(*parts, strict=True))
        coef = beside(self.coef, X.values)
        parts = [
            map(on_host, X[batch].pullback(coef[row]))
            for batch, row in zip(batches, rows, strict=True)
        ]
        return None, *(np.concatenate(same) for same in zip(*parts, strict=True))


class LinearDeviations:
    r"""Standard deviations :math:`|R^{-\top} a|` of predictions :math:`a \cdot w`.

    Parameters
    ----------
    design : Design
    posterior : StreamedQR or CholeskyPosterior
        What has R, with :math:`R^\top R` the precision of w.
    with_constants : bool, default=True
        Whether energies include the constants of elements, which forces alone do not determine.
    """

    def __init__(self, design, posterior, with_constants=True):
        self.design, self.posterior = design, posterior
        self.with_constants = with_constants

    def by_name(self, X, names):
        """The arrays of ``names`` that are standard deviations."""
        pooled, found = self.design.pooled(X), {}
        if "energy_std" in names:
            rows = self.design.energy_rows(pooled)
            if not self.with_constants:
                rows[:, : self.design.n_constants] = 0.0
            found["energy_std"] = self.of_rows(rows)
        if {"forces_std", "stress_std"} & {*names}:
            forces, virials = self._of_derivatives(pooled)
            if "forces_std" in names:
                found["forces_std"] = forces
            if "stress_std" in names:
                volumes = pooled.structures.volumes()[:, None]
                found["stress_std"] = (virials / volumes)[:, FROM_VOIGT]
        return found

    def _of_derivatives(self, pooled):
        x = pooled.structures
        forces, virials = np.empty((len(x.numbers), 3)), np.empty((len(x), 6))
        for batch in self.design.batches(pooled):
            rows = self.design.derivative_rows(pooled, batch)
            atoms = slice(x.offsets[batch.start], x.offsets[batch.stop])
            for place, part in ((forces[atoms], rows[0]), (virials[batch], rows[1])):
                place[:] = self.of_rows(part.reshape(-1, self.design.n_columns)).reshape(
                    place.shape
                )
        return forces, virials

    def of_rows(self, rows):
        """|R⁻ᵀ a| of each row a, an array of numpy."""
        if isinstance(self.posterior, CholeskyPosterior):
            return self.posterior.deviations(rows)
        triangle = moved(self.posterior.triangle, device_of(rows))
        if is_tensor(rows):
            solve = namespace(rows).linalg.solve_triangular
            return on_host(solve(triangle, rows, upper=True, left=False).norm(dim=1))
        with threads_over_blas() as pool:
            return np.sqrt(solved_norms(triangle, rows, pool))


class TableExpansion(LinearExpansion):
    """The values x · w + ε of the rows of a table."""

    def by_name(self, X, names):
        return {"energy": X @ self.coef + self.constants}


class TableDeviations(LinearDeviations):
    """The standard deviations of the values of the rows of a table."""

    def by_name(self, X, names):
        constants = np.ones((len(X), self.design.n_constants))
        return {"energy_std": self.of_rows(np.hstack([constants, X]))}
