"""Tasks of the benchmark `gpu`: features, covariances, and kernel ridge regression of forces."""

from contextlib import contextmanager

import numba
import numpy as np
from ase.build import bulk
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom.datasets import load_boron_nitride
from skatom.descriptors import ACSF, FCHL19, SOAP, AtomicFeatures, WaveletScattering
from skatom.descriptors._torch import density as plain_density
from skatom.descriptors._torch import fchl19 as tensor_fchl19
from skatom.descriptors._torch import neighbors as tensor_neighbors
from skatom.descriptors._torch import soap as tensor_soap
from skatom.descriptors._torch.features import TensorLoops
from skatom.descriptors._torch.kernels import fused_kernels
from skatom.kernels import Cosine, Gaussian, covariance
from skatom.metrics import neg_energy_mae, neg_force_mae
from skatom.models import ForceKernelRidge, GreedyOLS, SparseGaussianProcess, _regressor
from skatom.models._environment_expansion import EnvironmentExpansion
from skatom.models._torch import sparse_rows
from skatom.models.kernel_ridge.derivative_system import CholeskySystem
from skatom.models.kernel_ridge.labels import RidgeLabels, alphas_of
from skatom.models.sparse import device_fitting, fitting
from skatom.neighbors import neighbor_list
from skatom.solvers import NormalEquations, StreamedQR

ETHANOL, ASPIRIN, TEST = "md17_ethanol", "rmd17_aspirin_train", "rmd17_aspirin_test"


@contextmanager
def two_cores():
    """The CPU beside which the aims of features are set."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(2, before))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def soap(bench):
    """Values and pullback of SOAP, equal to those of the CPU, at least 20 times two cores."""
    for name, n in ((ASPIRIN, 400), (ETHANOL, 1000)):
        for nu in (2, 1):
            _descriptor(
                bench, SOAP(nu=nu), f"SOAP, nu={nu}", name, 3 if bench.small else n,
                soap_stages(bench),
            )  # fmt: skip
        X = bench.data(name)[0][: 3 if bench.small else n]
        without_triton(bench, tensor_soap, SOAP(), X, f"SOAP, {len(X)} x {name}")


def loop_stages(loops):
    """What all descriptors do on a device, see `Bench.stages`."""
    return [
        ("parameters of the descriptor", TensorLoops, "__init__"),
        ("neighbours", tensor_neighbors, "find_neighbors"),
        ("values from pairs", loops, "values"),
        ("pair gradients", loops, "pair_gradients"),
        ("sums of pair gradients", TensorLoops, "collect"),
    ]


def soap_stages(bench):
    """The stages of SOAP, by kernels of Triton or by torch's operations."""
    fused = fused_kernels("soap", bench.device.name)
    print(f"  SOAP by {'kernels of Triton' if fused else 'operations of torch'}", flush=True)
    loops, spectra = (fused, fused) if fused else (plain_density, tensor_soap)
    names = ("power_spectrum", "power_spectrum_cotangent") if fused else ("_spectrum", "_cotangent")
    return [
        *loop_stages(tensor_soap),
        ("  functions of pairs", loops, "pair_functions"),
        ("  expansion", loops, "expand"),
        ("  power spectrum", spectra, names[0]),
        ("  its transpose", spectra, names[1]),
        ("  gradients of expansions", loops, "expansion_gradients"),
    ]


def without_triton(bench, module, descriptor, X, label):
    """Times by torch's operations, which are those of cards without Triton."""
    fused, module.fused_kernels = module.fused_kernels, lambda *_: None
    try:
        features = descriptor.set_params(device=bench.name).fit_transform(X)
        values, _ = bench.seconds(lambda: features.descriptor.transform(X), repeats=2)
        cotangent = features.values
        pullback, _ = bench.seconds(lambda: features.pullback(cotangent), repeats=2)
    finally:
        module.fused_kernels = fused
    bench.say(f"{label}: values without Triton", 1000 * values, "ms")
    bench.say(f"{label}: pullback without Triton", 1000 * pullback, "ms")


def fchl19(bench):
    """Values and pullback of FCHL19."""
    for name, n in ((ASPIRIN, 1000), (ETHANOL, 1000)):
        fused = fused_kernels("fchl19", bench.device.name)
        print(f"  FCHL19 by {'kernels of Triton' if fused else 'operations of torch'}", flush=True)
        stages, X = loop_stages(tensor_fchl19), bench.data(name)[0][: 3 if bench.small else n]
        _descriptor(bench, FCHL19(), "FCHL19", name, 3 if bench.small else n, stages)
        without_triton(bench, tensor_fchl19, FCHL19(), X, f"FCHL19, {len(X)} x {name}")


