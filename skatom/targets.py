"""Targets: energies, forces and other labels of a batch of structures."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from skatom._input_checks import real_array, symmetric
from skatom._label_collector import LabelCollector
from skatom._label_fields import parse_keys
from skatom._misuse import check_is_no_path, check_may_be_labels
from skatom._typing import ArrayLike
from skatom._warnings import warn
from skatom.properties import LABELS
from skatom.structures import list_of_atoms, offsets_from_counts, select, structure_of

_LARGEST = 1e100  # squares of larger labels, and sums of these, would overflow


class Targets:
    """Labels of structures and of their atoms, sliced together like an array.

    `Pipeline`, `GridSearchCV`, `cross_validate` and `train_test_split` take it as an ordinary
    ``y``, and ``numpy.asarray(targets)`` gives the energies, so scikit-learn's own metrics apply to
    them. A structure whose label is NaN throughout is *not labelled* for that property; a label
    that is NaN in part, or infinite, is an error. Stresses and polarisabilities are symmetric:
    rounding is averaged, and a larger difference from the transpose is an error.

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
        (n_atoms, 3), and with charges.
    dipole_norm : array-like of float, shape (n,), e·Å, default=None
        Lengths of dipole moments, for data that have no more.
    charges : array-like of float, shape (n_atoms,), e, default=None
        Charges of the atoms.

    Attributes
    ----------
    energy, forces, stress, dipole, polarizability, dipole_norm, charges : ndarray or None
    offsets : ndarray or None

    Raises
    ------
    ValueError
        If nothing is given, shapes disagree, a value is infinite or partly NaN, or a stress or
        polarisability is not symmetric within a hundredth of its largest element (of stresses, or
        1e-4 eV/Å³).

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
        dipole_norm: ArrayLike | None = None,
        charges: ArrayLike | None = None,
    ) -> None:
        values = (energy, forces, stress, dipole, polarizability, dipole_norm, charges)
        given = {
            name: _rows(name, value)
            for name, value in zip(LABELS, values, strict=True)
            if value is not None
        }
        if not given:
            raise ValueError(f"no targets given: pass some of {', '.join(LABELS)}")
        if offsets is None and "forces" in given:
            offsets, given["forces"] = _flatten_forces(given["forces"])
        if offsets is None and "charges" in given:
            raise ValueError("charges need to know whose they are: give offsets=structures.offsets")
        self.offsets = None if offsets is None else np.asarray(offsets, dtype=np.int64)
        self._n = len(next(iter(given.values()))) if offsets is None else len(self.offsets) - 1
        for name in LABELS:
            value = given.get(name)
            if value is not None:
                self._check(name, value)
                if LABELS[name].shape == (3, 3):
                    value = symmetric(value, name)
            setattr(self, name, value)

    def _check(self, name, value):
        per, shape = LABELS[name].per, LABELS[name].shape
        expected = (self._n if per == "structure" else int(self.offsets[-1]), *shape)
        if value.shape != expected:
            raise ValueError(f"{name} has the shape {value.shape}; these targets need {expected}")
        rest = tuple(range(1, value.ndim))
        finite, missing = np.isfinite(value).all(axis=rest), np.isnan(value).all(axis=rest)
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
        large = np.flatnonzero((np.abs(value) > _LARGEST).any(axis=rest))
        if len(large):
            s = large[0] if per == "structure" else structure_of(self.offsets, large[0])
            raise ValueError(
                f"{name} of structure {s} exceeds {_LARGEST:.0e}: repair it, or make all of it NaN "
                "to say that it is not labelled"
            )

    @classmethod
    def from_ase(cls, atoms: Any, keys: dict | None = None) -> Targets:
        """Collect the results attached to `ase.Atoms` objects.

        They are read from the calculator, then from ``atoms.info`` and ``atoms.arrays``, in ASE's
        units: eV, eV/Å, eV/Å³, e·Å. Structures that lack a property which others have are marked
        as not labelled (NaN). Results of a calculator must belong to the present structure, of
        which the atoms may be wrapped into the cell and the cell given by other vectors. A
        ``virial`` or ``virials`` in ``info`` is −stress · volume, in eV, as in files of GAP and
        MACE, and becomes a stress, unless there is one.

        Parameters
        ----------
        atoms : iterable of ase.Atoms
        keys : dict or str, default=None
            Other names, for example ``{"energy": "dft_energy"}``, or names with the unit or the
            factor of the values, ``{"forces": ("gradient", "-Ha/bohr")}``, see
            `skatom.datasets.read`; a property named here is read from there only.

        Returns
        -------
        Targets

        Raises
        ------
        ValueError
            If no structure has any label, a property in ``keys`` is not found, a label does not
            have the shape of its property or is not a number, or results belong to another
            structure than the present one.

        Warns
        -----
        UserWarning
            If virials of structures that are not periodic in three directions are left out.
        """
        check_is_no_path(atoms, "ase.Atoms with labels", "targets")
        if hasattr(atoms, "to_ase"):
            raise ValueError(
                f"got {type(atoms).__name__}, which carry no labels: give the list of ase.Atoms"
            )
        atoms = list_of_atoms(atoms, Atoms, "pass the list of ase.Atoms that carry the labels")
        labels = LabelCollector(parse_keys(keys))
        labels.add(atoms)
        found = labels.labels()
        warn_of_lost_stresses(labels)
        if not found:
            others = ", ".join(labels.unread)
            raise ValueError(
                "the structures carry no energies, forces, stresses or dipoles"
                + (f", but {others}" if others else "")
                + "; if they are under other names, give keys={'energy': name, 'forces': name}"
            )
        return cls(**found, offsets=offsets_from_counts([len(item) for item in atoms]))

    @classmethod
    def concatenate(cls, parts):
        """Join the labels of batches of structures, one after the other.

        A property that only some parts have is not labelled (NaN) in the others.

        Parameters
        ----------
        parts : sequence of Targets
            If some have forces, all need ``offsets``.

        Returns
        -------
        Targets

        Raises
        ------
        ValueError
            If there are no parts, or some have forces and others no ``offsets``.
        """
        parts = list(parts)
        if not parts:
            raise ValueError("got no targets: pass at least one")
        without = [k for k, part in enumerate(parts) if part.offsets is None]
        for name in (name for name, label in LABELS.items() if label.per == "atom"):
            if without and any(getattr(part, name) is not None for part in parts):
                raise ValueError(
                    f"targets {without[0]} have no offsets, so their {name} cannot be marked as "
                    "missing: give Targets(…, offsets=structures.offsets)"
                )
        offsets = None
        if not without:
            offsets = offsets_from_counts(np.concatenate([np.diff(p.offsets) for p in parts]))
        names = [name for name in LABELS if any(name in part.names for part in parts)]
        return cls(
            **{name: np.concatenate([_or_missing(part, name) for part in parts]) for name in names},
            offsets=offsets,
        )

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
        has = ~np.isnan(value).any(axis=tuple(range(1, value.ndim)))
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
    if not isinstance(y, Targets):
        check_may_be_labels(y, len(structures.numbers))
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
                f"structure {s} has {structures.n_atoms[s]} atoms but labels for "
                f"{np.diff(targets.offsets)[s]}: give one for each atom"
            )
    return targets


def _rows(name, value):
    """Labels as an array of floats, one row a structure or an atom."""
    numbers = real_array(value, name)
    if not numbers.ndim:
        raise ValueError(f"{name}={numbers} is a single number: give one for each structure")
    return numbers


def _flatten_forces(forces):
    if forces.ndim != 3 or forces.shape[2] != 3:
        raise ValueError(
            f"forces have the shape {forces.shape}: give (n, N, 3) for structures of N atoms each, "
            "or (n_atoms, 3) with offsets"
        )
    n, size, _ = forces.shape
    return offsets_from_counts(np.full(n, size)), forces.reshape(-1, 3)


def _or_missing(targets, name):
    """The labels, or NaN in their place."""
    value = getattr(targets, name)
    if value is not None:
        return value
    n = len(targets) if LABELS[name].per == "structure" else targets.offsets[-1]
    return np.full((n, *LABELS[name].shape), np.nan)


def warn_of_lost_stresses(labels):
    """Warn of stresses that a `LabelCollector` left out."""
    if labels.n_without_volume:
        warn(
            f"stresses (or virials) of {labels.n_without_volume} structures that are not periodic "
            "in three directions are left out: a stress is a derivative per volume",
            UserWarning,
        )
