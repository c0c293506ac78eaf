"""Descriptors: transformers from structures to features."""

from skatom.descriptors.atomic_features import AtomicFeatures, PairJacobian
from skatom.descriptors.fchl19 import FCHL19
from skatom.descriptors.inverse_distances import InverseDistances
from skatom.descriptors.soap import SOAP

__all__ = ["FCHL19", "SOAP", "AtomicFeatures", "InverseDistances", "PairJacobian"]
