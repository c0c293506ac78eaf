"""The mean of a Gaussian process with an n-body kernel: a function of single n-plets."""

from time import perf_counter

import numpy as np

from skatom._cpu.pairs import collect
from skatom.base import Predictor, TupleKeys
from skatom.kernels._cpu import nbody as _cpu
from skatom.kernels.nbody import functionals, nplets
from skatom.kernels.nbody.features import RadialBasis, sums_of_products
from skatom.parallel import available_threads, run_in_threads, split_rows, threads_over_blas

# n-plets whose basis functions are tabulated at once.
_CHUNK = 1024
# So many times as many n-plets are worth an estimate of the time of their table.
_PIECES_TIMED = 50
# The largest basis, in products of functions, for each training n-plet. A product costs a few
# operations, an exponential of the sum some 20.
_LARGEST = 8


class NPletExpansion(TupleKeys, Predictor):
    r"""An energy that is a sum over pairs or triangles, expanded in those of the training set.

    .. math:: E = \sum_T F(T) S(T), \qquad S(T) = \delta^2 \sum_{T'} [w_0 + w \cdot
        \partial_{T'}] \exp(-|T - T'|^2 / 2 \sigma^2)

    F is the product of the cutoff functions. S is kept in a basis of functions of each side, so
    that the cost of a prediction does not depend on the training set. Where a side is much shorter
    than all of the training set, outside of the interval of the basis, or the basis is larger than
    the training set, the sum over training n-plets is evaluated itself.

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
        self._tables = {}

    def __getstate__(self):
        return super().__getstate__() | {"_tables": {}}

    def table(self, elements):
        """The interval of the sides, a basis of it, and S in the basis; None: no gain.

        It is made at the first prediction: a process that is only tabulated does not need it.
        """
        if elements not in self._tables:
            self._tables[elements] = self._new_table(elements)
        return self._tables[elements]

    def _new_table(self, elements):
        found = self._new_basis(elements)
        return None if found is None else (*found, self.tensor(elements, found[2]))

    def _new_basis(self, elements):
        """The interval of the sides and a basis of it, or None."""
        if elements not in self.centers:
            return None
        sides = self.centers[elements][: self.n_sides]
        if not sides.size:
            return None
        low = max(sides.min() - self.sigma, 0.0)
        high = sides.max() if self.cutoff.radius is None else self.cutoff.radius
        basis = RadialBasis(low, high, self.sigma)
        n_products = sides.shape[1] * len(nplets.like_sides(elements))
        if len(basis) ** self.n_sides > _LARGEST * n_products:
            return None
        return low, high, basis

    def seconds_of_tables(self):
        """About the time in which the tables are made that are not there yet."""
        seconds = 0.0
        for elements, centers in self.centers.items():
            n_pieces = centers.shape[1] // _CHUNK
            if elements in self._tables or n_pieces < _PIECES_TIMED:
                continue
            found = self._new_basis(elements)
            if found is not None:
                self._of_piece(elements, found[2], slice(0, 1))  # loads what is compiled
                start = perf_counter()
                self._of_piece(elements, found[2], slice(0, _CHUNK))
                seconds += n_pieces * (perf_counter() - start) / available_threads()
        return seconds

    @property
    def n_sides(self):
        """1 for pairs, 3 for triangles."""
        return 1 if self.order == 2 else 3

    @property
    def shortest(self):
        """The shortest side of the training set, Å."""
        return min(
            (sides[: self.n_sides].min(initial=np.inf) for sides in self.centers.values()),
            default=np.inf,
        )

    def smooth_part(self, elements, sides):
        """S and ∂S/∂T, shape (4, n), of sides (3, n); zero for elements without training data."""
        table = self.table(elements)
        if table is None:
            return self.sum_over_training(elements, sides)
        low, high, basis, tensor = table
        inner = sides[: self.n_sides]
        inside = ((low <= inner) & (inner <= high)).all(axis=0)
        out = np.empty((4, sides.shape[1]))
        out[:, inside] = _in_basis(basis, tensor, inner[:, inside])
        if not inside.all():
            out[:, ~inside] = self.sum_over_training(elements, sides[:, ~inside])
        return out

    def sum_over_training(self, elements, sides):
        """S and ∂S/∂T, shape (4, n), by the sum over all training n-plets."""
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
        pieces = split_rows(self.centers[elements].shape[1], _CHUNK)
        with threads_over_blas() as pool:
            total = sum(pool.map(lambda piece: self._of_piece(elements, basis, piece), pieces))
        if self.n_sides == 1:
            return total
        return sum(total.transpose(p) for p in nplets.like_sides(elements))

    def _of_piece(self, elements, basis, piece):
        """What some of the training n-plets add to the tensor."""
        centers, weights = self.centers[elements][:, piece], self.weights[elements][:, piece]
        part = functionals.Part(np.array([0, centers.shape[1]]), centers, weights[None])
        return sum(found[0, 0] for _, found in sums_of_products(part, basis, self.n_sides))

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
            total, gradient = functionals.cutoff_product(sides, self.cutoff, self.order)
            smooth = self.smooth_part(elements, sides)
            energies[chosen] = total * smooth[0]
            slopes[:, chosen] = gradient * smooth[0] + total * smooth[1:]
        return plets, energies, slopes

    def _of_structures(self, structures, plets, energies):
        owners = np.repeat(np.arange(len(structures)), structures.n_atoms)[plets.centers]
        return np.bincount(owners, energies, minlength=len(structures))


def _in_basis(basis, tensor, sides):
    """S and ∂S/∂T, shape (4, n), from its tensor in a basis."""
    n = sides.shape[1]
    out = np.zeros((4, n))
    with threads_over_blas() as pool:
        for _ in pool.map(
            lambda piece: _fill(basis, tensor, sides[:, piece], out[:, piece]),
            split_rows(n, _CHUNK),
        ):
            pass
    return out


def _fill(basis, tensor, sides, out):
    values, slopes = (np.stack(tables) for tables in zip(*map(basis, sides), strict=True))
    if len(sides) == 1:
        out[0], out[1] = values[0] @ tensor, slopes[0] @ tensor
    else:
        _cpu.contract(tensor, values, slopes, out)
