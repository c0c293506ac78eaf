"""Products of the interactions of charges, structure by structure.

``matrices``, ``by_vectors`` and ``by_strain`` have the interactions of all structures, one after
the other, those of structure m from ``squares[m]`` on. Its atoms are ``begins[m]`` …
``ends[m] - 1``, and its coordinates, or those of its strain, begin at ``firsts[m]``.
"""

from skatom._numba import njit


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def add_potentials(first, last, squares, matrices, begins, ends, charges, out):
    """Add A q to ``out`` (n_atoms,)."""
    for m in range(first, last):
        begin, end, at = begins[m], ends[m], squares[m]
        for i in range(begin, end):
            total = 0.0
            for j in range(begin, end):
                total += matrices[at + j - begin] * charges[j]
            out[i] += total
            at += end - begin


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def add_slopes(first, last, squares, by_vectors, begins, ends, firsts, charges, out):
    """Add ∂(½ q A q)/∂R to ``out`` (n_coordinates,)."""
    for m in range(first, last):
        begin, end, at = begins[m], ends[m], squares[m]
        for i in range(begin, end):
            x, y, z = 0.0, 0.0, 0.0
            for j in range(begin, end):
                q = charges[j]
                x += by_vectors[at + j - begin, 0] * q
                y += by_vectors[at + j - begin, 1] * q
                z += by_vectors[at + j - begin, 2] * q
            place = firsts[m] + 3 * (i - begin)
            out[place] -= charges[i] * x
            out[place + 1] -= charges[i] * y
            out[place + 2] -= charges[i] * z
            at += end - begin


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def add_changes(first, last, squares, by_vectors, begins, ends, firsts, charges, vector, out):
    """Add the change of A along displacements, times q, to ``out`` (n_atoms,)."""
    for m in range(first, last):
        begin, end, at = begins[m], ends[m], squares[m]
        for i in range(begin, end):
            place, total = firsts[m] + 3 * (i - begin), 0.0
            x, y, z = vector[place], vector[place + 1], vector[place + 2]
            for j in range(begin, end):
                k, other = at + j - begin, firsts[m] + 3 * (j - begin)
                total += charges[j] * (
                    by_vectors[k, 0] * (vector[other] - x)
                    + by_vectors[k, 1] * (vector[other + 1] - y)
                    + by_vectors[k, 2] * (vector[other + 2] - z)
                )
            out[i] += total
            at += end - begin


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def add_strains(first, last, squares, by_strain, begins, ends, firsts, charges, out):
    """Add ∂(½ q A q)/∂ε to ``out`` (n_coordinates,)."""
    for m in range(first, last):
        begin, end, at = begins[m], ends[m], squares[m]
        for i in range(begin, end):
            for j in range(begin, end):
                both = 0.5 * charges[i] * charges[j]
                for c in range(by_strain.shape[1]):
                    out[firsts[m] + c] += both * by_strain[at + j - begin, c]
            at += end - begin


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def add_changes_by_strain(
    first, last, squares, by_strain, begins, ends, firsts, charges, vector, out
):
    """Add the change of A along strains, times q, to ``out`` (n_atoms,)."""
    for m in range(first, last):
        begin, end, at = begins[m], ends[m], squares[m]
        for i in range(begin, end):
            total = 0.0
            for j in range(begin, end):
                change = 0.0
                for c in range(by_strain.shape[1]):
                    change += by_strain[at + j - begin, c] * vector[firsts[m] + c]
                total += change * charges[j]
            out[i] += total
            at += end - begin
