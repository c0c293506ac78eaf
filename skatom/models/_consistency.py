"""Whether energies, forces and stresses agree: their units, their signs, their structures."""

from dataclasses import dataclass, replace

import numpy as np
from ase import units
from scipy.linalg import cho_factor, cho_solve

from skatom.baseline import count_species
from skatom.models._labels import virials
from skatom.models._mistaken_units import NAMED, OF_ENERGIES, Contradiction, near, suspicion
from skatom.models._probe import probe_rows
from skatom.models._stress_comparison import compared, pressures, shears, stress_finding
from skatom.parallel import serial_blas

# Structures and atoms that are compared, and the smallest number of structures that say something.
_STRUCTURES, _ATOMS, _FEWEST = 40, (200, 2500), 8
# Ridges of the probe, relative to the squared norms of its columns.
_RIDGES = (1e-7, 1e-5, 1e-3, 1e-1)
# Forces in eV/Å and differences of energies in eV per atom below which nothing is said, and forces
# that depend on the positions without doubt.
_SMALL_FORCE, _SMALL_ENERGY, _LARGE_FORCE = 2e-3, 1e-4, 0.03
# Held-out R² of forces from which their energies are judged, stresses, and whether they contradict.
_JUDGES_ENERGY, _JUDGES_STRESS, _JUDGES_WELL = 0.6, 0.85, 0.93
# … of forces and energies, from which components of the stress are judged, and pressures
_SURE, _CERTAIN = 0.955, 0.98
# Shears, relative to pressures, from which they are compared.
_SHEARED = 0.05
# Differences of the logarithm of the volume per atom from which energies tell pressures.
_VOLUMES = 0.01
# Ratios within this factor are one unit, if the correlation is good, and otherwise.
_ONE_UNIT, _ROUGHLY = 1.5, 4.0
# Ratios within this factor of that of a unit may be that unit.
_PERHAPS = 3.0
# How much better one model must have forces and energies in another unit, by the sum of their R².
_GAIN, _CLEAR_GAIN = 0.03, 0.15
_THE_RATIO = "the ratio"
_THE_SIGN = "are the forces gradients, with the wrong sign?"


@dataclass(frozen=True)
class LabelRows:
    """Rows of a least-squares problem, their labels, and the half that each belongs to."""

    matrix: np.ndarray
    labels: np.ndarray
    half: np.ndarray

    def normal(self, half):
        """AᵀA and Aᵀb of a half, relative to the squared labels of all."""
        mine = self.half == half
        a, scale = self.matrix[mine], 1 / (self.labels @ self.labels)
        return scale * (a.T @ a), scale * (a.T @ self.labels[mine])


@dataclass(frozen=True)
class ProbeFit:
    """Coefficients of the probe, and R² of each kind of rows, predicted by the other half."""

    coefficients: np.ndarray
    r2: list


def inconsistencies(structures, targets, names):
    """Sentences about labels that contradict each other or the structures.

    Forces of half of some structures are predicted by a small model of the other half. If that goes
    well, the model of both has energies up to constants and stresses, and labels are compared with
    them.

    Parameters
    ----------
    structures : Structures
    targets : Targets
    names : set of str
        The properties to compare, out of energy, forces and stress.

    Returns
    -------
    list of str
    """
    has = {name: targets.labelled(name) for name in names}
    anchor = "forces" if "forces" in has else "energy"
    if anchor not in has or has[anchor].sum() < _FEWEST:
        return []
    chosen = some_structures(structures, np.flatnonzero(has[anchor]))
    with serial_blas():  # the matrices are small
        return _Comparison(structures[chosen], targets[chosen], names).findings()


def some_structures(structures, candidates, most=_STRUCTURES, atoms=_ATOMS):
    """Evenly spaced structures, a tenth of the atoms or a few hundred."""
    sizes = structures.n_atoms[candidates]
    n_atoms = np.clip(sizes.sum() / 10, *atoms)
    n = min(most, len(candidates), max(_FEWEST, int(n_atoms / sizes.mean())))
    return candidates[np.unique(np.linspace(0, len(candidates) - 1, n).astype(int))]


