"""Scattering of many structures: threads, jobs, normalisation and the choice of features."""

from collections import OrderedDict
from functools import cache, partial
from threading import Lock
from typing import NamedTuple

import numpy as np
from joblib import effective_n_jobs

from skatom._progress import tqdm, working_time
from skatom._warnings import warn
from skatom.descriptors.scattering.grids import BoxGrids, CellGrids
from skatom.descriptors.scattering.jacobian import jacobian
from skatom.descriptors.scattering.paths import Paths
from skatom.descriptors.scattering.tables import Tables
from skatom.descriptors.scattering.transform import Scene, features, gradients
from skatom.memory import check_memory
from skatom.parallel import available_threads, map_jobs, threads_over_blas

# Tables of filters that are kept for the next structure.
_TABLE_BYTES = 2**28
# Tables of the structures that threads work on at the same time, if there are few structures.
_TABLES_BYTES = 2**30
# denominators of ratios below this: the channel is empty in that structure
_EMPTY = 1e-12
# Seconds of all structures from which on they are announced.
_LONG = 60


class Settings(NamedTuple):
    """The settings of a fitted `WaveletScattering`."""

    species: np.ndarray
    charges: np.ndarray
    paths: Paths
    support: np.ndarray
    normalize: str | None
    beta: float
    spacing: float
    grid_shape: tuple | None
    reach: float  # of the wavelets of scale 0
    density_width: float


