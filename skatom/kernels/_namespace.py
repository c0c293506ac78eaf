"""The library whose functions an array is for."""

import sys

import numpy as np


def namespace(array):
    """numpy, or torch for a tensor of torch: kernels use the functions that both have."""
    return sys.modules["torch"] if type(array).__module__ == "torch" else np
