"""Labels minus the baseline, each with its noise, from which models learn."""

from dataclasses import dataclass
from numbers import Real

import numpy as np

from skatom._cpu.voigt import voigt
from skatom._input_checks import structure_weights
from skatom._misuse import check_may_be_features
from skatom._warnings import warn
from skatom.baseline import less_baseline
from skatom.structures import select
from skatom.targets import Targets

# The energy and its derivatives.
_OF_THE_ENERGY = ("energy", "forces", "stress")


@dataclass(frozen=True)
class Labels:
    """Labels of n structures minus the baseline, and their noise standard deviations.

    Rows without a label are NaN.

    Attributes
    ----------
    energy, noise_energy : ndarray of float, shape (n,), eV
        The noise of a structure is the parameter ``noise_energy`` times √N.
    forces : ndarray of float, shape (n_atoms, 3), eV/Å
    noise_forces : ndarray of float, shape (n_atoms,), eV/Å
    virial : ndarray of float, shape (n, 6), eV
        dE/dε, the stress times the volume, in Voigt's order.
    noise_virial : ndarray of float, shape (n,), eV
        The parameter ``noise_virial`` times √N.
    has_energy, has_forces, has_virial : ndarray of bool, shape (n,)
    offsets : ndarray of int, shape (n + 1,)
    """

    energy: np.ndarray
    noise_energy: np.ndarray
    forces: np.ndarray
    noise_forces: np.ndarray
    virial: np.ndarray
    noise_virial: np.ndarray
    has_energy: np.ndarray
    has_forces: np.ndarray
    has_virial: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, structures, targets, baseline, noise, configurations=None, sample_weight=None):
        """Subtract the baseline from the targets and determine the noise of each label.

        Parameters
        ----------
        structures : Structures
        targets : Targets
        baseline : Baseline or None
            The fitted baseline.
        noise : dict
            The parameters ``noise_energy``, ``noise_forces`` and ``noise_virial``, see
            `per_structure`. Labels whose parameter is missing are not learnt.
        configurations : array-like of shape (n,), default=None
            Name of the configuration of each structure, for noises given as a dict.
        sample_weight : array-like of float, shape (n,), default=None
            Weights of the structures, by which their noise variance is divided; structures of
            weight 0 are ignored.

        Returns
        -------
        Labels
        """
        n, n_atoms = len(structures), len(structures.numbers)
        weights = structure_weights(sample_weight, n)
        check_stresses(targets, structures)
        labels = {"noise_energy": "energy", "noise_forces": "forces", "noise_virial": "stress"}
        has = {
            name: targets.labelled(label) & (weights > 0) & (name in noise)
            for name, label in labels.items()
        }
        found = {
            name: per_structure(
                name,
                noise.get(name, 1.0),
                structures,
                configurations,
                has[name],
                per_atom=name == "noise_forces",
            )
            for name in labels
        }
        scale = 1 / np.sqrt(np.where(weights > 0, weights, 1.0))
        roots = scale * np.sqrt(structures.n_atoms)
        left = targets if baseline is None else less_baseline(targets, structures, baseline)
        virial = virials(left, structures)
        return cls(
            _or_nan(left.energy, (n,)), found["noise_energy"] * roots,
            _or_nan(left.forces, (n_atoms, 3)),
            found["noise_forces"] * np.repeat(scale, structures.n_atoms),
            virial, found["noise_virial"] * roots,
            has["noise_energy"], has["noise_forces"], has["noise_virial"], structures.offsets,
        )  # fmt: skip

    def __getitem__(self, key):
        """The labels of some structures."""
        rows, atoms, offsets = select(self.offsets, key)
        parts = {
            name: value[atoms if name in ("forces", "noise_forces") else rows]
            for name, value in vars(self).items()
        }
        return Labels(**parts | {"offsets": offsets})

    def of_structure(self, s):
        """The labels that a structure has, energy, forces, virial, and their noise."""
        atoms = slice(*self.offsets[s : s + 2])
        labels, noises = [np.empty(0)], [np.empty(0)]
        if self.has_energy[s]:
            labels.append([self.energy[s]])
            noises.append([self.noise_energy[s]])
        if self.has_forces[s]:
            labels.append(self.forces[atoms].ravel())
            noises.append(np.repeat(self.noise_forces[atoms], 3))
        if self.has_virial[s]:
            labels.append(self.virial[s])
            noises.append(np.full(6, self.noise_virial[s]))
        return np.concatenate(labels), np.concatenate(noises)


