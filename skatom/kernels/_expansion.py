"""The mean of a Gaussian process with an n-body kernel: a function of single n-plets."""

import numpy as np

from skatom.descriptors._cpu.pairs import collect
from skatom.kernels import _nplets
from skatom.kernels._cpu import nbody as _cpu
from skatom.parallel import run_in_threads


class NPletExpansion:
    r"""A sum over pairs or triangles, each energy an expansion in those of the training set.

    .. math:: E = \sum_T F(T) S(T), \qquad S(T) = \delta^2 \sum_{T'} [w_0 + w \cdot
        \partial_{T'}] \exp(-|T - T'|^2 / 2 \sigma^2)

    F is the product of the cutoff functions. The weights of all rows in which a training n-plet
    takes part are added up beforehand, so a prediction costs one exponential for each pair of
    n-plets, forces included.

    Parameters
    ----------
    kernel : NBody
    rows : list of Rows
    coefficients : list of ndarray of float, shapes (n_groups, n_rows)
        Those of the kernel matrix's columns.
    """

    def __init__(self, kernel, rows, coefficients):
        self.order = kernel.order
        self.sigma = float(kernel.sigma)
        self.cutoff = kernel.transition
        self.centers, self.weights = {}, {}
        for block, alpha in zip(rows, coefficients, strict=True):
            for elements, part in block.parts.items():
                weights = kernel.amplitude**2 * part.weights(alpha)
                sides, weights = _nplets.permute_sides(elements, part.sides, weights)
                if elements in self.centers:
                    sides = np.concatenate([self.centers[elements], sides], axis=1)
                    weights = np.concatenate([self.weights[elements], weights], axis=1)
                self.centers[elements] = np.ascontiguousarray(sides)
                self.weights[elements] = np.ascontiguousarray(weights)

    def smooth_part(self, elements, sides):
        """S and ∂S/∂T, shape (4, n), of sides (3, n); zero for elements without training data."""
        out = np.zeros((4, sides.shape[1]))
        if elements in self.centers:
            run_in_threads(
                _cpu.expansion, sides.shape[1], np.ascontiguousarray(sides),
                self.centers[elements], self.weights[elements], self.sigma, out,
            )  # fmt: skip
        return out

    def predict(self, structures):
        """Energies (n,), ∂E/∂R (n_atoms, 3) and ∂E/∂strain (n, 3, 3)."""
        plets = _nplets.find_n_plets(structures, self.order, self.cutoff, half=True)
        energies, slopes = np.empty(len(plets.centers)), np.empty_like(plets.sides)
        for elements, chosen in plets.by_elements():
            sides = plets.sides[:, chosen]
            total, gradient = _nplets.cutoff_product(sides, self.cutoff, self.order)
            smooth = self.smooth_part(elements, sides)
            energies[chosen] = total * smooth[0]
            slopes[:, chosen] = gradient * smooth[0] + total * smooth[1:]
        owners = np.repeat(np.arange(len(structures)), structures.n_atoms)[plets.centers]
        sums = np.bincount(owners, energies, minlength=len(structures))
        pair_gradients = plets.pair_gradients(slopes)
        return sums, *collect(
            plets.starts, plets.neighbors, plets.vectors, pair_gradients, structures.offsets
        )
