"""Descriptors: transformers from structures to features."""

from skatom.descriptors.inverse_distances import InverseDistances

__all__ = ["InverseDistances"]
