"""Tasks of the benchmark `gpu`: bispectra, kernels of symmetry functions, and linear models."""

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from benchmarks.performance._gpu_features import ASPIRIN, ETHANOL, TEST, silicon
from skatom import recipes
from skatom.descriptors import ACSF, SOAP, AtomicClusterExpansion
from skatom.kernels import (
    Cosine,
    Gaussian,
    Laplacian,
    Matern,
    Polynomial,
    StructureKernel,
    covariance,
)
from skatom.metrics import neg_energy_mae, neg_force_mae
from skatom.models import ForceKernelRidge, GreedyOLS, SparseGaussianProcess

KERNELS = {
    "Gaussian": Gaussian(3.0), "Matérn": Matern(5.0), "cosine": Cosine(3),
    "polynomial": Polynomial(2, 1.0), "sum": 0.5 * Gaussian(3.0) + Cosine(2),
}  # fmt: skip
# Kernels without covariances of forces on a card.
VALUES = {"Laplacian": Laplacian(0.3), "of structures": StructureKernel(Gaussian(3.0))}


def on_both(bench, descriptor, X):
    """Features of structures on the CPU and on the card."""
    made = clone(descriptor).fit(X)
    return made.transform(X), clone(descriptor).set_params(device=bench.name).fit(X).transform(X)


