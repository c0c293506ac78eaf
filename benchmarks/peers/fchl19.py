"""FCHL19 with qmllib and kernelforge; run by the benchmark fchl19 in their own environment.

Usage: fchl19.py PEER TASK DATA; prints one line of JSON. The task "features" writes the features
and their derivatives to DATA with the suffix .npz instead of measuring.
"""

import json
import sys
from pathlib import Path

import numpy as np
from ase.io import read

from benchmarks.harness import repeated_within


def representation(peer, gradients):
    """Function of positions and atomic numbers."""
    if peer == "qmllib":
        from qmllib.representations import generate_fchl19

        return lambda positions, numbers, elements: generate_fchl19(
            numbers, positions, elements=elements, gradients=gradients
        )
    from kernelforge import fchl19_repr

    name = "generate_fchl_acsf_and_gradients" if gradients else "generate_fchl_acsf"
    generate = getattr(fchl19_repr, name)
    return lambda positions, numbers, elements: generate(positions, numbers, elements=elements)


def main():
    peer, task, data = sys.argv[1:]
    structures = read(data, ":")
    elements = sorted({int(z) for atoms in structures for z in atoms.numbers})
    arguments = [(a.get_positions(), a.numbers.astype(np.int32), elements) for a in structures]
    represent = representation(peer, gradients=task != "values")
    if task == "features":
        found = [represent(*of_one) for of_one in arguments]
        arrays = {f"{kind}{i}": x for i, pair in enumerate(found)
                  for kind, x in zip(("values", "gradients"), pair, strict=True)}  # fmt: skip
        np.savez(Path(data).with_suffix(".npz"), **arrays)
        print(json.dumps(None))
        return

    def run():
        for of_one in arguments:
            represent(*of_one)

    print(json.dumps(repeated_within(run, seconds=4, fewest=2, most=11)))


if __name__ == "__main__":
    main()
