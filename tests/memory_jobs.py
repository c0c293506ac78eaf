"""The jobs whose memory is measured: fits, predictions, features, covariances, selections."""

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from models_under_contract import crystals, labels_of, waters
from sklearn.pipeline import make_pipeline

from skatom import Structures
from skatom._prediction import predict
from skatom.descriptors import (
    ACSF,
    FCHL19,
    SOAP,
    AtomicClusterExpansion,
    AveragedSOAP,
    ChebyshevFunctions,
    FeatureScaler,
    InverseDistances,
    LambdaSOAP,
    MomentTensor,
    PointScattering,
)
from skatom.kernels import (
    FCHL18,
    Cosine,
    Gaussian,
    ManyBody,
    NBody,
    Polynomial,
    StructureKernel,
    covariance,
)
from skatom.metrics import evaluate
from skatom.models import (
    DTNN,
    GDML,
    HDNNP,
    SGDML,
    AngularFilterNetwork,
    BaggedGreedyOLS,
    Committee,
    ForceKernelRidge,
    GatedExperts,
    GreedyOLS,
    KernelOrderSelector,
    LatentChargeRidge,
    LinearPotential,
    MappedForceField,
    MessagePassingNetwork,
    MomentTensorPotential,
    NBodyGaussianProcess,
    PaiNN,
    PointScatteringNetwork,
    SchNet,
    SparseGaussianProcess,
    StructuredMLPRegressor,
    TensorKernelRidge,
)
from skatom.random_features import (
    PrincipalComponents,
    RandomFourierFeatures,
    SampledNetworkFeatures,
)
from skatom.selection import CUR, FarthestPointSampling

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


class Job:
    """What is measured: ``prepared(n)`` returns a function without arguments."""

    grows = True


@dataclass
class Fit(Job):
    """The fit of a model to so many structures; with ``few``, of a model of n to few structures."""

    make: object
    size: int
    labels: tuple = ENERGY
    system: str = "waters"
    few: int | None = None
    steady: bool = True

    @property
    def grows(self):
        """Whether the same arrays are the largest in half of the job."""
        return self.steady and self.few is None

    def model(self, n):
        return self.make(n) if self.few else self.make()

    def prepared(self, n=None):
        n = n or self.size
        structures = SYSTEMS[self.system](self.few or n)
        targets, model = labels_of(structures, self.labels), self.model(n)
        return lambda: model.fit(structures, targets)


@dataclass
class Predict(Job):
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
class Transform(Job):
    """The features of n structures."""

    descriptor: object
    size: int
    system: str = "crystals"

    def prepared(self, n=None):
        X = many(self.system, n or self.size)
        descriptor = self.descriptor.fit(X[:8])

        def features():
            found = descriptor.transform(X)
            assert len(found.values)  # some descriptors compute them when they are used
            return found

        return features


@dataclass
class Call(Job):
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
class Made(Job):
    """What a function makes of n."""

    prepare: object
    size: int

    def prepared(self, n=None):
        return self.prepare(n or self.size)


@dataclass
class Table(Job):
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


