"""Symmetry functions with dscribe and qmllib; run by the benchmark acsf in their environment.

Usage: acsf.py PEER TASK DATA; prints one line of JSON.
"""

import json
import sys

import numpy as np
from ase.io import read

from benchmarks.harness import repeated_within


def dscribe(task, structures):
    from dscribe.descriptors import ACSF

    acsf = ACSF(
        species=sorted({z for atoms in structures for z in atoms.numbers}),
        r_cut=6.0,
        g2_params=[[eta, 0.0] for eta in np.geomspace(0.01, 4, 8)],
        g4_params=[[e, z, sign] for e in (0.01, 0.1) for z in (1, 4) for sign in (-1, 1)],
        periodic=bool(structures[0].pbc.any()),
    )
    if task == "print":
        return np.concatenate([acsf.create(atoms) for atoms in structures])
    return lambda: acsf.create(structures, n_jobs=min(2, len(structures)))


def qmllib(task, structures):
    from qmllib.representations import generate_acsf

    elements = sorted({int(z) for atoms in structures for z in atoms.numbers})
    inputs = [(atoms.numbers, atoms.positions) for atoms in structures]

    def run():
        for numbers, positions in inputs:
            generate_acsf(numbers, positions, elements=elements, gradients=task == "jacobian")

    return run


def main():
    peer, task, data = sys.argv[1:]
    result = {"dscribe": dscribe, "qmllib": qmllib}[peer](task, read(data, ":"))
    if callable(result):
        result = repeated_within(result, seconds=10, fewest=1, most=5)
    print(json.dumps(np.asarray(result).tolist()))


if __name__ == "__main__":
    main()
