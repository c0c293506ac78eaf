"""λ-SOAP with featomic; run by the benchmark lambda_soap in the environment of the descriptors.

Usage: lambda_soap.py LAM DATA; prints the seconds of some runs after a first one, in JSON.
"""

import json
import sys
import time

import numpy as np
from ase.io import read
from featomic import SphericalExpansion
from featomic.clebsch_gordan import EquivariantPowerSpectrum
from metatensor import Labels


def main():
    lam, structures = int(sys.argv[1]), read(sys.argv[2], ":")
    calculator = EquivariantPowerSpectrum(
        SphericalExpansion(
            cutoff={"radius": 4.0, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
            density={"type": "Gaussian", "width": 0.4},
            basis={
                "type": "TensorProduct",
                "max_angular": 4,
                "radial": {"type": "Gto", "max_radial": 5},
                "spline_accuracy": 1e-8,
            },
        )
    )
    keys = Labels(["o3_lambda", "o3_sigma"], np.array([[lam, 1]]))
    times = []
    for _ in range(4):
        start = time.perf_counter()
        calculator.compute(structures, selected_keys=keys, neighbors_to_properties=True)
        times.append(time.perf_counter() - start)
    print(json.dumps(times[1:]))


if __name__ == "__main__":
    main()
