"""What the loops of symmetry functions work on: parameters, and buffers of one thread."""

from typing import NamedTuple

import numpy as np

from skatom._numba import callee

# Triplets of one round.
_TRIPLETS = 256
# sin θ of a triplet that counts as straight: there G has a kink, whose mean slope is 0.
STRAIGHT = 1e-10
TINY = 1e-300

# Rows of Neighborhood.rows: distance and its inverse, unit vector, weight, both cutoff functions
# times the weight and their slopes, and scratch.
R, INVERSE, X, Y, Z, WEIGHT, F, DF, ANGULAR_F, ANGULAR_DF, WORK = range(11)
# Rows of Triplets.rows: cos θ, sin θ, r_jk, f_c(r_jk) and its slope, w, dE/dcos θ, the sums of
# `gradients._sum_gaussian`, and scratch.
C, S, D, FD, DFD, W, DC, SUMS = range(8)
N_SUMS = 6
T_WORK = SUMS + N_SUMS

# Compiled functions receive every array of these tuples as seven numbers, which takes longer than
# the work of a short row of triplets: hence few arrays, and innermost functions of few arguments.


class Functions(NamedTuple):
    """What to compute, for compiled code."""

    cutoff: float
    angular_cutoff: float
    cutoff_kind: int
    n_channels: int
    channels: np.ndarray  # (n_species,), of each species
    weights: np.ndarray  # (n_species,), of a neighbour of each species
    # radial functions: Gaussians (η, R), then cosines κ
    radial: np.ndarray
    kappa: np.ndarray
    # Gaussians E (η, R) of the angular functions: n_g4 of kind G4, n_g5 of G5, the rest of ANI
    n_g4: int
    n_g5: int
    gaussians: np.ndarray
    # bases (p, q), and powers ζ of them; of each its base, and the power ζ/2 or -1
    bases: np.ndarray
    zeta: np.ndarray
    power_of: np.ndarray
    # angular functions: (power, Gaussian) and the factor 2^(1 - ζ)
    terms: np.ndarray
    scale: np.ndarray


class Neighborhood(NamedTuple):
    """The neighbours of one centre, sorted by channel, those within the angular cutoff first."""

    # of channel c: edges[0, 2c], edges[0, 2c + 1] (angular cutoff), edges[0, 2c + 2]
    edges: np.ndarray
    order: np.ndarray  # (2, n): which pair of the centre; key to sort by
    rows: np.ndarray
    e: np.ndarray  # (n_gauss, n): exp(-η (r - R)²) of G4 and G5
    radial: np.ndarray  # (n, n_radial): radial functions without cutoff, and their slopes
    slopes: np.ndarray
    exponents: np.ndarray  # at least n, and n * n_radial


class Triplets(NamedTuple):
    """Some triplets (i, j, k) of one centre i."""

    runs: np.ndarray  # (2, n_blocks + 1): pair of channels of a run, and where it starts
    jk: np.ndarray  # (2, n): positions of j and k in the neighbourhood
    rows: np.ndarray
    x: np.ndarray  # (n_bases, n)
    a: np.ndarray  # (n_powers, n): x^ζ
    e: np.ndarray  # (n_gauss, n): E
    b: np.ndarray  # (n_gauss, n): E with all cutoff functions
    exponents: np.ndarray
    # for derivatives
    q: np.ndarray  # (n_gauss, n): Σ cotangent x^ζ of the functions of one Gaussian
    p: np.ndarray  # (n_bases, n): dE/dx


@callee(cache=True)
def most_neighbors(first, last, starts):
    """Of the centres first … last - 1."""
    most = 0
    for i in range(first, last):
        most = max(most, starts[i + 1] - starts[i])
    return most


@callee(allocates=True, cache=True)
def neighborhood(n_max, functions):
    """Buffers for up to n_max neighbours."""
    n_radial = len(functions.radial) + len(functions.kappa)
    return Neighborhood(
        np.empty((2, 2 * functions.n_channels + 1), np.int64),
        np.empty((2, n_max), np.int64),
        np.empty((WORK + 1, n_max)),
        np.empty((len(functions.gaussians), n_max)),
        np.empty((n_max, n_radial)),
        np.empty((n_max, n_radial)),
        np.empty(n_max * max(n_radial, 1), np.int64),
    )


@callee(allocates=True, cache=True)
def triplets(n_max, n_derivatives, functions):
    """Buffers; a row of triplets (one j, all k) always fits. Derivatives: for none if 0."""
    n = max(_TRIPLETS, n_max)
    m = n if n_derivatives > 0 else 0
    n_blocks = functions.n_channels * (functions.n_channels + 1) // 2
    n_gauss, n_bases = len(functions.gaussians), len(functions.bases)
    return Triplets(
        np.empty((2, n_blocks + 1), np.int64),
        np.empty((2, n), np.int64),
        np.empty((T_WORK + 1, n)),
        np.empty((n_bases, n)),
        np.empty((len(functions.zeta), n)),
        np.empty((n_gauss, n)),
        np.empty((n_gauss, n)),
        np.empty(n, np.int64),
        np.empty((n_gauss, m)),
        np.empty((n_bases, m)),
    )
