"""What a kernel of features sums over: atoms of the same element, or whole structures."""

from typing import NamedTuple

import numpy as np

from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.origin import check_same_origin
from skatom.descriptors.structure_features import StructureFeatures


class FeatureRows(NamedTuple):
    """The rows of features: rows of different numbers are not compared with each other.

    Attributes
    ----------
    numbers : ndarray of int, shape (n_rows,)
        Atomic numbers of the rows. A structure is a single row of number 0.
    offsets : ndarray of int, shape (n + 1,)
        Index of the first row of each structure, and the number of rows at the end.
    """

    numbers: np.ndarray
    offsets: np.ndarray

    @property
    def counts(self):
        """Number of rows of each structure, shape (n,)."""
        return np.diff(self.offsets)


def rows_of(features):
    """The `FeatureRows` of AtomicFeatures or StructureFeatures."""
    if isinstance(features, AtomicFeatures):
        return FeatureRows(features.numbers, features.offsets)
    n = len(features)
    return FeatureRows(np.zeros(n, np.int64), np.arange(n + 1))


def check_features(*sides):
    """Raise a ValueError if a side is not None and has no features, or their kinds differ."""
    sides = [side for side in sides if side is not None]
    for side in sides:
        if not isinstance(side, AtomicFeatures | StructureFeatures):
            raise ValueError(
                "structures are compared by AtomicFeatures or StructureFeatures under this kernel, "
                f"not by {type(side).__name__}: transform them by a descriptor first"
            )
    if len({type(side) for side in sides}) > 1:
        raise ValueError(
            "AtomicFeatures and StructureFeatures cannot be compared: transform all structures by "
            "the same descriptor"
        )
    check_same_origin(*sides)
