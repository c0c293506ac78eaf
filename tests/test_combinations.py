"""Every descriptor before every model of features: one grid of combinations.

Each combination learns energies, forces and stresses (where the structures have them) in a
Pipeline; its forces and stresses are the slopes of its energies, a search by a scorer of forces
runs over it, and it is the same after a visit to a file.
"""

import io

import joblib
import numpy as np
import pytest
import skops.io
from models_under_contract import SYSTEMS, labels_of
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom._prediction import predict, predictable
from skatom.descriptors import (
    ACSF,
    FCHL19,
    SOAP,
    FeatureScaler,
    FeatureSelector,
    InverseDistances,
    MomentTensor,
    PointScattering,
    WaveletScattering,
)
from skatom.kernels import Cosine, Gaussian, Matern, StructureKernel
from skatom.metrics import neg_force_mae
from skatom.models import (
    BaggedGreedyOLS,
    Committee,
    ForceKernelRidge,
    GreedyOLS,
    SparseGaussianProcess,
)

SMALL_SOAP = {"cutoff": 3.5, "n_max": 3, "l_max": 2}

# Features of atoms.
ATOMIC = {
    "soap": [SOAP(**SMALL_SOAP)],
    "soap-distances": [SOAP(**SMALL_SOAP, nu=1)],
    "acsf": [ACSF(cutoff=3.5, cutoff_function="tanh3")],
    "fchl19": [FCHL19(cutoff=3.5, n_r2=6, n_r3=4)],
    "moments": [MomentTensor(cutoff=3.5, level=8)],
    "points": [PointScattering(beta=0.5, scales=(0, 1), orbitals=[(3, 1), (3, 2)], order=1)],
    "soap-scaled": [SOAP(**SMALL_SOAP), FeatureScaler()],
    "soap-selected": [SOAP(**SMALL_SOAP), FeatureSelector(n_select=12)],
}
# Features of structures, with the structures that they are made for.
OF_STRUCTURES = {
    "inverse-distances": ([InverseDistances()], "waters"),
    "soap-pooled": ([SOAP(**SMALL_SOAP, pool="sum")], "crystals"),
    "points-pooled": (
        [PointScattering(beta=0.5, scales=(0, 1), orbitals=[(3, 1), (3, 2)], order=2, pool="sum")],
        "crystals",
    ),
    "scattering": (
        [WaveletScattering([(2, 1)], (0,), channels=("total",), beta=0.4, grid_spacing=0.5)],
        "crystals",
    ),
    "scattering-selected": (
        [
            WaveletScattering([(2, 1)], (0,), channels=("total",), beta=0.4, grid_spacing=0.5),
            FeatureSelector(n_select=8),
        ],
        "crystals",
    ),
}

# {name: (model, parameter to search, its values)}
MODELS = {
    "kernel-ridge": (ForceKernelRidge(Gaussian(2.0)), "alpha", [1e-6, 1e-4]),
    "kernel-ridge-matern": (ForceKernelRidge(Matern(3.0)), "alpha", [1e-6, 1e-4]),
    "kernel-ridge-dot": (ForceKernelRidge(Cosine(2)), "alpha", [1e-6, 1e-4]),
    "kernel-ridge-operators": (
        ForceKernelRidge(Gaussian(2.0), "operators", alpha=1e-8), "alpha", [1e-8, 1e-6],
    ),
    "sparse": (
        SparseGaussianProcess(Gaussian(2.0), n_sparse=8, random_state=0),
        "noise_forces", [0.05, 0.2],
    ),
    "sparse-dot": (
        SparseGaussianProcess(Cosine(2), n_sparse=8, random_state=0), "noise_forces", [0.05, 0.2],
    ),
    "greedy": (GreedyOLS(n_terms=6), "n_terms", [4, 6]),
    "bagged": (
        BaggedGreedyOLS(n_estimators=3, max_terms=6, random_state=0), "noise_forces", [0.03, 0.1],
    ),
    "committee": (
        Committee(SparseGaussianProcess(Gaussian(2.0), n_sparse=8, random_state=0), 3,
                  random_state=0),
        "estimator__noise_forces", [0.05, 0.2],
    ),
}  # fmt: skip

# These compare the atoms of structures.
OF_ATOMS_ALONE = {"structure-kernel"}
MODELS["structure-kernel"] = (
    ForceKernelRidge(StructureKernel(Cosine(2))), "alpha", [1e-6, 1e-4],
)  # fmt: skip


def combinations():
    """Names of descriptors and models, and the structures."""
    for model in MODELS:
        for name in ATOMIC:
            yield name, model, "crystals"
        if model not in OF_ATOMS_ALONE:
            for name, (_, system) in OF_STRUCTURES.items():
                yield name, model, system


# One model of each family runs with every test, on every descriptor; the others are slow.
QUICK = {"kernel-ridge", "sparse", "greedy"}


def _marked():
    for descriptor, model, system in combinations():
        marks = [] if model in QUICK or descriptor in {"soap", "inverse-distances"} else ["slow"]
        marks = [getattr(pytest.mark, mark) for mark in marks]
        yield pytest.param((descriptor, model, system), marks=marks, id=f"{descriptor}-{model}")


