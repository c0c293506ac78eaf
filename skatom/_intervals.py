"""Ranges of parameters."""

from numbers import Real

from sklearn.utils._param_validation import Interval

# Numbers that are too small or too large to be meant are errors of `base.check_parameters`.
POSITIVE = Interval(Real, 0, None, closed="neither")
