"""Solid-harmonic scattering with kymatio; run by the benchmark scattering in its own environment.

Usage: scattering.py BACKEND TASK DATA; BACKEND is numpy or torch. Prints one line of JSON: the
seconds of some transforms of a batch ("transform"), of a first one with its filters and densities
("first"), or the features ("features").
"""

import importlib
import json
import os
import sys
import time
import warnings

import numpy as np
from ase.io import read

warnings.simplefilter("ignore")  # what scipy says of sph_harm
N, J, L, SIGMA, POWERS = 32, 2, 3, 2.0, [0.5, 1.0, 2.0, 3.0]


def densities(structures):
    from kymatio.scattering3d.utils import generate_weighted_sum_of_gaussians

    grid = np.fft.ifftshift(
        np.mgrid[3 * (slice(-N // 2, N // 2),)].astype("float32"), axes=(1, 2, 3)
    )
    most = max(map(len, structures))
    positions, charges = np.zeros((len(structures), most, 3)), np.zeros((len(structures), most))
    for s, atoms in enumerate(structures):
        edge = atoms.cell.array[0, 0]
        positions[s, : len(atoms)] = atoms.positions * (N / edge) - N / 2
        charges[s, : len(atoms)] = atoms.numbers
    return generate_weighted_sum_of_gaussians(grid, positions, charges, SIGMA).astype("float32")


def scattering(backend):
    if backend == "torch":
        from kymatio.torch import HarmonicScattering3D
    else:
        from kymatio.numpy import HarmonicScattering3D
    transform = HarmonicScattering3D(
        J=J, shape=(N, N, N), L=L, sigma_0=SIGMA, integral_powers=POWERS
    )
    transform.method = "integral"
    return transform


def wrapped(backend):
    if backend == "numpy":
        return lambda x: x
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return torch.from_numpy


def main():
    backend, task, data = sys.argv[1:]
    structures, wrap = read(data, ":"), wrapped(backend)
    importlib.import_module(f"kymatio.{backend}")  # not part of what is timed
    if task == "first":
        start = time.perf_counter()
        transform = scattering(backend)
        for first in range(0, len(structures), 10):
            transform(wrap(densities(structures[first : first + 10])))
        print(json.dumps([time.perf_counter() - start]))
        return
    x, transform = wrap(densities(structures)), scattering(backend)
    if task == "features":
        print(json.dumps(np.asarray(transform(x)).tolist()))
        return
    times = []
    for _ in range(6):
        start = time.perf_counter()
        transform(x)
        times.append(time.perf_counter() - start)
    print(json.dumps(times[1:]))


if __name__ == "__main__":
    main()
