"""Atom-centred symmetry functions of every centre, and their derivatives along pair vectors.

Every angular function is a product of a power and a Gaussian, each shared by many functions:

    G_f = scale_f Σ_{j<k} x^ζ E w,     x = 1 + p cos θ + q sin θ,     w = f_c(r_ij) f_c(r_ik)
    G4:  E = exp{-η [(r_ij - R)² + (r_ik - R)² + (r_jk - R)²]},  times f_c(r_jk)
    G5:  E = exp{-η [(r_ij - R)² + (r_ik - R)²]}
    ANI: E = exp{-η [(r_ij + r_ik)/2 - R]²}

Triplets are listed in flat arrays, some hundred at a time so that these stay in the first cache,
sorted by the pair of channels (species) of j and k. The triplets of one such block are a run.
"""

from skatom.descriptors._cpu.acsf.centers import pair_gradients, values
from skatom.descriptors._cpu.acsf.jacobian import pair_jacobian
from skatom.descriptors._cpu.acsf.tables import Functions

__all__ = ["Functions", "pair_gradients", "pair_jacobian", "values"]
