"""What learnt point scattering knows of its wavelets and moduli."""

import numpy as np
from numpy.polynomial import Polynomial
from scipy.special import genlaguerre

# The powers of the last moduli that are features of an atom.
POWERS = (1.0, 4 / 3, 5 / 3, 2.0)


def radial_polynomial(n, l):
    """Coefficients c of the radial function g = xˡ e^(-x²/2) Σ_k c_k (x²/2)^k, whose peak is 1.

    x is the distance over the width of the Gaussian; the polynomial is the Laguerre polynomial of
    degree n - l - 1 and order l + 1/2.
    """
    p, t = Polynomial(genlaguerre(n - l - 1, l + 0.5).coef[::-1]), Polynomial([0, 1])
    # where the slope is zero, and the origin
    stationary = np.append((l * p + 2 * t * (p.deriv() - p)).roots().real.clip(min=0), 0)
    peak = np.abs((2 * stationary) ** (l / 2) * np.exp(-stationary) * p(stationary)).max()
    return (p.coef / peak).tolist()
