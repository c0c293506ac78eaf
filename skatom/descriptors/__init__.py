"""Descriptors: transformers from structures to features."""

from skatom.descriptors.acsf import ACSF
from skatom.descriptors.atomic_features import AtomicFeatures, PairJacobian
from skatom.descriptors.inverse_distances import InverseDistances
from skatom.descriptors.scaling import FeatureScaler, FeatureSelector
from skatom.descriptors.soap import SOAP

__all__ = [
    "ACSF",
    "SOAP",
    "AtomicFeatures",
    "FeatureScaler",
    "FeatureSelector",
    "InverseDistances",
    "PairJacobian",
]
