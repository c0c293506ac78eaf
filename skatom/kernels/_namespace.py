"""The library that an array belongs to."""

import sys

import numpy as np


def namespace(array):
    """numpy, or torch for a torch tensor; kernels use functions that both have."""
    return sys.modules["torch"] if type(array).__module__ == "torch" else np
