"""The first use: processor time that a new user waits until all functions are compiled.

    python -m benchmarks cold
    python -m benchmarks cold --only SOAP "SOAP + SparseGaussianProcess" --functions 15

Each descriptor and model works on a few small cells or molecules in a process of its own, on one
core and with an empty cache of compiled functions. Printed are processor seconds

- of the imports, of the process's start until there is something to fit;
- of the first use: a fit, and its prediction with forces; of a descriptor its features and their
  pullback;
- of the same for the second time, with all functions compiled;

and how many functions were compiled, numba's own included. ``--functions`` lists those that took
longest without the functions that they call, and how often each was compiled: twice or more for
arguments of other types. Models that fit other models compile what these compile, and are left out.

There is no peer. Takes some five minutes; the numbers suffer from other programs on the machine by
up to a half, so look at how many cores these used.
"""

import os
import resource
import tempfile
from collections import defaultdict

from benchmarks.harness import own, run_worker, table

NU3 = "SOAP (nu=3)"


def add_arguments(parser):
    parser.add_argument("--only", nargs="+", choices=list(_tasks()), default=list(_tasks()))
    parser.add_argument("--functions", type=int, default=0, help="slowest functions to list")


def run(options):
    rows, functions = [], {}
    for name in options.only:
        found = first_use(name)
        functions[name] = found["functions"]
        rows.append([
            name, *(f"{found[key]:.1f}" for key in ("imports", "first", "second", "sum")),
            str(sum(times for _, _, times in found["functions"])), f"{found['foreign_cores']:.1f}",
        ])  # fmt: skip
        print(" ".join(rows[-1]), flush=True)
    header = [
        "processor seconds",
        "imports",
        "first",
        "second",
        "sum",
        "compiled",
        "other programs",
    ]
    table("Cold first use", header, rows)
    if options.functions:
        for name, found in functions.items():
            table(f"{name}: slowest functions", ["seconds", "times", "function"], [
                [f"{seconds:.2f}", str(times), function]
                for seconds, function, times in found[: options.functions]
            ])  # fmt: skip


def first_use(name):
    """`measure` in a process of its own, without compiled functions."""
    with tempfile.TemporaryDirectory() as cache:
        before = os.environ.get("NUMBA_CACHE_DIR")
        os.environ["NUMBA_CACHE_DIR"] = cache
        try:
            return run_worker(own(measure, name), 1)
        finally:
            os.environ.pop("NUMBA_CACHE_DIR")
            if before is not None:
                os.environ["NUMBA_CACHE_DIR"] = before


# --- in the process ------------------------------------------------------------------------------


