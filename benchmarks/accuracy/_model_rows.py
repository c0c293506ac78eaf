"""The rows of the page "Which model for what": data sets, and pipelines compared on each of them.

To add a row, add one line to `ROWS`; to add a data set, a function to `DATA_SETS` that returns
training and test structures with their labels. All rows of a data set have the same training
frames.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.pipeline import make_pipeline

from benchmarks.harness import DATA
from skatom import Structures, Targets
from skatom.datasets import load_boron_nitride, load_ethanol, read
from skatom.descriptors import (
    FCHL19,
    SOAP,
    LambdaSOAP,
    MomentTensor,
)
from skatom.kernels import Cosine, Gaussian, NBody
from skatom.models import (
    GDML,
    SGDML,
    ForceKernelRidge,
    GreedyOLS,
    MappedForceField,
    NBodyGaussianProcess,
    SparseGaussianProcess,
    TensorKernelRidge,
)


@dataclass(frozen=True)
class Samples:
    """Training and test structures with their labels."""

    train: Structures
    train_y: Targets
    test: Structures
    test_y: Targets


def _split(structures, targets, n_train, n_test):
    order = np.random.default_rng(0).permutation(len(structures))
    train, test = np.sort(order[:n_train]), np.sort(order[n_train : n_train + n_test])
    return Samples(structures[train], targets[train], structures[test], targets[test])


# --- data -------------------------------------------------------------------------------------


def _ethanol():
    data = load_ethanol()
    return _split(data.structures, data.targets, 200, 500)


def _molecule(name, n_train=200, n_test=300):
    train, test = (read(DATA / "molecules" / f"{name}_{part}.npz") for part in ("train", "test"))
    step = len(train.structures) // n_train
    chosen = slice(0, n_train * step, step)
    return Samples(
        train.structures[chosen], train.targets[chosen],
        test.structures[:n_test], test.targets[:n_test],
    )  # fmt: skip


def _molecules():
    data = read(DATA / "molecules" / "small_mols_forces_train.xyz.xz")
    return _split(data.structures, data.targets, 150, 150)


def _qm7():
    """Energies alone: atomisation energies with PBE0."""
    data = read(DATA / "molecules" / "qm7.npz", keys={"energy": "E_pbe0"})
    return _split(data.structures, data.targets, 1000, 1000)


def _boron_nitride():
    data = load_boron_nitride()
    return _split(data.structures, data.targets, 60, 60)


def _element(name):
    """Energies and forces of mlearn; the stresses of three elements contradict them."""
    train, test = (read(DATA / "mlearn" / f"mlearn_{name}_{part}.xyz.xz") for part in _PARTS)
    labels = (Targets(y.energy, y.forces, offsets=y.offsets) for y in (train.targets, test.targets))
    return Samples(train.structures, next(labels), test.structures, next(labels))


_PARTS = ("train", "test")


def _indium_phosphide():
    """Evenly spaced frames: the file is sorted by groups, some with few frames.

    A random draw of 200 may lack all strongly compressed cells, whose energies of 2 eV per atom
    are then extrapolated and are most of the mean error.
    """
    data = read(DATA / "periodic" / "InP_jpca2020.xyz.xz")
    train, test = slice(0, 1400, 7), slice(3, 1400, 14)
    return Samples(
        data.structures[train], data.targets[train], data.structures[test], data.targets[test]
    )


def _dipoles():
    data = load_ethanol()
    return _split(data.structures, Targets(dipole=data.targets.dipole), 200, 500)


DATA_SETS = {
    "ethanol": (
        "Ethanol at 500 K, `load_ethanol()`: one molecule, energies and forces", _ethanol
    ),
    "rmd17_ethanol": (
        "Ethanol, revised MD17: one molecule, energies and forces",
        lambda: _molecule("rmd17_ethanol"),
    ),
    "rmd17_aspirin": (
        "Aspirin, revised MD17: one molecule, energies and forces",
        lambda: _molecule("rmd17_aspirin"),
    ),
    "molecules": (
        "Molecules of H, C, N and O off equilibrium: energies and forces", _molecules
    ),
    "qm7": ("Molecules of QM7 at equilibrium: energies alone", _qm7),
    "boron_nitride": (
        "Boron nitride, `load_boron_nitride()`: a crystal and its melt, energies and forces",
        _boron_nitride,
    ),
    "Si": ("Silicon (mlearn): crystal, strain, surfaces, vacancies, melt", lambda: _element("Si")),
    "Cu": ("Copper (mlearn): crystal, strain, surfaces, vacancies, melt", lambda: _element("Cu")),
    "InP": (
        "Indium phosphide: bulk, strain and defects, energies, forces and stresses",
        _indium_phosphide,
    ),
    "dipoles": ("Dipoles of ethanol, `load_ethanol()`", _dipoles),
}  # fmt: skip


# --- pipelines --------------------------------------------------------------------------------


def _fchl19(alpha=1e-7, **settings):
    return make_pipeline(FCHL19(**settings), ForceKernelRidge(Gaussian(2.0), alpha=alpha))


def _fchl19_of_energies():
    return make_pipeline(FCHL19.for_energies(), ForceKernelRidge(Gaussian(2.0), alpha=1e-7))


def _operators(alpha=1e-7, **settings):
    return make_pipeline(
        FCHL19(**settings), ForceKernelRidge(Gaussian(2.0), "operators", alpha=alpha)
    )


def _sparse(n_sparse=500, cutoff=5.0, sigma=0.4, noise_energy=1e-3, noise_forces=0.03, zeta=4):
    return make_pipeline(
        SOAP(cutoff=cutoff, n_max=8, l_max=6, sigma=sigma),
        SparseGaussianProcess(
            Cosine(zeta=zeta), n_sparse=n_sparse, noise_energy=noise_energy,
            noise_forces=noise_forces, random_state=0,
        ),
    )  # fmt: skip


def _greedy(descriptor, n_terms=300):
    return make_pipeline(descriptor, GreedyOLS(n_terms=n_terms))


def _moments(cutoff, level):
    return _greedy(MomentTensor(cutoff=cutoff, level=level), n_terms=80)


def _nbody(cutoff, cutoff3, n_environments=200):
    kernel = NBody(order=2, sigma=0.5, cutoff=cutoff) + NBody(
        order=3, sigma=0.6, cutoff=cutoff3, amplitude=0.3
    )
    return NBodyGaussianProcess(
        kernel, noise_energy=2e-3, noise_forces=0.1, n_environments=n_environments, random_state=0
    )


def _tables(*arguments):
    return MappedForceField(_nbody(*arguments))


def _sparse_of_a_molecule():
    return _sparse(noise_energy=1e-4, noise_forces=0.01)


def _greedy_of_a_molecule():
    return _greedy(SOAP(cutoff=4.0, n_max=6, l_max=4))


def _tensors(**settings):
    return make_pipeline(
        LambdaSOAP(cutoff=4.0), TensorKernelRidge("dipole", alpha=1e-6, **settings)
    )


# (data set, name on the page, pipeline)
ROWS = [
    ("ethanol", "`SGDML`", lambda: SGDML(random_state=0)),
    ("ethanol", "`GDML`", GDML),
    ("ethanol", "`FCHL19`, `ForceKernelRidge`", _fchl19),
    ("ethanol", 'the same, `basis="operators"`', _operators),
    ("ethanol", "`SOAP`, `SparseGaussianProcess`", _sparse_of_a_molecule),
    ("ethanol", "`SOAP`, `GreedyOLS`", _greedy_of_a_molecule),
    ("rmd17_ethanol", "`SGDML`", lambda: SGDML(random_state=0)),
    ("rmd17_ethanol", "`FCHL19`, `ForceKernelRidge`", _fchl19),
    ("rmd17_ethanol", "`SOAP`, `SparseGaussianProcess`", _sparse_of_a_molecule),
    ("rmd17_aspirin", "`SGDML`", lambda: SGDML(random_state=0)),
    ("rmd17_aspirin", "`FCHL19`, `ForceKernelRidge`", _fchl19),
    ("rmd17_aspirin", 'the same, `basis="operators"`', _operators),
    ("rmd17_aspirin", "`SOAP`, `SparseGaussianProcess`", _sparse_of_a_molecule),
    ("rmd17_aspirin", "`SOAP`, `GreedyOLS`", _greedy_of_a_molecule),
    ("molecules", "`FCHL19`, `ForceKernelRidge`", lambda: _fchl19(1e-6, cutoff=6.0)),
    ("molecules", 'the same, `basis="operators"`', lambda: _operators(1e-6, cutoff=6.0)),
    ("molecules", "`SOAP`, `SparseGaussianProcess`", _sparse_of_a_molecule),
    ("molecules", "`SOAP`, `GreedyOLS`", _greedy_of_a_molecule),
    ("qm7", "`FCHL19.for_energies()`, `ForceKernelRidge`", _fchl19_of_energies),
    ("qm7", "`SOAP`, `SparseGaussianProcess`", _sparse),
    ("qm7", "`SOAP`, `GreedyOLS`", _greedy_of_a_molecule),
    ("boron_nitride", "`SOAP`, `SparseGaussianProcess`", lambda: _sparse(cutoff=4.0)),
    ("boron_nitride", "`NBodyGaussianProcess`", lambda: _nbody(4.0, 2.9)),
    ("boron_nitride", "`MappedForceField`", lambda: _tables(4.0, 2.9)),
    ("boron_nitride", "`MomentTensor`, `GreedyOLS`", lambda: _moments(4.0, 12)),
    ("Si", "`SOAP`, `SparseGaussianProcess`", lambda: _sparse(sigma=0.5)),
    ("Si", "`NBodyGaussianProcess`", lambda: _nbody(5.0, 4.0)),
    ("Si", "`MappedForceField`", lambda: _tables(5.0, 4.0)),
    ("Si", "`MomentTensor`, `GreedyOLS`", lambda: _moments(5.0, 16)),
    ("Cu", "`SOAP`, `SparseGaussianProcess`", lambda: _sparse(sigma=0.5)),
    ("Cu", "`NBodyGaussianProcess`", lambda: _nbody(5.0, 4.0)),
    ("Cu", "`MappedForceField`", lambda: _tables(5.0, 4.0)),
    ("Cu", "`MomentTensor`, `GreedyOLS`", lambda: _moments(5.0, 16)),
    ("InP", "`SOAP`, `SparseGaussianProcess`", lambda: _sparse(sigma=0.5)),
    ("InP", "`NBodyGaussianProcess`", lambda: _nbody(5.0, 4.0)),
    ("InP", "`MomentTensor`, `GreedyOLS`", lambda: _moments(5.0, 12)),
    ("dipoles", "`LambdaSOAP`, `TensorKernelRidge`", _tensors),
    ("dipoles", "the same, `n_sparse=100`", lambda: _tensors(n_sparse=100, random_state=0)),
]
