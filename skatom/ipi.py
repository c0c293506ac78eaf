"""A fitted model as the force field of i-PI, in the same process and for several beads at once.

``ffdirect`` of i-PI takes the path of this file, `driver_path`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skatom._engine_forces import ModelForces
from skatom._verlet import VerletList
from skatom.structures import Structures

__all__ = ["ModelDriver", "driver_path"]

# What i-PI looks for in the file.
__DRIVER_NAME__ = "skatom"
__DRIVER_CLASS__ = "ModelDriver"


def driver_path() -> str:
    """The path for ``pes_path`` in the input of i-PI.

    Returns
    -------
    str

    Examples
    --------
    >>> from skatom.ipi import driver_path
    >>> driver_path().endswith("ipi.py")
    True
    """
    return __file__


class ModelDriver:
    r"""The energies, forces and virials of a fitted model, in the units of i-PI.

    .. math::

        F_i = -\frac{\partial \hat E}{\partial R_i}, \qquad
        W = -\frac{\partial \hat E}{\partial \varepsilon}

    i-PI gives one geometry or, with ``batch_size``, a list of them, such as the beads of a ring
    polymer, which are predicted together. Neighbours are kept between steps.

    Parameters
    ----------
    model : str
        The file of the model, as for `skatom.load_model`.
    template : str
        A file that ASE reads, with the atoms in the order of i-PI. Its periodicity is that of the
        simulation.
    **options
        Other parameters, which i-PI adds. They are ignored.

    Raises
    ------
    ValueError
        If the model does not predict forces, or i-PI has another number of atoms.

    Examples
    --------
    In the input of i-PI::

        <ffdirect name="model">
          <pes> custom </pes>
          <pes_path> (what driver_path() gives) </pes_path>
          <parameters> {model: ethanol.joblib, template: ethanol.xyz} </parameters>
          <batch_size> 8 </batch_size>
        </ffdirect>
    """

    def __init__(self, model: str, template: str, **options: Any) -> None:
        from ase.io import read

        from skatom._persistence import load_model

        atoms = read(template)
        self._forces = ModelForces(load_model(model))
        self._structure = Structures.from_ase([atoms])
        self._lists = []
        self.template = template

    def __call__(self, cell: Any, pos: Any) -> Any:
        """Predict.

        Parameters
        ----------
        cell : ndarray of float, shape (3, 3), bohr, or a list of them
            Lattice vectors as columns.
        pos : ndarray of float, shape (n_atoms, 3), bohr, or a list of them
            Positions.

        Returns
        -------
        tuple or list of tuples
            Energy in hartree, forces (n_atoms, 3) in hartree/bohr, virial (3, 3) in hartree, and an
            empty text.
        """
        if isinstance(cell, list):
            return self._predict(cell, pos)
        return self._predict([cell], [pos])[0]

    def _predict(self, cells, positions):
        from ipi.utils.units import unit_to_internal, unit_to_user

        n, one = len(positions), self._structure
        if positions[0].size != one.positions.size:
            raise ValueError(
                f"i-PI has {positions[0].size // 3} atoms, but the template {self.template} has "
                f"{len(one.numbers)}: give a template of the same atoms"
            )
        angstrom = unit_to_user("length", "angstrom", 1.0)
        cells = angstrom * np.array(cells).swapaxes(1, 2)
        structures = Structures(
            np.tile(one.numbers, n), angstrom * np.concatenate(positions).reshape(-1, 3),
            len(one.numbers) * np.arange(n + 1), cells, np.repeat(one.pbc, n, axis=0),
        )  # fmt: skip
        self._lists += [VerletList() for _ in range(n - len(self._lists))]
        hartree = unit_to_internal("energy", "electronvolt", 1.0)
        return [
            (hartree * found.energy, hartree * angstrom * found.forces,
             np.zeros((3, 3)) if found.virial is None else hartree * found.virial, "")
            for found in self._forces(structures, self._lists[:n])
        ]  # fmt: skip
