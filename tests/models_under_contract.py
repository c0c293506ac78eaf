"""The models that the contract suites run over: add a class here, and it gets all tests."""

from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np
from ase import Atoms
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom.baseline import PairRepulsion
from skatom.descriptors import (
    ACSF,
    FCHL19,
    SOAP,
    InverseDistances,
    LambdaSOAP,
    MomentTensor,
    PointScattering,
)
from skatom.kernels import FCHL18, Cosine, Gaussian, NBody, StructureKernel
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

SMALL_SOAP = SOAP(cutoff=3.5, n_max=3, l_max=2)
OF_THE_ENERGY = ("energy", "forces", "stress")
SMALL_ACSF = ACSF(3.5, g2=[(0.3, 0.0), (1.0, 1.5), (1.0, 2.5)], g4=[(0.05, 1, 1), (0.05, 1, -1)])
SMALL_FCHL19 = FCHL19(cutoff=4.0, n_r2=8, n_r3=6)
SMALL_LAMBDA_SOAP = LambdaSOAP(cutoff=3.0, n_max=3, l_max=2)
# the smallest distance is given: a fit that fails in a Pipeline leaves the new one
SMALL_MOMENTS = MomentTensor(cutoff=3.5, level=6, r_min=1.0, by_center=False)
SMALL_POINTS = PointScattering([(3, 1), (3, 2)], (0, 1), 2, (4 / 3, 2), beta=0.5, pool="sum")


@dataclass(frozen=True)
class Case:
    """A model, what it learns from, and where the model's parameters are in a Pipeline."""

    make: callable
    labels: tuple = ("energy", "forces")
    system: str = "crystals"
    prefix: str = ""
    takes_baseline: bool = True
    notes: dict = field(default_factory=dict)
    size: int = None  # number of structures, if those of the system are too many

    def data(self):
        system = SYSTEMS[self.system]
        structures = system() if self.size is None else system(self.size)
        return structures, labels_of(structures, self.labels)


