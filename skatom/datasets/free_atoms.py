r"""Energies and radii of free atoms by density functional theory.

``python -m skatom.datasets.free_atoms`` writes the table that `skatom.descriptors` embeds, in about
two minutes. Spherical atoms in the local density approximation [1]_ without spin polarisation; the
scalar-relativistic equation in the zeroth-order regular approximation [2]_,

.. math::
    -\frac{1}{2 r^2} \frac{d}{dr} r^2 K \frac{dR}{dr} + \Big[\frac{K l(l+1)}{2 r^2} + V\Big] R
    = \varepsilon R, \qquad K = \Big(1 - \frac{V}{2 c^2}\Big)^{-1},

is solved with linear finite elements in ln r, whose matrices are tridiagonal. Configurations are
those of the ground states. Atomic units, but for the table.

References
----------
.. [1] J. P. Perdew, Y. Wang, Phys. Rev. B 45, 13244 (1992).
.. [2] E. van Lenthe, E. J. Baerends, J. G. Snijders, J. Chem. Phys. 99, 4597 (1993).
"""

from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr, Hartree
from scipy.linalg import eigh_tridiagonal

from skatom.elements import period

COLUMNS = ("ionization_energy", "electronegativity", "s_radius")
LIGHT = 137.035999
_LAST = 103
_POINTS, _FIRST_RADIUS, _LAST_RADIUS = 2000, 1e-3, 60.0
_MIXING, _HISTORY, _TOLERANCE = 0.3, 6, 1e-6
# With this tolerance bisection finds small eigenvalues of graded matrices to their last digits;
# that of LAPACK is relative to the largest, here 1e-3 eV, whose digits depend on the computer.
_BISECTION = 2 * np.finfo(float).tiny
# Madelung's rule, and the neutral atoms that do not follow it: electrons by (n, l)
_ORDER = [
    (1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (4, 0), (3, 2), (4, 1), (5, 0), (4, 2), (5, 1), (6, 0),
    (4, 3), (5, 2), (6, 1), (7, 0), (5, 3), (6, 2),
]  # fmt: skip
_EXCEPTIONS = {
    "Cr": {(4, 0): 1, (3, 2): 5}, "Cu": {(4, 0): 1, (3, 2): 10}, "Nb": {(5, 0): 1, (4, 2): 4},
    "Mo": {(5, 0): 1, (4, 2): 5}, "Ru": {(5, 0): 1, (4, 2): 7}, "Rh": {(5, 0): 1, (4, 2): 8},
    "Pd": {(5, 0): 0, (4, 2): 10}, "Ag": {(5, 0): 1, (4, 2): 10}, "La": {(4, 3): 0, (5, 2): 1},
    "Ce": {(4, 3): 1, (5, 2): 1}, "Gd": {(4, 3): 7, (5, 2): 1}, "Pt": {(6, 0): 1, (5, 2): 9},
    "Au": {(6, 0): 1, (5, 2): 10}, "Ac": {(5, 3): 0, (6, 2): 1}, "Th": {(5, 3): 0, (6, 2): 2},
    "Pa": {(5, 3): 2, (6, 2): 1}, "U": {(5, 3): 3, (6, 2): 1}, "Np": {(5, 3): 4, (6, 2): 1},
    "Cm": {(5, 3): 7, (6, 2): 1}, "Lr": {(6, 2): 0, (7, 1): 1},
}  # fmt: skip


def configuration(z):
    """Electrons of the neutral atom by (n, l)."""
    occupations, left = {}, z
    for n, l in _ORDER:
        occupations[n, l] = min(left, 4 * l + 2)
        left -= occupations[n, l]
    occupations |= _EXCEPTIONS.get(chemical_symbols[z], {})
    return {shell: float(count) for shell, count in occupations.items() if count}


def exchange_correlation(density):
    """Energy of an electron and potential of the homogeneous electron gas without polarisation."""
    radius = (3 / (4 * np.pi * np.maximum(density, 1e-30))) ** (1 / 3)
    a, alpha, beta = 0.0310907, 0.21370, (7.5957, 3.5876, 1.6382, 0.49294)
    root = np.sqrt(radius)
    q = 2 * a * root * (beta[0] + root * (beta[1] + root * (beta[2] + root * beta[3])))
    slope_q = a * (beta[0] / root + 2 * beta[1] + 3 * beta[2] * root + 4 * beta[3] * radius)
    logarithm = np.log1p(1 / q)
    correlation = -2 * a * (1 + alpha * radius) * logarithm
    slope = -2 * a * (alpha * logarithm - (1 + alpha * radius) * slope_q / (q * (q + 1)))
    exchange = -0.75 * (3 / np.pi * density) ** (1 / 3)
    return exchange + correlation, 4 / 3 * exchange + correlation - radius / 3 * slope


class FreeAtom:
    """A spherical atom on a logarithmic grid.

    Parameters
    ----------
    z : int
        The nuclear charge.
    occupations : dict
        Electrons by (n, l).
    light : float, default=LIGHT
        The speed of light; infinite without relativity.

    Attributes
    ----------
    r, weights : ndarray
        The grid, and the weights of integrals over ln r.
    energies : dict of float
        Orbital energies by (n, l), after `converge`.
    orbitals : dict of ndarray
        Radial functions R, normalised.
    potential : ndarray
        The self-consistent potential.
    total_energy : float
    """

    def __init__(self, z, occupations, light=LIGHT):
        self.z, self.occupations, self.light = z, occupations, light
        x = np.linspace(np.log(_FIRST_RADIUS / z), np.log(_LAST_RADIUS), _POINTS)
        self.r, self.step = np.exp(x), x[1] - x[0]
        self.weights = np.full(_POINTS, self.step)
        self.weights[[0, -1]] /= 2

    def solve(self, potential, l, n_states):
        """The lowest orbital energies of an angular momentum, and their radial functions."""
        r = self.r
        k = 0.5 / (1 - potential / (2 * self.light**2))
        between = 0.5 * ((k * r)[1:] + (k * r)[:-1]) / self.step
        diagonal = self.weights * (k * l * (l + 1) * r + potential * r**3)
        diagonal[1:] += between
        diagonal[:-1] += between
        mass = self.weights * r**3
        # orbitals vanish at the last point
        energies, vectors = eigh_tridiagonal(
            (diagonal / mass)[:-1], (-between / np.sqrt(mass[1:] * mass[:-1]))[:-1],
            select="i", select_range=(0, n_states - 1), lapack_driver="stebz", tol=_BISECTION,
        )  # fmt: skip
        return energies, np.vstack([vectors / np.sqrt(mass[:-1, None]), np.zeros(n_states)])

    def converge(self, potential=None, n_steps=300):
        """Solve the equations self-consistently, with Anderson's mixing of potentials."""
        if potential is None:  # an atom of Thomas and Fermi, and a charge of 1 far away
            screened = 1 / (1 + self.r * self.z ** (1 / 3) / 0.8853) ** 2
            potential = -self.z / self.r * np.maximum(screened, 0.5 / self.z)
        inputs, changes = [], []
        for _ in range(n_steps):
            change = (self._next(potential) - potential) * self.r
            if np.abs(change).max() < _TOLERANCE:
                self.potential = potential
                return self
            inputs, changes = inputs[1 - _HISTORY :], changes[1 - _HISTORY :]
            inputs.append(potential * self.r)
            changes.append(change)
            potential = _mixed(inputs, changes) / self.r
        raise RuntimeError(f"the atom of charge {self.z} did not converge in {n_steps} steps")

    def _next(self, potential):
        """The potential of the density in a potential."""
        self.energies, self.orbitals = {}, {}
        for l in {l for _, l in self.occupations}:
            shells = [shell for shell in self.occupations if shell[1] == l]
            energies, orbitals = self.solve(potential, l, max(n for n, _ in shells) - l)
            for n, _ in shells:
                self.energies[n, l] = energies[n - l - 1]
                self.orbitals[n, l] = orbitals[:, n - l - 1]
        charge = self.r**2 * sum(n * self.orbitals[s] ** 2 for s, n in self.occupations.items())
        within = self._cumulative(charge * self.r)
        outside = self._cumulative(charge)
        hartree = within / self.r + outside[-1] - outside
        energy, exchange = exchange_correlation(charge / (4 * np.pi * self.r**2))
        double = (energy - exchange - 0.5 * hartree) * charge
        self.total_energy = sum(n * self.energies[s] for s, n in self.occupations.items())
        self.total_energy += (self.weights * self.r * double).sum()
        return -self.z / self.r + hartree + exchange

    def _cumulative(self, values):
        """Integrals over ln r from the first point."""
        steps = 0.5 * self.step * (values[1:] + values[:-1])
        return np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def highest(self):
        """The occupied shell with the highest energy."""
        return max(self.energies, key=self.energies.get)

    def mean_radius_of_s(self, n):
        """⟨r⟩ of the n-th s orbital, which may be empty."""
        orbital = self.solve(self.potential, 0, n)[1][:, -1]
        return (self.weights * self.r**4 * orbital**2).sum()


def _mixed(inputs, changes):
    """The next input: where the change is least in the space of the last ones, and a step on."""
    value, change = inputs[-1], changes[-1]
    if len(inputs) > 1:
        others = np.array([change - other for other in changes[:-1]]).T
        part = np.linalg.lstsq(others, change, rcond=1e-10)[0]
        value = value - np.array([value - other for other in inputs[:-1]]).T @ part
        change = change - others @ part
    return value + _MIXING * change


def properties_of(z):
    """The columns of the table for an element: eV, eV and Å.

    The ionisation energy is that of Slater's transition state, the energy of the highest orbital
    with half an electron removed; the electronegativity is that of the neutral atom, −∂E/∂N; the
    radius the mean ⟨r⟩ of the s orbital of its period.
    """
    occupations = configuration(z)
    atom = FreeAtom(z, occupations).converge()
    highest = atom.highest
    halved = FreeAtom(z, occupations | {highest: occupations[highest] - 0.5})
    halved.converge(atom.potential)
    return (
        -Hartree * halved.energies[highest], -Hartree * atom.energies[highest],
        Bohr * atom.mean_radius_of_s(period(z)),
    )  # fmt: skip


@cache
def free_atoms():
    """The embedded table: {column: {symbol: value}}."""
    text = (files("skatom.datasets") / "data" / "free_atoms.txt").read_text(encoding="utf-8")
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {
        name: {symbol: float(values[k]) for symbol, *values in rows}
        for k, name in enumerate(COLUMNS)
    }


def write(path):
    """Write the table of all elements up to lawrencium."""
    lines = [
        "# Free atoms in the local density approximation, scalar-relativistic, without spin",
        "# polarisation: python -m skatom.datasets.free_atoms, which describes them. Ionisation",
        "# energies of transition states (eV), electronegativities -dE/dN (eV), mean radii of",
        "# the s orbitals of the period (Angstrom).",
        f"# symbol {' '.join(COLUMNS)}",
    ]
    for z in range(1, _LAST + 1):
        values = " ".join(f"{value:.4f}" for value in properties_of(z))
        lines.append(f"{chemical_symbols[z]} {values}")
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parent / "data" / "free_atoms.txt")
