"""Trajectories on disk, from whose last frame a simulation goes on."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import Trajectory

from skatom._files import reason_of, written_whole

# What is saved with a frame, of what its calculator knows.
_RESULTS = ("energy", "forces", "stress")
# A model that gives another energy (eV an atom) for the last frame is another model.
_SAME_ENERGY = 1e-6
# Positions (Å) of the first frame that are not those given belong to another structure.
_SAME_POSITION = 1e-6


class TrajectoryFile:
    """A ``.traj`` file of ASE that is written frame by frame; what is written survives a kill.

    Parameters
    ----------
    path : str, path-like, or None
        The file; None: nothing is written.
    settings : dict
        What the frames depend on, compared before a simulation goes on.
    resume : bool
        Whether to append to the file, if there is one, instead of beginning anew.
    n_together : int, default=1
        Number of frames that are written one after the other and belong together; a part of them
        at the end of a file, which was being written, is left out of ``before``.

    Attributes
    ----------
    before : sequence of ase.Atoms
        The frames that are in the file already, each of which is read when it is asked for.

    Raises
    ------
    ValueError
        If the name does not end in .traj, or the file has other settings.
    """

    def __init__(self, path, settings, resume, n_together=1):
        self.path = None if path is None else Path(path)
        self.before = []
        if self.path is None:
            self._writer = None
            return
        check_trajectory_path(self.path)
        if resume and self.path.exists() and self.path.stat().st_size:
            self.before = self._earlier(settings)
            n_whole = len(self.before) // n_together * n_together
            if n_whole < len(self.before):
                self._write_again(settings, n_whole)
                self.before = self._earlier(settings)
        with self._said():
            self._writer = Trajectory(str(self.path), "a" if self.before else "w")
            self._writer.set_description(settings)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._writer is not None:
            with self._said():
                self._writer.close()

    @contextmanager
    def _said(self):
        """Say of an error of the disk which file it is of, and what remains."""
        try:
            yield
        except OSError as error:
            raise OSError(
                f"{self.path} could not be written: {reason_of(error)}; its earlier frames are "
                "whole: make room, and go on from them by resume"
            ) from error

    def write(self, atoms, **info):
        """Append a frame with the results of its calculator and some numbers about it."""
        if self._writer is None:
            return
        with self._said():
            self._writer.write(frozen(atoms, **info))

    def check_begin(self, atoms):
        """Raise an error if the frames in the file began from another structure."""
        if not self.before:
            return
        first = self.before[0]
        same = np.array_equal(first.numbers, atoms.numbers) and np.allclose(
            first.positions, atoms.positions, atol=_SAME_POSITION
        )
        if not same:
            raise ValueError(
                f"{self.path} began from another structure: give that one, or do without resume"
            )

    def check_model(self, atoms):
        """Raise an error if another model has made the last frame, which the atoms are now."""
        expected = self.before[-1].get_potential_energy()
        if abs(atoms.get_potential_energy() - expected) > _SAME_ENERGY * len(atoms):
            raise ValueError(
                f"{self.path} was made with another model: its last energy is {expected:.8g} eV, "
                f"that of this model {atoms.get_potential_energy():.8g} eV; do without resume"
            )

    def _write_again(self, settings, n_frames):
        with written_whole(self.path) as beside, Trajectory(str(beside), "w") as writer:
            writer.set_description(settings)
            for number in range(n_frames):
                writer.write(self.before[number])

    def _earlier(self, settings):
        try:
            before = Trajectory(str(self.path))
            found = getattr(before, "description", None) or {}  # none in an empty file
            ends = [before[0], before[-1]] if len(before) else []
        except Exception as error:  # ASE's errors of damaged files are of many kinds
            raise ValueError(
                f"{self.path} cannot be read as a trajectory ({type(error).__name__}: {error}): do "
                "without resume"
            ) from error
        differ = [name for name in settings if ends and found.get(name) != settings[name]]
        if differ:
            name = differ[0]
            raise ValueError(
                f"{self.path} was begun with {name}={found.get(name)}, not {settings[name]}: give "
                "the same settings, or do without resume"
            )
        return before


def check_trajectory_path(path):
    """Raise a ValueError if a trajectory cannot go on from a file of this name."""
    path = Path(path)
    if path.suffix != ".traj":
        raise ValueError(
            f"{path}: a trajectory's name ends in .traj, which keeps momenta and all digits; ase "
            "convert makes other formats of it"
        )
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")


def frozen(atoms, **info):
    """A copy with the results of its calculator, and with ``info``."""
    copy = atoms.copy()
    copy.info.update(info)
    results = {name: _known(atoms, name) for name in _RESULTS}
    copy.calc = SinglePointCalculator(
        copy, **{name: value for name, value in results.items() if value is not None}
    )
    return copy


def _known(atoms, name):
    """A result that the calculator has of these atoms, or None."""
    try:
        return atoms.calc.get_property(name, atoms, allow_calculation=False)
    except PropertyNotImplementedError:
        return None