def crystals(n=10):
    """Skewed cells of lithium fluoride, smaller than the cutoffs of the models."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(n):
        cell = 3.4 * np.eye(3) + 0.4 * np.tri(3, k=-1) + rng.normal(scale=0.05, size=(3, 3))
        scaled = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0.05], [0, 0.5, 0.5]]
        atoms = Atoms("LiFLiF", scaled_positions=scaled, cell=cell, pbc=True)
        atoms.positions += rng.normal(scale=0.08, size=(4, 3))
        images.append(atoms)
    return Structures.from_ase(images)


def waters(n=16):
    """Distorted and rotated water molecules."""
    rng = np.random.default_rng(1)
    images = []
    for _ in range(n):
        atoms = Atoms("OHH", [[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])
        atoms.positions += rng.normal(scale=0.08, size=(3, 3))
        atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
        images.append(atoms)
    return Structures.from_ase(images)


SYSTEMS = {"crystals": crystals, "waters": waters}


def labels_of(structures, names):
    """A repulsion of nuclei with energies of the elements; dipoles of charges that depend on it."""
    repulsion = PairRepulsion(cutoff=3.3, inner=0.1)
    energy, gradient, virial = repulsion.differentiate(structures)
    energy = 0.05 * energy - 3.0 * np.add.reduceat(structures.numbers, structures.offsets[:-1])
    local = repulsion.local_energies(structures)
    means = np.add.reduceat(local, structures.offsets[:-1]) / structures.n_atoms
    charges = np.where(structures.numbers == 8, -0.8, 0.4)
    charges = charges + 0.01 * (local - np.repeat(means, structures.n_atoms))
    dipole = np.add.reduceat(charges[:, None] * structures.positions, structures.offsets[:-1])
    positions = structures.positions.reshape(len(structures), -1, 3)
    tensor = np.einsum("nax,nay->nxy", *2 * [positions - positions.mean(axis=1, keepdims=True)])
    found = {
        "energy": energy, "forces": -0.05 * gradient, "dipole": dipole, "polarizability": tensor,
        "dipole_norm": np.linalg.norm(dipole, axis=1), "charges": charges,
    }  # fmt: skip
    if structures.pbc.all():
        found["stress"] = 0.05 * virial / structures.volumes()[:, None, None]
    return Targets(**{name: found[name] for name in names}, offsets=structures.offsets)


def pipeline(descriptor, model, **kwargs):
    return Case(
        lambda: make_pipeline(descriptor, model()), prefix=model.__name__.lower() + "__", **kwargs
    )


def named(cls, **parameters):
    """A factory with the name of its class."""

    def make():
        return cls(**parameters)

    make.__name__ = cls.__name__
    return make


CASES = {
    "gdml": Case(lambda: GDML(sigma=3.0, alpha=1e-8), system="waters"),
    "sgdml": Case(lambda: SGDML(sigma=3.0, alpha=1e-8, random_state=0), system="waters"),
    "gdml-energies": Case(
        lambda: GDML(sigma=3.0, alpha=1e-8, energy_constraint=True), system="waters"
    ),
    "gdml-deviations": Case(
        lambda: GDML(sigma=3.0, alpha=1e-6, keep_factor=True, energy_constraint=True),
        system="waters",
    ),
    "sgdml-deviations": Case(
        lambda: SGDML(sigma=3.0, alpha=1e-6, keep_factor=True, random_state=0), system="waters"
    ),
    "kernel-ridge": pipeline(
        SMALL_FCHL19, named(ForceKernelRidge, kernel=Gaussian(2.0)), labels=OF_THE_ENERGY
    ),
    "kernel-ridge-operators": pipeline(
        SMALL_FCHL19, named(ForceKernelRidge, kernel=Gaussian(2.0), basis="operators", alpha=1e-8),
        labels=OF_THE_ENERGY,
    ),
    "kernel-ridge-forces": pipeline(
        SMALL_SOAP, named(ForceKernelRidge, kernel=Cosine(2)), labels=("forces", "stress")
    ),
    "kernel-ridge-cg": pipeline(
        SMALL_SOAP,
        named(ForceKernelRidge, kernel=Cosine(2), solver="cg", n_inducing=99, random_state=0,
              tol=1e-10, alpha=1e-5),
        labels=OF_THE_ENERGY,
    ),
    "kernel-ridge-pooled": pipeline(
        SOAP(cutoff=3.5, n_max=3, l_max=2, pool="sum"),
        named(ForceKernelRidge, kernel=Gaussian(6.0), alpha=1e-6), labels=OF_THE_ENERGY,
    ),
    "kernel-ridge-distances": pipeline(
        InverseDistances(), named(ForceKernelRidge, kernel=Gaussian(0.5), alpha=1e-5),
        system="waters",
    ),
    "kernel-ridge-average": pipeline(
        SMALL_SOAP,
        named(ForceKernelRidge, alpha=1e-6,
              kernel=StructureKernel(Cosine(2), "average", normalize=True, zeta=2)),
        labels=OF_THE_ENERGY,
    ),
    "kernel-ridge-fchl18-derivatives": Case(
        lambda: ForceKernelRidge(FCHL18(cutoff=2.7, cut_start=0.6), alpha=1e-6),
        labels=OF_THE_ENERGY, size=7,
    ),
    "kernel-ridge-fchl18-global": Case(
        lambda: ForceKernelRidge(
            FCHL18(cutoff=2.7, cut_start=0.6, scope="global", sigma=10.0), alpha=1e-6
        ),
        labels=OF_THE_ENERGY, size=7,
    ),
    "kernel-ridge-fchl18": Case(
        lambda: ForceKernelRidge(FCHL18(cut_start=0.6), basis="operators", alpha=1e-8),
        labels=("energy", "forces", "dipole"),
        system="waters",
    ),
    "kernel-ridge-dipoles": Case(
        lambda: ForceKernelRidge(FCHL18(field="charges"), basis="operators", alpha=1e-8),
        labels=("dipole",),
        system="waters",
        takes_baseline=False,
    ),
    "sparse": pipeline(
        SMALL_SOAP, named(SparseGaussianProcess, n_sparse=12, selection="fps", random_state=0),
        labels=("energy", "forces", "stress"),
    ),
    "sparse-structures": pipeline(
        InverseDistances(),
        named(SparseGaussianProcess, kernel=Gaussian(0.3), n_sparse=12, random_state=0),
        system="waters",
    ),
    "sparse-stress": pipeline(
        SMALL_SOAP, named(SparseGaussianProcess, n_sparse=12, selection="fps", random_state=0),
        labels=("stress",),
    ),
    "sparse-terms": Case(
        lambda: SparseGaussianProcess(
            terms=[(SMALL_SOAP, Cosine(2), 10), (SMALL_FCHL19, Gaussian(5.0), 8)], random_state=0
        ),
        labels=("energy", "forces", "stress"),
    ),
    # with amplitude 1, a prior of 300 eV² a cell, rounding leaves seven digits of energy_std
    "nbody": Case(
        lambda: NBodyGaussianProcess(
            NBody(cutoff=3.6, amplitude=0.1), noise_energy=1e-3, n_environments=30, random_state=0
        ),
        labels=("energy", "forces", "stress"),
    ),
    "kernel-order": Case(
        lambda: KernelOrderSelector(
            NBodyGaussianProcess(n_environments=10, random_state=0),
            [NBody(cutoff=3.6, amplitude=0.1), NBody(order=3, cutoff=3.0, amplitude=0.1)],
        ),
        labels=("energy", "forces", "stress"),
        prefix="estimator__",
    ),
    "mapped": Case(
        lambda: MappedForceField(
            NBodyGaussianProcess(NBody(cutoff=3.6), n_environments=30, random_state=0),
            n_knots_pairs=400,
            map_variance=True,
        ),
        labels=("energy", "forces", "stress"),
        prefix="estimator__",
    ),
    "gated": Case(
        lambda: GatedExperts(
            NBodyGaussianProcess(NBody(cutoff=3.6, amplitude=0.1), noise_energy=1e-2),
            SOAP(cutoff=3.5, n_max=3, l_max=2, pool="mean"),
            random_state=0,
        ),
        labels=("energy", "forces", "stress"),
        prefix="estimator__",
    ),
    "greedy": pipeline(SMALL_SOAP, named(GreedyOLS, n_terms=12), labels=OF_THE_ENERGY),
    "greedy-structures": pipeline(
        SMALL_POINTS, named(GreedyOLS, n_terms=12), labels=OF_THE_ENERGY
    ),
    "greedy-distances": pipeline(
        InverseDistances(), named(GreedyOLS, n_terms=3), system="waters"
    ),
    "linear": pipeline(
        SMALL_MOMENTS, named(LinearPotential, learn_noise=True), labels=OF_THE_ENERGY
    ),
    "linear-structures": pipeline(
        SMALL_POINTS, named(LinearPotential, alpha=1e-6), labels=OF_THE_ENERGY
    ),
    "linear-cv": pipeline(
        SMALL_SOAP, named(LinearPotential, alpha="cv", cv=3), labels=OF_THE_ENERGY
    ),
    "linear-distances": pipeline(
        InverseDistances(), named(LinearPotential, solver=GreedyOLS(3)), system="waters"
    ),
    # few iterations, since each makes differences by rounding larger
    "network": pipeline(
        SMALL_SOAP,
        named(StructuredMLPRegressor, hidden_layer_sizes=(6,), solver="lbfgs", tol=0.02,
              n_iter_no_change=5, random_state=0),
        labels=OF_THE_ENERGY,
    ),
    "network-structures": pipeline(
        InverseDistances(),
        named(StructuredMLPRegressor, hidden_layer_sizes=(6,), n_groups=3, solver="lbfgs", tol=0.05,
              n_iter_no_change=5, random_state=0),
        system="waters",
    ),
    "hdnnp": Case(
        lambda: HDNNP(SMALL_ACSF, hidden_layer_sizes=(5,), solver="lbfgs", tol=0.05,
                      n_iter_no_change=5, random_state=0),
        labels=OF_THE_ENERGY,
    ),
    "hdnnp-charges": Case(
        lambda: HDNNP(SMALL_ACSF, hidden_layer_sizes=(5,), electrostatics=True, solver="lbfgs",
                      tol=0.05, n_iter_no_change=5, random_state=0),
        labels=OF_THE_ENERGY,
    ),
    "trained-moments": Case(
        lambda: MomentTensorPotential(
            SMALL_MOMENTS, LinearPotential(alpha=1e-6), n_radial=4, max_iter=3, random_state=0
        ),
        labels=OF_THE_ENERGY, prefix="estimator__",
    ),
    "bagged": pipeline(
        SMALL_SOAP, named(BaggedGreedyOLS, n_estimators=4, random_state=0), labels=OF_THE_ENERGY
    ),
    "committee": pipeline(
        SMALL_SOAP,
        named(
            Committee,
            estimator=SparseGaussianProcess(n_sparse=10, random_state=0),
            n_models=3,
            random_state=0,
        ),
        labels=("energy", "forces", "stress"),
    ),
    "committee-gdml": Case(
        lambda: Committee(GDML(sigma=3.0, alpha=1e-8), n_models=3, random_state=0),
        system="waters",
        prefix="estimator__",
    ),
    "dipole": pipeline(
        SMALL_LAMBDA_SOAP, named(TensorKernelRidge, target="dipole", keep_factor=True),
        labels=("dipole",), system="waters", takes_baseline=False,
    ),
    "dipole-sparse": pipeline(
        SMALL_LAMBDA_SOAP,
        named(TensorKernelRidge, target="dipole", n_sparse=8, keep_factor=True, random_state=0),
        labels=("dipole",), system="waters", takes_baseline=False,
    ),
    "latent-charges": pipeline(
        SMALL_ACSF, named(LatentChargeRidge), labels=("dipole",), system="waters",
        takes_baseline=False,
    ),
    "latent-charges-kernel": pipeline(
        SMALL_SOAP, named(LatentChargeRidge, kernel=Cosine(2), n_sparse=6, random_state=0),
        labels=("dipole",), system="waters", takes_baseline=False,
    ),
    "charges": pipeline(
        SMALL_SOAP, named(LatentChargeRidge, target="charges"), labels=("charges",),
        system="waters", takes_baseline=False,
    ),
    "polarizability": pipeline(
        SMALL_LAMBDA_SOAP, named(TensorKernelRidge, target="polarizability", keep_factor=True),
        labels=("polarizability",), system="waters", takes_baseline=False,
    ),
}  # fmt: skip
if find_spec("torch"):
    CASES["sgdml-torch"] = Case(
        lambda: SGDML(sigma=3.0, alpha=1e-8, random_state=0, device="torch"), system="waters"
    )
    TRAINED = {
        "n_features": 8, "n_interactions": 2, "n_rbf": 12, "batch_size": 5, "max_iter": 30,
        "learning_rate_init": 0.02, "ema_decay": 0.9, "validation_fraction": 0,
        "noise_energy": 0.003, "dtype": "float64", "random_state": 0,
    }  # fmt: skip
    CASES["schnet"] = Case(lambda: SchNet(cutoff=3.5, gamma=6.0, **TRAINED), labels=OF_THE_ENERGY)
    CASES["painn"] = Case(
        lambda: PaiNN(cutoff=3.5, **TRAINED | {"n_features": 6, "n_rbf": 6}), labels=OF_THE_ENERGY
    )
    CASES["dtnn"] = Case(lambda: DTNN(cutoff=3.5, gamma=6.0, **TRAINED), labels=OF_THE_ENERGY)
    CASES["angular-filters"] = Case(
        lambda: AngularFilterNetwork(
            cutoff=3.5, n_hidden=8, n_radial=6, n_angular=5,
            **{k: v for k, v in TRAINED.items() if k != "n_rbf"} | {"learning_rate_init": 0.005},
        ),
        labels=OF_THE_ENERGY,
    )  # fmt: skip
    CASES["point-scattering-network"] = Case(
        lambda: PointScatteringNetwork(
            cutoff=3.5, n_layers=1, widths=(0.5, 1.0),
            **{k: v for k, v in TRAINED.items() if k not in ("n_interactions", "n_rbf")},
        ),
        labels=OF_THE_ENERGY,
    )  # fmt: skip
    for target in ("dipole", "dipole_norm", "charges"):
        CASES[f"schnet-{target}"] = Case(
            lambda target=target: SchNet(
                cutoff=3.5, gamma=6.0, **TRAINED | {"max_iter": 10}, target=target
            ),
            labels=(target,), system="waters", takes_baseline=False,
        )  # fmt: skip
    CASES["message-passing"] = Case(
        lambda: MessagePassingNetwork(
            cutoff=3.5, gamma=6.0, n_passes=2, n_filters=4, read_out="sum",
            **{k: v for k, v in TRAINED.items() if k != "n_interactions"} | {"max_iter": 15},
        ),
        labels=OF_THE_ENERGY,
    )  # fmt: skip
