"""Log-normal functions of the distances of one centre, and the way back."""

from typing import NamedTuple

import numpy as np

from skatom._cpu.elementwise import exponential
from skatom._numba import callee
from skatom.descriptors._cpu.fchl19.functions import LOOPS, cutoff_slope, cutoff_value, length


class LogNormals(NamedTuple):
    """Two-body functions of all neighbours of one centre."""

    values: np.ndarray  # (n, n_r2)
    mu: np.ndarray  # mean and variance of the log-normals
    s: np.ndarray
    powers: np.ndarray  # scratch of exponentials


@callee(**LOOPS)
def log_normals(vectors, basis, radial):
    """Fill the two-body functions of one centre. One long array of exponents is the fastest."""
    values, mu, s = radial.values, radial.mu, radial.s
    logs, inverses = basis.log_shells2, basis.inverse_shells2
    for k in range(len(vectors)):
        r = length(vectors, k)
        s[k] = np.log1p(basis.eta2 / (r * r))
        mu[k] = np.log(r) - 0.5 * s[k]
        half = -0.5 / s[k]
        for l in range(len(logs)):
            z = logs[l] - mu[k]
            values[k, l] = half * z * z
    n = len(vectors) * len(logs)
    exponents = values.reshape(values.size)[:n]
    exponential(exponents, radial.powers[:n], exponents)
    for k in range(len(vectors)):
        decay = np.exp(-basis.decay2 * (mu[k] + 0.5 * s[k]))
        scale = decay * cutoff_value(length(vectors, k), basis.cutoff) / np.sqrt(2 * np.pi * s[k])
        for l in range(len(logs)):
            values[k, l] *= scale * inverses[l]


@callee(**LOOPS)
def _log_normal_slopes(r, s, basis):
    """Derivatives of the logarithms of two-body functions, as a polynomial in ln R_k - μ."""
    ds = -2 * basis.eta2 / (r * (r * r + basis.eta2))
    constant = cutoff_slope(r, basis.cutoff) - basis.decay2 / r - 0.5 * ds / s
    return constant, (1 / r - 0.5 * ds) / s, 0.5 * ds / (s * s)


@callee(**LOOPS)
def two_body(species, radial, out):
    """Two-body features of one centre."""
    values = radial.values
    out[:] = 0.0
    for k in range(len(species)):
        at = species[k] * values.shape[1]
        for l in range(values.shape[1]):
            out[at + l] += values[k, l]


@callee(**LOOPS)
def two_body_gradients(vectors, species, basis, cotangent, radial, gradients):
    """dE/dr_ij of one centre for dE/d two-body features, after `log_normals`."""
    values, mu, s, logs = radial.values, radial.mu, radial.s, basis.log_shells2
    for k in range(len(vectors)):
        r, at = length(vectors, k), species[k] * len(logs)
        constant, linear, square = _log_normal_slopes(r, s[k], basis)
        along, mean = 0.0, mu[k]
        for l in range(len(logs)):
            z = logs[l] - mean
            along += cotangent[at + l] * values[k, l] * (constant + z * (linear + z * square))
        for axis in range(3):
            gradients[k, axis] = along / r * vectors[k, axis]


@callee(cache=True)
def two_body_jacobian(vectors, species, basis, radial, jacobian):
    """d two-body features / dr_ij of one centre, (n_neighbors, 3, n_features) of zeros."""
    for k in range(len(vectors)):
        r, at = length(vectors, k), species[k] * len(basis.log_shells2)
        constant, linear, square = _log_normal_slopes(r, radial.s[k], basis)
        for l in range(len(basis.log_shells2)):
            z = basis.log_shells2[l] - radial.mu[k]
            slope = radial.values[k, l] * (constant + z * (linear + z * square)) / r
            for axis in range(3):
                jacobian[k, axis, at + l] = slope * vectors[k, axis]
