"""Force kernels of FCHL19 with qmllib and kernelforge; run by the benchmark force_kernels.

Usage: force_kernels.py TASK, a JSON object; prints one line of JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2]))
from benchmarks.harness import report, timed

SIGMA = 2.0


def represent(peer, numbers, positions):
    """Values and gradients of all configurations, as both packages' kernels take them."""
    elements = sorted({int(z) for z in numbers})
    if peer == "qmllib":
        from qmllib.representations import generate_fchl19

        found = [
            generate_fchl19(numbers, r, elements=elements, gradients=True, pad=len(numbers))
            for r in positions
        ]
    else:
        from kernelforge.fchl19_repr import generate_fchl_acsf_and_gradients

        found = [generate_fchl_acsf_and_gradients(r, numbers, elements=elements) for r in positions]
    return np.array([x for x, _ in found]), np.array([g for _, g in found])


def gram(peer, numbers, values, gradients):
    n = len(values)
    if peer == "qmllib":
        from qmllib.kernels import get_symmetric_gp_kernel

        return get_symmetric_gp_kernel(values, gradients, [numbers] * n, SIGMA)
    from kernelforge.local_kernels import kernel_gaussian_full_symm

    sizes = np.full(n, len(numbers), np.int32)
    return kernel_gaussian_full_symm(values, gradients, np.tile(numbers, (n, 1)), sizes, SIGMA)


def predictor(peer, numbers, arrays):
    train = arrays["R"][arrays["train"]]
    if peer == "kernelforge":
        from kernelforge.models import LocalKRRModel

        model = LocalKRRModel(sigma=SIGMA, l2=1e-7, elements=sorted({int(z) for z in numbers}))
        model.fit(
            list(train), [numbers] * len(train), energies=arrays["E"][arrays["train"]],
            forces=arrays["F"][arrays["train"]],
        )  # fmt: skip
        return lambda queries: model.predict(list(queries), [numbers] * len(queries))
    from qmllib.kernels import get_gp_kernel

    values, gradients = represent(peer, numbers, train)
    coefficients = np.ones(len(train) * (1 + 3 * len(numbers)))

    def predict(queries):
        x, dx = represent(peer, numbers, queries)
        of_train, of_queries = [numbers] * len(train), [numbers] * len(queries)
        kernel = get_gp_kernel(values, x, gradients, dx, of_train, of_queries, SIGMA)
        return kernel @ coefficients

    return predict


def main(task):
    arrays = np.load(task["arrays"])
    peer, numbers = task["peer"], arrays["z"].astype(np.int32)
    if task["what"] == "agreement":
        np.save(
            task["out"], gram(peer, numbers, *represent(peer, numbers, arrays["R"][: task["n"]]))
        )
        report()
    elif task["what"] == "gram":
        positions = arrays["R"][: task["n"]]
        seconds, features = timed(lambda: represent(peer, numbers, positions), 3)
        repeats = 1 if peer == "qmllib" else 3
        kernel, _ = timed(lambda: gram(peer, numbers, *features), repeats)
        report(features_s=seconds, kernel_s=kernel)
    else:
        predict = predictor(peer, numbers, arrays)
        queries = arrays["R"][arrays["test"]][: task["n"]]
        seconds, _ = timed(lambda: predict(queries), 1 if peer == "qmllib" else 3)
        report(predict_s=seconds / len(queries))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
