"""Ranges of parameters."""

from numbers import Real

from sklearn.utils._param_validation import Interval

# Lengths and widths are squared, and their squares divided by and squared again: the range in which
# these neither vanish nor overflow, which is wider than any use.
POSITIVE = Interval(Real, 1e-50, 1e50, closed="both")