class _Comparison:
    """Labels of a few structures beside each other."""

    def __init__(self, structures, targets, names):
        self.structures, self.targets = structures, targets
        self.half = np.arange(len(structures)) % 2
        self.rows = probe_rows(structures)
        self.forces = self._force_rows() if "forces" in names else None
        self.energies = self._energy_rows() if "energy" in names else None
        self.stressed = np.zeros(len(structures), bool)
        if "stress" in names:
            self.stressed = targets.labelled("stress")

    def findings(self):
        """Sentences about contradictions."""
        forces = self.forces and _fit([self.forces])
        if forces and forces.r2[0] < 0.02 and self._is_uniform() and self._forces_are_large():
            return [
                "the forces cannot be predicted from those of similar structures (R² of "
                f"{forces.r2[0]:.2g}): do they belong to other structures, or to atoms in another "
                "order?"
            ]
        if forces and self.energies and self._follow(forces) and not self.stressed.any():
            return []
        both = self.energies and _fit([rows for rows in (self.forces, self.energies) if rows])
        of_energy = None
        if forces and both:
            if forces.r2[0] > _JUDGES_ENERGY:
                of_energy = self._of_energies(forces, both) or self._in_another_unit(forces, both)
            both = both if of_energy is None and _agree(forces, both) else None
        fits = [fit for fit in (both, forces) if fit and min(fit.r2) > _JUDGES_STRESS]
        of_stress = None
        if fits and self.stressed.sum() >= _FEWEST:
            of_stress = self._of_stresses(fits, both)
        return _sentences(of_energy, of_stress)

    def _force_rows(self):
        labelled = np.repeat(self.targets.labelled("forces"), self.structures.n_atoms)
        forces = self.targets.forces[labelled].ravel()
        if np.sqrt(np.mean(forces**2)) < _SMALL_FORCE:
            return None
        matrix = self.rows.forces[labelled].reshape(len(forces), -1)
        if not matrix.any():  # all atoms are alone
            return None
        half = np.repeat(self.half, self.structures.n_atoms)[labelled]
        return LabelRows(matrix, forces, np.repeat(half, 3))

    def _energy_rows(self):
        """Energies times 1/√N, without what depends on the composition."""
        labelled = self.targets.labelled("energy")
        if labelled.sum() < _FEWEST:
            return None
        roots = np.sqrt(self.structures.n_atoms)[labelled]
        energies = self.targets.energy[labelled] / roots
        rows = self.rows.energy[labelled] / roots[:, None]
        counts = count_species(self.structures, self.structures.species)[labelled]
        rest = _without(counts / roots[:, None])
        energies, rows = rest(energies), rest(rows)
        if not rows.any() or np.sqrt(np.mean(energies**2 / roots**2)) < _SMALL_ENERGY:
            return None
        return LabelRows(rows, energies, self.half[labelled])

    def _is_uniform(self):
        """Whether all structures are of one composition, and nearly of one density."""
        counts = count_species(self.structures, self.structures.species)
        shares = counts / counts.sum(axis=1, keepdims=True)
        if np.ptp(shares, axis=0).max() > 1e-9:
            return False
        if not self.structures.pbc.all():
            return np.ptp(self.structures.n_atoms) == 0
        volumes = self.structures.volumes() / self.structures.n_atoms
        return np.ptp(volumes) < 0.2 * volumes.mean()

    def _forces_are_large(self):
        return np.sqrt(np.mean(self.forces.labels**2)) > _LARGE_FORCE

    def _follow(self, forces):
        """Whether the energies are about those of a fit to the forces."""
        expected = self.energies.matrix @ forces.coefficients
        correlation, ratio = compared(expected, self.energies.labels)
        return correlation > 0.85 and 1 / _ONE_UNIT < ratio < _ONE_UNIT

    def _of_energies(self, forces, both):
        """What is wrong with energies that do not follow the forces, or None."""
        expected = self.energies.matrix @ forces.coefficients
        correlation, ratio = compared(expected, self.energies.labels)
        # forces tell little of energies between volumes or compositions, where a fit to both does
        sure = self._is_uniform() and abs(correlation) > 0.95
        if _agree(forces, both) and not sure:
            return None
        numbers = f"(ratio {ratio:.3g}, correlation {correlation:.2f})"
        if correlation < -0.75 and self._in_units({_THE_SIGN: -ratio}, both):
            return Contradiction(
                "the energies fall where the forces, integrated, say that they rise "
                f"{numbers}: {_THE_SIGN}",
                -ratio,
            )
        limit = _ONE_UNIT if correlation > 0.85 else _ROUGHLY
        if correlation > 0.4 and abs(np.log(ratio)) > np.log(limit):
            factors = near(ratio, OF_ENERGIES | self._per_atom(), _PERHAPS)
            fits = self._in_units(factors | {_THE_RATIO: ratio}, both)
            if not fits:
                return None
            unit = _unit_of_energies(ratio, factors, forces, fits)
            return Contradiction(
                f"the energies change {ratio:.3g} times as much as the forces, integrated, say "
                f"(correlation {correlation:.2f}): {unit}",
                ratio,
            )
        if correlation < 0.6 and forces.r2[0] > _JUDGES_WELL and self._is_uniform():
            return Contradiction(
                f"the energies do not follow the forces {numbers}: do they belong to other "
                "structures?"
            )
        return None

    def _in_another_unit(self, forces, both):
        """The finding that one model has forces and energies in another unit alone, or None.

        Forces of many compositions tell little of energies, but both together tell their units.
        """
        if _agree(forces, both):
            return None
        fits = self._in_units(OF_ENERGIES | {_THE_SIGN: -1.0}, both, _CLEAR_GAIN)
        name, fit = max(fits.items(), key=lambda pair: sum(pair[1].r2), default=(None, None))
        if fit is None or fit.r2[-1] < _JUDGES_STRESS or fit.r2[0] < forces.r2[0] - 0.1:
            return None
        factor = OF_ENERGIES.get(name, -1.0)
        return Contradiction(
            f"one model has the forces and the energies only if the energies are divided by "
            f"{factor:.3g} (R² of {sum(both.r2) / 2:.2f} before, {sum(fit.r2) / 2:.2f} then): "
            + (_THE_SIGN if factor < 0 else suspicion({name: factor}, "")),
            factor,
        )

    def _per_atom(self):
        """The factor of energies per atom, if all structures have as many."""
        sizes = np.unique(self.structures.n_atoms)
        return {"the energies are those per atom": 1 / sizes[0]} if len(sizes) == 1 else {}

    def _in_units(self, factors, both, gain=_GAIN):
        """Fits to forces and to energies over each factor, or none if no factor makes them better.

        Where forces are few or small, their integral may be far from the energies, whose unit is
        right all the same: then one model of both is at its best as they are.
        """
        fits = {
            name: _fit([self.forces, replace(self.energies, labels=self.energies.labels / factor)])
            for name, factor in factors.items()
        }
        best = max(sum(fit.r2) for fit in fits.values())
        return fits if best > sum(both.r2) + gain else {}

    def _of_stresses(self, fits, both):
        """What is wrong with stresses that are not the derivatives of the other labels."""
        weights = 1 / np.sqrt(self.structures.n_atoms)[self.stressed, None]
        found = virials(self.targets, self.structures)[self.stressed] * weights
        expected = [weights * (self.rows.virial[self.stressed] @ fit.coefficients) for fit in fits]
        sure = min(fits[0].r2) > _SURE
        finding = None
        if np.sqrt(np.mean(shears(found) ** 2)) > _SHEARED * pressures(found).std():
            finding = stress_finding([shears(of_fit) for of_fit in expected], shears(found), sure)
        if not self._has_volumes():  # only energies at several of them tell what a pressure is
            return finding
        if finding is None and both:
            finding = stress_finding([pressures(expected[0])], pressures(found), sure)
        if finding is None and both and min(both.r2) > _CERTAIN:
            finding = self._of_offsets(
                (found - expected[0]) / weights, pressures(found) / weights[:, 0]
            )
        return finding

    def _has_volumes(self):
        """Whether the volumes per atom of the stressed structures differ."""
        x = self.structures[self.stressed]
        return np.ptp(np.log(x.volumes() / x.n_atoms)) > _VOLUMES

    def _of_offsets(self, difference, spread):
        """The finding that pressures differ from those of the energies by a constant."""
        volumes = self.structures[self.stressed].volumes()
        offsets = difference[:, :3].mean(axis=1) / volumes / units.GPa
        mean = np.median(offsets)
        deviation = 1.5 * np.median(abs(offsets - mean))  # that of the middle of a normal law
        if abs(mean) < max(3 * deviation, 0.3 * (spread / volumes).std() / units.GPa, 0.5):
            return None
        return Contradiction(
            f"the stresses differ from the derivatives of the energies by {mean:.2g} GPa "
            f"throughout (deviation {deviation:.2g} GPa): are they converged, and of the same "
            "calculation?"
        )


