"""Random Fourier features of kernelforge, for the benchmark random_features.

Usage: ``python random_features.py TASK``, a dict in JSON with the file of frames and the number of
features.
"""

import json
import sys
import time

import numpy as np
from kernelforge.models import LocalRFFModel

from benchmarks.harness import peak_gib


def main(task):
    data = np.load(task["arrays"])
    z = data["z"].astype(np.int32)
    mean = data["E"].mean()
    elements = sorted(set(map(int, z)))
    # the smallest ridge that its Cholesky factorisation takes is 1e-8 or smaller
    model = LocalRFFModel(sigma=20.0, l2=1e-8, d_rff=task["features"], elements=elements)
    frames = list(np.ascontiguousarray(data["R"]))
    begin, cpu = time.perf_counter(), time.process_time()
    model.fit(frames, [z] * len(frames), energies=data["E"] - mean, forces=data["F"])
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    peak = peak_gib()
    tests = list(np.ascontiguousarray(data["R_test"]))
    energies, forces = model.predict(tests, [z] * len(tests))
    shape = data["F_test"].shape
    return {
        "seconds": seconds, "cpu": cpu, "gib": peak,
        "energy": 1e3 * float(np.abs(energies + mean - data["E_test"]).mean()),
        "forces": 1e3 * float(np.abs(np.reshape(forces, shape) - data["F_test"]).mean()),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
