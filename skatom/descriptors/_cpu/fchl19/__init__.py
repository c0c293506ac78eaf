"""FCHL19 features of every centre, and the way back.

The Gaussian of the mean of two distances factorises. With y = r - R/2 and ρ_l = R_l - R/2, where
R_l are the shells and R the cutoff of the three-body terms,

    exp(-η (½(r_ij + r_ik) - R_l)²) = a_jl a_kl exp(-½ η y_j y_k)
    a_jl = exp(-¼ η y_j² + η y_j ρ_l - ½ η ρ_l²)

so that a triplet costs one exponential, and the sum over the neighbours k of one j is a product of
a small matrix of weights with a_kl. The weights depend only on r_ij, r_ik and d = r_ij · r_ik,
with respect to which derivatives are taken: |r_jk|² = r_ij² + r_ik² - 2d and
cos θ = d / (r_ij r_ik).
"""

from skatom.descriptors._cpu.fchl19.centers import pair_gradients, pair_jacobian, values
from skatom.descriptors._cpu.fchl19.functions import FCHL19Functions

__all__ = ["FCHL19Functions", "pair_gradients", "pair_jacobian", "values"]
