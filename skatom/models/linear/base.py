"""The base class of linear models of tables, or of features of structures."""

from skatom.models._feature_regressor import FeatureRegressor, described, kind_of

__all__ = ["LinearModel", "described", "kind_of"]


class LinearModel(FeatureRegressor):
    """A linear model of arrays, or of features of structures.

    A subclass fits ``coef_`` and ``intercept_``, and sets ``_learnt_from``: the name of the class
    of the features, None for arrays.
    """
