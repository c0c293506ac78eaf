"""Phonons of crystals, by displacements that go on after an interruption."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.phonons
import numpy as np
from ase.dft.kpoints import monkhorst_pack
from ase.units import J, _hplanck

from skatom._progress import tqdm
from skatom._typing import Estimator, PathLike
from skatom.calculators import as_calculator

# Smallest distance (Å) of an atom from its image, for supercells that are not given.
_DISTANCE = 10.0
_MESH = 12  # points of the mesh of the density of states, along each periodic direction
_POINTS = 201  # of the path through the zone, and of the density of states
_WIDTH = 0.15  # THz
# Forces (eV/Å) above which a structure is not at its lowest energy.
_LARGEST_FORCE = 0.01
_SAME_FORCE = 1e-6
_THZ = 1e-12 / (_hplanck * J)  # in an eV


@dataclass(frozen=True)
class Phonons:
    """Frequencies of a crystal's vibrations; imaginary ones are negative.

    Attributes
    ----------
    frequencies : ndarray of float, shape (n_points, n_bands)
        Frequencies in THz along a path through the Brillouin zone; 1 THz is 33.36 1/cm.
    distances : ndarray of float, shape (n_points,)
        Length of the path up to each point, in 1/Å.
    labels : list of (float, str)
        Special points: their distances and names.
    grid, dos : ndarray of float
        Frequencies in THz and density of states in 1/THz, of one cell.
    zero_point_energy : float
        Σ ½ħω of one cell in eV, without imaginary frequencies.
    supercell : tuple of int
        The supercell that was used.
    """

    frequencies: np.ndarray
    distances: np.ndarray
    labels: list
    grid: np.ndarray
    dos: np.ndarray
    zero_point_energy: float
    supercell: tuple


def phonons(
    model: Estimator,
    atoms: Any,
    supercell: tuple[int, ...] | None = None,
    *,
    displacement: float = 0.01,
    path: str | None = None,
    folder: str | PathLike | None = None,
    resume: bool = False,
    verbose: int = 0,
) -> Phonons:
    r"""Phonons by finite differences of forces in a supercell.

    .. math:: D_{ai,bj}(q) = \frac{1}{\sqrt{m_a m_b}} \sum_n
        \frac{\partial^2 E}{\partial R_{0ai}\, \partial R_{nbj}}\, e^{i q \cdot R_n}, \qquad
        D\, e = \omega^2 e

    The force constants are made symmetric and obey the acoustic sum rule, by ASE [1]_.

    Parameters
    ----------
    model : fitted estimator, Pipeline, search, or ASE calculator
        A model that predicts energies and forces.
    atoms : ase.Atoms
        The primitive cell at its lowest energy.
    supercell : tuple of three int, default=None
        Repeats of the cell. None: so many that opposite faces are 10 Å apart, or more.
    displacement : float, default=0.01
        Displacement of each atom, in Å.
    path : str, default=None
        Special points, as in "GXWKGL,UX". None: those of the lattice, as ASE knows them.
    folder : str or path-like, default=None
        Folder of the forces that were computed, which remains. None: a temporary one.
    resume : bool, default=False
        Whether to take the forces that are in the folder already.
    verbose : int, default=0
        Whether to show a progress bar on stderr.

    Returns
    -------
    Phonons

    Raises
    ------
    ValueError
        If the structure is not periodic, the supercell is not three positive integers, or the
        folder belongs to something else.

    Warns
    -----
    UserWarning
        If a force exceeds 0.01 eV/Å, so that the structure is not relaxed.

    References
    ----------
    .. [1] D. Alfè, Comput. Phys. Commun. 180, 2622 (2009), for the method.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skatom.simulation import phonons
    >>> found = phonons(EMT(), bulk("Cu", a=3.59), (3, 3, 3))
    >>> round(found.frequencies.max(), 1)
    8.2
    """
    supercell = _supercell(atoms, supercell)
    _check(atoms, supercell, displacement)
    bands = _bandpath(atoms, path)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary if folder is None else folder) / "forces"
        _prepare(place, atoms, supercell, displacement, resume)
        method = _DisplacedForces(
            atoms, as_calculator(model), supercell=supercell, delta=displacement, name=str(place)
        )
        method.check_model(place, resume)
        method.run_with_bar(verbose)
        method.read(acoustic=True)
    periodic = np.where(atoms.pbc, _MESH, 1)
    mesh = method.band_structure(monkhorst_pack(periodic), verbose=False).real
    grid, dos = _density(mesh * _THZ)
    distances, places, names = bands.get_linear_kpoint_axis()
    return Phonons(
        method.band_structure(bands.kpts, verbose=False).real * _THZ,
        distances,
        list(zip(places.tolist(), names, strict=True)),
        grid,
        dos,
        float(0.5 * mesh.clip(0).sum() / len(mesh)),
        supercell,
    )


class _DisplacedForces(ase.phonons.Phonons):
    """ASE's phonons, which count the displacements and look at the structure's own forces."""

    bar = None

    def __call__(self, atoms_N):
        forces = super().__call__(atoms_N)
        if self.bar is not None:
            self.bar.update()
        return forces

    def check_model(self, place, resume):
        """Compare forces of the structure with those in the folder; warn of large ones."""
        own = self.atoms.copy()
        own.calc = self.calc
        forces = own.get_forces()
        if resume and "eq" in self.cache:
            known = self.cache["eq"]["forces"][self.offset * len(own) :][: len(own)]
            if np.abs(known - forces).max() > _SAME_FORCE:
                raise ValueError(
                    f"{place.parent} was made with another model: forces differ by "
                    f"{np.abs(known - forces).max():.2g} eV/Å; do without resume"
                )
        largest = np.linalg.norm(forces, axis=1).max()
        if largest > _LARGEST_FORCE:
            warnings.warn(
                f"the largest force is {largest:.2g} eV/Å, above {_LARGEST_FORCE}: relax the "
                "structure first, or its frequencies mean little",
                UserWarning,
                stacklevel=3,
            )

    def run_with_bar(self, verbose):
        """Compute the forces that are not in the folder."""
        total = 1 + 6 * len(self.atoms)
        known = len(self.cache)
        with tqdm(
            total=total, initial=known, desc="displacements", disable=not verbose
        ) as self.bar:
            self.run()


def _prepare(place, atoms, supercell, displacement, resume):
    """An empty folder, or that of the same calculation without files that were not finished."""
    settings = {
        "supercell": list(supercell), "displacement": displacement,
        "numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
    }  # fmt: skip
    record = place / "settings.json"
    if resume and record.exists():
        known = json.loads(record.read_text())
        differ = [name for name in settings if known.get(name) != settings[name]]
        if differ:
            raise ValueError(
                f"{place.parent} was begun with other {', '.join(differ)}: give the same, or do "
                "without resume"
            )
        for file in place.glob("cache.*.json"):
            if file.stat().st_size == 0:  # it was being computed
                file.unlink()
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    record.write_text(json.dumps(settings))


def _density(frequencies):
    """Density of states of one cell, in Gaussians, as it integrates to the number of bands."""
    margin = 4 * _WIDTH
    grid = np.linspace(frequencies.min() - margin, frequencies.max() + margin, _POINTS)
    # a histogram finer than the Gaussians, since a mesh has many frequencies
    counts, edges = np.histogram(frequencies, bins=20 * _POINTS, range=(grid[0], grid[-1]))
    centers = 0.5 * (edges[1:] + edges[:-1])
    shapes = np.exp(-0.5 * ((grid[:, None] - centers) / _WIDTH) ** 2)
    return grid, shapes @ counts / (len(frequencies) * _WIDTH * np.sqrt(2 * np.pi))


def _supercell(atoms, given):
    if given is not None:
        return tuple(int(n) if n == int(n) else n for n in given)
    if atoms.cell.rank < 3:
        return (1, 1, 1)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    return tuple(np.where(atoms.pbc, np.ceil(_DISTANCE / heights), 1).astype(int).tolist())


def _bandpath(atoms, path):
    try:
        return atoms.cell.bandpath(path, npoints=_POINTS, pbc=atoms.pbc)
    except (ValueError, KeyError) as error:
        known = ", ".join(atoms.cell.bandpath(npoints=0, pbc=atoms.pbc).special_points)
        raise ValueError(
            f"path={path!r} cannot be read ({error}): give points out of {known}"
        ) from error


def _check(atoms, supercell, displacement):
    if atoms.cell.rank < 3 or not atoms.pbc.any():
        raise ValueError("phonons need a structure that is periodic: set pbc=True and a cell")
    if len(supercell) != 3 or not all(isinstance(n, int) and n >= 1 for n in supercell):
        raise ValueError(f"supercell={supercell} must be three integers of at least 1")
    if not displacement > 0:
        raise ValueError(f"displacement={displacement:g} Å must be positive")
