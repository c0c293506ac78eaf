"""FCHL18 with qmllib and kernelforge; run by the benchmark fchl18 in their own environment.

Usage: fchl18.py PEER TASK ALCHEMY DATA SAVE; prints one line of JSON, the seconds of each of some
runs after a first one. Representations are part of the time. With SAVE = 1 the result is written
to DATA with the suffix .PEER.npy instead, qmllib's derivatives from five points 0.001 Å apart.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from ase.io import read

CUTOFF = 5.0


def qmllib_task(task, alchemy, structures, precise=False):
    """Derivatives are finite differences, of each atom's kernel with each molecule."""
    import qmllib.representations.fchl as fchl
    from qmllib.representations import (
        generate_fchl18,
        generate_fchl18_displaced,
        generate_fchl18_displaced_5point,
    )

    size = max(len(atoms) for atoms in structures)

    def represent(generate, **more):
        sizes = {"max_size": size, "neighbors": size, "cut_distance": CUTOFF, **more}
        return np.array([generate(a.numbers, a.get_positions(), **sizes) for a in structures])

    def run():
        plain = represent(generate_fchl18)
        options = {"cut_distance": CUTOFF, "alchemy": alchemy}
        if task == "values":
            return fchl.get_local_symmetric_kernels(plain, **options)[0]
        if precise:
            displaced = represent(generate_fchl18_displaced_5point, dx=0.001)
            return fchl.get_atomic_local_gradient_5point_kernels(
                plain, displaced, dx=0.001, **options
            )[0].T
        displaced = represent(generate_fchl18_displaced)
        return fchl.get_atomic_local_gradient_kernels(plain, displaced, **options)[0].T

    return run


def kernelforge_task(task, alchemy, structures, precise=False):
    """Derivatives are those of the kernel of two molecules."""
    from kernelforge import fchl18_kernel, fchl18_repr

    positions = [atoms.get_positions() for atoms in structures]
    numbers = [atoms.numbers.astype(np.int32) for atoms in structures]
    size = max(len(atoms) for atoms in structures)
    options = {
        "sigma": 2.5, "two_body_scaling": 8**0.5, "two_body_width": 0.2, "two_body_power": 4.0,
        "three_body_scaling": 1.6, "three_body_width": np.pi, "three_body_power": 2.0,
        "cut_start": 1.0, "cut_distance": CUTOFF, "use_alchemy": alchemy == "periodic-table",
    }  # fmt: skip

    def run():
        environments = fchl18_repr.generate(positions, numbers, max_size=size, cut_distance=CUTOFF)
        if task == "values":
            return fchl18_kernel.kernel_gaussian_symm(*environments, **options)
        return fchl18_kernel.kernel_gaussian_jacobian(positions, numbers, *environments, **options)

    return run


def main():
    peer, task, alchemy, data, save = sys.argv[1:]
    tasks = {"qmllib": qmllib_task, "kernelforge": kernelforge_task}
    run = tasks[peer](task, alchemy, read(data, ":"), precise=save == "1")
    result = run()
    if save == "1":
        np.save(Path(data).with_suffix(f".{peer}.npy"), result)
        print(json.dumps(None))
        return
    times = []
    while not times or (len(times) < 9 and sum(times) < 2):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
