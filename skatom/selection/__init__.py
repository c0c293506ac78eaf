"""Selection of samples, environments or features that represent all others, and of new ones."""

from skatom.selection.cur import CUR, leverage_scores
from skatom.selection.farthest_point import FarthestPointSampling
from skatom.selection.kernel_variance import KernelVariance
from skatom.selection.max_vol import MaxVol
from skatom.selection.nearest_distance import NearestDistance
from skatom.selection.predicted_deviation import PredictedDeviation

__all__ = [
    "CUR",
    "FarthestPointSampling",
    "KernelVariance",
    "MaxVol",
    "NearestDistance",
    "PredictedDeviation",
    "leverage_scores",
]
