"""SOAP with featomic and dscribe; run by the benchmark soap in their own environment.

Usage: soap.py PEER TASK DATA; prints one line of JSON.
"""

import json
import sys

import numpy as np
from ase.io import read

from benchmarks.harness import repeated_within

PARAMETERS = {"cutoff": 5.0, "n_max": 8, "l_max": 6, "sigma": 0.5}


def featomic_calculator(smoothing):
    from featomic import SoapPowerSpectrum

    return SoapPowerSpectrum(
        cutoff={"radius": PARAMETERS["cutoff"], "smoothing": smoothing},
        density={"type": "Gaussian", "width": PARAMETERS["sigma"]},
        basis={
            "type": "TensorProduct",
            "max_angular": PARAMETERS["l_max"],
            "radial": {"type": "Gto", "max_radial": PARAMETERS["n_max"] - 1},
            "spline_accuracy": 1e-8,
        },
    )


def dense(blocks):
    blocks = blocks.keys_to_samples("center_type")
    return blocks.keys_to_properties(["neighbor_1_type", "neighbor_2_type"])


def featomic(task, structures):
    if task == "kernel":
        blocks = dense(featomic_calculator({"type": "Step"}).compute(structures))
        order = np.lexsort((blocks.block(0).samples["atom"], blocks.block(0).samples["system"]))
        values = blocks.block(0).values[order]
        return values @ values.T
    calculator = featomic_calculator({"type": "ShiftedCosine", "width": 0.5})
    gradients = ["positions"] if task == "jacobian" else None
    chunk = 10 if task == "jacobian" else len(structures)

    def run():
        for start in range(0, len(structures), chunk):
            part = structures[start : start + chunk]
            blocks = calculator.compute(part, gradients=gradients)
            if task == "dense":
                dense(blocks)

    return run


def dscribe(task, structures):
    from dscribe.descriptors import SOAP

    soap = SOAP(
        species=sorted({s for atoms in structures for s in atoms.get_chemical_symbols()}),
        r_cut=PARAMETERS["cutoff"], n_max=PARAMETERS["n_max"], l_max=PARAMETERS["l_max"],
        sigma=PARAMETERS["sigma"], periodic=bool(structures[0].pbc.any()),
    )  # fmt: skip
    if task == "jacobian":

        def run():
            for atoms in structures:
                soap.derivatives(atoms, method="auto", attach=True)

        return run
    return lambda: soap.create(structures, n_jobs=min(2, len(structures)))


def main():
    peer, task, data = sys.argv[1:]
    result = {"featomic": featomic, "dscribe": dscribe}[peer](task, read(data, ":"))
    if callable(result):
        result = repeated_within(result, seconds=10, fewest=1, most=5)
    print(json.dumps(np.asarray(result).tolist()))


if __name__ == "__main__":
    main()