def _unit_of_energies(ratio, factors, forces, fits):
    """The units with which one model has energies and forces, or those near the ratio."""
    fits = {name: fit for name, fit in fits.items() if name != _THE_RATIO}
    best = max((sum(fit.r2) for fit in fits.values()), default=0.0)
    names = [
        name for name, fit in fits.items() if _agree(forces, fit) and sum(fit.r2) > best - 0.02
    ]
    close = [name for name in names if name in near(ratio, factors, NAMED)]
    return suspicion({name: factors[name] for name in close or names}, "both must be in eV and Å")


def _sentences(of_energy, of_stress):
    """The sentences of two findings; one of them if the forces are the reason of both."""
    if of_energy and of_stress and of_energy.ratio and of_stress.ratio:
        apart = of_energy.ratio / of_stress.ratio
        if 1 / 2 < apart < 2:
            return [of_energy.text + " (the stresses say the same of the forces)"]
    return [finding.text for finding in (of_energy, of_stress) if finding]


def _agree(forces, both):
    """Whether one model has forces and energies about as well as forces alone."""
    return both.r2[-1] > 0.7 and both.r2[0] > forces.r2[0] - 0.05


def _fit(kinds):
    """Fit to several kinds of rows; the ridge is that which predicts each half by the other."""
    halves = [[kind.normal(half) for kind in kinds] for half in (0, 1)]
    matrices, sides = zip(
        *([sum(parts) for parts in zip(*normals, strict=True)] for normals in halves), strict=True
    )
    total = sum(matrices)
    sizes = total.diagonal()
    scale = 1 / np.sqrt(np.maximum(sizes, 1e-12 * sizes.max()))

    def solve(matrix, side, ridge):
        scaled = scale[:, None] * matrix * scale
        scaled[np.diag_indices_from(scaled)] += ridge
        factor = cho_factor(scaled, overwrite_a=True, check_finite=False)
        return scale * cho_solve(factor, scale * side, check_finite=False)

    def held_out(ridge):
        halves = [solve(matrices[1 - half], sides[1 - half], ridge) for half in (0, 1)]
        return [_r2(kind, np.array(halves)) for kind in kinds]

    found = {ridge: held_out(ridge) for ridge in _RIDGES}
    ridge = max(_RIDGES, key=lambda ridge: sum(found[ridge]))
    return ProbeFit(solve(total, sum(sides), ridge), found[ridge])


def _r2(rows, coefficients):
    """R² of labels, each predicted with the coefficients of its half."""
    predicted = np.take_along_axis(rows.matrix @ coefficients.T, rows.half[:, None], axis=1)[:, 0]
    return 1 - np.sum((rows.labels - predicted) ** 2) / np.sum(rows.labels**2)


def _without(columns):
    """A projection that takes off what is a sum of some columns."""
    basis, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    basis = basis[:, sizes > 1e-9 * sizes[0]]
    return lambda rows: rows - basis @ (basis.T @ rows)
