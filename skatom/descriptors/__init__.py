"""Descriptors: transformers from structures to features."""

from skatom.descriptors.atomic_features import AtomicFeatures, PairJacobian
from skatom.descriptors.inverse_distances import InverseDistances
from skatom.descriptors.moment_tensor import MomentTensor
from skatom.descriptors.soap import SOAP

__all__ = ["SOAP", "AtomicFeatures", "InverseDistances", "MomentTensor", "PairJacobian"]
