"""Searches of the settings of sparse Gaussian processes, by cross-validation."""

import io
import itertools
import lzma

import ase.io
import numpy as np

from skatom import Structures, Targets
from skatom.model_selection import NoiseSearchCV

_NOISES = ("noise_energy", "noise_forces")


def read_grouped(path):
    """Structures, Targets and the kind of each structure; in the file of Ni, AIMD has no name."""
    with lzma.open(path, "rt") as file:
        text = io.StringIO(file.read())  # ASE seeks, which is slow in compressed files
    images = ase.io.read(text, index=":", format="extxyz")
    groups = np.array([str(image.info.get("group", "AIMD")) for image in images])
    return Structures.from_ase(images), Targets.from_ase(images), groups


def search(make_model, data, settings, stages, noises, displacement, name):
    """The best settings of a descriptor, one stage after the other.

    Parameters
    ----------
    make_model : callable
        A model for a dict of settings.
    data : tuple
        Structures, Targets and groups.
    settings : dict
        Those to begin with.
    stages : list of dict of lists
        Values to combine.
    noises : dict of lists
        Values of noise_energy and noise_forces, all of them tried with every combination.
    displacement : float
        How an error of forces is weighed against one of energies, Å.
    name : str
        Printed with each result.

    Returns
    -------
    dict
    """
    for grid in stages:
        found = []
        for values in itertools.product(*grid.values()):
            tried = dict(zip(grid, values, strict=True))
            noise = _searched(make_model(settings | tried), data, noises, (), displacement)
            found.append((noise.best_score_, tried | _noises(noise)))
            _report(name, found[-1][1], noise.best_errors_)
        settings = settings | min(found, key=lambda pair: pair[0])[1]
    return settings


def search_noises(model, data, settings, noises, factors, displacement, name):
    """Settings with the best noise of forces, and of energies for each group.

    What a model of finite cutoff and few representatives cannot express is larger for a surface or
    a melt than for a strained crystal. So the noise of each group is multiplied in turn by each of
    the ``factors``. Other parameters are those of `search`.

    Returns
    -------
    dict
    """
    noise = _searched(model, data, noises, factors, displacement)
    _report(name, _noises(noise), noise.best_errors_)
    return settings | _noises(noise)


def _searched(model, data, noises, configuration_factors, displacement):
    structures, targets, groups = data
    unit = model.get_params(deep=False)
    factors = {key: [value / unit[key] for value in noises[key]] for key in _NOISES}
    return NoiseSearchCV(
        model, factors, configuration_factors=configuration_factors, displacement=displacement
    ).fit(structures, targets, groups)


def _noises(search):
    return {key: search.best_params_[key] for key in _NOISES}


def _report(name, settings, errors):
    print(f"  {name}: {settings}: {1e3 * errors[0]:.3f} meV/atom, {errors[1]:.4f} eV/Å", flush=True)
