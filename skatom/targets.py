"""Targets: energies, forces and other labels of a batch of structures."""

from __future__ import annotations

from typing import Any

import numpy as np

from skatom._typing import ArrayLike
from skatom.properties import LABELS
from skatom.structures import offsets_from_counts, select, structure_of


class Targets:
    """Labels of structures and of their atoms, sliced together like an array.

    `Pipeline`, `GridSearchCV`, `cross_validate` and `train_test_split` take it as an ordinary
    ``y``, and ``numpy.asarray(targets)`` gives the energies, so scikit-learn's own metrics apply to
    them. A structure whose label is NaN throughout is *not labelled* for that property; a label
    that is NaN in part, or infinite, is an error.

    Parameters
    ----------
    energy : array-like of float, shape (n,), eV, default=None
        Energies of the structures.
    forces : array-like of float, shape (n_atoms, 3) or (n, N, 3), eV/Å, default=None
        Forces on all atoms of the batch, one structure after the other; the second shape is for
        structures of N atoms each.
    stress : array-like of float, shape (n, 3, 3), eV/Å³, default=None
        Stresses, tension positive, as in ASE.
    dipole : array-like of float, shape (n, 3), e·Å, default=None
        Dipole moments.
    polarizability : array-like of float, shape (n, 3, 3), Å³, default=None
        Polarisability volumes α/4πε₀; 1 bohr³ is 0.148185 Å³.
    offsets : array-like of int, shape (n + 1,), default=None
        Index of the first atom of each structure, as in `Structures`. Needed with forces of shape
        (n_atoms, 3).

    Attributes
    ----------
    energy, forces, stress, dipole, polarizability : ndarray or None
    offsets : ndarray or None

    Raises
    ------
    ValueError
        If nothing is given, shapes disagree, or a value is infinite or partly NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom import Targets
    >>> targets = Targets(energy=[-1.0, -2.0, -1.5], forces=np.zeros((3, 4, 3)))
    >>> targets
    Targets(3 structures: energy, forces)
    >>> np.asarray(targets[1:])
    array([-2. , -1.5])
    """

    def __init__(
        self,
        energy: ArrayLike | None = None,
        forces: ArrayLike | None = None,
        stress: ArrayLike | None = None,
        dipole: ArrayLike | None = None,
        polarizability: ArrayLike | None = None,
        offsets: ArrayLike | None = None,
    ) -> None:
        values = (energy, forces, stress, dipole, polarizability)
        given = {
            name: np.asarray(value, dtype=float)
            for name, value in zip(LABELS, values, strict=True)
            if value is not None
        }
        if not given:
            raise ValueError(f"no targets given: pass some of {', '.join(LABELS)}")
        if offsets is None and "forces" in given:
            offsets, given["forces"] = _flatten_forces(given["forces"])
        self.offsets = None if offsets is None else np.asarray(offsets, dtype=np.int64)
        self._n = len(next(iter(given.values()))) if offsets is None else len(self.offsets) - 1
        for name in LABELS:
            value = given.get(name)
            if value is not None:
                self._check(name, value)
            setattr(self, name, value)

    def _check(self, name, value):
        per, shape = LABELS[name].per, LABELS[name].shape
        expected = (self._n if per == "structure" else int(self.offsets[-1]), *shape)
        if value.shape != expected:
            raise ValueError(f"{name} has the shape {value.shape}; these targets need {expected}")
        finite = np.isfinite(value).reshape(len(value), -1).all(axis=1)
        missing = np.isnan(value).reshape(len(value), -1).all(axis=1)
        if per == "atom":
            missing = np.logical_and.reduceat(missing, self.offsets[:-1]).repeat(
                np.diff(self.offsets)
            )
        bad = np.flatnonzero(~(finite | missing))
        if len(bad):
            s = bad[0] if per == "structure" else structure_of(self.offsets, bad[0])
            raise ValueError(
                f"{name} of structure {s} is not finite: repair it, or make all of it NaN to say "
                "that it is not labelled"
            )

    @classmethod
    def from_ase(cls, atoms: Any, keys: dict | None = None) -> Targets:
        """Collect the results attached to `ase.Atoms` objects.

        They are read from the calculator (whose results must belong to the present positions),
        then from ``atoms.info`` and ``atoms.arrays``, in ASE's units: eV, eV/Å, eV/Å³, e·Å.
        Structures that lack a property which others have are marked as not labelled (NaN).

        Parameters
        ----------
        atoms : sequence of ase.Atoms
        keys : dict, default=None
            Other names in ``info`` and ``arrays``, for example ``{"energy": "dft_energy"}``; a
            property named here is read from there only.

        Returns
        -------
        Targets

        Raises
        ------
        ValueError
            If no structure has any label, a property in ``keys`` is not found, or a label does
            not have the shape of its property.
        """
        atoms = list(atoms)
        keys = dict(keys or {})
        unknown = set(keys) - set(LABELS)
        if unknown:
            raise ValueError(f"unknown targets {sorted(unknown)}: known are {list(LABELS)}")
        counts = [len(item) for item in atoms]
        results = [_stored_results(item) for item in atoms]
        found = {}
        for name in LABELS:
            values = [
                _find(name, item, stored, keys) for item, stored in zip(atoms, results, strict=True)
            ]
            if any(value is not None for value in values):
                found[name] = _stack(name, values, counts)
            elif name in keys:
                raise ValueError(f"no structure has {name} under the key {keys[name]!r}")
        if not found:
            raise ValueError(
                "the structures carry no energies, forces, stresses or dipoles; if they are under "
                "other names, give keys={'energy': name, 'forces': name}"
            )
        return cls(**found, offsets=offsets_from_counts(counts))

    @property
    def shape(self) -> Any:
        """``(len(self),)``; tells scikit-learn that index arrays are welcome."""
        return (self._n,)

    @property
    def names(self) -> Any:
        """The properties that are present."""
        return [name for name in LABELS if getattr(self, name) is not None]

    def labelled(self, name: str) -> Any:
        """Which structures have the property: a mask of shape (n,)."""
        value = getattr(self, name)
        if value is None:
            return np.zeros(self._n, bool)
        has = ~np.isnan(value).reshape(len(value), -1).any(axis=1)
        return has if LABELS[name].per == "structure" else has[self.offsets[:-1]]

    def require(self, name: str) -> Any:
        """The property as an array; a ValueError names the first structure without it."""
        if getattr(self, name) is None:
            raise ValueError(
                f"the targets have no {name}, only {', '.join(self.names)}: give Targets({name}=…)"
            )
        without = np.flatnonzero(~self.labelled(name))
        if len(without):
            raise ValueError(
                f"structure {without[0]} has no {name} ({len(without)} of {self._n} lack it): "
                f"select those that do with targets.labelled({name!r})"
            )
        return getattr(self, name)

    def results(self, index: Any) -> Any:
        """The labels of one structure by ASE's names, without missing ones."""
        one = self[index]
        found = {name: getattr(one, name) for name in self.names if one.labelled(name)[0]}
        return {
            name: value if LABELS[name].per == "atom" else value[0][()]
            for name, value in found.items()
        }

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, key):
        offsets = np.arange(self._n + 1) if self.offsets is None else self.offsets
        rows, atoms, new_offsets = select(offsets, key)
        part = object.__new__(type(self))
        part.offsets = None if self.offsets is None else new_offsets
        part._n = len(rows)
        for name, label in LABELS.items():
            value = getattr(self, name)
            index = rows if label.per == "structure" else atoms
            setattr(part, name, None if value is None else value[index])
        return part

    def __array__(self, dtype=None, copy=None):
        return np.array(self.require("energy"), dtype=dtype)

    def __repr__(self):
        return f"Targets({self._n} structures: {', '.join(self.names)})"


