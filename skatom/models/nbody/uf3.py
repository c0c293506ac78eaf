r"""Triangles as tensor products of cubic B-splines, for ``pair_style uf3`` of LAMMPS.

A triangle of the atoms i, j and k has a third of its energy at each of them,

.. math::

    \tfrac13 V_3(r_{ij}, r_{ik}, r_{jk}) \approx \sum_{lmn} c_{lmn}\,
    B_l(r_{ij})\, B_m(r_{ik})\, B_n(r_{jk}).

LAMMPS reads a line of a file up to 1023 characters, so there are little more than a hundred knots
along a side, and coefficients are integers, in units of `SCALE`. Knots are as dense as the fourth
derivative of V₃ requires, and double where its second derivative jumps: at the first knot of the
tables, where cutoff functions begin, and at the cutoff.
"""

from datetime import date
from itertools import combinations_with_replacement

import numpy as np
from scipy.interpolate import BSpline
from scipy.ndimage import gaussian_filter1d

from skatom._cpu.cutoffs import COSINE
from skatom._files import written_whole

# Å: where the splines begin, and how far beyond the cutoff they end, so that LAMMPS finds an
# interval for every distance.
_BEGIN, _BEYOND = 0.01, 0.1
_LONGEST_LINE = 1010  # characters, of 1023
SCALE = 1e-8  # eV, the unit of coefficients
_FEWEST_CELLS = 40
_LARGEST = 1e4  # eV
# Cells along r_ij and r_ik for each along r_jk, whose coefficients are on one line; knots are.
_MORE, _MOST_CELLS = 1.3, 128
# The curvature of V₃ is looked at along lines through so many triangles, at so many points; where
# it is small, knots are at least this dense, relative to where they are densest.
_LINES, _POINTS, _SPARSEST = 150, 400, 0.1
_JUDGED = 2000


def write_triangles(model, path, symbols):
    """Write the triangles of a `MappedForceField`.

    Parameters
    ----------
    model : MappedForceField
    path : Path
    symbols : list of str
        Of the species of the model.
    """
    tables = [table for table in model.expansion_.tables if table.order == 3]
    high = max(float(table.cutoff.radius) for table in tables)
    blocks, errors = [], []
    for i in range(len(symbols)):
        for j, k in combinations_with_replacement(range(len(symbols)), 2):
            text, error = _triangle_block(model, tables, (i, j, k), symbols, high)
            blocks.append(text)
            errors.append(error)
    with written_whole(path) as beside, beside.open("w") as file:
        file.write(
            f"# largest error of the slopes of V3 among {_JUDGED} triangles: "
            f"{max(errors):.1e} eV/Angstrom\n"
        )
        for a, first in enumerate(symbols):
            for second in symbols[a:]:
                file.write(_no_pairs(first, second, high))
        file.writelines(blocks)


def _header():
    return f"#UF3 POT UNITS: metal DATE: {date.today()} AUTHOR: skatom CITATION: none\n"


def _no_pairs(first, second, high):
    """A block of pairs without energy: the file must have one, and its cutoff."""
    knots = np.array([_BEGIN] * 4 + [high / 2] + [high + _BEYOND] * 4)
    return (
        f"{_header()}2B {first} {second} 0 3 nk\n{high:.12g} {len(knots)}\n{_line(knots)}\n"
        f"{len(knots) - 4}\n{' '.join((len(knots) - 4) * ['0'])}\n#\n"
    )


def _triangle_block(model, tables, species, symbols, high):
    """The text of a block, and the largest error of slopes."""
    elements = model.species_[list(species)]
    names = " ".join(symbols[s] for s in species)

    def energy(sides):
        values, slopes = model.triangle_energy(elements, sides)
        return values / 3, slopes / 3

    rng = np.random.default_rng(0)
    low = tables[0].grid[0]
    largest = 3 * np.abs(energy(_triangles(_JUDGED, low, high, rng))[0]).max()
    if not largest < _LARGEST:
        raise ValueError(
            f"the energies of triangles of {names} are up to {largest:.2g} eV, which the format of "
            f"LAMMPS, with {SCALE:g} eV, cannot hold: raise r_min"
        )
    sides, third, coefficients, lines = _fitted(energy, tables, high, rng)
    n, _, n_third = coefficients.shape
    head = (
        f"{_header()}3B {names} 0 3 nk\n{2 * high:.12g} {high:.12g} {high:.12g} "
        f"{n_third + 4} {n + 4} {n + 4}\n{_line(third)}\n{_line(sides)}\n{_line(sides)}\n"
        f"{n} {n} {n_third}\n"
    )
    error = _largest_error(energy, sides, third, coefficients, low, high, rng)
    return "".join([head, *(f"{line}\n" for line in lines), "#\n"]), 3 * error


