"""Which atom of a crystal is on which site of a prototype."""

from __future__ import annotations

from functools import cached_property, lru_cache
from itertools import product

import numpy as np
from ase.geometry import minkowski_reduce

# Structures whose candidate bases are compared at a time, and pairs of atoms and sites at most
_BATCH, _PAIRS = 128, 500_000
# Metrics of unit volume that differ by less belong to lattices of nearly the same symmetry
_SAME_METRIC = 0.1
_SAME_PLACE = 1e-4


@lru_cache(maxsize=1)
def _changes_of_basis():
    """All integer matrices of elements -1, 0, 1 with the determinant 1 or -1, (n, 3, 3)."""
    found = np.array(list(product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    return found[np.abs(np.round(np.linalg.det(found))) == 1]


def _metrics(cells):
    """Products of the cell vectors, for the volume 1."""
    return cells @ np.swapaxes(cells, 1, 2) / np.abs(np.linalg.det(cells))[:, None, None] ** (2 / 3)


def _wrapped(differences):
    return differences - np.round(differences)


class Sites:
    """The sites of a prototype, atoms of one element each, and the search for them in crystals.

    Parameters
    ----------
    numbers : ndarray of int, shape (n_atoms,)
        Elements of the prototype, which tell its sites apart.
    scaled : ndarray of float, shape (n_atoms, 3)
        Its fractional coordinates.
    cell : ndarray of float, shape (3, 3)
        Its cell vectors.

    Attributes
    ----------
    labels : ndarray of int, shape (n_atoms,)
        The site of each atom, counted from 0 in the order of their first atoms.
    """

    def __init__(self, numbers, scaled, cell):
        _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
        self.labels = np.argsort(np.argsort(first))[inverse]
        self.scaled = scaled
        self.metric = _metrics(cell[None])[0]

    @cached_property
    def _symmetries(self):
        """Changes of basis that nearly keep the metric, and what they do to the sites.

        For each, the permutations of sites of those that map atoms to atoms, by any translation.
        """
        changes = _changes_of_basis()
        turned = changes @ self.metric @ np.swapaxes(changes, 1, 2)
        kept = changes[np.abs(turned - self.metric).max(axis=(1, 2)) < _SAME_METRIC]
        return [(change, self._permutations(change)) for change in kept]

    def _permutations(self, change):
        """Permutations of the sites by the operation of a change of basis and a translation."""
        turned = change @ self.metric @ change.T
        if np.abs(turned - self.metric).max() > _SAME_PLACE:
            return set()
        moved, found = self.scaled @ np.round(np.linalg.inv(change)), set()
        for start in self.scaled:
            shifted = moved + start - moved[0]
            apart = np.abs(_wrapped(shifted[:, None] - self.scaled)).max(axis=2)
            if (apart.min(axis=1) < _SAME_PLACE).all():
                images = self.labels[apart.argmin(axis=1)]
                pairs = set(zip(self.labels.tolist(), images.tolist(), strict=True))
                if len(pairs) == self.labels.max() + 1:
                    found.add(tuple(image for _, image in sorted(pairs)))
        return found

    @cached_property
    def exchanges(self):
        """Permutations of sites by symmetries of the prototype without its elements, (n, n_sites).

        The identity is the first of them.
        """
        found = set().union(*(permutations for _, permutations in self._symmetries))
        return np.array(sorted(found))

    @cached_property
    def _settings(self):
        """Changes of basis that differ by more than a symmetry of the prototype."""
        identity = tuple(range(self.labels.max() + 1))
        own = [change for change, found in self._symmetries if identity in found]
        covered, chosen = set(), []
        for change, _ in self._symmetries:
            if change.tobytes() not in covered:
                chosen.append(change)
                covered |= {(operation @ change).tobytes() for operation in own}
        return chosen

    def find(self, scaled, cells):
        """The atom on each site of crystals.

        Parameters
        ----------
        scaled : ndarray of float, shape (n, n_atoms, 3)
            Fractional coordinates.
        cells : ndarray of float, shape (n, 3, 3)
            Cell vectors.

        Returns
        -------
        atoms : ndarray of int, shape (n, n_atoms)
            Indices of the atoms in the order of the prototype's.
        displacements : ndarray of float, shape (n,)
            The largest distance of an atom from its site, in units of the cube root of the volume
            of an atom; infinite if atoms and sites do not correspond one to one.
        strains : ndarray of float, shape (n,)
            The largest difference of the metrics of volume 1.
        """
        size = max(1, min(_BATCH, _PAIRS // len(self.labels) ** 2))
        parts = [
            self._find(scaled[first : first + size], cells[first : first + size])
            for first in range(0, len(scaled), size)
        ]
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _find(self, scaled, cells):
        changes, strains = self._bases(cells)
        for s in np.flatnonzero(strains > _SAME_METRIC):  # far from reduced, or another lattice
            try:
                _, reduction = minkowski_reduce(cells[s])
            except RuntimeError:  # no end for a cell of extreme shape, which is like no prototype
                continue
            change, strains[s] = (x[0] for x in self._bases((reduction @ cells[s])[None]))
            changes[s] = change @ reduction
        best = np.full(len(scaled), np.inf)
        atoms = np.tile(np.arange(scaled.shape[1]), (len(scaled), 1))
        for setting in self._settings:
            inverse = np.round(np.linalg.inv(setting @ changes))
            moved = scaled @ inverse
            for start in range(scaled.shape[1]):
                found, distances = self._assign(moved, start)
                # equal but for rounding: the first one, whatever the order of the atoms
                better = distances < best - 1e-9
                best[better], atoms[better] = distances[better], found[better]
        return atoms, best, strains

    def _bases(self, cells):
        """A change of basis of each cell, after which its metric is like the prototype's.

        None where the metric is as close as that of its symmetries, elsewhere the best.
        """
        metrics = _metrics(cells)
        strains = np.abs(metrics - self.metric).max(axis=(1, 2))
        nearest = np.tile(np.eye(3, dtype=int), (len(cells), 1, 1))
        others = np.flatnonzero(strains > _SAME_METRIC)
        if len(others):
            changes = _changes_of_basis()
            worst = np.zeros((len(changes), len(others)))
            for k in range(3):
                for m in range(k, 3):
                    outer = (changes[:, k, :, None] * changes[:, m, None, :]).reshape(-1, 9)
                    products = outer @ metrics[others].reshape(-1, 9).T
                    np.maximum(worst, np.abs(products - self.metric[k, m]), out=worst)
            best = worst.argmin(axis=0)
            nearest[others] = changes[best]
            strains[others] = worst[best, np.arange(len(others))]
        return nearest, strains

    def _assign(self, moved, start):
        """The nearest atom to each site, atom ``start`` on the first; the largest distance."""
        shifted = moved - moved[:, start : start + 1] + self.scaled[0]
        apart = _wrapped(shifted[:, :, None] - self.scaled)  # (n, atoms, sites, 3)
        atoms = self._squares(apart).argmin(axis=1)
        own = np.take_along_axis(apart, atoms[:, None, :, None], axis=1)[:, 0]
        own = _wrapped(own - own.mean(axis=1, keepdims=True))
        size = len(self.labels) ** (1 / 3)
        distances = size * np.sqrt(self._squares(own).max(axis=1))
        once = (np.sort(atoms, axis=1) == np.arange(len(self.labels))).all(axis=1)
        return atoms, np.where(once, distances, np.inf)

    def _squares(self, vectors):
        return np.einsum("...i,ij,...j->...", vectors, self.metric, vectors)
