"""Small tasks of every day, each timed; the benchmark history runs this script, once for a version.

It measures the skatom that PYTHONPATH names and imports nothing else of the repository, so that it
runs with an older version. It reads names of groups of tasks from its input, a line each, and
answers each with a line of JSON: {task: [seconds, MiB that it adds]}, or {"error": …}.

A group is a function that yields the names of its tasks and what to call. Parameters are defaults
or given by position where possible, as these seldom change their names; where a task has to be
written in two ways, the spelling of today is tried first.
"""

import ctypes
import gc
import inspect
import io
import json
import re
import sys
import time
from pathlib import Path

SPENT = 0.3  # seconds of calls of a task in a process


def sgdml():
    from skatom.datasets import load_ethanol
    from skatom.models import SGDML

    data = load_ethanol()
    X, y = data.structures[:1500:10], data.targets[:1500:10]
    model = SGDML(random_state=0)
    yield "sGDML fit, 150 ethanol", lambda: model.fit(X, y)
    yield "sGDML predict, 2,500 ethanol", lambda: model.predict(data.structures, return_forces=True)


def soap():
    from skatom.descriptors import SOAP

    yield from _of_descriptor("SOAP", SOAP(), _benzene(150))


def acsf():
    from skatom.descriptors import ACSF

    yield from _of_descriptor("ACSF", ACSF(), _benzene(300))


def fchl19():
    from skatom.descriptors import FCHL19

    yield from _of_descriptor("FCHL19", FCHL19(), _benzene(300))


def moment_tensor():
    from skatom.descriptors import MomentTensor

    yield from _of_descriptor("moment tensors", MomentTensor(), _boron_nitride(5))


def point_scattering():
    from skatom.descriptors import PointScattering

    yield from _of_descriptor("point scattering", PointScattering(), _boron_nitride(2))


def wavelet_scattering():
    import numpy as np

    from skatom.descriptors import WaveletScattering

    structures = _boron_nitride(2)
    scattering = WaveletScattering(order=1, alias=1e-3).fit(structures)
    weights = np.ones(len(scattering.get_feature_names_out()))

    def pullback():
        features = scattering.transform(structures)
        if hasattr(features, "pullback"):
            return features.pullback(weights)
        return scattering.pullback(structures, weights)

    yield "wavelet scattering values, 2 BN cells", lambda: scattering.transform(structures)
    yield "wavelet scattering values and pullback", pullback


def _of_descriptor(name, descriptor, structures):
    import numpy as np

    descriptor.fit(structures)
    features = descriptor.transform(structures)
    cotangent = np.random.default_rng(0).normal(size=features.values.shape)
    label = f"{len(structures)} x {structures.n_atoms[0]} atoms"
    yield f"{name} values, {label}", lambda: descriptor.transform(structures)
    yield f"{name} pullback", lambda: features.pullback(cotangent)


def covariance():
    from skatom.datasets import load_ethanol
    from skatom.descriptors import FCHL19
    from skatom.kernels import Gaussian, covariance
    from skatom.models import ForceKernelRidge

    data = load_ethanol()
    train = slice(0, 40)
    descriptor = FCHL19().fit(data.structures[train])
    features = descriptor.transform(data.structures[train])
    yield "FCHL19 covariance, 40 ethanol", lambda: covariance(Gaussian(2.0), features)
    model = ForceKernelRidge().fit(features, data.targets[train])
    queries = data.structures[100:400]
    yield (
        "force kernel ridge predict, 300 ethanol",
        lambda: model.predict(descriptor.transform(queries), return_forces=True),
    )


def sparse():
    from skatom.datasets import load_boron_nitride
    from skatom.descriptors import SOAP
    from skatom.kernels import Cosine
    from skatom.models import SparseGaussianProcess

    data = load_boron_nitride()
    soap = SOAP().fit(data.structures)
    train, other = slice(0, 240, 40), slice(5, 6)
    X, y = soap.transform(data.structures[train]), data.targets[train]
    model = SparseGaussianProcess(Cosine(4), 60)
    yield "sparse GP fit, 6 BN cells, energies, forces, stress", lambda: model.fit(X, y)
    queries = data.structures[other]
    forces = {"return_forces": True, "return_stress": True}
    yield (
        "sparse GP predict, 1 BN cell, forces and stress",
        lambda: model.predict(soap.transform(queries), **forces),
    )
    stds = {"return_forces": True, "return_std": True}
    if "return_forces_std" in inspect.signature(model.predict).parameters:
        stds["return_forces_std"] = True
    yield (
        "sparse GP predict, 1 BN cell, std of energies and forces",
        lambda: model.predict(soap.transform(queries), **stds),
    )


