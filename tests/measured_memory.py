"""What jobs are said to need, and what they use: each in a process of its own.

``python tests/measured_memory.py NAME`` prints both in bytes, for half of the job and for the whole
job. What is said is the largest sum of the memory in use at a call of `skatom.memory.check_memory`
and of what the call asks for.
"""

import ctypes
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from skatom import memory

_STATUS = Path("/proc/self/status")


def _in_use(line="VmRSS"):
    for text in _STATUS.read_text().splitlines():
        if text.startswith(line):
            return 1024 * int(text.split()[1])
    raise AssertionError(line)


class Recorder:
    """Stands for `check_memory`, and notes what is asked for."""

    def __init__(self):
        self.calls = []

    def __call__(self, n_bytes, what, remedy, max_memory=None):
        self.calls.append((_in_use() + float(n_bytes), what))


recorder = Recorder()
if __name__ == "__main__":  # before the modules that take it from there
    memory.check_memory = recorder

import numpy as np  # noqa: E402
from models_under_contract import crystals, labels_of, waters  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402

from skatom import Structures  # noqa: E402
from skatom._prediction import predict  # noqa: E402
from skatom.descriptors import (  # noqa: E402
    ACSF,
    FCHL19,
    SOAP,
    AveragedSOAP,
    LambdaSOAP,
    PointScattering,
)
from skatom.kernels import FCHL18, Cosine, Gaussian, NBody, StructureKernel, covariance  # noqa: E402
from skatom.models import (  # noqa: E402
    GDML,
    ForceKernelRidge,
    GreedyOLS,
    NBodyGaussianProcess,
    SparseGaussianProcess,
    TensorKernelRidge,
)
from skatom.selection import CUR, FarthestPointSampling  # noqa: E402

SMALL_SOAP = SOAP(cutoff=3.5, n_max=3, l_max=2)
SMALL_FCHL19 = FCHL19(cutoff=4.0, n_r2=8, n_r3=6)
SMALL_LAMBDA_SOAP = LambdaSOAP(cutoff=3.0, n_max=3, l_max=2)
SMALL_POINTS = PointScattering([(3, 1), (3, 2)], (0, 1), 2, (4 / 3, 2), beta=0.5, pool="sum")
ENERGY = ("energy", "forces")
ALL = (*ENERGY, "stress")
SYSTEMS = {"waters": waters, "crystals": crystals}