@pytest.fixture(scope="module", params=_marked())
def fitted(request):
    descriptor, model, system = request.param
    structures = SYSTEMS[system](8)
    names = ["energy", "forces", *(["stress"] if structures.pbc.all() else [])]
    targets = labels_of(structures, names)
    steps = ATOMIC[descriptor] if descriptor in ATOMIC else OF_STRUCTURES[descriptor][0]
    pipeline = make_pipeline(*steps, MODELS[model][0])
    return pipeline.fit(structures, targets), model, structures, targets


def central(function, step):
    """The slope of a function at zero, to fourth order."""
    e = [function(k * step) for k in (-2, -1, 1, 2)]
    return (8 * (e[2] - e[1]) - (e[3] - e[0])) / (12 * step)


def energies(model, one, direction, strain):
    """The energy as a function of a step along displacements and a strain."""

    def at(step):
        deformed = np.eye(3) + step * strain
        positions = (one.positions + step * direction) @ deformed.T
        moved = Structures(one.numbers, positions, None, one.cells @ deformed.T, one.pbc)
        return predict(model, moved, ["energy"])["energy"][0]

    return at


def test_forces_are_minus_the_slopes_of_the_energy(fitted):
    model, _, structures, _ = fitted
    one = structures[1]
    forces = predict(model, one, ["forces"])["forces"]
    direction = np.random.default_rng(0).normal(size=forces.shape)
    slope = central(energies(model, one, direction, np.zeros((3, 3))), 1e-4)
    scale = 1e-6 * np.abs(forces).sum() + 1e-8
    assert slope == pytest.approx(-np.sum(forces * direction), abs=scale)


def test_stress_is_the_slope_along_strains_over_the_volume(fitted):
    model, _, structures, _ = fitted
    if not structures.pbc.all():
        with pytest.raises(ValueError, match="periodic in three directions"):
            predict(model, structures[1], ["stress"])
        return
    one = structures[1]
    stress = predict(model, one, ["stress"])["stress"][0]
    np.testing.assert_allclose(stress, stress.T, atol=1e-9 + 1e-7 * np.abs(stress).max())
    strain = np.random.default_rng(1).normal(size=(3, 3))
    slope = central(energies(model, one, np.zeros_like(one.positions), strain), 1e-4)
    scale = 1e-6 * np.abs(stress).sum() + 1e-9
    assert np.sum(stress * strain) == pytest.approx(slope / one.volumes()[0], abs=scale)


@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_every_kind_of_label_is_learnt(fitted, name):
    model, _, structures, targets = fitted
    if not targets.labelled(name).any():
        pytest.skip("these structures have no stress")
    changed = {n: getattr(targets, n) for n in targets.names}
    changed[name] = changed[name] + np.random.default_rng(2).normal(
        scale=0.5 * changed[name].std(), size=changed[name].shape
    )
    if name == "stress":
        changed[name] = 0.5 * (changed[name] + changed[name].transpose(0, 2, 1))
    other = clone(model).fit(structures, Targets(**changed, offsets=targets.offsets))
    before = predict(model, structures, ["forces"])["forces"]
    after = predict(other, structures, ["forces"])["forces"]
    assert np.abs(after - before).max() > 1e-4 * np.abs(before).max()


def test_standard_deviations_are_finite_and_grow_away_from_the_data(fitted):
    model, _, structures, _ = fitted
    names = [name for name in predictable(model) if name.endswith("_std")]
    if not names:
        pytest.skip("gives no standard deviations")
    names = [n for n in names if n != "stress_std" or structures.pbc.all()]
    far = Structures(
        structures.numbers, 1.06 * structures.positions, structures.offsets,
        1.06 * structures.cells, structures.pbc,
    )  # fmt: skip
    at_data, away = (predict(model, X, names) for X in (structures, far))
    for name in names:
        assert np.isfinite(at_data[name]).all() and (at_data[name] >= 0).all()
        assert np.median(away[name]) > np.median(at_data[name])


def test_a_search_by_a_scorer_of_forces(fitted):
    pipeline, model, structures, targets = fitted
    step = pipeline.steps[-1][0]
    _, name, values = MODELS[model]
    search = GridSearchCV(
        pipeline, {f"{step}__{name}": values}, scoring=neg_force_mae, cv=2, error_score="raise"
    ).fit(structures, targets)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert "forces" in predict(search, structures[:2], ["forces"])


def test_files(fitted, tmp_path):
    model, _, structures, _ = fitted
    expected = predict(model, structures[:2], predictable_of(model, structures))
    joblib.dump(model, tmp_path / "model.joblib")
    stream = io.BytesIO(skops.io.dumps(model))
    unknown = skops.io.get_untrusted_types(data=stream.getvalue())
    again = [
        joblib.load(tmp_path / "model.joblib"),
        skops.io.loads(stream.getvalue(), trusted=unknown),
    ]
    for copied in again:
        found = predict(copied, structures[:2], predictable_of(model, structures))
        for name, values in found.items():
            np.testing.assert_array_equal(values, expected[name])


def predictable_of(model, structures):
    names = predictable(model)
    return [n for n in names if structures.pbc.all() or not n.startswith("stress")]