def nbody():
    from skatom.datasets import load_boron_nitride
    from skatom.kernels import NBody
    from skatom.models import MappedForceField, NBodyGaussianProcess

    data = load_boron_nitride()
    kernel = NBody(2, cutoff=3.5) + NBody(3, cutoff=3.0)
    X, y = data.structures[:240:24], data.targets[:240:24]
    model = NBodyGaussianProcess(kernel, n_environments=40, random_state=0)
    yield "n-body fit, pairs and triangles, 40 BN environments", lambda: model.fit(X, y)
    one = data.structures[5:6]
    yield "n-body predict, 1 BN cell", lambda: model.predict(one, return_forces=True)
    mapped, many = MappedForceField.from_fitted(model), data.structures[:240:4]
    yield (
        "mapped force field predict, 60 BN cells",
        lambda: mapped.predict(many, return_forces=True),
    )


def greedy():
    import numpy as np

    from skatom.datasets import load_ethanol
    from skatom.descriptors import ACSF
    from skatom.models import GreedyOLS

    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 400))
    y = X @ rng.normal(size=400) + rng.normal(size=3000)
    yield "greedy OLS fit, array 3,000 x 400, 60 terms", lambda: GreedyOLS(60).fit(X, y)
    data = load_ethanol()
    features = ACSF().fit_transform(data.structures[:60])
    yield (
        "greedy OLS fit, 60 ethanol with forces, 20 terms",
        lambda: GreedyOLS(20).fit(features, data.targets[:60]),
    )


def tensor():
    from sklearn.pipeline import make_pipeline

    from skatom.datasets import load_ethanol
    from skatom.descriptors import LambdaSOAP
    from skatom.models import TensorKernelRidge

    data = load_ethanol()
    X, dipoles = data.structures[:400:10], data.targets.dipole[:400:10]
    if "descriptor" in inspect.signature(TensorKernelRidge).parameters:
        model = TensorKernelRidge("dipole", LambdaSOAP(cutoff=4.0))
    else:
        model = make_pipeline(LambdaSOAP(cutoff=4.0), TensorKernelRidge("dipole"))
    yield "tensor ridge fit, 40 ethanol", lambda: model.fit(X, dipoles)
    yield "tensor ridge predict, 100 ethanol", lambda: model.predict(data.structures[-100:])


def selection():
    import numpy as np

    from skatom.selection import CUR, FarthestPointSampling

    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 200)) * 10.0 ** np.linspace(0, -4, 200)
    fps = FarthestPointSampling(300, axis="samples")
    yield "farthest points, 300 of 4,000", lambda: fps.fit(X)
    cur = CUR(30, axis="features")
    yield "CUR, 30 of 200 features of 2,000 samples", lambda: cur.fit(X[:2000])


def reading():
    import skatom.datasets

    path = Path(skatom.datasets.__file__).parent / "data" / "ethanol.npz"
    yield "reading npz, 2,500 ethanol", lambda: skatom.datasets.read(path)


def _benzene(n):
    from skatom.datasets import load_benzene

    return load_benzene().structures[:n]


def _boron_nitride(n):
    from skatom.datasets import load_boron_nitride

    return load_boron_nitride().structures[:n]


GROUPS = {
    group.__name__: group
    for group in (
        sgdml, soap, acsf, fchl19, moment_tensor, point_scattering, wavelet_scattering, covariance,
        sparse, nbody, greedy, tensor, selection, reading,
    )
}  # fmt: skip


def measure(function):
    """The shortest of some calls after a first one, in seconds, and the memory they add, in MiB."""
    function()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(
        0
    )  # else memory that earlier tasks freed would hide what is added
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = _mebibytes("VmRSS")
    times = []
    while sum(times) < SPENT:
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times), _mebibytes("VmHWM") - before


def _mebibytes(name):
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024


def imports():
    """Seconds that the imports of a fresh process take."""
    begin = time.perf_counter()
    import skatom.datasets
    import skatom.descriptors
    import skatom.models  # noqa: F401

    return time.perf_counter() - begin


def main():
    answers, sys.stdout = sys.stdout, io.StringIO()  # nothing else may write there
    seconds = imports()
    import skatom

    first = {"version": skatom.__version__, "folder": str(Path(skatom.__file__).parents[1])}
    print(json.dumps({**first, "import": seconds}), file=answers, flush=True)
    for line in sys.stdin:
        group = line.strip()
        try:
            result = {name: measure(function) for name, function in GROUPS[group]()}
        except Exception as error:  # a version may lack what a task asks for
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    main()
