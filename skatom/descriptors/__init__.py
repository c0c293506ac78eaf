"""Structures to features: transformers."""

from skatom.descriptors.atomic_features import AtomicFeatures, PairJacobian
from skatom.descriptors.soap import SOAP

__all__ = ["SOAP", "AtomicFeatures", "PairJacobian"]
