"""Fits of GDML to parts of the same frames, which share what they have in common."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial

import joblib
import numpy as np
from sklearn.base import clone

from skatom._device import resolve
from skatom._typing import StructuresLike, TargetsLike
from skatom.descriptors.inverse_distances import PairFeatures, pair_features
from skatom.models._shared_parts import SharedParts
from skatom.models.gdml.solution import system_of
from skatom.models.gdml.system import permute_pairs
from skatom.solvers.stored_matrix import StoredMatrix
from skatom.structures import as_structures
from skatom.targets import as_targets


class FramesAlone:
    """The frames of a fit that shares nothing."""

    def __init__(self, structures):
        self.structures = structures

    @cached_property
    def features(self):
        return pair_features(self.structures)

    def permutations(self, model):
        return model._permutations(self.structures)

    def system(self, model, plan, permutations, pair_permutations):
        """The system to solve, see `system_of`."""
        return system_of(
            model, plan, self.structures, self.features, permutations, pair_permutations,
            model.sigma, model.alpha,
        )  # fmt: skip


def shared_fits(models: list, X: StructuresLike, y: TargetsLike, parts: list) -> Iterator:
    """Fit several models to several parts of the frames, and share what they have in common.

    Features are made once, and symmetries found once for each part. The kernel matrix of all frames
    is made once for each ``sigma``, if it fits in memory beside a factor, and copied.

    Parameters
    ----------
    models : list of GDML or SGDML
        Not fitted; they are cloned.
    X : Structures or list of ase.Atoms
        M frames of one molecule.
    y : Targets
        Forces, and energies if there are any.
    parts : list of ndarray of int
        Indices of the frames of each part.

    Yields
    ------
    m, p, fit : int, int, callable
        ``fit()`` returns model m, fitted to part p. Call it before the next one is asked for.
    """
    structures = as_structures(X)
    targets = as_targets(y, structures)
    frames = SharedFrames(structures, [np.sort(part) for part in parts])
    groups = {}
    for m, model in enumerate(models):
        groups.setdefault(_key(model), []).append(m)
    for group in groups.values():
        frames.begin(len(group))
        for p in range(len(parts)):
            for m in group:
                yield m, p, partial(_fit, models[m], frames, targets, p)
    frames.begin(0)


def _key(model):
    """What the kernel matrix of some frames and permutations depends on."""
    return joblib.hash([model.sigma, bool(model.energy_constraint), model.device])


def _fit(model, frames, targets, p):
    fitted = clone(model)
    fitted._validate_params()
    return fitted._learn(targets[frames.parts[p]], FramesOfPart(frames, p))


class SharedFrames(SharedParts):
    """Frames with their features, the symmetries of parts, and one kernel matrix.

    Parameters
    ----------
    structures : Structures
    parts : list of ndarray of int, sorted
    """

    def __init__(self, structures, parts):
        super().__init__(parts)
        self.structures, self._symmetries = structures, {}

    @cached_property
    def features(self):
        return pair_features(self.structures)

    def symmetry(self, model, p):
        """The permutations of a part, found once for all models with equal parameters."""
        key = joblib.hash([getattr(model, "permutations", None), model.random_state, p])
        if key not in self._symmetries:
            self._symmetries[key] = model._permutations(self.structures[self.parts[p]])
        return self._symmetries[key]

    def matrix(self, model, permutations):
        """The `StoredMatrix` of all frames, and the offsets of their rows; None if not worthwhile.

        It is kept for one group of permutations at a time.
        """
        return self.kept(permutations.tobytes(), partial(self._made, model, permutations))

    def _made(self, model, permutations):
        alike = [
            len(part) for p, part in enumerate(self.parts)
            if np.array_equal(self.symmetry(model, p), permutations)
        ]  # fmt: skip
        n_coordinates = 3 * self.structures.n_atoms[0]
        n_rows = [n * n_coordinates for n in (len(self.rows), max(alike))]
        if not self.pays(alike, n_rows, model.max_memory, resolve(model.device)):
            return None
        structures = self.structures[self.rows]
        features = PairFeatures(*(array[self.rows] for array in self.features))
        noiseless = clone(model).set_params(alpha=0.0)
        system = system_of(
            noiseless, None, structures, features, permutations, permute_pairs(permutations),
            model.sigma, 0.0,
        )  # fmt: skip
        if not system.can_be_copied():
            return None
        return StoredMatrix(system, system.solver().edges, model.device), system.rows


class FramesOfPart(FramesAlone):
    """The frames of a fit that shares features, symmetries and kernel matrix with others.

    Parameters
    ----------
    shared : SharedFrames
    p : int
        Which part.
    """

    def __init__(self, shared, p):
        self.shared, self.p, self.part = shared, p, shared.parts[p]
        super().__init__(shared.structures[self.part])

    @cached_property
    def features(self):
        return PairFeatures(*(array[self.part] for array in self.shared.features))

    def permutations(self, model):
        return self.shared.symmetry(model, self.p)

    def system(self, model, plan, permutations, pair_permutations):
        system = super().system(model, plan, permutations, pair_permutations)
        found = self.shared.matrix(model, permutations) if plan is None else None
        if found is not None:
            stored, offsets = found
            frames = np.searchsorted(self.shared.rows, self.part)
            of_forces = [np.arange(offsets[i], offsets[i + 1]) for i in frames]
            of_energies = offsets[-1] + frames[: system.n_energies]
            system.copy_from(stored, np.concatenate([*of_forces, of_energies]))
        return system
