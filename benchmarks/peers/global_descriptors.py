"""Whole-structure descriptors with dscribe and qmllib, in the environment of the benchmark.

Usage: global_descriptors.py PEER NAME TASK DATA; prints one line of JSON.
"""

import json
import os
import sys

import numpy as np

from benchmarks.harness import repeated_within
from benchmarks.structures import unpack
from benchmarks.tensor_settings import ANGLES, FINGERPRINTS, PAIRS, THRESHOLD


def dscribe(name, structures):
    from dscribe.descriptors import CoulombMatrix, EwaldSumMatrix, SineMatrix

    if " of " in name:
        tensor = spectra(name, sorted({int(z) for atoms in structures for z in atoms.numbers}))
        jobs = int(os.environ["OMP_NUM_THREADS"])
        return lambda: np.array(tensor.create(structures, n_jobs=jobs))
    size = max(map(len, structures))
    if name == "ewald":
        matrix = EwaldSumMatrix(n_atoms_max=size, permutation="none")
        return lambda: matrix.create(structures, accuracy=1e-5, verbose=False)
    if name == "sine":
        matrix = SineMatrix(n_atoms_max=size, permutation="none")
    else:
        permutation = "eigenspectrum" if name == "eigenvalues" else "sorted_l2"
        matrix = CoulombMatrix(n_atoms_max=size, permutation=permutation)
    return lambda: matrix.create(structures)


def spectra(name, species):
    from dscribe.descriptors import MBTR, ValleOganov

    kind, of_pairs = name.split()[0], name.endswith("pairs")
    if kind == "fingerprint":
        function = "distance" if of_pairs else "angle"
        given = FINGERPRINTS[function]
        return ValleOganov(species, function, given["n"], given["sigma"], given["cutoff"])
    given = PAIRS if of_pairs else ANGLES
    return MBTR(
        geometry={"function": "inverse_distance" if of_pairs else "angle"},
        grid={"min": given["low"], "max": given["high"], "n": given["n"], "sigma": given["sigma"]},
        weighting={"function": "exp", "scale": given["decay"], "threshold": THRESHOLD},
        species=species,
    )


def qmllib(name, structures):
    from qmllib.representations import (
        generate_bob,
        generate_coulomb_matrix,
        generate_coulomb_matrix_eigenvalue,
    )

    inputs = [(atoms.numbers, atoms.positions) for atoms in structures]
    size = max(map(len, structures))
    if name == "bonds":
        symbols = [atoms.get_chemical_symbols() for atoms in structures]
        kinds = sorted({symbol for each in symbols for symbol in each})
        sizes = {kind: max(each.count(kind) for each in symbols) for kind in kinds}

        def one(numbers, positions):
            return generate_bob(numbers, positions, None, size=size, asize=sizes)
    elif name == "eigenvalues":

        def one(numbers, positions):
            return generate_coulomb_matrix_eigenvalue(numbers, positions, size=size)
    else:

        def one(numbers, positions):
            return generate_coulomb_matrix(numbers, positions, size=size, sorting="row-norm")

    return lambda: np.array([one(*given) for given in inputs])


def main():
    peer, name, task, data = sys.argv[1:]
    run = {"dscribe": dscribe, "qmllib": qmllib}[peer](name, unpack(data))
    result = run() if task == "print" else repeated_within(run, seconds=2, fewest=2, most=5)
    print(json.dumps(np.asarray(result).tolist()))


if __name__ == "__main__":
    main()