def derivatives(bench, descriptor, name, n, label):
    """Values, pullback and Jacobian equal those of the CPU; their times."""
    X = bench.data(name)[0][:n]
    on_cpu = clone(descriptor).fit(X)
    on_card = clone(descriptor).set_params(device=bench.name).fit(X)
    one = on_cpu.transform(X[:1])  # compiles
    one.pullback(one.values), one.jacobian(0)
    slow, expected = bench.once(lambda: on_cpu.transform(X))
    fast, found = bench.seconds(lambda: on_card.transform(X))
    label = f"{label}, {n} x {name}, {expected.n_features} features"
    bench.check(f"{label}: values", bench.device.array(found.values), expected.values, 1e-9)
    bench.say(f"{label}: values", 1000 * fast, "ms", **{"CPU/time": slow / fast})
    cotangent = np.random.default_rng(0).normal(size=expected.values.shape)
    tensor = bench.device.tensor(cotangent)
    slow, pulled = bench.once(lambda: expected.pullback(cotangent))
    fast, other = bench.seconds(lambda: found.pullback(tensor))
    for part, one, two in zip(("gradient", "virial"), other, pulled, strict=True):
        bench.check(f"{label}: {part}", bench.device.array(one), two, 1e-9)
    bench.say(f"{label}: pullback", 1000 * fast, "ms", **{"CPU/time": slow / fast})
    some = slice(0, max(1, n // 10))
    slow, expected = bench.once(lambda: expected.jacobian(some).values)
    fast, found = bench.seconds(lambda: found.jacobian(some).values)
    bench.check(f"{label}: Jacobian", bench.device.array(found), expected, 1e-9)
    bench.say("  Jacobian of a tenth", 1000 * fast, "ms", **{"CPU/time": slow / fast})
    bench.say("  peak memory", bench.peak_gib(), "GiB")


def bispectrum(bench):
    """SOAP with nu=3: values, pullback and Jacobian."""
    parameters = {"n_max": 2, "l_max": 2} if bench.small else {"n_max": 3, "l_max": 3}
    n = 2 if bench.small else 100
    derivatives(bench, SOAP(nu=3, **parameters), ETHANOL, n, "SOAP, nu=3")
    if not bench.small:
        some = SOAP(nu=3, n_max=4, l_max=4, species_compression=1, parity="both")
        derivatives(bench, some, ASPIRIN, 100, "SOAP, nu=3, both parities")


def cluster_expansion(bench):
    """The cluster expansion of the recipe `ace`: values, pullback and Jacobian."""
    degrees, n = ((6, 4, 4, 4), 2) if bench.small else ((12, 6, 6, 5), 100)
    expansion = AtomicClusterExpansion(6.5, degrees, product_cutoff=4.9)
    for name in (ETHANOL, ASPIRIN):
        derivatives(bench, expansion, name, n, "cluster expansion")


def acsf_kernels(bench):
    """Covariances of ACSF under every kernel, and models of them, equal to those of the CPU."""
    n = 3 if bench.small else 40
    X, y = bench.data(ETHANOL)
    X, y, queries = X[:n], y[:n], X[n : n + (3 if bench.small else 50)]
    on_cpu, on_card = on_both(bench, ACSF(), X)
    covariance(KERNELS["sum"], on_cpu[:1])  # compiles
    for name, kernel in KERNELS.items():
        slow, expected = bench.once(lambda kernel=kernel: covariance(kernel, on_cpu))
        fast, found = bench.seconds(lambda kernel=kernel: covariance(kernel, on_card), repeats=1)
        bench.check(f"ACSF, {name}: covariance", bench.device.array(found), expected, 1e-9)
        bench.say(f"ACSF, {name}: covariance of {n}", fast, "s", **{"CPU/time": slow / fast})
    for name, kernel in VALUES.items():
        found, expected = kernel(on_card), kernel(on_cpu)
        bench.check(f"ACSF, {name}: values", bench.device.array(found), expected, 1e-9)
    models = {
        "ForceKernelRidge": ForceKernelRidge(Gaussian(3.0), alpha=1e-6),
        "SparseGaussianProcess": SparseGaussianProcess(Cosine(3), n, random_state=0),
    }
    for name, model in models.items():
        _fits(bench, name, ACSF(), model, X, y, queries)


def _fits(bench, name, descriptor, model, X, y, queries, tolerance=1e-6):
    """Times of fits on both devices; forces of both."""
    found, seconds, models = {}, {}, {}
    for device in ("cpu", bench.name):
        pipeline = make_pipeline(clone(descriptor).set_params(device=device), clone(model))
        pipeline.fit(X[:4], y[:4])  # compiles
        seconds[device], models[device] = bench.once(lambda p=pipeline: p.fit(X, y))
        found[device] = pipeline.predict(queries, return_forces=True)
    rms = float(np.sqrt(np.mean(found["cpu"][1] ** 2)))
    forces = found[bench.name][1], found["cpu"][1]
    bench.check(f"{name}: forces of separate fits, of RMS force", *forces, tolerance, rms)
    ratio = {"CPU/time": seconds["cpu"] / seconds[bench.name]}
    bench.say(f"{name}: fit of {len(X)}", seconds[bench.name], "s", **ratio)
    return models


def sparse_updates(bench):
    """`partial_fit` of a sparse Gaussian process, and its deviations, equal to those of the CPU."""
    n = 4 if bench.small else 40
    (X, y), (queries, _) = silicon(n), silicon(2, 4)
    parameters = {"n_max": 3, "l_max": 2} if bench.small else {}
    found, half, asked = {}, n // 2, {"return_std": True, "return_forces_std": True}
    for device in ("cpu", bench.name):
        soap = SOAP(**parameters, device=device).fit(X)
        parts, F = [soap.transform(X[:half]), soap.transform(X[half:])], soap.transform(queries)
        model = SparseGaussianProcess(Cosine(4), 30 if bench.small else 300, random_state=0)
        model.fit(parts[0], y[:half])
        seconds, _ = bench.once(lambda m=model, p=parts: m.partial_fit(p[1], y[half:]))
        bench.say(f"partial_fit of {n - half} cells on {device}", seconds, "s")
        found[device] = model.predict(F, return_forces=True, **asked)
    rms = float(np.sqrt(np.mean(found["cpu"][1] ** 2)))
    bench.check("forces, of RMS force", found[bench.name][1], found["cpu"][1], 1e-6, rms)
    for k, name in ((2, "energies"), (3, "forces")):
        bench.check(f"deviations of {name}", found[bench.name][k], found["cpu"][k], 1e-5)


def greedy(bench):
    """`GreedyOLS` with Jacobians that are made on the card."""
    n = 10 if bench.small else 200
    X, y = bench.data(ETHANOL)
    parameters = {"n_max": 2, "l_max": 2} if bench.small else {"n_max": 5, "l_max": 4}
    for pool in (None, "sum"):
        _fits(
            bench, f"GreedyOLS, pool={pool}", SOAP(**parameters, pool=pool),
            GreedyOLS(20 if bench.small else 100, method="gram"), X[:n], y[:n], X[n : n + 50],
        )  # fmt: skip


def linear_potential(bench):
    """The recipe `ace`: fits on both devices, then 1,000 frames of ethanol on the card."""
    name = ETHANOL
    X, y = bench.data(name)
    given = {"expansion__degrees": (6, 4, 4) if bench.small else (8, 5, 4, 4)}
    n = 30 if bench.small else 200
    model = recipes.make("ace", X[:100], **given)
    _fits(bench, "ace", model[0], model[1], X[:n], y[:n], X[n : n + 50])
    (X, y), (queries, labels) = bench.data(ASPIRIN), bench.data(TEST)
    n = 20 if bench.small else 300
    model = recipes.make("ace", X, device=bench.name, **(given if bench.small else {}))
    seconds, _ = bench.once(lambda: model.fit(X[:n], y[:n]))
    columns = model[-1].coef_.size
    bench.say(f"ace, {n} aspirin, {columns} coefficients: fit", seconds, "s")
    bench.say("  peak memory", bench.peak_gib(), "GiB")
    some = slice(0, 20 if bench.small else 500)
    fast, _ = bench.seconds(lambda: model.predict(queries[some], return_forces=True), repeats=1)
    bench.say("  predict, with forces", some.stop / fast, "geometries/s")
    errors = -1000 * neg_force_mae(model, queries[some], labels[some])
    bench.say("  error of forces", errors, "meV/Å")
    errors = -1000 * neg_energy_mae(model, queries[some], labels[some])
    bench.say("  error of energies", errors, "meV")


TASKS = [
    ("bispectrum", bispectrum, 60),
    ("cluster-expansion", cluster_expansion, 60),
    ("acsf-kernels", acsf_kernels, 60),
    ("sparse-updates", sparse_updates, 60),
    ("greedy", greedy, 60),
    ("linear-potential", linear_potential, 90),
]