def acsf(bench):
    """Values and pullback of symmetry functions."""
    _descriptor(bench, ACSF(), "ACSF", ASPIRIN, 3 if bench.small else 400)


def scattering(bench):
    """Values and pullback of wavelet scattering: crystals, molecules, and the default grids."""
    crystals, (molecules, _) = load_boron_nitride().structures, bench.data(ETHANOL)
    n, rough = (1, {"orbitals": [(2, 1)], "scales": (1, 2)}) if bench.small else (20, {})
    _scattering(bench, "BN cells, alias=1e-3", crystals[:n], alias=1e-3, **rough)
    _scattering(bench, "ethanol, alias=1e-3", molecules[:n], alias=1e-3, **rough)
    _scattering(bench, "ethanol, default grids", molecules[:1], **rough)


def _scattering(bench, label, X, **parameters):
    """Equality with the CPU, and times beside all of its threads and two of them."""
    label = f"scattering, {len(X)} {label}"
    on_cpu = WaveletScattering(**parameters).fit(X)
    on_card = WaveletScattering(**parameters, device=bench.name).fit(X)
    slow, expected = bench.once(lambda: on_cpu.transform(X))
    fast, found = bench.seconds(lambda: on_card.transform(X), repeats=1 if bench.small else 3)
    bench.check(f"{label}: values", bench.device.array(found.values), expected.values, 1e-9)
    ratios = {"all threads/time": slow / fast}
    if len(X) > 1:
        with two_cores():
            ratios["two cores/time"] = bench.once(lambda: on_cpu.transform(X))[0] / fast
    bench.say(f"{label}: values", 1000 * fast, "ms", **ratios)
    bench.say("  peak memory", bench.peak_gib(), "GiB")
    cotangent = 1 / np.maximum(np.abs(expected.values), 1e-3)
    tensor = bench.device.tensor(cotangent)
    slow, pulled = bench.once(lambda: expected.pullback(cotangent))
    fast, other = bench.seconds(lambda: found.pullback(tensor), repeats=1)
    for part, one, two in zip(("gradient", "virial"), pulled, other, strict=True):
        bench.check(f"{label}: {part}", bench.device.array(two), one, 1e-9)
    bench.say(f"{label}: pullback", 1000 * fast, "ms", **{"all threads/time": slow / fast})
    bench.kernels(f"{label}: values", lambda: on_card.transform(X))


def _descriptor(bench, descriptor, label, name, n, stages=()):
    X = bench.data(name)[0][:n]
    label = f"{label}, {n} x {name}"
    on_cpu, on_card = descriptor.fit(X), descriptor.__class__(**descriptor.get_params())
    on_card.set_params(device=bench.name).fit(X)
    expected, found = on_cpu.transform(X), on_card.transform(X)
    cotangent = np.random.default_rng(0).normal(size=expected.values.shape)
    tensor = bench.device.tensor(cotangent)
    bench.check(f"{label}: values", bench.device.array(found.values), expected.values, 1e-9)
    pairs = [expected.pullback(cotangent), found.pullback(tensor)]
    for part, (one, other) in zip(("gradient", "virial"), zip(*pairs, strict=True), strict=True):
        bench.check(f"{label}: {part}", bench.device.array(other), one, 1e-9)
    jacobian, other = (features.jacobian(slice(0, 2)).values for features in (expected, found))
    bench.check(f"{label}: Jacobian", bench.device.array(other), jacobian, 1e-9)
    for what, on_two, on_device in (
        ("values", lambda: on_cpu.transform(X), lambda: on_card.transform(X)),
        ("pullback", lambda: expected.pullback(cotangent), lambda: found.pullback(tensor)),
    ):
        fast, _ = bench.seconds(on_device, repeats=1 if bench.small else 5)
        with two_cores():
            slow, _ = bench.seconds(on_two, repeats=2)
        bench.say(f"{label}: {what}", 1000 * fast, "ms", **{"two cores/time": slow / fast})
        bench.stages(f"{label}: {what}", on_device, stages)
        bench.kernels(f"{label}: {what}", on_device)


