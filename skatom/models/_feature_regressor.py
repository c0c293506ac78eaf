"""The base class of models of tables, or of features of structures."""

import numpy as np
from sklearn.utils.validation import validate_data

from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.features import Features
from skatom.descriptors.origin import check_origin, origin_of
from skatom.models._labels import check_array_labels
from skatom.models._regressor import StructureRegressor


class FeatureRegressor(StructureRegressor):
    """A model of arrays, or of features of structures.

    A subclass sets ``_learnt_from``, the name of the class of the features, None for arrays,
    ``_origin``, their descriptor, and ``n_features_in_``.
    """

    learns = ("energy", "forces", "stress")

    def _check_given(self, names):
        missing = [name for name in names if name in self.gives and name not in self.outputs_]
        if missing and self._learnt_from is None:
            raise ValueError(
                f"this {type(self).__name__} gives {', '.join(self.outputs_)} but no {missing[0]}, "
                "since it was fitted to a table: fit it to features with derivatives and "
                "y=Targets(energy=...)"
            )
        super()._check_given(names)

    def _check_table(self, X, y):
        """Raise an error for labels of forces, or a baseline, beside a plain array."""
        check_array_labels(X, y, type(self).__name__)
        if self.baseline is not None:
            raise ValueError(
                f"baseline={self.baseline!r} needs structures and their energies, and "
                f"{_described(X)}: subtract the baseline's energies from y instead"
            )
        self._origin = origin_of(X)

    def _validated(self, X, y, reset=True):
        """The arrays of a table; ``reset`` says whether it determines the number of features."""
        y = None if y is None else np.asarray(y)
        return validate_data(self, X, y, dtype=float, y_numeric=True, reset=reset)

    def _checked(self, X):
        given = kind_of(X)
        if self._learnt_from is None and given != "AtomicFeatures":
            table = validate_data(self, X, dtype=float, reset=False)
            check_origin(self, X)
            return table
        if given != self._learnt_from:
            raise ValueError(
                f"X is {given or 'an array'}, but the model was fitted to "
                f"{self._learnt_from or 'an array'}: give it the same features, from the same "
                "descriptor"
            )
        if X.n_features != self.n_features_in_:
            raise ValueError(
                f"X has {X.n_features} features, but {type(self).__name__} was fitted to "
                f"{self.n_features_in_}: use the same descriptor"
            )
        check_origin(self, X)
        return X

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


def kind_of(X):
    """The name of the class of features with derivatives; None for arrays."""
    if not isinstance(X, Features):
        return None
    return "AtomicFeatures" if isinstance(X, AtomicFeatures) else "StructureFeatures"


def _described(X):
    return "X is a plain array" if kind_of(X) is None else "y is a plain array, not Targets"
