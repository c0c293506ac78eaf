"""Voigt's order of the components of a symmetric matrix: xx, yy, zz, yz, xz, xy."""

import numpy as np

# The rows and the columns of the components.
VOIGT = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
# The place of each element of a matrix among the components.
FROM_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


def voigt(matrices):
    """The six components of symmetric matrices (n, 3, 3, …)."""
    return matrices[:, *VOIGT]
