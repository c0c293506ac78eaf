"""Parts of the same structures to which models are fitted, and one matrix of all of them."""

import numpy as np

from skatom.solvers.stored_matrix import fits_beside_factor, is_worth_storing


class SharedParts:
    """Parts of some structures, and what fits to them copy from, for one key at a time.

    Parameters
    ----------
    parts : list of ndarray of int, sorted
        Indices of the structures of each part.
    """

    def __init__(self, parts):
        self.parts = parts
        self.rows = np.unique(np.concatenate(parts))
        self.begin(0)

    def begin(self, n_models):
        """Forget the matrix; the next fits are those of so many models with equal matrices."""
        self._n_models, self._kept = n_models, {}

    def kept(self, key, make):
        """What ``make()`` gives, made again only after another key was asked for."""
        if key not in self._kept:
            self._kept = {key: make()}
        return self._kept[key]

    def pays(self, sizes, n_rows, max_memory, device):
        """Whether one matrix saves work, and fits in memory beside the factor of a part.

        Parameters
        ----------
        sizes : list of int
            Number of structures of each part with this matrix.
        n_rows : tuple of int
            Rows of the matrix, and of the factor.
        max_memory, device : as for `fits_beside_factor`
        """
        saves = is_worth_storing(self._n_models, sizes, len(self.rows))
        return saves and fits_beside_factor(*n_rows, max_memory, device)