def _fitted(energy, tables, high, rng):
    """Knots along r_ij and r_ik and along r_jk, coefficients, and their lines.

    There are as many knots as fit in a line; how long the numbers are is seen with a few.
    """
    density = _density_of_knots(energy, tables, high, rng)
    n_cells, longest = _FEWEST_CELLS, np.inf
    while True:
        sides = _knots(tables, high, density, min(_MOST_CELLS, round(_MORE * n_cells)))
        third = _longer(_knots(tables, high, density, n_cells), high, len(sides))
        coefficients = _coefficients(energy, sides, third)
        rows = coefficients.reshape(-1, coefficients.shape[2]).tolist()
        lines = [" ".join(map(str, row)) for row in rows]
        longest = max(map(len, lines))
        enough = n_cells == _MOST_CELLS or longest > 0.8 * _LONGEST_LINE or not coefficients.any()
        if enough and longest < _LONGEST_LINE:
            return sides, third, coefficients, lines
        n_cells = min(_MOST_CELLS, int(0.97 * n_cells * _LONGEST_LINE / longest))


def _line(knots):
    return " ".join(f"{x:.9g}" for x in knots)


def _triangles(n, low, high, rng):
    """Sides (n, 3) of random triangles."""
    sides = rng.uniform(low, high, size=(8 * n, 3))
    return sides[2 * sides.max(axis=1) < sides.sum(axis=1)][:n]


def _density_of_knots(energy, tables, high, rng):
    """Points along a side, and how dense knots should be there: (fourth derivative)^(1/3).

    The error of a slope is proportional to the fourth derivative and the cube of the spacing.
    """
    low = tables[0].grid[0]
    r = np.linspace(low, high, _POINTS)
    squares = np.zeros(_POINTS - 4)
    for axis in range(3):
        for triangle in _triangles(_LINES // 3, low, high, rng):
            sides = np.tile(triangle, (_POINTS, 1))
            sides[:, axis] = r
            squares += np.diff(energy(sides)[0], 4) ** 2
    size, inner = np.sqrt(squares), r[2:-2]
    for place in _breaks(tables, high):  # where a jump is no curvature
        near = np.abs(inner - place) < 5 * (r[1] - r[0])
        size[near] = np.interp(inner[near], inner[~near], size[~near])
    size = gaussian_filter1d(size, 4) + 1e-300
    return inner, np.maximum((size / size.max()) ** (1 / 3), _SPARSEST)


def _breaks(tables, high):
    """Distances within the range where second derivatives of V₃ jump."""
    places = set()
    for table in tables:
        places.add(float(table.cutoff.radius))
        if table.cutoff.code == COSINE:
            places.add(float(table.cutoff.radius - table.cutoff.width))
    low = max(table.grid[0] for table in tables)
    return sorted(place for place in places if low < place < high)


def _knots(tables, high, density, n_cells):
    """The knots along a side, with double ones at the breaks."""
    low = tables[0].grid[0]
    edges = [low, *_breaks(tables, high), high]
    r, weights = density
    shares = np.concatenate([[0.0], np.cumsum(weights)])
    places = np.linspace(low, high, len(shares))
    knots = [[_BEGIN] * 4]
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        first, last = np.interp([begin, end], places, shares)
        n = max(2, round(n_cells * (last - first) / shares[-1]))
        between = np.interp(np.linspace(first, last, n + 1)[1:-1], shares, places)
        knots += [[begin] * 2, np.round(between, 4)]
    return np.concatenate([*knots, [high] * 2, [high + _BEYOND] * 4])


def _longer(knots, high, n):
    """Knots of r_jk, up to twice the cutoff, and at least n: LAMMPS takes r_jk to have the most."""
    end = 2 * high + _BEYOND
    more = np.linspace(high, end, max(0, n - len(knots)) + 2)[1:-1]
    return np.concatenate([knots[:-4], np.round(more, 2), [end] * 4])


def _coefficients(energy, sides, third):
    """Coefficients along r_ij, r_ik and r_jk: integers, in units of `SCALE`."""
    places, along = _centers(sides), _centers(third)
    n, n_third = len(places), len(along)
    values = np.empty((n, n, n_third))
    plane = np.stack(np.meshgrid(places, along, indexing="ij"), axis=-1).reshape(-1, 2)
    for first, side in enumerate(places):
        corners = np.column_stack([np.full(len(plane), side), plane])
        values[first] = energy(corners)[0].reshape(n, n_third)
    for knots, x in ((sides, places), (sides, places), (third, along)):
        solve = np.linalg.inv(BSpline.design_matrix(x, knots, 3).toarray())
        values = np.tensordot(values, solve, axes=(0, 1))  # the next axis is then the first
    return np.rint(values / SCALE).astype(np.int64)


def _centers(knots):
    """A place for each B-spline, where it is large."""
    means = [knots[m + 1 : m + 4].mean() for m in range(len(knots) - 4)]
    return np.clip(means, knots[0], knots[-1])  # against rounding


def _largest_error(energy, sides, third, coefficients, low, high, rng):
    """The largest difference of slopes along r_jk, of a third of V₃."""
    triangles = _triangles(_JUDGED, low, high, rng)
    basis = [BSpline.design_matrix(triangles[:, x], sides, 3).toarray() for x in (0, 1)]
    slopes = SCALE * BSpline(third, np.eye(len(third) - 4), 3)(triangles[:, 2], 1)
    coefficients = coefficients.astype(float)
    found = np.empty(len(triangles))
    for some in np.array_split(np.arange(len(triangles)), 20):
        rows = np.tensordot(basis[0][some], coefficients, (1, 0))
        found[some] = np.einsum("sbc,sb,sc->s", rows, basis[1][some], slopes[some], optimize=True)
    return np.abs(found - energy(triangles)[1][:, 2]).max()
