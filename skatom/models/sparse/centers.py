"""What the rows of a model are made of: atoms, or whole structures."""

import numpy as np
from ase.data import chemical_symbols

from skatom._device import check_is_array, is_tensor, on_host
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.features import structures_of
from skatom.descriptors.structure_features import StructureFeatures
from skatom.properties import VOIGT

# Number of structures whose features are computed at once to keep those of a few centres.
_BATCH = 16
# In place of an atomic number, where a centre is a structure.
WHOLE = 0


class WholeStructures:
    """Features of structures as those of one centre each, which is no atom.

    Parameters
    ----------
    features : StructureFeatures

    Attributes
    ----------
    numbers : ndarray of int, shape (n,)
        `WHOLE` for each centre.
    offsets, n_atoms, values, structures, n_features
        As in `AtomicFeatures`, with structures instead of atoms.
    """

    def __init__(self, features):
        self._features = features
        self.values = features.values
        self.structures = features.structures
        self.n_features = features.n_features
        self.numbers = np.full(len(features), WHOLE)
        self.offsets = np.arange(len(features) + 1)
        self.n_atoms = np.ones(len(features), np.int64)

    def __len__(self):
        return len(self._features)

    def with_neighbors(self):
        """The same: neighbour lists belong to atoms."""
        return self

    def to(self, device):
        """The same: these features are arrays of numpy."""
        return self

    def pullback(self, cotangent):
        """Gradient and virial, see `StructureFeatures.pullback`."""
        return self._features.pullback(cotangent)

    def jacobian(self, batch):
        """The `StructureJacobian` of some structures."""
        return self._features.jacobian(batch)


def as_centers(features):
    """Features of atoms unchanged, features of structures as `WholeStructures`."""
    if isinstance(features, StructureFeatures):
        what = "SparseGaussianProcess with features of structures"
        check_is_array(features, what, "with features of atoms it is")
        return WholeStructures(features)
    if isinstance(features, AtomicFeatures):
        return features
    raise TypeError(
        f"the descriptor of a term gives {type(features).__name__}, which has no derivatives: end "
        "it with a descriptor, or with maps of skatom such as FeatureScaler and FeatureSelector"
    )


class CenterSource:
    """The centres of all structures, whose features are computed where they are needed.

    Parameters
    ----------
    X : AtomicFeatures, StructureFeatures or Structures
    descriptor : fitted descriptor, default=None
        What makes features of structures. None: X are features.

    Attributes
    ----------
    numbers : ndarray of int, shape (n_centers,)
        Atomic number of each centre, or `WHOLE`.
    offsets : ndarray of int, shape (n + 1,)
        First centre of each structure.
    n_features : int
    """

    def __init__(self, X, descriptor=None):
        self._X = X
        self._descriptor = descriptor
        first = as_centers(X if descriptor is None else descriptor.transform(X[:1]))
        self.n_features = first.n_features
        structures = structures_of(X)
        self.has_atoms = isinstance(first, AtomicFeatures)
        self.numbers = structures.numbers if self.has_atoms else np.full(len(X), WHOLE)
        self.offsets = structures.offsets if self.has_atoms else np.arange(len(X) + 1)

    def beside(self, values, centers):
        """The features ``values`` of some centres, on the device where they were made."""
        made = None if self._descriptor is not None else self._X.values
        return made[centers] if is_tensor(made) else values

    def values(self, centers):
        """Features (n, n_features) of some centres, for a few structures at a time."""
        if self._descriptor is None:
            return on_host(self._X.values[centers])
        owners = np.searchsorted(self.offsets, centers, side="right") - 1
        found = np.empty((len(centers), self.n_features))
        needed = np.unique(owners)
        for start in range(0, len(needed), _BATCH):
            batch = needed[start : start + _BATCH]
            features = as_centers(self._descriptor.transform(self._X[batch]))
            mine = np.flatnonzero(np.isin(owners, batch))
            place = np.searchsorted(batch, owners[mine])
            rows = features.offsets[place] + centers[mine] - self.offsets[owners[mine]]
            found[mine] = on_host(features.values[rows])
        return found


def described(number):
    """What the centres of a kind are called in messages."""
    return "structures" if number == WHOLE else f"environments of {chemical_symbols[number]}"


def symmetrised(strains):
    """Six components xx, yy, zz, yz, xz, xy (n, 6, …) of the symmetric part of (n, 3, 3, …)."""
    rows, columns = VOIGT
    return 0.5 * (strains[:, rows, columns] + strains[:, columns, rows])
