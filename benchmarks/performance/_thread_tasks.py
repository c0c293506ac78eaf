"""Tasks of the benchmark `threads`, in groups whose tasks need the same preparation.

A group is a function of the benchmark's size, 1 for a measurement or a small number to compile what
it calls. It yields the name of each task and what to call.
"""

import numpy as np

from benchmarks.harness import DATA


def sgdml(share):
    from skatom.datasets import read
    from skatom.models import SGDML
    from skatom.symmetry import find_permutations

    data = read(DATA / "molecules" / "md17_ethanol.npz")
    n, queries = _some(500, share), _some(4000, share)
    model = SGDML(sigma=10.0, permutations=find_permutations(data.structures[:200]))
    X, y = data.structures[:n], data.targets[:n]
    yield f"sGDML fit, {n} ethanol", lambda: model.fit(X, y)
    model.fit(X, y)
    chosen = data.structures[np.random.default_rng(0).integers(0, len(data.structures), queries)]
    yield f"sGDML predict, {queries}", lambda: model.predict(chosen, return_forces=True)


def soap(share):
    from ase.build import bulk

    from skatom.descriptors import SOAP

    yield from _of_descriptor("SOAP", SOAP(), _aspirin(_some(400, share)))
    crystal = bulk("Si", cubic=True).repeat((6, 6, 6) if share == 1 else (2, 2, 2))
    crystal.rattle(0.1, seed=0)
    descriptor = SOAP().fit([crystal])
    yield f"SOAP values, {len(crystal)} Si", lambda: descriptor.transform([crystal])


def fchl19(share):
    from skatom.descriptors import FCHL19

    yield from _of_descriptor("FCHL19", FCHL19(), _aspirin(_some(1000, share)))


def acsf(share):
    from skatom.descriptors import ACSF

    yield from _of_descriptor("ACSF", ACSF(), _aspirin(_some(1000, share)))


def covariance(share):
    from skatom.datasets import read
    from skatom.descriptors import FCHL19
    from skatom.kernels import Gaussian, covariance

    n = _some(200, share)
    data = read(DATA / "molecules" / "md17_ethanol.npz")
    features = FCHL19().fit_transform(data.structures[:n])
    yield f"FCHL19 covariance, {n} ethanol", lambda: covariance(Gaussian(2.0), features)


def sparse(share):
    from sklearn.pipeline import make_pipeline

    from skatom.datasets import load_boron_nitride
    from skatom.descriptors import SOAP
    from skatom.models import SparseGaussianProcess

    data = load_boron_nitride()
    n, queries = _some(60, share), data.structures[100 : 100 + _some(100, share)]
    process = SparseGaussianProcess(n_sparse=_some(200, share), random_state=0)
    model = make_pipeline(SOAP(cutoff=4.0, n_max=6, l_max=4), process)
    X, y = data.structures[:n], data.targets[:n]
    yield f"sparse GP fit, {n} BN cells", lambda: model.fit(X, y)
    model.fit(X, y)
    yield f"sparse GP predict, {len(queries)}", lambda: model.predict(queries, return_forces=True)


def scattering(share):
    from skatom.datasets import load_boron_nitride
    from skatom.descriptors import WaveletScattering

    cells = load_boron_nitride().structures[: _some(20, share)]
    descriptor = WaveletScattering(alias=1e-3).fit(cells)
    yield f"scattering, {len(cells)} BN cells", lambda: descriptor.transform(cells)


GROUPS = {
    function.__name__: function
    for function in (sgdml, soap, fchl19, acsf, covariance, sparse, scattering)
}


def _of_descriptor(name, descriptor, structures):
    descriptor.fit(structures)
    yield f"{name} values, {len(structures)} aspirin", lambda: descriptor.transform(structures)
    features = descriptor.transform(structures)
    cotangent = np.random.default_rng(0).normal(size=features.values.shape)
    yield f"{name} pullback, {len(structures)}", lambda: features.pullback(cotangent)


def _aspirin(n):
    from skatom.datasets import read

    return read(DATA / "molecules" / "rmd17_aspirin_train.npz").structures[:n]


def _some(n, share):
    return max(4, round(share * n))


class Filled:
    """A positive definite system of which only the time of its `fill` is of interest."""

    def fill(self, start, stop, out):
        out[:] = 1e-4
        out[: stop - start].flat[:: stop - start + 1] = 2.0
