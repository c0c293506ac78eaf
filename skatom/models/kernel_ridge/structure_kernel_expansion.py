"""The predictor of models with a kernel that is a function of sums over atoms."""

import numpy as np

from skatom.base import Predictor
from skatom.kernels.blocks import row_groups
from skatom.kernels.environments import Environments
from skatom.parallel import threads_over_blas

# Kernel values of pairs of atoms that a thread holds at once.
_PAIRS = 2**17


class StructureKernelExpansion(Predictor):
    r"""Energies of structures as sums over training structures B under a `StructureKernel`.

    .. math:: E(A) = \sum_B \big[ a_B + w_B \cdot \partial_{q_B} \big]\, \varphi(s_{AB}, u_A, v_B)

    s is the sum over pairs of atoms, u and v are those of a structure with itself, and w are the
    directions of all atoms of a structure. With :math:`p = w_B \cdot \partial_{q_B} s_{AB}` and
    :math:`t_B = w_B \cdot \partial_{q_B} v_B`, the brackets are
    :math:`a_B \varphi + \varphi_s p + \varphi_v t_B`.

    Parameters
    ----------
    kernel : StructureKernel
    environments : Environments
        The atoms of the m training structures.
    own : ndarray of float, shape (m,)
        v.
    coefficients : ndarray of float, shape (m,)
        a.
    directions : dict of int to ndarray of shape (n_atoms of the species, rank), default=None
        w of the atoms of each species. None: zero.
    along : ndarray of float, shape (m,), default=None
        t. None: zero.
    bases : dict of int to ndarray of shape (n_features, rank), default=None
        Bases of features and directions. None: the unit matrix.
    """

    def __init__(
        self, kernel, environments, own, coefficients, directions=None, along=None, bases=None
    ):  # fmt: skip
        self.kernel = kernel
        self.values = environments.projected
        self.norms = environments.norms
        self.starts = {z: side.starts for z, side in environments.sides.items()}
        self.scales = kernel.scales(environments.features)
        self.own = own
        self.coefficients = coefficients
        self.directions = directions
        self.along = np.zeros(len(own)) if along is None else along
        self.bases = bases

    def energies(self, features):
        """E of every structure, shape (n,)."""
        return self._in_batches(features, False)[0]

    def differentiate(self, features):
        """E of every structure (n,), ∂E/∂R (n_atoms, 3), ∂E/∂strain (n, 3, 3)."""
        energies, cotangent = self._in_batches(features, True)
        return energies, *features.pullback(cotangent)

    def _in_batches(self, features, with_gradient):
        energies = np.empty(len(features))
        cotangent = np.zeros(features.values.shape) if with_gradient else None
        n_atoms = max(sum(len(x) for x in self.values.values()), 1)

        def work(group):
            structures = slice(*group)
            part = features[structures]
            sums = _Sums(self, part)
            energies[structures] = sums.energies()
            if with_gradient:
                atoms = slice(features.offsets[group[0]], features.offsets[group[1]])
                cotangent[atoms] = sums.cotangent()

        with threads_over_blas() as pool:
            list(pool.map(work, row_groups(features.offsets, max(1, _PAIRS // n_atoms))))
        return energies, cotangent


class _Sums:
    """Sums over the atoms of a few structures and of the training structures."""

    def __init__(self, expansion, features):
        self.expansion, self.features = expansion, features
        self.environments = Environments(features)
        self.factors = expansion.kernel.factors(features.species)
        self.scales = expansion.kernel.scales(features)
        self.pairs = {
            z: _Pairs(expansion, self.environments, z)
            for z in self.environments.sides.keys() & expansion.values.keys()
        }
        self.itself = {
            z: _Itself(expansion.kernel.kernel, self.environments, z)
            for z in self.environments.sides
        }
        shape = len(features), len(expansion.own)
        s, p, u = np.zeros(shape), np.zeros(shape), np.zeros(len(features))
        for z, pairs in self.pairs.items():
            s += self.factors[z] * pairs.summed(pairs.profile.value)
            if pairs.directions is not None:
                p += self.factors[z] * pairs.summed(pairs.slopes)
        for z, itself in self.itself.items():
            u += self.factors[z] * itself.values
        self.outer = self.scales[:, None] * expansion.scales
        self.p = p * self.outer
        u = (u * self.scales**2)[:, None]
        phi = expansion.kernel.function.profile(s * self.outer, u, expansion.own)
        self.phi = {name: np.broadcast_to(f, shape) for name, f in vars(phi).items()}

    def energies(self):
        a, t = self.expansion.coefficients, self.expansion.along
        return self.phi["value"] @ a + (self.phi["s"] * self.p).sum(axis=1) + self.phi["v"] @ t

    def cotangent(self):
        """dE/dx of every atom (n_atoms, n_features)."""
        a, t, phi = self.expansion.coefficients, self.expansion.along, self.phi
        of_s = (phi["s"] * a + phi["ss"] * self.p + phi["sv"] * t) * self.outer
        of_p = phi["s"] * self.outer
        of_u = phi["u"] @ a + (phi["su"] * self.p).sum(axis=1) + phi["uv"] @ t
        of_u *= self.scales**2
        out = np.zeros(self.features.values.shape)
        for z, itself in self.itself.items():
            slopes = of_u[itself.owners, None] * itself.slopes
            if z in self.pairs:
                slopes += self.pairs[z].gradient(of_s, of_p, self.expansion.bases)
            out[self.features.numbers == z] = self.factors[z] * slopes
        return out


class _Pairs:
    """Kernel values of the atoms of one species with those of the training structures."""

    def __init__(self, expansion, environments, z):
        self.z = z
        self.starts = environments.sides[z].starts, expansion.starts[z]
        self.owners = [np.repeat(np.arange(len(s) - 1), np.diff(s)) for s in self.starts]
        self.x = environments.values[z]
        self.y = expansion.values[z]
        projected = self.x if expansion.bases is None else self.x @ expansion.bases[z]
        u = environments.norms[z][:, None]
        s = projected @ self.y.T
        profile = expansion.kernel.kernel.profile(s, u, expansion.norms[z])
        self.profile = type(profile)(*(np.broadcast_to(f, s.shape) for f in vars(profile).values()))
        self.directions = None
        if expansion.directions is not None:
            self.directions = expansion.directions[z]
            self.p = projected @ self.directions.T
            self.t = np.einsum("ij,ij->i", self.y, self.directions)

    @property
    def slopes(self):
        """w · ∂_y k of each pair."""
        return self.profile.s * self.p + 2 * self.profile.v * self.t

    def summed(self, pairs):
        """Sums over the atoms of both structures, (n, m)."""
        out = np.zeros([len(starts) - 1 for starts in self.starts])
        some = [np.flatnonzero(np.diff(starts)) for starts in self.starts]
        for axis, (starts, present) in enumerate(zip(self.starts, some, strict=True)):
            pairs = np.add.reduceat(pairs, starts[present], axis=axis)
        out[np.ix_(*some)] = pairs
        return out

    def gradient(self, of_s, of_p, bases):
        """∂/∂x of Σ of_s k + of_p w · ∂_y k, shape (n_atoms of the species, n_features)."""
        f = self.profile
        c = of_s[self.owners[0]][:, self.owners[1]]
        along = f.s * c
        own = 2 * (f.u * c).sum(axis=1)
        if self.directions is None:
            slopes = along @ self.y
        else:
            d = of_p[self.owners[0]][:, self.owners[1]]
            along = along + (f.ss * self.p + 2 * f.sv * self.t) * d
            slopes = along @ self.y + (f.s * d) @ self.directions
            own += ((2 * f.su * self.p + 4 * f.uv * self.t) * d).sum(axis=1)
        if bases is not None:
            slopes = slopes @ bases[self.z].T
        return slopes + own[:, None] * self.x


class _Itself:
    """Sums over pairs of atoms of one species in the same structure, (n,), and their slopes."""

    def __init__(self, kernel, environments, z):
        starts, x = environments.sides[z].starts, environments.values[z]
        self.owners = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        self.values = np.zeros(len(starts) - 1)
        self.slopes = np.zeros(x.shape)
        for s in np.flatnonzero(np.diff(starts)):
            atoms = slice(starts[s], starts[s + 1])
            own, norms = x[atoms], environments.norms[z][atoms]
            products = own @ own.T
            f = kernel.profile(products, norms[:, None], norms)
            self.values[s] = np.broadcast_to(f.value, products.shape).sum()
            along, radial = (np.broadcast_to(g, products.shape) for g in (f.s, f.u))
            # both arguments of the kernel move
            self.slopes[atoms] = 2 * (along @ own + 2 * radial.sum(axis=1)[:, None] * own)