def covariances(bench):
    """The covariance matrix of FCHL19 features under a Gaussian kernel."""
    sizes = {ETHANOL: 4 if bench.small else 200, ASPIRIN: 2 if bench.small else 50}
    for name, n in sizes.items():
        X = bench.data(name)[0][:n]
        made = {d: FCHL19(device=d).fit_transform(X) for d in ("cpu", bench.name)}
        slow, expected = bench.once(lambda made=made: covariance(Gaussian(2.0), made["cpu"]))
        fast, found = bench.seconds(
            lambda made=made: covariance(Gaussian(2.0), made[bench.name]), repeats=2
        )
        label = f"covariance of {n} {name}"
        bench.check(label, bench.device.array(found), expected, 1e-9)
        bench.say(label, fast, "s", **{"CPU/time": slow / fast})


def separate_fits(bench):
    """Fits of the same structures on the CPU and on the card, for each basis."""
    n, n_test = (4, 3) if bench.small else (40, 100)
    (X, y), (queries, _) = bench.data(ASPIRIN), bench.data(TEST)
    for basis in ("derivatives", "operators"):
        found, seconds = {}, {}
        for device in ("cpu", bench.name):
            model = make_pipeline(FCHL19(device=device), ForceKernelRidge(basis=basis))
            seconds[device], _ = bench.once(lambda m=model: m.fit(X[:n], y[:n]))
            found[device] = model.predict(queries[:n_test], return_forces=True)
        rms = float(np.sqrt(np.mean(found["cpu"][1] ** 2)))
        forces = found[bench.name][1], found["cpu"][1]
        bench.check(f"{basis}: forces of separate fits, of RMS force", *forces, 1e-6, rms)
        ratio = seconds["cpu"] / seconds[bench.name]
        bench.say(f"{basis}: fit of {n} aspirin", seconds[bench.name], "s", **{"CPU/time": ratio})
        if basis == "derivatives":
            on_cpu = make_pipeline(FCHL19().fit(X[:n]), model[-1])
            other = on_cpu.predict(queries[:n_test], return_forces=True)[1]
            bench.check("the same model predicts on the CPU", other, forces[0], 1e-9)


def force_kernel_ridge(bench):
    """FCHL19 and kernel ridge regression of 1,000 frames of aspirin in at most 30 s."""
    n, n_test = (5, 5) if bench.small else (1000, 500)
    (X, y), (queries, labels) = bench.data(ASPIRIN), bench.data(TEST)
    model = make_pipeline(FCHL19(device=bench.name), ForceKernelRidge())
    model.fit(X[:5], y[:5])  # starts the libraries
    bench.clean()
    seconds, _ = bench.once(lambda: model.fit(X[:n], y[:n]))
    bench.say(f"FCHL19 + ForceKernelRidge, {n} aspirin", seconds, "s", **{"aim/time": 30 / seconds})
    bench.say("  peak memory", bench.peak_gib(), "GiB")
    some = slice(0, n_test)
    fast, _ = bench.seconds(lambda: model.predict(queries[some], return_forces=True), repeats=2)
    bench.say("  predict, with forces", n_test / fast, "geometries/s")
    errors = 1000 * -neg_force_mae(model, queries[some], labels[some])
    bench.say("  error of forces", errors, "meV/Å")
    errors = 1000 * -neg_energy_mae(model, queries[some], labels[some])
    bench.say("  error of energies", errors, "meV")
    _parts(bench, X[:n], y[:n])


def _parts(bench, X, y):
    """Times of the features, the Jacobians, the blocks and the Cholesky factor."""
    seconds, features = bench.once(lambda: FCHL19(device=bench.name).fit_transform(X))
    bench.say("  features", seconds, "s")
    parameters = {f"alpha{kind}": 1e-7 for kind in ("", "_forces", "_virial", "_dipole")}
    alphas = alphas_of(parameters, X, y, None, 0.0)
    labels = RidgeLabels(X, y, alphas, ("energy", "forces"))
    seconds, system = bench.once(lambda: CholeskySystem(Gaussian(2.0), features, labels))
    bench.say("  rigid motions, Jacobians in their bases", seconds, "s")
    fill, blocks = system.fill, []
    system.fill = lambda *place: blocks.append(bench.once(lambda: fill(*place))[0])
    total, _ = bench.once(system.factor)
    size = int(system.layout.starts[-1])
    bench.say(f"  covariances of {size} rows", sum(blocks), "s")
    factor = total - sum(blocks)
    bench.say("  Cholesky", factor, "s", **{"TFLOP/s": size**3 / 3e12 / factor})
    seconds, solution = bench.once(lambda: system.solve(system.right_side()))
    bench.say("  solution", seconds, "s")
    seconds, _ = bench.once(lambda: system.expansion(solution))
    bench.say("  expansion", seconds, "s")


