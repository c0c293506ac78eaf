"""Point scattering: microseconds for an atom, in cells of growing size.

    python -m benchmarks point_scattering

The time for an atom is constant, and that of a pullback a small multiple of it. Every
measurement is a process of its own, and times are the fastest of some runs. There is no peer:
wavelet scattering on grids, of the same wavelets, stands beside it.
"""

import numpy as np
from ase.build import bulk

from benchmarks.harness import own, repeated, run_process

SIZES = (2, 4, 8, 16)
LARGEST_GRID = 2


def alloy(size):
    """A rattled solid solution of aluminium and nickel of 4 size³ atoms."""
    rng = np.random.default_rng(0)
    atoms = bulk("Al", "fcc", a=3.8, cubic=True) * (size, size, size)
    atoms.numbers = rng.choice([13, 28], len(atoms))
    atoms.rattle(0.1, rng=rng)
    return atoms


def measure(setting, size):
    """Seconds of values and of a pullback."""
    from skatom.descriptors import PointScattering, WaveletScattering

    atoms = alloy(size)
    if setting == "grid":
        scattering = WaveletScattering(scales=(0, 1), beta=0.5, grid_spacing=0.245).fit([atoms])
    else:
        scattering = PointScattering(beta=0.5, scales=(0, 1), order=int(setting)).fit([atoms])
    features = scattering.transform([atoms])
    weights = np.ones(features.values.shape[1])
    values = repeated(lambda: scattering.transform([atoms]), 3)
    return [min(values), min(repeated(lambda: features.pullback(weights), 3))]


def run(options):
    print(f"microseconds for an atom\n{'':8s}   atoms  values  pullback")
    for setting in ("1", "2", "grid"):
        for size in SIZES[:LARGEST_GRID] if setting == "grid" else SIZES:
            values, pullback = run_process(own(measure, setting, size), options.threads)
            n_atoms = 4 * size**3
            label = setting if setting == "grid" else f"order {setting}"
            micro = [1e6 * seconds / n_atoms for seconds in (values, pullback)]
            print(f"{label:8s}{n_atoms:8d}{micro[0]:8.0f}{micro[1]:10.0f}", flush=True)
