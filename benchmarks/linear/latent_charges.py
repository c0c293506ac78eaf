"""Charges learnt from dipoles of QM7b, linear and with kernels: learning curves, time.

    python -m benchmarks latent_charges [--sizes 75 150 300 600]

The molecules, the split and the error are those of ``lambda_soap``: the root mean square of
|μ - μ̂| over 362 molecules that no choice has seen, and the factor by which it is smaller than that
of no dipole. Errors of left-out molecules among 300 of the training part choose the kernels, as
they choose α in every fit; cross-validation chooses α and ζ of `TensorKernelRidge` there.
"""

from time import perf_counter, process_time

import numpy as np
from ase.units import Bohr
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from benchmarks.descriptors.lambda_soap import GRID, SIZES, load, rms
from benchmarks.harness import peak_gib, table
from skatom import Targets
from skatom.descriptors import FCHL19, SOAP, LambdaSOAP
from skatom.kernels import Cosine, Gaussian
from skatom.models import LatentChargeRidge, TensorKernelRidge

SMALL_SOAP = SOAP(cutoff=4.0, n_max=4, l_max=3, species_compression=3)
SMALL_FCHL19 = FCHL19(n_r2=12, n_r3=10, cutoff=5.0)
CHARGES = {
    "linear, SOAP": (SMALL_SOAP, [None]),
    "cosine, SOAP": (SMALL_SOAP, [Cosine(2), Cosine(4)]),
    "Gaussian, FCHL19": (SMALL_FCHL19, [Gaussian(s) for s in (2.0, 5.0, 10.0)]),
}
BEST = "Gaussian, FCHL19"


def chosen_charges(descriptor, kernels, X, y):
    """Charges with the kernel of the least errors of left-out molecules."""
    features = descriptor.fit_transform(X)
    models = [LatentChargeRidge(kernel, random_state=0) for kernel in kernels]
    if len(models) > 1:
        models.sort(key=lambda model: model.fit(features, y).loo_error_)
        print(f"{type(descriptor).__name__}: chosen {models[0].kernel}", flush=True)
    return make_pipeline(descriptor, models[0])


def chosen_tensors(X, y):
    model = make_pipeline(LambdaSOAP(species_compression=3), TensorKernelRidge())
    search = GridSearchCV(model, GRID, cv=3, refit=False).fit(X, y)
    print(f"TensorKernelRidge: chosen {search.best_params_}", flush=True)
    return model.set_params(**search.best_params_)


def learning_curve(name, model, structures, targets, train, test, sizes):
    """Rows of the table of one model."""
    rows, largest = [], rms(targets.dipole[test])
    for size in sizes:
        part, busy = train[:size], process_time()
        model.fit(structures[part], targets[part])
        busy, start = process_time() - busy, perf_counter()
        error = rms(model.predict(structures[test]) - targets.dipole[test])
        seconds = (perf_counter() - start) / len(test)
        rows.append([
            name, str(size), f"{error:.4f}", f"{largest / error:.2f}", f"{busy:.1f}",
            f"{1e3 * seconds:.1f}",
        ])  # fmt: skip
        print(*rows[-1], flush=True)
    return rows


def add_arguments(parser):
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES)


def run(options):
    structures, read, train, test = load()
    targets = Targets(dipole=Bohr * read.dipole)
    some = structures[train[:300]], targets[train[:300]]
    curve = (structures, targets, train, test, options.sizes)
    rows, charges = [], {}
    for name, (descriptor, kernels) in CHARGES.items():
        charges[name] = chosen_charges(descriptor, kernels, *some)
        rows += learning_curve(name, charges[name], *curve)
    tensors = chosen_tensors(*some)
    rows += learning_curve("TensorKernelRidge", tensors, *curve)
    header = ["model", "molecules", "rms error, e·Å", "ratio", "busy fit, s"]
    header.append("predict, ms/molecule")
    table("dipoles of QM7b", header, rows)
    of_atoms = charges[BEST].predict(structures[test], return_charges=True)[1]
    numbers = structures[test].numbers
    for z in np.unique(numbers):
        mine = of_atoms[numbers == z]
        print(f"charges of element {z}: {mine.mean():.2f} ± {mine.std():.2f} e")
    print(f"\npeak memory {peak_gib():.2f} GiB")