def silicon(n, seed=3):
    """Cells of 64 atoms with the energies and forces of a Morse potential."""
    rng, frames = np.random.default_rng(seed), []
    for _ in range(n):
        lattice = 5.43 * rng.uniform(0.97, 1.03)
        atoms = bulk("Si", "diamond", a=lattice, cubic=True) * (2, 2, 2)
        atoms.positions += rng.normal(scale=0.12, size=atoms.positions.shape)
        frames.append(atoms)
    X = Structures.from_ase(frames)
    pairs = neighbor_list(X, 5.0)
    r = np.linalg.norm(pairs.vectors, axis=1)
    decay, inside = np.exp(-1.5 * (r - 2.35)), np.cos(0.1 * np.pi * r) ** 2
    well = decay * (decay - 2)
    slope = 3.0 * decay * (1 - decay) * inside - well * 0.1 * np.pi * np.sin(0.2 * np.pi * r)
    of_atom = np.add.reduceat(0.5 * well * inside, pairs.offsets[:-1])
    forces = np.add.reduceat((slope / r)[:, None] * pairs.vectors, pairs.offsets[:-1])
    energy = np.add.reduceat(of_atom, X.offsets[:-1])
    return X, Targets(energy=energy, forces=forces, offsets=X.offsets)


def sparse_gaussian_process(bench):
    """100 cells of 64 silicon atoms, M = 1,000: fit in 1 s, predictions at 2 µs an atom."""
    n, n_sparse = (4, 30) if bench.small else (100, 1000)
    (X, y), (queries, labels) = silicon(n), silicon(n, 4)
    found, seconds, rates = {}, {}, {}
    for device in ("cpu", bench.name):
        parameters = {"n_max": 3, "l_max": 2} if bench.small else {}
        model = make_pipeline(
            SOAP(device=device, **parameters),
            SparseGaussianProcess(Cosine(4), n_sparse, random_state=0),
        )
        model.fit(X[:4], y[:4])  # compiles
        seconds[device], _ = bench.once(lambda model=model: model.fit(X, y))
        rates[device], found[device] = bench.seconds(
            lambda model=model: model.predict(queries, return_forces=True), repeats=2
        )
        rates[device] *= 1e6 / len(queries.numbers)
    rms = float(np.sqrt(np.mean(labels.forces**2)))
    forces = found[bench.name][1], found["cpu"][1]
    bench.check("forces of separate fits, of RMS force", *forces, 1e-6, rms)
    bench.say("  error of forces", 1000 * -neg_force_mae(model, queries, labels), "meV/Å")
    fast, slow = seconds[bench.name], seconds["cpu"]
    bench.say(f"fit of {n} cells, M = {n_sparse}", fast, "s", **{"CPU/time": slow / fast,
              "aim/time": 1 / fast})  # fmt: skip
    fast, slow = rates[bench.name], rates["cpu"]
    bench.say("predict energies and forces", fast, "µs an atom", **{"CPU/time": slow / fast,
              "aim/time": 2 / fast})  # fmt: skip
    alone, _ = bench.seconds(lambda: model.predict(queries[:1], return_forces=True), repeats=10)
    bench.say("  of one cell of 64 atoms", 1000 * alone, "ms")
    stages = sparse_stages(bench)
    bench.stages("prediction", lambda: model.predict(queries, return_forces=True), stages)
    bench.kernels("prediction", lambda: model.predict(queries, return_forces=True), 20)
    bench.stages("fit", lambda: model.fit(X, y), stages)
    bench.kernels("fit", lambda: model.fit(X, y), 20)
    _deviations(bench, model, queries)


def sparse_stages(bench):
    """The stages of a sparse Gaussian process, see `Bench.stages`."""
    return [
        *soap_stages(bench),
        ("means of atoms and their cotangents", EnvironmentExpansion, "of_atoms"),
        ("pullback", AtomicFeatures, "pullback"),
        ("representatives", fitting, "choose_representatives"),
        ("rows", device_fitting, "_labelled_rows"),
        ("  of energies", sparse_rows, "energy_rows"),
        ("  of derivatives", sparse_rows, "derivative_rows"),
        ("    Jacobians with representatives", AtomicFeatures, "project"),
        ("      Jacobians", tensor_soap, "pair_jacobian"),
        ("triangles", sparse_rows, "reduced"),
        ("factorisation on the host", StreamedQR, "update"),
        ("solution", SparseGaussianProcess, "_solve"),
        ("diagnosis", _regressor, "diagnose"),
    ]


