"""Choosing what to compute next."""

from skatom.active.acquisition import (
    expected_improvement,
    probability_of_improvement,
    upper_confidence_bound,
)
from skatom.active.adaptive_sampling import AdaptiveSampling
from skatom.active.bayesian_search import BayesianSearch
from skatom.active.candidates import Box
from skatom.active.fragments import cut_fragment, fragment_noises
from skatom.active.on_the_fly import LearningOnTheFly
from skatom.active.structure_search import find_minima, random_crystals

__all__ = [
    "AdaptiveSampling",
    "BayesianSearch",
    "Box",
    "LearningOnTheFly",
    "cut_fragment",
    "expected_improvement",
    "find_minima",
    "fragment_noises",
    "probability_of_improvement",
    "random_crystals",
    "upper_confidence_bound",
]