def sparse(n):
    """A process of n representative environments of each of two elements."""
    return make_pipeline(SMALL_SOAP, SparseGaussianProcess(n_sparse=n // 2, random_state=0))


def fourier():
    """6,000 random features, whose forces are summed in normal equations."""
    maps = RandomFourierFeatures(GAUSSIAN, n_features=6000, random_state=0)
    return make_pipeline(SMALL_FCHL19, maps, LinearPotential(alpha=1e-6))


def learnt_map(cls):
    """The fit of n random features of a table."""

    def prepared(n):
        table = np.random.default_rng(0).normal(size=(200, 500))
        return lambda: cls(n_features=n, random_state=0).fit(table)

    return prepared


def principal(n):
    """The principal components of a table of n columns."""
    table = np.random.default_rng(0).normal(size=(3000, n))
    return lambda: PrincipalComponents(20).fit(table)


def committee():
    return make_pipeline(
        SMALL_SOAP, Committee(ForceKernelRidge(COSINE, alpha=1e-6), n_models=3, random_state=0)
    )


def gated():
    return GatedExperts(
        NBodyGaussianProcess(NEAR, noise_energy=1e-2),
        SOAP(cutoff=3.5, n_max=3, l_max=2, pool="mean"), random_state=0,
    )  # fmt: skip


def evaluated(n):
    model = make_pipeline(SMALL_SOAP, GreedyOLS(n_terms=12))
    few = waters(32)
    model = model.fit(few, labels_of(few, ENERGY))
    X = many("waters", n)
    y = labels_of(X, ENERGY)
    return lambda: evaluate(model, X, y)


JOBS = {
    "gdml": Fit(lambda: GDML(sigma=3.0, alpha=1e-6), 1500),
    "sgdml": Fit(lambda: SGDML(sigma=3.0, alpha=1e-6, random_state=0), 1500),
    "gdml-constraint": Fit(lambda: GDML(sigma=3.0, alpha=1e-6, energy_constraint=True), 1000),
    "ridge-cg": Fit(ridge(kernel=GAUSSIAN, n_inducing=300, **CG), 2000),
    "ridge-cg-soap": Fit(ridge(SMALL_SOAP, kernel=COSINE, n_inducing=300, **CG), 2000),
    "ridge-stress": Fit(ridge(SMALL_SOAP, kernel=COSINE, alpha=1e-6), 300, ALL, "crystals"),
    "ridge-pooled": Fit(
        ridge(SOAP(cutoff=3.5, n_max=3, l_max=2, pool="sum"), kernel=Gaussian(6.0), alpha=1e-6),
        1000,
    ),
    "ridge-distances": Fit(ridge(InverseDistances(), kernel=Gaussian(0.5), alpha=1e-5), 1000),
    "ridge-fchl18-operators": Fit(
        lambda: ForceKernelRidge(FCHL18(cut_start=0.6), basis="operators", alpha=1e-8), 500
    ),
    "sparse": Fit(sparse, 1600, few=800),
    "sparse-few": Fit(sparse, 3000, few=1500, labels=("energy",)),
    "sparse-crystals": Fit(sparse, 1200, ALL, "crystals", few=300),
    "nbody-triangles": Fit(
        lambda: NBodyGaussianProcess(PLETS, random_state=0), 100, ALL, "crystals"
    ),
    "nbody-sum": Fit(
        lambda: NBodyGaussianProcess(NEAR + PLETS, random_state=0), 100, ALL, "crystals"
    ),
    "many-body": Fit(
        lambda: NBodyGaussianProcess(ManyBody(NEAR, Polynomial(zeta=2)), random_state=0), 28, ALL,
        "crystals",
    ),
    "kernel-order": Fit(
        lambda: KernelOrderSelector(NBodyGaussianProcess(random_state=0), [NEAR, NEAR + PLETS]),
        80, ALL, "crystals",
    ),
    "mapped": Fit(
        lambda n: MappedForceField(
            NBodyGaussianProcess(NEAR + PLETS, n_environments=20, random_state=0),
            n_knots_triangles=n,
        ), 150, ALL, "crystals", few=8,
    ),
    "mapped-variance": Fit(
        lambda: MappedForceField(
            NBodyGaussianProcess(NEAR + PLETS, random_state=0),
            n_knots_triangles=20, map_variance=True,
        ), 80, ALL, "crystals", steady=False,
    ),
    "gated": Fit(gated, 150, ALL, "crystals"),
    "committee": Fit(committee, 800),
    "greedy": Fit(piped(SOAP(cutoff=3.5, n_max=6, l_max=5), GreedyOLS, n_terms=12), 1000),
    "greedy-schmidt": Fit(
        piped(SMALL_SOAP, GreedyOLS, n_terms=12, method="gram-schmidt"), 2500
    ),
    "greedy-array": Table(lambda X: GreedyOLS(n_terms=12).fit(X, X[:, 0]), (20000, 500)),
    "greedy-array-schmidt": Table(
        lambda X: GreedyOLS(n_terms=12, method="gram-schmidt").fit(X, X[:, 0]), (20000, 500)
    ),
    "bagged": Fit(
        piped(SOAP(cutoff=3.5, n_max=6, l_max=5), BaggedGreedyOLS, n_estimators=4, max_terms=20,
              random_state=0),
        1000,
    ),
    "linear-equations": Fit(
        piped(
            AtomicClusterExpansion(3.5, (8, 8, 9), l_weight=0.5), LinearPotential, alpha=1e-6
        ),
        800, system="crystals", steady=False,
    ),
    "fourier-equations": Fit(fourier, 400, steady=False),
    "fourier-map": Made(learnt_map(RandomFourierFeatures), 12000),
    "sampled-map": Made(learnt_map(SampledNetworkFeatures), 4000),
    "principal": Made(principal, 1600),
    "linear": Fit(piped(SOAP(cutoff=3.5, n_max=6, l_max=5), LinearPotential, alpha=1e-6), 1000),
    "network": Fit(
        piped(SOAP(cutoff=3.5, n_max=4, l_max=3), StructuredMLPRegressor, solver="lbfgs",
              max_iter=2, random_state=0),
        4000,
    ),
    "hdnnp": Fit(lambda: HDNNP(max_iter=2, random_state=0), 1500),
    "hdnnp-charges": Fit(
        lambda: HDNNP(max_iter=2, electrostatics=True, solver="lbfgs", random_state=0), 6000, ALL,
        "crystals", steady=False,
    ),
    "network-crystals": Fit(
        piped(SMALL_SOAP, StructuredMLPRegressor, max_iter=1, random_state=0), 3000, ALL,
        "crystals",
    ),
    "trained-moments": Fit(
        lambda: MomentTensorPotential(
            MomentTensor(cutoff=4.0, level=8), n_radial=4, max_iter=1, random_state=0
        ), 40000, steady=False,
    ),
    "dipole-keep": Fit(
        piped(SMALL_LAMBDA_SOAP, TensorKernelRidge, target="dipole", keep_factor=True), 1200,
        ("dipole",),
    ),
    "polarizability": Fit(
        piped(SMALL_LAMBDA_SOAP, TensorKernelRidge, target="polarizability"), 800,
        ("polarizability",),
    ),
    "latent-charges": Fit(piped(SMALL_SOAP, LatentChargeRidge), 20000, ("dipole",)),
    "predict-mapped": Predict(
        lambda: MappedForceField(
            NBodyGaussianProcess(NEAR + PLETS, n_environments=20, random_state=0),
            n_knots_triangles=20, map_variance=True,
        ), 300, ALL, "crystals",
    ),
    "predict-committee": Predict(committee, 3000),
    "predict-gated": Predict(gated, 300, ALL, "crystals"),
    "predict-bagged": Predict(
        piped(SMALL_SOAP, BaggedGreedyOLS, n_estimators=4, random_state=0), 4000, ALL, "crystals"
    ),
    "predict-triangles": Predict(
        lambda: NBodyGaussianProcess(NEAR + PLETS, n_environments=30, random_state=0), 600, ALL,
        "crystals",
    ),
    "predict-fchl18": Predict(
        lambda: ForceKernelRidge(FCHL18(cutoff=3.0, cut_start=0.6), alpha=1e-6), 200
    ),
    "predict-average": Predict(ridge(SMALL_SOAP, kernel=SUMS, alpha=1e-6), 3000),
    "predict-cg": Predict(ridge(kernel=GAUSSIAN, n_inducing=30, **CG), 6000),
    "predict-operators": Predict(ridge(kernel=GAUSSIAN, basis="operators", alpha=1e-8), 6000),
    "predict-polarizability": Predict(
        piped(SMALL_LAMBDA_SOAP, TensorKernelRidge, target="polarizability", keep_factor=True),
        5000, ("polarizability",),
    ),
    "predict-hdnnp": Predict(lambda: HDNNP(max_iter=2, random_state=0), 10000),
    "cluster-expansion": Transform(AtomicClusterExpansion(4.0, (10, 6, 6), l_weight=1.0), 4000),
    "moment-tensor": Transform(MomentTensor(cutoff=4.0), 8000),
    "moment-tensor-sum": Transform(MomentTensor(cutoff=4.0, pool="sum"), 6000),
    "chebyshev": Transform(ChebyshevFunctions(cutoff=4.0), 20000),
    "fchl19-sum": Transform(FCHL19(cutoff=4.0, pool="sum"), 10000),
    "fchl19-waters": Transform(FCHL19(cutoff=4.0), 8000, "waters"),
    "points": Transform(SMALL_POINTS, 10000),
    "scaled": Transform(make_pipeline(SOAP(cutoff=4.0, n_max=8, l_max=6), FeatureScaler()), 1500),
    "nbody-covariance": Call(lambda X: covariance(NEAR, X, rows=ENERGY), 120, system="crystals"),
    "nbody-kernel": Call(lambda X: NEAR(X), 3000, system="crystals"),
    "nbody-sum-covariance": Call(
        lambda X: covariance(NEAR + PLETS, X, rows=ENERGY), 80, system="crystals"
    ),
    "fchl18-covariance": Call(
        lambda X: covariance(FCHL18(cutoff=3.0, cut_start=0.6), X, rows=ENERGY), 200
    ),
    "structure-kernel": Call(lambda x: SUMS(x), 3000, SMALL_SOAP),
    "structure-covariance": Call(lambda x: covariance(SUMS, x, rows=ENERGY), 400, SMALL_SOAP),
    "evaluate": Made(evaluated, 25000),
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
    "predict-linear": Predict(piped(SMALL_SOAP, LinearPotential, alpha=1e-6), 20000),
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
if find_spec("torch"):
    for network in (SchNet, DTNN, MessagePassingNetwork, PaiNN, PointScatteringNetwork):

        def one_batch(network=network):
            return network(max_iter=1, batch_size=10**4, validation_fraction=0, random_state=0)

        name = network.__name__.lower()
        JOBS[name] = Fit(one_batch, 120, ALL, "crystals")
        JOBS[f"predict-{name}"] = Predict(one_batch, 600, ALL, "crystals", few=8)

    def angular_filters():
        return AngularFilterNetwork(
            4.0, n_features=16, n_hidden=16, max_iter=1, batch_size=10**4, validation_fraction=0,
            random_state=0,
        )  # fmt: skip

    JOBS["angular-filters"] = Fit(angular_filters, 40, ALL, "crystals")
    JOBS["predict-angular-filters"] = Predict(angular_filters, 200, ALL, "crystals", few=4)