def _deviations(bench, model, queries):
    """Standard deviations of energies and forces of a few structures, equal to the CPU's."""
    some = queries[: 2 if bench.small else 20]
    asked = {"return_std": True, "return_forces_std": True}
    fast, found = bench.seconds(lambda: model.predict(some, **asked), repeats=1)
    on_cpu = make_pipeline(clone(model[0]).set_params(device="cpu").fit(some), model[1])
    slow, expected = bench.once(lambda: on_cpu.predict(some, **asked))
    # K_MM has a condition number of 1e12, and a variance is what it leaves of a prior
    for name, one, other in zip(("energies", "forces"), found[1:], expected[1:], strict=True):
        bench.check(f"deviations of {name}", one, other, 1e-6)
    fast, slow = (1e6 * t / len(some.numbers) for t in (fast, slow))
    bench.say("deviations of energies and forces", fast, "µs an atom", **{"CPU/time": slow / fast})


def gram_matrix(bench):
    """The Gram matrix of `GreedyOLS` summed on the card, from and to numpy."""
    n_rows, n_columns = (2000, 100) if bench.small else (100_000, 4000)
    rng = np.random.default_rng(0)
    block = rng.normal(size=(n_rows // 10, n_columns)), rng.normal(size=n_rows // 10)
    blocks = [block] * 10
    slow, expected = bench.once(lambda: NormalEquations.of(blocks))
    fast, found = bench.seconds(lambda: NormalEquations.of(blocks, bench.name), repeats=1)
    label = f"Gram matrix of {n_rows} x {n_columns}"
    bench.check(label, found.gram, expected.gram, 1e-9)
    bench.say(label, fast, "s", **{"CPU/time": slow / fast})
    X, y = bench.data(ETHANOL)
    n = 20 if bench.small else 500
    features = SOAP(n_max=6, l_max=5).fit_transform(X[:n])
    models, seconds = {}, {}
    for device in ("cpu", bench.name):
        model = GreedyOLS(100, method="gram", device=device)
        seconds[device], models[device] = bench.once(lambda model=model: model.fit(features, y[:n]))
    bench.check("GreedyOLS: coefficients", *(m.coef_ for m in models.values()), 1e-6)
    ratio = seconds["cpu"] / seconds[bench.name]
    label = f"GreedyOLS, {n} ethanol, {features.n_features} features"
    bench.say(label, seconds[bench.name], "s", **{"CPU/time": ratio})


def force_kernel_ridge_cg(bench):
    """ForceKernelRidge by conjugate gradients, and its products."""
    n, n_test, columns = (4, 5, 20) if bench.small else (60, 100, 800)
    (X, y), (queries, _) = bench.data(ASPIRIN), bench.data(TEST)
    found, seconds = {}, {}
    for device in ("cpu", bench.name):
        ridge = ForceKernelRidge(
            alpha=1e-4, solver="cg", n_inducing=columns, tol=1e-7, random_state=0
        )
        model = make_pipeline(FCHL19(device=device), ridge)
        seconds[device], _ = bench.once(lambda m=model: m.fit(X[:n], y[:n]))
        bench.say(f"cg on {device}: fit of {n} aspirin", seconds[device], "s",
                  iterations=ridge.n_iter_)  # fmt: skip
        found[device] = model.predict(queries[:n_test], return_forces=True)[1]
    rms = float(np.sqrt(np.mean(found["cpu"] ** 2)))
    bench.check("forces of both, of RMS force", found[bench.name], found["cpu"], 1e-4, rms)
    bench.say("  CPU/time", seconds["cpu"] / seconds[bench.name])


TASKS = [
    ("soap", soap, 100),
    ("fchl19", fchl19, 90),
    ("acsf", acsf, 90),
    ("scattering", scattering, 100),
    ("covariance", covariances, 90),
    ("force-kernel-ridge-equality", separate_fits, 120),
    ("force-kernel-ridge", force_kernel_ridge, 90),
    ("force-kernel-ridge-cg", force_kernel_ridge_cg, 90),
    ("gram", gram_matrix, 60),
    ("sparse-gaussian-process", sparse_gaussian_process, 90),
]
