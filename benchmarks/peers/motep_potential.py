"""Moment tensor potentials with motep; run by the benchmark linear_potentials in its environment.

Usage: motep_potential.py TASK DATA MODEL; prints one line of JSON: seconds of each call of "fit" or
"predict", or the energies and forces of "print".
"""

import json
import logging
import os
import sys
import tempfile

import numpy as np
from ase.io import read
from motep.calculator import MTP
from motep.io.mlip.mtp import read_mtp
from motep.train.trainer import Trainer

from benchmarks.harness import repeated_within

logging.disable(logging.CRITICAL)


def potential(path, images):
    """The potential of a file, whose species are numbered in the order of atomic numbers."""
    data = read_mtp(path)
    data.species = np.unique(np.concatenate([atoms.numbers for atoms in images]))
    return data


def fit(images, data):
    data.optimized = ["species_coeffs", "moment_coeffs"]
    steps = [{"method": "LLS", "optimized": data.optimized, "minimized": ["energy", "forces"]}]
    Trainer(data, seed=1, steps=steps).train(images)


def predict(images, data):
    """Energies and forces, each structure with a calculator, which keeps neighbours."""
    energies, forces = [], []
    for atoms in images:
        calculator = MTP(data)
        calculator.calculate(atoms)
        energies.append(float(calculator.results["energy"]))
        forces.append(np.asarray(calculator.results["forces"]).tolist())
    return energies, forces


def main():
    task, structures, model = sys.argv[1:]
    images = read(structures, ":")
    data = potential(model, images)
    if task == "print":
        print(json.dumps(predict(images, data)))
        return
    os.chdir(tempfile.mkdtemp())  # a fit writes files
    function = {"fit": fit, "predict": predict}[task]
    times = repeated_within(lambda: function(images, data), seconds=20, fewest=1, most=3)
    print(json.dumps(times))


main()
