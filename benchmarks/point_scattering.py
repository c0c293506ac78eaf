"""Point scattering: microseconds for an atom, in cells of growing size.

    python benchmarks/point_scattering.py

The time for an atom is constant, and that of a pullback a small multiple of it. Two threads;
every measurement is a process of its own, and times are the fastest of some runs. There is no peer:
wavelet scattering on grids, of the same wavelets, stands beside it.
"""

import argparse
import json
import sys

import numpy as np
from ase.build import bulk
from harness import repeated, run_process

THREADS = 2
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

    atoms = alloy(int(size))
    if setting == "grid":
        scattering = WaveletScattering(scales=(0, 1), beta=0.5).fit([atoms])
    else:
        scattering = PointScattering(beta=0.5, scales=(0, 1), order=int(setting)).fit([atoms])
    features = scattering.transform([atoms])
    weights = np.ones(features.values.shape[1])
    values = repeated(lambda: scattering.transform([atoms]), 3)
    return [min(values), min(repeated(lambda: features.pullback(weights), 3))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    print(f"microseconds for an atom, {THREADS} threads\n{'':8s}   atoms  values  pullback")
    for setting in ("1", "2", "grid"):
        for size in SIZES[:LARGEST_GRID] if setting == "grid" else SIZES:
            arguments = (sys.executable, __file__, "--measure", setting, size)
            values, pullback = run_process(*arguments, threads=THREADS)
            n_atoms = 4 * size**3
            label = setting if setting == "grid" else f"order {setting}"
            micro = [1e6 * seconds / n_atoms for seconds in (values, pullback)]
            print(f"{label:8s}{n_atoms:8d}{micro[0]:8.0f}{micro[1]:10.0f}", flush=True)


if __name__ == "__main__":
    main()
