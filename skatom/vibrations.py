"""Normal modes of a model's energy, and the infrared intensities of a model's dipole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import _amu, _c, _e

from skatom._prediction import predict, predictable, unwrap
from skatom._rigid_motions import rigid_motions
from skatom._typing import Array, Estimator
from skatom._units import INFRARED_INTENSITY
from skatom.structures import Structures

__all__ = ["NormalModes", "infrared_intensities", "normal_modes"]


@dataclass(frozen=True)
class NormalModes:
    r"""Harmonic vibrations of a structure, softest first.

    Attributes
    ----------
    atoms : ase.Atoms
        The structure.
    wavenumbers : ndarray of float, shape (n_modes,)
        Wavenumbers in 1/cm. Imaginary ones, of directions in which the energy falls, are negative.
        Translations and rotations are left out.
    modes : ndarray of float, shape (n_modes, N, 3)
        Displacements :math:`L_k / \sqrt m` in 1/√amu; the mass-weighted :math:`L_k` are
        orthonormal.
    hessian : ndarray of float, shape (3N, 3N)
        Second derivatives of the energy in eV/Å².
    """

    atoms: Atoms
    wavenumbers: np.ndarray
    modes: np.ndarray
    hessian: np.ndarray


def normal_modes(model: Estimator, atoms: Any, step: float = 0.005) -> NormalModes:
    r"""Normal modes of the energy that a model predicts.

    .. math:: \frac{1}{\sqrt{m_a m_b}} \frac{\partial^2 E}{\partial R_a \partial R_b} L = \omega^2 L

    in the space without translations and, for molecules, rotations. The second derivatives are
    the model's own where it has a method ``hessian``, and otherwise central differences of its
    forces.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        A model that predicts forces.
    atoms : ase.Atoms
        A structure at a stationary point of the model's energy, see `ase.optimize`.
    step : float, default=0.005
        Displacement for the differences, in Å.

    Returns
    -------
    NormalModes

    Raises
    ------
    ValueError
        If the model predicts no forces, or the structure has a single atom.

    References
    ----------
    E. B. Wilson, J. C. Decius, P. C. Cross, Molecular Vibrations (1955), chapter 2.

    Examples
    --------
    >>> from ase.optimize import BFGS
    >>> from skatom.calculators import SkatomCalculator
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import SGDML
    >>> from skatom.vibrations import normal_modes
    >>> data = load_ethanol()
    >>> model = SGDML(random_state=0).fit(data.structures[:100], data.targets[:100])
    >>> atoms = data.structures[:1].to_ase()[0]
    >>> atoms.calc = SkatomCalculator(model)
    >>> converged = BFGS(atoms, logfile=None).run(fmax=0.001)
    >>> vibrations = normal_modes(model, atoms)
    >>> vibrations.wavenumbers.shape
    (21,)
    >>> bool(3400 < vibrations.wavenumbers[-1] < 3900)  # the O-H stretch
    True
    """
    if len(atoms) < 2:
        raise ValueError("a single atom does not vibrate: give a structure of two atoms or more")
    structures = Structures.from_ase([atoms])
    hessian = _hessian(model, structures, step)
    root = np.sqrt(np.repeat(atoms.get_masses(), 3))
    inner = _without_rigid_motions(rigid_motions(structures)[0], root)
    weighted = inner.T @ (hessian / np.outer(root, root)) @ inner
    squares, vectors = np.linalg.eigh(weighted)
    modes = (inner @ vectors / root[:, None]).T.reshape(len(squares), -1, 3)
    # √(eV / (Å² amu)) as an angular frequency in 1/s, then as a wavenumber in 1/cm
    unit = np.sqrt(_e / _amu) * 1e10 / (2 * np.pi * _c * 100)
    wavenumbers = unit * np.sign(squares) * np.sqrt(np.abs(squares))
    return NormalModes(atoms.copy(), wavenumbers, modes, hessian)


def infrared_intensities(model: Estimator, vibrations: NormalModes, step: float = 0.005) -> Array:
    r"""Infrared intensities of normal modes, from the dipole that a model predicts.

    .. math:: I_k \propto \left| \sum_a \frac{\partial \mu}{\partial R_a} \cdot
        \frac{L_{ka}}{\sqrt{m_a}} \right|^2

    by central differences along the modes.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        A model that predicts dipoles.
    vibrations : NormalModes
        Normal modes, from `normal_modes`.
    step : float, default=0.005
        Largest displacement of an atom, in Å.

    Returns
    -------
    ndarray of float, shape (n_modes,)
        Intensities in km/mol.

    Raises
    ------
    ValueError
        If the model predicts no dipoles.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import LambdaSOAP
    >>> from skatom.models import GDML, TensorKernelRidge
    >>> from skatom.vibrations import infrared_intensities, normal_modes
    >>> data = load_ethanol()
    >>> X, y = data.structures[:50], data.targets[:50]
    >>> force_field = GDML().fit(X, y)
    >>> dipole_model = make_pipeline(LambdaSOAP(n_max=3), TensorKernelRidge("dipole")).fit(X, y)
    >>> modes = normal_modes(force_field, X[0].to_ase()[0])
    >>> infrared_intensities(dipole_model, modes).shape
    (21,)

    The gallery has a spectrum: "Vibrations and infrared intensities".
    """
    if "dipole" not in predictable(model):
        raise ValueError(
            f"{type(unwrap(model)).__name__} predicts {', '.join(predictable(model))} but no "
            "dipole: give a model that was fitted to dipoles"
        )
    structures = Structures.from_ase([vibrations.atoms])
    largest = np.linalg.norm(vibrations.modes, axis=2).max(axis=1)
    lengths = step / largest
    moved = _displaced(structures, lengths[:, None, None] * vibrations.modes)
    dipoles = predict(model, moved, ("dipole",))["dipole"].reshape(2, len(lengths), 3)
    slopes = (dipoles[0] - dipoles[1]) / (2 * lengths[:, None])
    return INFRARED_INTENSITY * np.sum(slopes**2, axis=1)


def _hessian(model, structures, step):
    own = getattr(unwrap(model), "hessian", None)
    if own is not None:
        return own(structures)[0]
    if "forces" not in predictable(model):
        raise ValueError(f"{type(unwrap(model)).__name__} predicts no forces, which modes need")
    size = 3 * len(structures.numbers)
    moved = _displaced(structures, step * np.eye(size).reshape(size, -1, 3))
    forces = predict(model, moved, ("forces",))["forces"].reshape(2, size, size)
    slopes = (forces[1] - forces[0]) / (2 * step)
    return 0.5 * (slopes + slopes.T)


def _displaced(structures, displacements):
    """Copies of a structure moved along each displacement (n, N, 3), then against it."""
    moves = np.concatenate([displacements, -displacements])
    n, size = len(moves), len(structures.numbers)
    return Structures(
        np.tile(structures.numbers, n),
        (structures.positions + moves).reshape(-1, 3),
        size * np.arange(n + 1),
        np.repeat(structures.cells, n, axis=0),
        np.repeat(structures.pbc, n, axis=0),
    )


def _without_rigid_motions(motions, root):
    """Orthonormal basis of the mass-weighted displacements other than rigid motions."""
    rank = int(np.round(np.sum(motions**2)))
    weighted = root[:, None] * motions[:, np.linalg.norm(motions, axis=0) > 0.5]
    full, _ = np.linalg.qr(weighted, mode="complete")
    return full[:, rank:]