def check_labels(targets, learns, model):
    """Names of the properties in ``learns`` that the targets have.

    A warning names labels of the energy or its derivatives that the model cannot learn from. Labels
    of other properties, such as dipoles beside energies, are for other models.

    Parameters
    ----------
    targets : Targets
        The labels.
    learns : sequence of str
        Names of the properties that the model can learn from.
    model : str
        Name of the model, for messages.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If there is nothing to learn from.

    Warns
    -----
    UserWarning
        If labels of the energy or its derivatives cannot be learnt from.
    """
    present = [name for name in targets.names if targets.labelled(name).any()]
    usable = [name for name in learns if name in present]
    if not usable:
        raise ValueError(
            f"no structure has {' or '.join(learns)}, which {model} learns from (labels: "
            f"{', '.join(present) or 'none'}): give Targets({learns[0]}=…)"
        )
    family = _OF_THE_ENERGY if set(learns) & set(_OF_THE_ENERGY) else ()
    unused = [name for name in present if name in family and name not in learns]
    if unused:
        warn(
            f"{model} does not learn from {' and '.join(unused)}: these labels are not used",
            UserWarning,
        )
    return usable


def check_array_labels(X, y, model):
    """Raise an error if X is no plain array, or labels of forces or stresses meet one.

    Parameters
    ----------
    X : array, or what was given in its place
    y : Targets, or array
    model : str
        Name of the model, for messages.
    """
    check_may_be_features(X, model)
    if not isinstance(y, Targets):
        return
    names = " and ".join(name for name in ("forces", "stress") if y.labelled(name).any())
    if not names:
        return
    raise ValueError(
        f"y has {names}, but X is a plain array, without derivatives: keep the features that the "
        "descriptor gives (FeatureScaler and FeatureSelector of skatom.descriptors do for them "
        "what StandardScaler and SelectKBest do for arrays), or learn from energies alone with "
        "y=Targets(energy=targets.energy)"
    )


def check_stresses(targets, structures):
    """Raise a ValueError if a structure with a stress is not periodic in three directions."""
    flat = np.flatnonzero(targets.labelled("stress") & ~structures.pbc.all(axis=1))
    if len(flat):
        raise ValueError(
            f"structure {flat[0]} has a stress but is not periodic in three directions: make its "
            "stress NaN throughout (not labelled), or set pbc=True and a cell"
        )


def per_structure(
    name, value, structures, configurations, labelled, *, per_atom=False, smallest=None
):
    """A parameter as an array of one number for each structure or each atom.

    Parameters
    ----------
    name : str
    value : float, dict of float by configuration, or array-like of shape (n,)
    structures : Structures, n of them
    configurations : array-like of shape (n,), or None
    labelled : ndarray of bool, shape (n,)
        Structures that need an entry in the dict.
    per_atom : bool, default=False
        Return one number for each atom, and accept an array of them, too.
    smallest : float, default=None
        The smallest number allowed. None: all positive numbers.

    Returns
    -------
    ndarray of float, shape (n,) or (n_atoms,)
    """
    n = len(structures)
    if configurations is not None and np.shape(configurations) != (n,):
        raise ValueError(
            f"configurations have the shape {np.shape(configurations)}: name one for each of the "
            f"{n} structures"
        )
    if isinstance(value, dict):
        of_structure = _of_groups(name, value, configurations, labelled)
    elif isinstance(value, Real):
        of_structure = np.full(n, float(value))
    else:
        of_structure = np.asarray(value, float)
    result = of_structure
    if per_atom and of_structure.shape == (n,):
        result = np.repeat(of_structure, structures.n_atoms)
    expected = (len(structures.numbers) if per_atom else n,)
    if result.shape != expected:
        raise ValueError(
            f"{name} has the shape {of_structure.shape}: give a number, a dict of numbers by "
            f"configuration, or one for each structure, ({n},)"
            + (f", or each atom, {expected}" if per_atom else "")
        )
    allowed = result > 0 if smallest is None else result >= smallest
    if not (np.isfinite(result) & allowed).all():
        raise ValueError(
            f"{name} must be positive and finite: labels without noise cannot be weighed against "
            "each other; give a small number such as 1e-4 instead of 0, and make labels that are "
            "to be ignored NaN"
        )
    return result


def _of_groups(name, value, configurations, labelled):
    if configurations is None:
        raise ValueError(f"{name} is a dict by configuration: pass fit(..., configurations=names)")
    configurations = np.asarray(configurations)
    missing = sorted({str(c) for c in configurations[labelled]} - set(value))
    if missing:
        raise ValueError(f"{name} has no entry for {', '.join(missing)}, only {list(value)}")
    # structures without labels need no entry, and their number is never used
    return np.array([value.get(str(c), 1.0) for c in configurations])


def virials(targets, structures):
    """dE/dε (n, 6), the stresses times the volumes in Voigt's order, or NaN."""
    if targets.stress is None:
        return np.full((len(structures), 6), np.nan)
    volumes = np.abs(np.linalg.det(structures.cells))
    return voigt(targets.stress * volumes[:, None, None])


def _or_nan(values, shape):
    return np.full(shape, np.nan) if values is None else values
