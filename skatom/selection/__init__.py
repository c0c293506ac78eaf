"""Selection of samples, environments or features that represent all others."""

from skatom.selection.cur import CUR, leverage_scores
from skatom.selection.farthest_point import FarthestPointSampling

__all__ = ["CUR", "FarthestPointSampling", "leverage_scores"]