def as_targets(y, structures):
    """The argument ``y`` of a ``fit`` as ``Targets``, checked against the structures.

    A plain array means energies.
    """
    targets = y if isinstance(y, Targets) else Targets(energy=y)
    if len(targets) != len(structures):
        raise ValueError(
            f"{len(structures)} structures but {len(targets)} targets: give one for each structure"
        )
    if targets.offsets is not None:
        wrong = np.flatnonzero(np.diff(targets.offsets) != structures.n_atoms)
        if len(wrong):
            s = wrong[0]
            raise ValueError(
                f"structure {s} has {structures.n_atoms[s]} atoms but forces for "
                f"{np.diff(targets.offsets)[s]}: give one force for each atom"
            )
    return targets


def _flatten_forces(forces):
    if forces.ndim != 3 or forces.shape[2] != 3:
        raise ValueError(
            f"forces have the shape {forces.shape}: give (n, N, 3) for structures of N atoms each, "
            "or (n_atoms, 3) with offsets"
        )
    n, size, _ = forces.shape
    return offsets_from_counts(np.full(n, size)), forces.reshape(-1, 3)


def _stored_results(atoms):
    """Results of the attached calculator, if they belong to these positions."""
    calc = atoms.calc
    if calc is None or calc.check_state(atoms):
        return {}
    return calc.results


def _find(name, atoms, results, keys):
    per_atom = LABELS[name].per == "atom"
    container = atoms.arrays if per_atom else atoms.info
    if name in keys:
        value = container.get(keys[name])
    else:
        value = results.get(name)
        value = container.get(name) if value is None else value
    if value is None:
        return None
    value = np.asarray(value, dtype=float)
    if name == "stress" and value.shape == (6,):
        xx, yy, zz, yz, xz, xy = value
        value = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    shape = (len(atoms) if per_atom else 1, *LABELS[name].shape)
    if value.size != np.prod(shape):
        raise ValueError(
            f"{keys.get(name, name)!r} has the shape {value.shape}, but {name} of a structure of "
            f"{len(atoms)} atoms needs {shape if per_atom else shape[1:]}"
        )
    return value.reshape(shape)


def _stack(name, values, counts):
    per, shape = LABELS[name].per, LABELS[name].shape
    return np.concatenate([
        np.full((count if per == "atom" else 1, *shape), np.nan) if value is None else value
        for value, count in zip(values, counts, strict=True)
    ])  # fmt: skip
