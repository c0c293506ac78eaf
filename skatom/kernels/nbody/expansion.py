"""The mean of a Gaussian process with an n-body kernel: a function of single n-plets."""

import numpy as np

from skatom._cpu.pairs import collect
from skatom.base import Predictor, TupleKeys
from skatom.kernels._cpu import nbody as _cpu
from skatom.kernels.nbody import nplets
from skatom.kernels.nbody.features import sums_of_products
from skatom.parallel import run_in_threads, split_rows

# n-plets whose basis functions are tabulated at once.
_CHUNK = 4096


class NPletExpansion(TupleKeys, Predictor):
    r"""An energy that is a sum over pairs or triangles, expanded in those of the training set.

    .. math:: E = \sum_T F(T) S(T), \qquad S(T) = \delta^2 \sum_{T'} [w_0 + w \cdot
        \partial_{T'}] \exp(-|T - T'|^2 / 2 \sigma^2)

    F is the product of the cutoff functions. The weights of all rows that contain a training
    n-plet are summed beforehand, so a prediction costs one exponential for each pair of n-plets,
    including forces.

    Parameters
    ----------
    kernel : NBody
        The kernel.
    rows : list of NPletRows
        The training set.
    coefficients : list of ndarray of float, shapes (n_groups, n_rows)
        Coefficients of the columns of the kernel matrix.
    """

    _keyed_by_tuples = ("centers", "weights")

    def __init__(self, kernel, rows, coefficients):
        self.order = kernel.order
        self.sigma = float(kernel.sigma)
        self.cutoff = kernel.transition
        self.centers, self.weights = {}, {}
        for block, alpha in zip(rows, coefficients, strict=True):
            for elements, part in block.parts.items():
                weights = kernel.amplitude**2 * part.weights(alpha)
                sides = part.sides
                if elements in self.centers:
                    sides = np.concatenate([self.centers[elements], sides], axis=1)
                    weights = np.concatenate([self.weights[elements], weights], axis=1)
                self.centers[elements], self.weights[elements] = sides, weights

    @property
    def shortest(self):
        """The shortest side of the training set, Å."""
        n_sides = 1 if self.order == 2 else 3
        return min(
            (sides[:n_sides].min(initial=np.inf) for sides in self.centers.values()),
            default=np.inf,
        )

    def smooth_part(self, elements, sides):
        """S and ∂S/∂T, shape (4, n), of sides (3, n); zero for elements without training data."""
        out = np.zeros((4, sides.shape[1]))
        if elements in self.centers:
            centers, weights = nplets.permute_sides(
                elements, self.centers[elements], self.weights[elements]
            )
            run_in_threads(
                _cpu.expansion, sides.shape[1], np.ascontiguousarray(sides), centers, weights,
                self.sigma, out,
            )  # fmt: skip
        return out

    def tensor(self, elements, basis):
        """S in a basis: S(T) = Σ_pqs w_pqs φ_p(T_1) φ_q(T_2) φ_s(T_3), or Σ_p w_p φ_p(T_1).

        Parameters
        ----------
        elements : tuple of int
        basis : RadialBasis
            Made for the kernel's length scale; its interval holds all sides of the training set.

        Returns
        -------
        ndarray of float, shape (n_basis,) * n_sides
        """
        n_sides = 1 if self.order == 2 else 3
        centers, weights = self.centers[elements], self.weights[elements]
        total = np.zeros((len(basis),) * n_sides)
        for piece in split_rows(centers.shape[1], _CHUNK):
            part = nplets.Part(
                np.array([0, piece.stop - piece.start]), centers[:, piece], weights[None, :, piece]
            )
            for _, sums in sums_of_products(part, basis, n_sides):
                total += sums[0, 0]
        if n_sides == 1:
            return total
        return sum(total.transpose(p) for p in nplets.like_sides(elements))

    def energies(self, X):
        """Energies of structures, shape (n,)."""
        return self._of_structures(X, *self._plets(X)[:2])

    def differentiate(self, X):
        """Energies (n,), ∂E/∂R (n_atoms, 3) and ∂E/∂strain (n, 3, 3)."""
        plets, energies, slopes = self._plets(X)
        return self._of_structures(X, plets, energies), *collect(
            plets.starts, plets.neighbors, plets.vectors, plets.pair_gradients(slopes), X.offsets
        )

    def _plets(self, structures):
        """The n-plets, their energies, and the slopes of these along their sides."""
        plets = nplets.find_n_plets(structures, self.order, self.cutoff, half=True)
        energies, slopes = np.empty(len(plets.centers)), np.empty_like(plets.sides)
        for elements, chosen in plets.by_elements():
            sides = plets.sides[:, chosen]
            total, gradient = nplets.cutoff_product(sides, self.cutoff, self.order)
            smooth = self.smooth_part(elements, sides)
            energies[chosen] = total * smooth[0]
            slopes[:, chosen] = gradient * smooth[0] + total * smooth[1:]
        return plets, energies, slopes

    def _of_structures(self, structures, plets, energies):
        owners = np.repeat(np.arange(len(structures)), structures.n_atoms)[plets.centers]
        return np.bincount(owners, energies, minlength=len(structures))