def over_jobs(function, settings, structures, *arrays, n_jobs, verbose):
    """``function(settings, structures, *arrays, update=...)`` in joblib's jobs, if any.

    It returns arrays over the structures or their atoms, which are concatenated.
    """
    n_jobs = min(effective_n_jobs(n_jobs), len(structures))
    if n_jobs == 1:
        with tqdm(
            total=len(structures), desc="WaveletScattering", unit="structure",
            disable=not verbose, leave=False,
        ) as progress:  # fmt: skip
            update = _announcing(progress.update, len(structures), settings.paths.fineness > 0)
            return function(settings, structures, *arrays, update=update)
    edges = np.linspace(0, len(structures), n_jobs + 1).astype(int)
    slices = [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    parts = list(map_jobs(
        partial(_of_part, function, settings),
        [[structures[s], *(a[s] for a in arrays)] for s in slices],
        n_jobs, verbose=verbose, desc="WaveletScattering", unit="part",
    ))  # fmt: skip
    if isinstance(parts[0], tuple):
        return tuple(np.concatenate(same) for same in zip(*parts, strict=True))
    return np.concatenate(parts)


def _announcing(update, n, fine):
    """A function that counts structures, and says once how long all take, if that is long."""
    start, done, said = working_time(), 0, False

    def counted(k=1):
        nonlocal done, said
        update(k)
        done += k
        left = (working_time() - start) / done * (n - done)
        if left > _LONG and not said:
            said = True
            remedy = "select the features that a model needs, or give a larger grid_spacing"
            if fine:
                remedy = (
                    "alias=1e-3 takes a tenth of it, with errors of up to 1e-2 instead of 1e-4; or "
                    "select the features that a model needs"
                )
            warn(
                f"WaveletScattering: the other {n - done} structures take about {left:.0f} s: "
                + remedy,
                UserWarning,
            )

    return counted


def _of_part(function, settings, part):
    return function(settings, *part)


def transform_batch(settings, structures, update=None):
    """Features (n, n_features)."""
    needed = np.zeros(len(settings.paths), bool)
    needed[settings.support] = True
    rows = np.empty((len(structures), len(settings.support)))
    tasks_on = _once(partial(needed_tasks, settings, needed))

    def one(s, scene, run):
        orders = features(scene, tasks_on(_map_points(scene)), run)
        rows[s] = _flat(_normalized(settings, scene, orders))[settings.support]

    _run(settings, structures, one, update)
    return rows


def pullback_batch(settings, structures, cotangent, update=None):
    """Gradients (n_atoms, 3) and virials (n, 3, 3) for cotangents (n, n_features)."""
    gradient = np.empty_like(structures.positions)
    virial = np.empty((len(structures), 3, 3))

    def one(s, scene, run):
        bars = np.zeros(len(settings.paths))
        bars[settings.support] = cotangent[s]
        tasks = needed_tasks(settings, bars != 0, _map_points(scene))
        first, second = _raw_cotangents(settings, scene, tasks, bars, run)
        start, stop = structures.offsets[s : s + 2]
        gradient[start:stop], virial[s] = gradients(scene, tasks, first, second, run)

    _run(settings, structures, one, update)
    return gradient, virial


def jacobian_batch(settings, structures, needed, update=None):
    """Derivatives (n_atoms, 3, n_features) and strains (n, 3, 3, n_features), zero if not needed.

    ``needed``: mask (n_features,).
    """
    gradients = np.zeros((len(structures.numbers), 3, len(needed)))
    strains = np.zeros((len(structures), 3, 3, len(needed)))
    wanted = np.zeros(len(settings.paths), bool)
    wanted[settings.support[needed]] = True
    tasks_on = _once(partial(needed_tasks, settings, wanted))

    def one(s, scene, run):
        tasks = tasks_on(_map_points(scene))
        rows = _raw_jacobian(settings, scene, tasks, wanted, run)[settings.support[needed]]
        start, stop = structures.offsets[s : s + 2]
        gradients[start:stop, :, needed] = np.moveaxis(rows[:, :-3], 0, -1)
        strains[s][:, :, needed] = np.moveaxis(rows[:, -3:], 0, -1)

    _run(settings, structures, one, update)
    return gradients, strains


def _once(function):
    """The function with its results kept: structures have grids of the same sizes.

    One thread computes a result, and others wait for it.
    """
    kept, lock = cache(function), Lock()

    def call(argument):
        with lock:
            return kept(argument)

    return call


def _run(settings, structures, one, update):
    """Call ``one(s, scene, run)`` for all structures.

    Threads share the structures and, when no structure is left, the tasks of the others; only the
    tasks where the tables of a structure are large.
    """
    largest = _check_grids(settings, structures)
    scenes = _Scenes(settings, structures)
    threads = available_threads()
    with threads_over_blas() as pool:
        together = len(structures) >= 2 * threads or largest * threads < _TABLES_BYTES
        outer = pool.map if together else map
        for _ in outer(lambda s: one(s, scenes[s], pool.map), range(len(structures))):
            if update:
                update()


def _check_grids(settings, structures):
    """MemoryError if the largest grid, with its tables and one task a thread, would not fit.

    Returns the size of these tables in bytes.
    """
    paths = settings.paths
    if not paths.wavelets:
        return 0.0
    largest, s = _largest_grid(settings, structures)
    l_max = max(w.l for w in paths.wavelets)
    tables = 0.5 * ((l_max + 1) ** 2 + 5 + len(paths.wavelets))
    numbers = tables + available_threads() * (4 * (2 * l_max + 1) + 4)
    check_memory(
        8.0 * largest * numbers,
        f"the grid of structure {s}, of {largest:.3g} points,",
        "increase grid_spacing or alias, reduce padding or leave out the largest scales of "
        "molecules, or use fewer threads",
    )
    return 8.0 * largest * tables


def _largest_grid(settings, structures):
    """Points of the largest grid, and the structure that has it."""
    wavelets = settings.paths.wavelets
    levels = [settings.paths.level(w) for w in range(len(wavelets))]
    boxes = {(level, 2.0**w.j) for level, w in zip(levels, wavelets, strict=True)}
    boxes |= {
        (levels[b], 2.0 ** wavelets[a].j + 2.0 ** wavelets[b].j) for a, b in settings.paths.pairs
    }
    widest = dict(sorted(boxes))  # the last reach of a level

    def points(s):
        grids = grids_of(settings, structures, s, make_tables=None)
        return max(grids.estimate(level, settings.reach * reach) for level, reach in widest.items())

    return max((points(s), s) for s in range(len(structures)))


def grids_of(settings, structures, s, make_tables):
    if structures.pbc[s].all():
        return CellGrids(structures.cells[s], settings.spacing, settings.grid_shape, make_tables)
    atoms = slice(*structures.offsets[s : s + 2])
    return BoxGrids(structures.positions[atoms], settings.spacing, make_tables)


class _Scenes:
    """The `Scene` of each structure of a batch."""

    def __init__(self, settings, structures):
        self.settings = settings
        self.structures = structures
        self.species = np.searchsorted(settings.species, structures.numbers)
        self.tables = _TableCache(settings)

    def __getitem__(self, s):
        x, settings = self.structures, self.settings
        atoms = slice(*x.offsets[s : s + 2])
        grids = grids_of(settings, x, s, self.tables)
        return Scene(
            grids, x.positions[atoms], self.species[atoms], settings.charges, settings.paths,
            settings.reach, settings.density_width,
        )  # fmt: skip


class _TableCache:
    """Tables by shape and box, the most recent ones, up to a size."""

    def __init__(self, settings):
        self.beta = settings.beta
        self.l_max = max((w.l for w in settings.paths.wavelets), default=0)
        self._tables, self._unseen = OrderedDict(), 0
        self._lock = Lock()

    def __call__(self, shape, box):
        key = (shape, box.tobytes())
        with self._lock:
            tables = self._tables.get(key)
            if tables is None:
                tables = Tables(shape, box, self.beta, self.l_max)
                self._make_room(tables)
                self._tables[key] = tables
            else:
                self._tables.move_to_end(key)
        return tables

    def _make_room(self, tables):
        self._unseen += tables.n_bytes + 8 * tables.size * (self.l_max + 1) ** 2
        if self._unseen < _TABLE_BYTES / 16:  # many small ones are not counted for each
            return
        self._unseen = 0
        room = _TABLE_BYTES - sum(t.n_bytes for t in self._tables.values())
        while room < 0 and self._tables:
            _, oldest = self._tables.popitem(last=False)
            room += oldest.n_bytes


def _map_points(scene):
    """Points of the grids of all first-order maps."""
    return tuple(scene.first_grid(*of_map).n_points for of_map in scene.paths.maps)


def needed_tasks(settings, needed, map_points):
    """Tasks that compute the needed ones (n_all,) of all features, and their denominators."""
    _, first, second = (part.any(axis=-1) for part in settings.paths.split(needed))
    if settings.normalize == "ratio":
        for pair, (a, _) in enumerate(settings.paths.pairs):
            first[:, a] |= second[:, pair]
    return settings.paths.tasks(first, second, map_points)


def _normalized(settings, scene, orders):
    """The features of the three orders from the integrals."""
    zeroth, first, second = orders
    n_atoms = scene.counts.sum()
    if settings.normalize is None:
        return orders
    if settings.normalize == "per_atom":
        return [part / n_atoms for part in orders]
    starts = first[:, [a for a, _ in settings.paths.pairs]]
    return zeroth / n_atoms, _ratio(first, zeroth[:, None]), _ratio(second, starts)


def _raw_cotangents(settings, scene, tasks, bars, run):
    """Cotangents of the integrals of first and second order from those of the features."""
    _, first, second = settings.paths.split(bars)
    if settings.normalize is None:
        return first, second
    if settings.normalize == "per_atom":
        n_atoms = scene.counts.sum()
        return first / n_atoms, second / n_atoms
    zeroth, sums, pair_sums = (np.nan_to_num(part) for part in features(scene, tasks, run))
    starts = np.array([a for a, _ in settings.paths.pairs], dtype=int)
    first = _ratio(first, zeroth[:, None])
    np.subtract.at(first, (slice(None), starts), _ratio(second * pair_sums, sums[:, starts] ** 2))
    return first, _ratio(second, sums[:, starts])


def _raw_jacobian(settings, scene, tasks, wanted, run):
    """Derivatives of all features, (n_all, N + 3, 3); zero where they are not wanted."""
    _, first, second = settings.paths.split(wanted)
    starts = np.array([a for a, _ in settings.paths.pairs], dtype=int)
    if settings.normalize == "ratio":
        first = first.copy()
        np.logical_or.at(first, (slice(None), starts), second)
    raw = jacobian(scene, tasks, first, second, run)
    zeroth, ones, twos = raw.rows
    if settings.normalize == "per_atom":
        ones, twos = ones / scene.counts.sum(), twos / scene.counts.sum()
    elif settings.normalize == "ratio":
        charges = scene.charges[:, :, None] ** scene.exponents
        bottom = np.einsum("s,csq->cq", scene.counts, charges)[:, None]
        sums = raw.first[:, starts]
        twos = twos * _ratio(1.0, sums)[..., None, None]
        twos -= ones[:, starts] * _ratio(raw.second, sums**2)[..., None, None]
        ones = ones * _ratio(1.0, bottom)[..., None, None]
    return np.concatenate([part.reshape(-1, *zeroth.shape[2:]) for part in (zeroth, ones, twos)])


def _ratio(a, b):
    return np.where(b > _EMPTY, a / np.where(b > _EMPTY, b, 1.0), 0.0)


def _flat(orders):
    return np.concatenate([part.ravel() for part in orders])
