"""Symmetry functions of one centre."""

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee
from skatom.descriptors._cpu.acsf.arithmetic import dot


@callee(cache=True, fastmath=FASTMATH)
def radial_values(n_channels, edges, f, e, out):
    """Radial functions of one centre, (n_channels, n_radial) flat."""
    n_radial = e.shape[1]
    for channel in range(n_channels):
        row = out[channel * n_radial : (channel + 1) * n_radial]
        for i in range(edges[2 * channel], edges[2 * channel + 2]):
            weight, source = f[i], e[i]
            for m in range(n_radial):
                row[m] += weight * source[m]


@callee(cache=True, fastmath=FASTMATH)
def angular_values(n_runs, runs, terms, scale, a, b, out):
    """Add the triplets to the angular functions of one centre, (n_blocks, n_angular) flat."""
    for run in range(n_runs):
        i, j = runs[1, run], runs[1, run + 1]
        row = out[runs[0, run] * len(terms) :]
        for m in range(len(terms)):
            row[m] += scale[m] * dot(a[terms[m, 0], i:j], b[terms[m, 1], i:j])