def measure(name):
    """Processor seconds of the parts of a first use, and those of each compiled function."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    work = _tasks()[name]()
    compiled = _listen()
    imports = _seconds()
    work()
    first = _seconds() - imports
    functions = [[seconds, name, times] for name, (seconds, times) in compiled.items()]
    work()
    return {
        "imports": imports, "first": first, "second": _seconds() - first - imports,
        "sum": imports + first, "functions": sorted(functions, reverse=True),
    }  # fmt: skip


def _seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _listen():
    """{function: [seconds without what it calls, times]} of all that numba compiles from now on."""
    from numba.core import event

    found, stack = defaultdict(lambda: [0.0, 0]), []

    class Listener(event.Listener):
        def on_start(self, event):
            stack.append([_seconds(), 0.0])

        def on_end(self, event):
            begin, inner = stack.pop()
            seconds = _seconds() - begin
            function = event.data["dispatcher"].py_func
            entry = found[f"{function.__module__}.{function.__qualname__}"]
            entry[0] += seconds - inner
            entry[1] += 1
            if stack:
                stack[-1][1] += seconds

    event.register("numba:compile", Listener())
    return found


def _cells():
    """Three skewed cells of lithium fluoride, smaller than the cutoffs."""
    import numpy as np
    from ase import Atoms

    rng, cell = np.random.default_rng(0), 3.4 * np.eye(3) + 0.4 * np.tri(3, k=-1)
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0.05], [0, 0.5, 0.5]]
    images = [Atoms("LiFLiF", scaled_positions=places, cell=cell, pbc=True) for _ in range(3)]
    for atoms in images:
        atoms.positions += rng.normal(scale=0.08, size=(4, 3))
    return images


def _waters():
    """Six distorted molecules."""
    import numpy as np
    from ase.build import molecule

    images = [molecule("H2O") for _ in range(6)]
    for seed, atoms in enumerate(images):
        atoms.positions += np.random.default_rng(seed).normal(scale=0.05, size=(3, 3))
    return images


def _labels(images):
    """Labels that can be learnt, by numpy alone: compiled loops are for the work to use first.

    Energies Σ 9 exp(-2 r) of the pairs, with the forces, and dipoles of charges at the atoms.
    """
    import numpy as np

    from skatom import Targets

    energies, forces, dipoles = [], [], []
    for atoms in images:
        shifts = (
            np.indices((5, 5, 5)).reshape(3, -1).T - 2.0 if atoms.pbc.all() else np.zeros((1, 3))
        )
        x = atoms.positions
        d = x[:, None, None] - x[None, :, None] - shifts @ atoms.cell.array
        r = np.linalg.norm(d, axis=-1)
        r[r == 0.0] = np.inf  # an atom and itself
        values = 9.0 * np.exp(-2.0 * r)
        energies.append(0.5 * values.sum())
        forces.append(np.einsum("ijs,ijsx->ix", 2.0 * values / r, d))
        dipoles.append(np.where(atoms.numbers == 1, 0.4, -0.8) @ x)
    return Targets(
        energy=energies, forces=np.concatenate(forces), dipole=dipoles,
        offsets=np.cumsum([0] + [len(atoms) for atoms in images]),
    )  # fmt: skip


def _features(name, *arguments, images=_cells, **parameters):
    """A task: features of a descriptor and their pullback."""

    def prepare():
        import numpy as np

        from skatom import descriptors

        descriptor, structures = getattr(descriptors, name)(*arguments, **parameters), images()

        def work():
            features = descriptor.fit_transform(structures)
            features.pullback(np.ones(features.values.shape[1]))

        return work

    return prepare


def _model(make, images=_cells, outputs=("return_forces",)):
    """A task: a fit, and a prediction with forces."""

    def prepare():
        structures, model = images(), make()
        targets = _labels(structures)

        def work():
            model.fit(structures, targets)
            model.predict(structures, **dict.fromkeys(outputs, True))

        return work

    return prepare


def _pipeline(descriptor, model, parameters=None, kernel=None):
    """A factory of a descriptor and a model."""

    def make():
        from sklearn.pipeline import make_pipeline

        from skatom import descriptors, kernels, models

        options = dict(parameters or {})
        if kernel is not None:
            options["kernel"] = getattr(kernels, kernel[0])(*kernel[1:])
        name, settings = descriptor
        features = getattr(descriptors, name)(**settings)
        return make_pipeline(features, getattr(models, model)(**options))

    return make


def _single(model, kernel=None, **parameters):
    """A factory of a model that takes structures."""

    def make():
        from skatom import kernels, models

        if kernel is None:
            return getattr(models, model)(**parameters)
        name, settings = kernel
        return getattr(models, model)(getattr(kernels, name)(**settings), **parameters)

    return make


def _mapped():
    from skatom.models import MappedForceField

    model = _single("NBodyGaussianProcess", ("NBody", {"cutoff": 3.6}), n_environments=5)
    return MappedForceField(model(), n_knots_pairs=40)


def _tasks():
    """{name: function that makes a task}."""
    soap, covariant = ("SOAP", {"cutoff": 3.5}), ("LambdaSOAP", {"cutoff": 3.0})
    short = {"cutoff": 3.0, "cut_start": 0.6}
    return {
        "ACSF": _features("ACSF"),
        "AtomicClusterExpansion": _features("AtomicClusterExpansion", 3.5),
        "AveragedSOAP": _features("AveragedSOAP"),
        "BagOfBonds": _features("BagOfBonds", images=_waters),
        "ChebyshevFunctions": _features("ChebyshevFunctions"),
        "CoulombMatrix": _features("CoulombMatrix", images=_waters),
        "EwaldMatrix": _features("EwaldMatrix"),
        "ExtendedCoulombMatrix": _features("ExtendedCoulombMatrix"),
        "FCHL19": _features("FCHL19"),
        "InverseDistances": _model(
            _pipeline(("InverseDistances", {}), "GreedyOLS", {"n_terms": 2}), _waters
        ),
        "ManyBodyExpansion": _features("ManyBodyExpansion", images=_waters),
        "ManyBodyTensor": _features(
            "ManyBodyTensor", "angle", weighting="smooth_cutoff", cutoff=3.0
        ),
        "MomentTensor": _features("MomentTensor"),
        "PointScattering": _features(
            "PointScattering", [(3, 1), (3, 2)], (0, 1), 2, (4 / 3, 2), beta=0.5, pool="sum"
        ),
        "SineMatrix": _features("SineMatrix"),
        "SOAP": _features("SOAP"),
        NU3: _features("SOAP", nu=3, n_max=3, l_max=2),
        "WaveletScattering": _features(
            "WaveletScattering", orbitals=[(2, 1)], scales=(0,), beta=0.5, grid_spacing=0.5
        ),
        "FCHL18 + ForceKernelRidge": _model(_single("ForceKernelRidge", ("FCHL18", short))),
        "FCHL19 + ForceKernelRidge": _model(
            _pipeline(("FCHL19", {"cutoff": 4.0}), "ForceKernelRidge", kernel=("Gaussian", 5.0))
        ),
        "GDML": _model(_single("GDML", sigma=3.0), _waters),
        "LambdaSOAP + TensorKernelRidge": _model(
            _pipeline(covariant, "TensorKernelRidge", {"target": "dipole"}), _waters, (),
        ),
        "LinearPotential": _model(
            _pipeline(("MomentTensor", {"cutoff": 3.5, "level": 4}), "LinearPotential")
        ),
        "MappedForceField": _model(_mapped),
        "NBodyGaussianProcess": _model(
            _single("NBodyGaussianProcess", ("NBody", {"cutoff": 3.6}), n_environments=5)
        ),
        "NBodyGaussianProcess (order=3)": _model(
            _single(
                "NBodyGaussianProcess", ("NBody", {"cutoff": 3.0, "order": 3}), n_environments=5
            )
        ),
        "SchNet": _model(_single("SchNet", n_features=8, max_iter=2, random_state=0), _waters),
        "SGDML": _model(_single("SGDML", sigma=3.0), _waters),
        "SOAP + GreedyOLS": _model(_pipeline(soap, "GreedyOLS", {"n_terms": 2})),
        "SOAP + SparseGaussianProcess": _model(
            _pipeline(soap, "SparseGaussianProcess", {"n_sparse": 5})
        ),
    }  # fmt: skip
