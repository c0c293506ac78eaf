"""Loaders of the data sets that are shipped with the package."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any

from sklearn.utils import Bunch

from skatom.datasets._npz import read_npz


def load_ethanol() -> Any:
    """Load ethanol at 500 K: 2,500 structures with energies, forces and dipoles.

    Frames of a Langevin trajectory with GFN2-xTB, 50 fs apart.

    Returns
    -------
    data : `sklearn.utils.Bunch`
        - ``structures``: Structures, 2,500 of 9 atoms, Å
        - ``targets``: Targets with energies (eV), forces (eV/Å) and dipoles (e·Å)
        - ``DESCR``: str, what the data are and how they were made

    See Also
    --------
    skatom.datasets.generate : Generates the data again.

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> ethanol = load_ethanol()
    >>> ethanol.structures
    Structures(2500 structures, 22500 atoms, species H C O)
    >>> ethanol.targets
    Targets(2500 structures: energy, forces, dipole)
    """
    return _load("ethanol")


def load_benzene() -> Any:
    """Load benzene at 500 K: 1,500 structures with energies, forces and dipoles.

    Frames of a Langevin trajectory with GFN2-xTB, 50 fs apart.

    Returns
    -------
    data : `sklearn.utils.Bunch`
        - ``structures``: Structures, 1,500 of 12 atoms, Å
        - ``targets``: Targets with energies (eV), forces (eV/Å) and dipoles (e·Å)
        - ``DESCR``: str, what the data are and how they were made

    See Also
    --------
    skatom.datasets.generate : Generates the data again.

    Examples
    --------
    >>> from skatom.datasets import load_benzene
    >>> benzene = load_benzene()
    >>> benzene.structures
    Structures(1500 structures, 18000 atoms, species H C)
    >>> benzene.targets
    Targets(1500 structures: energy, forces, dipole)
    """
    return _load("benzene")


def load_boron_nitride() -> Any:
    """Load cubic boron nitride: 360 periodic structures with energies, forces and stresses.

    64 atoms each with GFN1-xTB: 240 strained and rattled crystals with displacements of 0.02,
    0.04, 0.07 and 0.10 Å (60 each, in this order), then 40 frames of molecular dynamics at each of
    300, 1000 and 2000 K.

    Returns
    -------
    data : `sklearn.utils.Bunch`
        - ``structures``: Structures, 360 of 64 atoms, Å
        - ``targets``: Targets with energies (eV), forces (eV/Å) and stresses (eV/Å³, tension
          positive)
        - ``DESCR``: str, what the data are and how they were made

    See Also
    --------
    skatom.datasets.generate : Generates the data again.

    Examples
    --------
    >>> from skatom.datasets import load_boron_nitride
    >>> boron_nitride = load_boron_nitride()
    >>> boron_nitride.structures
    Structures(360 structures, 23040 atoms, species B N)
    >>> boron_nitride.targets
    Targets(360 structures: energy, forces, stress)
    """
    return _load("boron_nitride")


def _load(name):
    folder = files("skatom.datasets") / "data"
    with as_file(folder / f"{name}.npz") as path:
        structures, targets, _ = read_npz(path, keys={})
    description = (folder / f"{name}.txt").read_text(encoding="utf-8")
    return Bunch(structures=structures, targets=targets, DESCR=description)
