"""Scattering of many structures on a device: batches of structures whose grids agree."""

from importlib import import_module
from typing import NamedTuple

import numpy as np

from skatom.descriptors.scattering.batch import grids_of, needed_tasks
from skatom.descriptors.scattering.paths import TASK_POINTS
from skatom.descriptors.scattering.transform import Scene

# Points of the maps of all channels that are made at once, on torch's CPU and on a card. A field
# has 8 bytes for each and each m, and some six are held at a time.
_POINTS = {False: 2**17, True: 2**23}
_HELD = 6


class Outline(NamedTuple):
    """What a `Grid` needs of the `Tables` that a device makes for itself."""

    shape: tuple
    box: bytes


def values(settings, structures, device):
    """Features (n, n_features), a tensor."""
    loops = _loops()
    found = device.zeros(len(structures), len(settings.support))
    support = device.tensor(settings.support)
    needed = np.zeros(len(settings.paths), bool)
    needed[settings.support] = True
    for rows, scenes, tasks in _batches(settings, structures, needed, device):
        found[device.tensor(rows)] = loops.values(scenes, tasks)[:, support]
    return found


def pullback(settings, structures, cotangent, device):
    """Gradients (n_atoms, 3) and virials (n, 3, 3) for cotangents (n, n_features); tensors."""
    loops = _loops()
    gradient = device.zeros(len(structures.numbers), 3)
    virial = device.zeros(len(structures), 3, 3)
    support = device.tensor(settings.support)
    needed = np.zeros(len(settings.paths), bool)
    needed[settings.support] = device.array((cotangent != 0).any(0))
    for rows, scenes, tasks in _batches(settings, structures, needed, device):
        bars = device.zeros(len(rows), len(settings.paths))
        bars[:, support] = cotangent[device.tensor(rows)]
        slopes, strains = loops.pullback(scenes, tasks, bars)
        gradient[device.tensor(_atoms(structures, rows))] = slopes.reshape(-1, 3)
        virial[device.tensor(rows)] = strains
    return gradient, virial


def jacobian(settings, structures, needed, device):
    """Derivatives (n_atoms, 3, n_features) and strains (n, 3, 3, n_features), zero if not needed.

    ``needed``: mask (n_features,).
    """
    loops = _loops()
    gradients = device.zeros(len(structures.numbers), 3, len(needed))
    strains = device.zeros(len(structures), 3, 3, len(needed))
    columns = device.tensor(np.flatnonzero(needed))
    wanted = np.zeros(len(settings.paths), bool)
    wanted[settings.support[needed]] = True
    chosen = device.tensor(settings.support[needed])
    for rows, scenes, tasks in _batches(settings, structures, wanted, device):
        found = loops.jacobian_rows(scenes, tasks, wanted)[:, chosen]
        slopes = found[:, :, :-3].permute(0, 2, 3, 1).flatten(0, 1)
        atoms = device.tensor(_atoms(structures, rows))
        gradients[atoms[:, None], :, columns] = slopes.transpose(1, 2)
        places = device.tensor(rows)[:, None]
        strains[places, :, :, columns] = found[:, :, -3:]
    return gradients, strains


def _loops():
    return import_module("skatom.descriptors._torch.scattering")


def _atoms(structures, rows):
    """The atoms of some structures of equal size, one structure after the other."""
    n_atoms = structures.offsets[rows[0] + 1] - structures.offsets[rows[0]]
    return (structures.offsets[rows][:, None] + np.arange(n_atoms)).ravel()


def _batches(settings, structures, needed, device):
    """(structures, `TensorScenes`, tasks) of batches whose grids agree and fit in memory."""
    species = np.searchsorted(settings.species, structures.numbers)
    groups, scenes = {}, []
    for s in range(len(structures)):
        atoms = slice(*structures.offsets[s : s + 2])
        scenes.append(Scene(
            grids_of(settings, structures, s, lambda shape, box: Outline(shape, box.tobytes())),
            structures.positions[atoms], species[atoms], settings.charges, settings.paths,
            settings.reach, settings.density_width,
        ))  # fmt: skip
        groups.setdefault(_layout(scenes[-1]), []).append(s)
    most = _POINTS[device.is_card]
    make = _loops().TensorScenes
    for layout, group in groups.items():
        points = layout[2]
        # as many channels at once as fit
        scaled = [max(1, n * TASK_POINTS // most) for n in points]
        tasks = needed_tasks(settings, needed, scaled)
        channels = max((len(task.channels) for task in tasks), default=1)
        largest = max((np.prod(shape) for shape, _ in layout[3]), default=1)
        together = max(1, most // (channels * largest))
        for start in range(0, len(group), together):
            rows = np.array(group[start : start + together])
            _check_memory(settings, layout, len(rows) * channels, rows[0], device)
            yield rows, make([scenes[s] for s in rows], settings, device), tasks


def _layout(scene):
    """What structures of one batch have in common: atoms, periodicity and the sizes of grids."""
    paths = scene.paths
    firsts = [scene.first_grid(*of_map) for of_map in paths.maps]
    seconds = [scene.second_grid(pair) for pair in range(len(paths.pairs))]
    sizes = tuple((grid.shape, grid.tables.shape) for grid in [*firsts, *seconds])
    return (
        len(scene.positions), scene.grids.periodic, tuple(grid.n_points for grid in firsts), sizes,
    )  # fmt: skip


def _check_memory(settings, layout, fields, s, device):
    """MemoryError if the maps of a task and the tables of all grids would not fit."""
    wavelets = settings.paths.wavelets
    l_max = max((w.l for w in wavelets), default=0)
    largest = max((float(np.prod(shape)) for shape, _ in layout[3]), default=0.0)
    bands = {band for _, band in layout[3]}
    tables = sum(float(np.prod(band)) for band in bands)
    n_tables = 2 * (l_max + 1) ** 2 + len(wavelets) * (2 * l_max + 1)
    device.check_memory(
        8.0 * (_HELD * (2 * l_max + 1) * largest * fields + n_tables * tables),
        f"the grid of structure {s}, of {largest:.3g} points,",
        "increase grid_spacing or alias, reduce padding or leave out the largest scales of "
        "molecules",
    )
