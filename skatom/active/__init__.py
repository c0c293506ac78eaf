"""Choosing what to compute next."""

from skatom.active.acquisition import (
    expected_improvement,
    probability_of_improvement,
    upper_confidence_bound,
)
from skatom.active.bayesian_search import BayesianSearch
from skatom.active.candidates import Box

__all__ = [
    "BayesianSearch",
    "Box",
    "expected_improvement",
    "probability_of_improvement",
    "upper_confidence_bound",
]