def many(system, n):
    """n structures, of which some are the same."""
    some = SYSTEMS[system](min(n, 100))
    one = some.n_atoms[0]
    times = -(-n // len(some))
    whole = Structures(
        np.tile(some.numbers, times), np.tile(some.positions, (times, 1)),
        one * np.arange(times * len(some) + 1), np.tile(some.cells, (times, 1, 1)),
        np.tile(some.pbc, (times, 1)),
    )  # fmt: skip
    return whole[:n]


@dataclass
class Fit:
    """The fit of a model to so many structures."""

    make: object
    size: int
    labels: tuple = ENERGY
    system: str = "waters"

    def prepared(self, n=None):
        structures = SYSTEMS[self.system](n or self.size)
        targets = labels_of(structures, self.labels)
        return lambda: self.make().fit(structures, targets)


@dataclass
class Predict:
    """All predictions of a model, which was fitted to few structures, for n."""

    make: object
    size: int
    labels: tuple = ENERGY
    system: str = "waters"
    few: int = 32

    def prepared(self, n=None):
        structures = SYSTEMS[self.system](self.few)
        model = self.make().fit(structures, labels_of(structures, self.labels))
        X = many(self.system, n or self.size)
        outputs = getattr(model, "outputs_", None) or model[-1].outputs_
        if not X.pbc.all():
            outputs = [name for name in outputs if "stress" not in name]
        return lambda: predict(model, X, outputs)


@dataclass
class Transform:
    """The features of n structures."""

    descriptor: object
    size: int
    system: str = "crystals"

    def prepared(self, n=None):
        X = many(self.system, n or self.size)
        descriptor = self.descriptor.fit(X[:8])
        return lambda: descriptor.transform(X)


@dataclass
class Call:
    """A function of what is made of n structures."""

    function: object
    size: int
    make: object = None
    system: str = "waters"

    def prepared(self, n=None):
        X = SYSTEMS[self.system](n or self.size)
        X = X if self.make is None else self.make.fit_transform(X)
        return lambda: self.function(X)


@dataclass
class Table:
    """A function of a table of random numbers."""

    function: object
    shape: tuple

    @property
    def size(self):
        return self.shape[0]

    def prepared(self, n=None):
        table = np.random.default_rng(0).normal(size=(n or self.size, self.shape[1]))
        return lambda: self.function(table)


def ridge(descriptor=SMALL_FCHL19, **parameters):
    return lambda: make_pipeline(descriptor, ForceKernelRidge(**parameters))


def piped(descriptor, cls, **parameters):
    return lambda: make_pipeline(descriptor, cls(**parameters))


GAUSSIAN, COSINE = Gaussian(2.0), Cosine(2)
CG = {"solver": "cg", "random_state": 0, "alpha": 1e-3, "max_iter": 3}
SUMS = StructureKernel(Cosine(2), "average", normalize=True, zeta=2)
NEAR, PLETS = NBody(cutoff=3.6, amplitude=0.1), NBody(order=3, cutoff=3.0, amplitude=0.1)

JOBS = {
    "ridge": Fit(ridge(kernel=GAUSSIAN), 1000),
    "ridge-operators": Fit(ridge(kernel=GAUSSIAN, basis="operators", alpha=1e-8), 1000),
    "ridge-average": Fit(ridge(SMALL_SOAP, kernel=SUMS, alpha=1e-6), 1000),
    "ridge-array": Table(
        lambda X: ForceKernelRidge(GAUSSIAN, alpha=1e-3).fit(X, X[:, 0]), (4000, 10)
    ),
    "ridge-fchl18": Fit(
        lambda: ForceKernelRidge(FCHL18(cutoff=3.0, cut_start=0.6), alpha=1e-6), 250
    ),
    "nbody": Fit(
        lambda: NBodyGaussianProcess(NEAR, random_state=0), 150, ALL, "crystals"
    ),
    "dipole": Fit(
        piped(SMALL_LAMBDA_SOAP, TensorKernelRidge, target="dipole"), 1200, ("dipole",)
    ),
    "dipole-sparse": Fit(
        piped(SMALL_LAMBDA_SOAP, TensorKernelRidge, target="dipole", n_sparse=800, random_state=0),
        900, ("dipole",),
    ),
    "predict-gdml": Predict(
        lambda: GDML(sigma=3.0, alpha=1e-6, keep_factor=True, energy_constraint=True), 30000
    ),
    "predict-ridge": Predict(ridge(kernel=GAUSSIAN), 6000),
    "predict-sparse": Predict(
        piped(SMALL_SOAP, SparseGaussianProcess, n_sparse=30, random_state=0), 6000
    ),
    "predict-nbody": Predict(
        lambda: NBodyGaussianProcess(NEAR, n_environments=30, random_state=0), 3000, ALL,
        "crystals",
    ),
    "predict-greedy": Predict(piped(SMALL_SOAP, GreedyOLS, n_terms=12), 20000),
    "predict-dipole": Predict(
        piped(SMALL_LAMBDA_SOAP, TensorKernelRidge, target="dipole", keep_factor=True), 5000,
        ("dipole",),
    ),
    "soap": Transform(SOAP(cutoff=4.0, n_max=8, l_max=6), 1500),
    "soap-sum": Transform(SOAP(cutoff=4.0, n_max=8, l_max=6, pool="sum"), 5000),
    "acsf": Transform(ACSF(cutoff=4.0), 20000),
    "fchl19": Transform(FCHL19(cutoff=4.0), 6000),
    "averaged-soap": Transform(AveragedSOAP(SOAP(cutoff=4.0, n_max=8, l_max=6)), 6000),
    "covariance": Call(
        lambda x: covariance(GAUSSIAN, x, rows=ENERGY), 400, SMALL_FCHL19
    ),
    "gram": Table(lambda X: GAUSSIAN(X), (4000, 20)),
    "farthest": Table(
        lambda X: FarthestPointSampling(5, axis="samples", first=0).fit(X), (1000000, 10)
    ),
    "farthest-kernel": Table(
        lambda X: FarthestPointSampling(5, axis="samples", kernel=Gaussian(3.0), first=0).fit(X),
        (1000000, 10),
    ),
    "cur": Table(lambda X: CUR(5).fit(X), (3000, 3000)),
    "cur-random": Table(
        lambda X: CUR(20, method="random", axis="samples", n_components=20, random_state=0).fit(X),
        (50000, 200),
    ),
}  # fmt: skip


def measured(work):
    """What is said and what is used by a call, in bytes."""
    ctypes.CDLL(None).malloc_trim(0)
    recorder.calls.clear()
    Path("/proc/self/clear_refs").write_text("5")
    before = _in_use()
    result = work()
    used = _in_use("VmHWM") - before
    del result
    return max((call[0] for call in recorder.calls), default=before) - before, used


def main(name):
    job = JOBS[name]
    job.prepared(32)()  # compiled and loaded
    print(json.dumps([measured(job.prepared(n)) for n in (job.size // 2, job.size)]))


if __name__ == "__main__":
    main(sys.argv[1])
