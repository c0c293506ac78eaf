"""The predictor of GDML: a kernel expansion in inverse distances, and its derivatives."""

from collections import deque
from functools import partial

import numpy as np

from skatom.base import Predictor
from skatom.descriptors.inverse_distances import incidence, pair_features
from skatom.models._cpu.sgdml import expand, pull_on_atoms
from skatom.parallel import serial_blas, split_rows, threads_over_blas

# Queries (times permutations) that are worked on at once, of few and of many references; numbers in
# their weights, which stay in the cache; and how often a thread does so before it needs Python.
_MOST, _FEWEST, _WEIGHTS, _CHUNKS = 256, 32, 2**16, 3


class KernelExpansion(Predictor):
    r"""An energy as a symmetric function of the inverse distances, and its derivatives.

    .. math::

        E(x) = \sum_q \sum_i \big[ \beta_i k(\delta) - w_1(\delta)\, \delta \cdot u_i \big],
        \qquad \delta = P_q x - x_i

    with the Matérn-5/2 kernel k and its derivatives :math:`w_1 = -k'/|\delta|`,
    :math:`w_2 = -w_1'/|\delta|`. The permutations act on the query, so that the references are not
    copied for each permutation.

    Parameters
    ----------
    references : ndarray of shape (M, D), the descriptors x_i
    coefficients : ndarray of shape (M, D), u
    energy_coefficients : ndarray of shape (M,), β
    pair_permutations : ndarray of int, shape (S, D)
        The group, acting on the pairs: (P_q x)_p = x[pair_permutations[q, p]].
    sigma : float
        Length scale, 1/Å.
    """

    def __init__(self, references, coefficients, energy_coefficients, pair_permutations, sigma):
        # Relative to the centre of all images, coordinates are smaller and distances more exact.
        self.center = references[:, pair_permutations].mean(axis=(0, 1))
        self.references = np.concatenate([references - self.center, coefficients])
        self.energy_coefficients = energy_coefficients
        self.pair_permutations = pair_permutations
        self.inverses = np.argsort(pair_permutations, axis=1)
        self.sigma = float(sigma)
        x, u = self.split()
        self.squares = np.einsum("ip,ip->i", x, x)
        self.projections = np.einsum("ip,ip->i", x, u)

    def split(self):
        """x relative to the centre, and u: (M, D) each."""
        n = len(self.energy_coefficients)
        return self.references[:n], self.references[n:]

    def energies(self, X):
        """E of structures of one composition, shape (n,)."""
        return self.of_descriptors(pair_features(X).values)[0]

    def differentiate(self, X, with_virial=True):
        """E (n,), ∂E/∂R (n N, 3) and ∂E/∂ε (n, 3, 3), or None, of structures of one composition."""
        values, gradients = pair_features(X)
        n, n_atoms = len(values), len(X.numbers) // len(X)
        slopes, gradient = np.empty_like(values), np.empty((n, n_atoms, 3))
        energies, virial = np.empty(n), np.empty((n if with_virial else 0, 3, 3))

        def work(first, last):
            self._expand(first, last, values, energies, slopes)
            pull_on_atoms(first, last, slopes, values, gradients, gradient, virial)

        self._in_pieces(work, n)
        return energies, gradient.reshape(-1, 3), virial if with_virial else None

    def of_descriptors(self, values):
        """Energies (n,) and their slopes ∂E/∂x (n, D) at the descriptors ``values`` (n, D)."""
        values = np.ascontiguousarray(values, float)
        energies, slopes = np.empty(len(values)), np.empty_like(values)
        self._in_pieces(partial(self._expand, values=values, energies=energies, slopes=slopes),
                        len(values))  # fmt: skip
        return energies, slopes

    def _in_pieces(self, work, n):
        """Call ``work(first, last)`` for pieces of 0 … n of fixed size."""
        pieces = split_rows(n, self._at_once() * _CHUNKS)
        if len(pieces) < 2:
            with serial_blas():
                return work(0, n)
        with threads_over_blas() as pool:
            return deque(pool.map(lambda piece: work(piece.start, piece.stop), pieces), 0)

    def _at_once(self):
        """Structures whose weights stay in the cache."""
        images = min(_MOST, max(_FEWEST, _WEIGHTS // len(self.squares)))
        return max(1, images // len(self.pair_permutations))

    def _expand(self, first, last, values, energies, slopes):
        expand(
            first, last, self._at_once(), values, self.center, self.pair_permutations,
            self.inverses, self.references, self.squares, self.projections,
            self.energy_coefficients, self.sigma, energies, slopes,
        )  # fmt: skip

    def hessian(self, value):
        r"""Second derivatives (D, D) at one descriptor (D,).

        .. math::

            \frac{\partial^2 E}{\partial x^2} = \sum_{q,i} P_q^\top \big[
            w_2 (u\delta^\top + \delta u^\top) + h I + (\beta w_2 - w_3\, \delta\cdot u)
            \delta\delta^\top \big] P_q,

        with :math:`h = w_2\,\delta\cdot u - \beta w_1` and :math:`w_3 = 5 w_2 / (\sigma^2 t)`.
        """
        x, u = self.split()
        a = 5.0 / (3.0 * self.sigma**2)
        beta = self.energy_coefficients
        total = np.zeros((len(value), len(value)))
        images = (value - self.center)[self.pair_permutations]
        for image, inverse in zip(images, self.inverses, strict=True):
            delta = image - x
            along = np.einsum("ip,ip->i", delta, u)
            t = np.sqrt(5.0 * np.einsum("ip,ip->i", delta, delta)) / self.sigma
            w1 = a * (1.0 + t) * np.exp(-t)
            w2 = 5.0 * a / self.sigma**2 * np.exp(-t)
            # The term in w3 vanishes with δ.
            w3 = np.divide(5.0 * w2, self.sigma**2 * t, out=np.zeros_like(t), where=t > 0)
            mixed = (w2[:, None] * u).T @ delta
            outer = ((beta * w2 - w3 * along)[:, None] * delta).T @ delta
            h = np.sum(w2 * along - beta * w1)
            block = mixed + mixed.T + outer + h * np.eye(len(value))
            total += block[np.ix_(inverse, inverse)]
        return total

    def hessians(self, X):
        """Second derivatives ∂²E/∂R² (n, 3N, 3N) of structures of one composition."""
        features = pair_features(X)
        _, slopes = self.of_descriptors(features.values)
        signs = incidence(len(X.numbers) // len(X))
        size = 3 * len(signs)
        hessians = np.empty((len(slopes), size, size))
        for n, (x, c, g) in enumerate(
            zip(features.values, features.gradients, slopes, strict=True)
        ):
            jacobian = np.einsum("ap,px->pax", signs, c).reshape(len(x), size)
            # ∂²x/∂r∂r = 3vvᵀ/d⁵ - I/d³, with v/d³ = c and 1/d = x
            curvature = 3.0 * c[:, :, None] * c[:, None, :] / x[:, None, None]
            curvature -= (x**3)[:, None, None] * np.eye(3)
            bent = np.einsum("ap,bp,p,pxy->axby", signs, signs, g, curvature, optimize=True)
            stretched = jacobian.T @ self.hessian(x) @ jacobian
            hessians[n] = stretched + bent.reshape(size, size)
        return hessians
