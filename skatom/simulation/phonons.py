"""Phonons of crystals, by displacements that go on after an interruption."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.phonons
import numpy as np
from ase.dft.kpoints import monkhorst_pack
from ase.units import J, _hplanck

from skatom._progress import tqdm
from skatom._typing import Estimator, PathLike
from skatom._warnings import warn
from skatom.calculators import as_calculator
from skatom.simulation.phonopy_engine import phonopy_frequencies

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
    engine: str = "ase",
    folder: str | PathLike | None = None,
    resume: bool = False,
    verbose: int = 0,
) -> Phonons:
    r"""Phonons by finite differences of forces in a supercell.

    .. math:: D_{ai,bj}(q) = \frac{1}{\sqrt{m_a m_b}} \sum_n
        \frac{\partial^2 E}{\partial R_{0ai}\, \partial R_{nbj}}\, e^{i q \cdot R_n}, \qquad
        D\, e = \omega^2 e

    The force constants are made symmetric and obey the acoustic sum rule, by ASE [1]_ or phonopy
    [2]_.

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
    engine : {"ase", "phonopy"}, default="ase"
        The package that does it. phonopy, if it is installed, leaves out displacements that
        symmetry relates to others, and shares force constants between images of an atom that are
        equally far. Both agree at wave vectors of the supercell, and between these if the
        supercell is large.
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
        If the structure is not periodic, the supercell is not three positive integers, the engine
        is unknown, or the folder belongs to something else.
    ImportError
        If phonopy is not installed.

    Warns
    -----
    UserWarning
        If a force exceeds 0.01 eV/Å, so that the structure is not relaxed.

    References
    ----------
    .. [1] D. Alfè, Comput. Phys. Commun. 180, 2622 (2009), for the method.
    .. [2] A. Togo, L. Chaput, T. Tadano, I. Tanaka, J. Phys. Condens. Matter 35, 353001 (2023).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skatom.simulation import phonons
    >>> found = phonons(EMT(), bulk("Cu", a=3.59), (3, 3, 3))
    >>> round(float(found.frequencies.max()), 1)
    8.2
    """
    supercell, calculator = _supercell(atoms, supercell), as_calculator(model)
    _check(atoms, supercell, displacement, engine)
    bands = _bandpath(atoms, path)
    run = {"ase": _ase_frequencies, "phonopy": phonopy_frequencies}[engine]
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary if folder is None else folder) / "forces"
        settings = {"engine": engine, "supercell": list(supercell), "displacement": displacement}
        _prepare(place, atoms, calculator, settings, resume)
        frequencies = run(calculator, atoms, supercell, displacement, place, verbose)
    mesh = frequencies(monkhorst_pack(np.where(atoms.pbc, _MESH, 1)))
    grid, dos = _density(mesh)
    distances, places, names = bands.get_linear_kpoint_axis()
    return Phonons(
        frequencies(bands.kpts),
        distances,
        list(zip(places.tolist(), names, strict=True)),
        grid,
        dos,
        float(0.5 * mesh.clip(0).sum() / len(mesh) / _THZ),
        supercell,
    )


def _ase_frequencies(calculator, atoms, supercell, displacement, place, verbose):
    """Frequencies by ASE, as those of `phonopy_frequencies`."""
    for file in place.glob("cache.*.json"):
        if file.stat().st_size == 0:  # it was being computed when the run was interrupted
            file.unlink()
    method = _DisplacedForces(
        atoms, calculator, supercell=supercell, delta=displacement, name=str(place)
    )
    total, known = 1 + 6 * len(atoms), len(method.cache)
    with tqdm(total=total, initial=known, desc="displacements", disable=not verbose) as method.bar:
        method.run()
    method.read(acoustic=True)
    return lambda wave_vectors: method.band_structure(wave_vectors, verbose=False).real * _THZ


class _DisplacedForces(ase.phonons.Phonons):
    """ASE's phonons, which count the displacements."""

    bar = None

    def __call__(self, atoms_N):
        forces = super().__call__(atoms_N)
        self.bar.update()
        return forces


def _prepare(place, atoms, calculator, settings, resume):
    """An empty folder, or that of the same calculation."""
    own = atoms.copy()
    own.calc = calculator
    forces = own.get_forces()
    largest = np.linalg.norm(forces, axis=1).max()
    if largest > _LARGEST_FORCE:
        warn(
            f"the largest force is {largest:.2g} eV/Å, above {_LARGEST_FORCE}: relax the "
            "structure first, or its frequencies mean little"
        )
    arrays = {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array}
    settings = {**settings, **{name: array.tolist() for name, array in arrays.items()}}
    record = place / "settings.json"
    if resume and record.exists():
        _compare(place.parent, json.loads(record.read_text()), settings, forces)
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    record.write_text(json.dumps({**settings, "own_forces": forces.tolist()}))


def _compare(folder, known, settings, forces):
    """Raise an error if the forces in a folder are of something else."""
    differ = [name for name in settings if known.get(name) != settings[name]]
    if differ:
        raise ValueError(
            f"{folder} was begun with other {', '.join(differ)}: give the same, or do without "
            "resume"
        )
    change = np.abs(np.array(known["own_forces"]) - forces).max()
    if change > _SAME_FORCE:
        raise ValueError(
            f"{folder} was made with another model: forces differ by {change:.2g} eV/Å; do without "
            "resume"
        )


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


def _check(atoms, supercell, displacement, engine):
    if engine not in ("ase", "phonopy"):
        raise ValueError(f"engine={engine!r}: choose from ase, phonopy")
    if atoms.cell.rank < 3 or not atoms.pbc.any():
        raise ValueError("phonons need a structure that is periodic: set pbc=True and a cell")
    if len(supercell) != 3 or not all(isinstance(n, int) and n >= 1 for n in supercell):
        raise ValueError(f"supercell={supercell} must be three integers of at least 1")
    if not displacement > 0:
        raise ValueError(f"displacement={displacement:g} Å must be positive")
