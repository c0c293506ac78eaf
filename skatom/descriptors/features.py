"""The base class of features of atoms and of structures."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from skatom._device import check_together, device_of, is_tensor, moved, namespace, on_host
from skatom.descriptors.maps import Select
from skatom.memory import check_memory
from skatom.structures import as_structures


class Features:
    """Base class of `AtomicFeatures` and `StructureFeatures`: values with lazy derivatives.

    A subclass implements ``_rows(key)``, the features of some structures, and ``map``.
    """

    def __init__(self, values: Any, derivatives: Any) -> None:
        if values is not None:
            self.values = values
        self.derivatives = derivatives

    @cached_property
    def values(self) -> Any:
        """The features, which were not needed before."""
        return self.derivatives.values()

    @property
    def structures(self) -> Any:
        return self.derivatives.structures

    @property
    def descriptor(self) -> Any:
        return self.derivatives.descriptor

    @property
    def n_features(self) -> Any:
        return self.values.shape[1]

    @property
    def feature_names(self) -> Any:
        return self.derivatives.names()

    @property
    def degrees(self) -> Any:
        """Degrees of the features, for a prior of smoothness; None if the descriptor has none."""
        return self.derivatives.degrees()

    def __len__(self):
        return len(self.structures)

    def __getitem__(self, key):
        rows, columns = _split_key(key)
        chosen = self if columns is not None and _is_full(rows) else self._rows(rows)
        return chosen if columns is None else chosen.map(Select(columns, self.n_features))

    def _check_map(self, feature_map, structures=None):
        """Raise an error if a map does not apply, or its features do not fit in memory."""
        feature_map.check(self.n_features, structures)
        n_rows, device = len(self.values), device_of(self.values)
        check = check_memory if device is None else device.check_memory
        check(
            8.0 * n_rows * feature_map.n_features_out,
            f"the array of {n_rows} x {feature_map.n_features_out} mapped features",
            "take fewer structures at a time, or a map to fewer features",
        )

    def _checked_cotangent(self, cotangent, of):
        """A cotangent as rows: one for each row of the values, or a single one."""
        check_together(cotangent, self.values, "cotangent")
        if not is_tensor(cotangent):
            cotangent = np.require(cotangent, float, ["C", "W"])
        shape = tuple(self.values.shape)
        if tuple(cotangent.shape) not in {shape, shape[1:]}:
            raise ValueError(
                f"cotangent has the shape {tuple(cotangent.shape)}; these features need {shape}, "
                f"or {shape[1:]} for the same on every {of}"
            )
        return namespace(cotangent).atleast_2d(cotangent)

    def to(self, device: str) -> Any:
        """The same features on another device.

        Parameters
        ----------
        device : {"cpu", "cuda", "auto", "torch"}
            Where the values and the derivatives are to be, as in the descriptor.

        Returns
        -------
        AtomicFeatures or StructureFeatures, as these are
        """
        derivatives = self.derivatives.to(device)
        return type(self)(moved(self.values, derivatives.device), derivatives)

    def __getstate__(self):
        return {**vars(self), "values": on_host(self.values)}


def _split_key(key):
    """The rows and the columns (or None) of an index."""
    if not isinstance(key, tuple):
        return key, None
    key = tuple(part for part in key if part is not Ellipsis)  # scikit-learn writes X[rows, ...]
    if len(key) > 2:
        raise IndexError(f"features have two dimensions, but the index has {len(key)}")
    rows, columns = (*key, slice(None), slice(None))[:2]
    return rows, None if _is_full(columns) else columns


def _is_full(key):
    return isinstance(key, slice) and key == slice(None)


def as_batch(X):
    """Features unchanged; anything else as ``Structures``."""
    return X if hasattr(X, "descriptor") else as_structures(X)


def structures_of(X):
    """The ``Structures`` of features, or of structures themselves."""
    return getattr(X, "structures", X)
