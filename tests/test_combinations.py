"""Every descriptor before every model of features, and models of structures: one grid.

Each combination learns energies, forces and stresses (where the structures have them) in a
Pipeline; its forces and stresses are the slopes of its energies, every kind of label counts, its
standard deviations agree with how much a label counts, a search by a scorer of forces runs over
it, and it is the same after a visit to a file.
"""

import io
from functools import cache

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
    AtomicClusterExpansion,
    ChebyshevFunctions,
    FeatureScaler,
    FeatureSelector,
    InverseDistances,
    MomentTensor,
    PointScattering,
    WaveletScattering,
)
from skatom.kernels import FCHL18, Cosine, Gaussian, Matern, NBody, StructureKernel
from skatom.metrics import neg_force_mae
from skatom.models import (
    GDML,
    BaggedGreedyOLS,
    Committee,
    ForceKernelRidge,
    GreedyOLS,
    LinearPotential,
    NBodyGaussianProcess,
    SparseGaussianProcess,
    StructuredMLPRegressor,
)

SMALL_SOAP = {"cutoff": 3.5, "n_max": 3, "l_max": 2}
# Fields whose modulus has no kinks: Gaussians of positive charges, whose moduli are positive, and
# even powers of the modulus of the others.
POINTS = {"beta": 0.5, "cutoff": 4.0, "scales": (0, 1)}
FIRST_ORDER = {
    "order": 1, "orbitals": [(1, 0), (2, 1), (3, 2)], "exponents": (2, 4), "channels": ("valence",),
}  # fmt: skip
SECOND_ORDER = {"order": 2, "orbitals": 1, "channels": ("total",)}
# A grid of constant shape, for stresses, on which integrals of squares are exact, so that there is
# no force on the whole. Only Gaussians, which are positive, are convolved twice.
SCATTERING = {
    "orbitals": [(1, 0), (2, 1)], "scales": (0, 0.5), "pairing": "lexicographic",
    "exponents": (2,), "channels": ("total", "valence"), "beta": 0.4, "grid_shape": (10, 10, 10),
}  # fmt: skip


def scaled(*steps):
    """Features of unit variance: without it those of large numbers hide the others."""
    return [*steps, FeatureScaler("standard", out_of_range="ignore")]


# Features of atoms.
ATOMIC = {
    "soap": [SOAP(**SMALL_SOAP)],
    "soap-distances": [SOAP(**SMALL_SOAP, nu=1)],
    "acsf": [ACSF(cutoff=3.5, cutoff_function="tanh3")],
    "chebyshev": [ChebyshevFunctions(cutoff=3.5, radial_order=4, angular_order=3)],
    "fchl19": [FCHL19(cutoff=3.5, n_r2=6, n_r3=4)],
    "expansion": scaled(AtomicClusterExpansion(cutoff=3.5, degrees=(3, 3, 4, 4))),
    "moments": scaled(MomentTensor(cutoff=3.5, level=8)),
    "points": scaled(PointScattering(**POINTS, **FIRST_ORDER)),
    "soap-scaled": scaled(SOAP(**SMALL_SOAP)),
    "soap-selected": [SOAP(**SMALL_SOAP), FeatureSelector(n_select=12)],
}
# Features of structures, with the structures that they are made for.
OF_STRUCTURES = {
    "inverse-distances": ([InverseDistances()], "waters"),
    "soap-pooled": ([SOAP(**SMALL_SOAP, pool="sum")], "crystals"),
    "chebyshev-pooled": (
        [ChebyshevFunctions(cutoff=3.5, radial_order=4, angular_order=3, pool="mean")], "crystals",
    ),
    "points-pooled": (scaled(PointScattering(**POINTS, **SECOND_ORDER, pool="sum")), "crystals"),
    "scattering": (scaled(WaveletScattering(**SCATTERING)), "crystals"),
    "scattering-selected": (
        scaled(WaveletScattering(**SCATTERING), FeatureSelector(n_select=3)), "crystals",
    ),
}  # fmt: skip
N_STRUCTURES = 6
# Energies of the elements that the labels have, as a baseline that does not depend on the labels.
ELEMENTS = {"H": -3.0, "Li": -9.0, "O": -24.0, "F": -27.0}
NOISES = {"noise_energy": 0.01, "noise_forces": 0.05, "noise_virial": 0.05}


def ridge(kernel, basis="derivatives", alpha=1e-2):
    return ForceKernelRidge(kernel, basis, alpha=alpha, baseline=ELEMENTS)


def sparse(kernel, n_sparse=3):
    return SparseGaussianProcess(
        kernel, n_sparse=n_sparse, random_state=0, baseline=ELEMENTS, **NOISES
    )


# {name: (model of features of a width and a number, parameter to search, its values)}
MODELS = {
    "kernel-ridge": (lambda width, n: ridge(Gaussian(width)), "alpha", [1e-2, 1.0]),
    "kernel-ridge-matern": (lambda width, n: ridge(Matern(width)), "alpha", [1e-2, 1.0]),
    "kernel-ridge-dot": (lambda width, n: ridge(Cosine(2)), "alpha", [1e-2, 1.0]),
    "kernel-ridge-operators": (
        lambda width, n: ridge(Gaussian(width), "operators"), "alpha", [1e-2, 1.0],
    ),
    "sparse": (lambda width, n: sparse(Gaussian(width)), "noise_forces", [0.05, 0.5]),
    "sparse-dot": (lambda width, n: sparse(Cosine(2)), "noise_forces", [0.05, 0.5]),
    "greedy": (
        lambda width, n: GreedyOLS(min(n, 6), baseline=ELEMENTS, **NOISES), "n_terms", [1, 2],
    ),
    "bagged": (
        lambda width, n: BaggedGreedyOLS(3, max_terms=6, random_state=0, **NOISES),
        "noise_forces", [0.05, 0.5],
    ),
    "linear": (
        lambda width, n: LinearPotential(1e-3, baseline=ELEMENTS, **NOISES), "alpha", [1e-3, 1.0],
    ),
    "network": (
        lambda width, n: StructuredMLPRegressor(
            (4,), solver="lbfgs", tol=0.05, n_iter_no_change=5, baseline=ELEMENTS, random_state=0,
            **NOISES,
        ), "alpha", [1e-3, 1.0],
    ),
    "committee": (
        lambda width, n: Committee(sparse(Gaussian(width), 2), 3, random_state=0),
        "estimator__noise_forces", [0.05, 0.5],
    ),
    "structure-kernel": (
        lambda width, n: ridge(StructureKernel(Cosine(2))), "alpha", [1e-2, 1.0],
    ),
}  # fmt: skip
# These compare the atoms of structures.
OF_ATOMS_ALONE = {"structure-kernel"}
# Models of structures, with the structures that they are made for.
FCHL18_KERNEL = FCHL18(cutoff=4.0, cut_start=0.6)
TERMS = [
    (make_pipeline(SOAP(**SMALL_SOAP), FeatureScaler(out_of_range="ignore")), Cosine(2), 3),
    (ChebyshevFunctions(cutoff=3.5, radial_order=4, angular_order=3), Gaussian(1.0), 3),
]
ALONE = {
    "gdml": (GDML(3.0, 1e-3, energy_constraint=True, keep_factor=True), "alpha", "waters"),
    "fchl18": (ridge(FCHL18_KERNEL), "alpha", "crystals"),
    "fchl18-operators": (ridge(FCHL18_KERNEL, "operators"), "alpha", "crystals"),
    "nbody": (
        NBodyGaussianProcess(NBody(cutoff=3.6, amplitude=0.1), baseline=ELEMENTS, **NOISES),
        "noise_forces", "crystals",
    ),
    "sparse-terms": (
        SparseGaussianProcess(terms=TERMS, random_state=0, baseline=ELEMENTS, **NOISES),
        "noise_forces", "crystals",
    ),
}  # fmt: skip
for _name, (_model, _parameter, _) in ALONE.items():
    _values = [0.05, 0.5] if _parameter == "noise_forces" else [1e-2, 1.0]
    MODELS[_name] = (lambda width, n, model=_model: clone(model)), _parameter, _values

# The posterior distribution of these is that of all labels, or of a subset of regressors.
SPARSE = {"sparse", "sparse-dot", "sparse-terms"}
BAYESIAN = {"structure-kernel", "linear", *ALONE} - SPARSE
BAYESIAN |= {name for name in MODELS if name.startswith("kernel-ridge")}
SPREAD = {"bagged", "committee"}

# One model of each family runs with every test, on every descriptor; the others are slow.
QUICK = {"kernel-ridge", "sparse", "greedy", *ALONE} - {"fchl18"}


def combinations():
    """Names of descriptors and models."""
    for model in MODELS:
        if model in ALONE:
            yield ALONE[model][2], model
            continue
        yield from ((name, model) for name in ATOMIC)
        if model not in OF_ATOMS_ALONE:
            yield from ((name, model) for name in OF_STRUCTURES)


def _marked():
    for descriptor, model in combinations():
        quick = model in QUICK or descriptor in {"soap", "inverse-distances"}
        marks = [] if quick else ["slow"]
        marks = [getattr(pytest.mark, mark) for mark in marks]
        yield pytest.param((descriptor, model), marks=marks, id=f"{descriptor}-{model}")


def steps_of(descriptor):
    """Copies of the steps before a model, none before a model of structures."""
    steps = ATOMIC.get(descriptor) or OF_STRUCTURES.get(descriptor, [[]])[0]
    return [clone(step) for step in steps]


@cache
def data_of(descriptor):
    """Structures for a descriptor, their targets, and the width and the number of features."""
    system = OF_STRUCTURES.get(descriptor, [None, "crystals"])[1]
    structures = SYSTEMS[descriptor if descriptor in SYSTEMS else system](N_STRUCTURES)
    names = ["energy", "forces", *(["stress"] if structures.pbc.all() else [])]
    targets = labels_of(structures, names)
    if not steps_of(descriptor):
        return structures, targets, None, None
    features = make_pipeline(*steps_of(descriptor)).fit_transform(structures)
    rows = features.values
    if descriptor in ATOMIC:
        rows = rows[structures.numbers == structures.numbers[0]]
    width = np.sqrt(2 * rows.var(axis=0).sum())
    return structures, targets, width, features.values.shape[1]


class Combination:
    """A fitted Pipeline, its data, and what depends on the kind of model."""

    def __init__(self, descriptor, name):
        self.name = name
        self.structures, self.targets, width, n = data_of(descriptor)
        make, self.parameter, self.values = MODELS[name]
        self.model = make_pipeline(*steps_of(descriptor), make(width, n))
        self.model.fit(self.structures, self.targets)

    @property
    def last(self):
        return self.model.steps[-1][1]

    def predict(self, names, structures=None):
        return predict(self.model, self.structures if structures is None else structures, names)

    def refitted(self, targets, **parameters):
        model = clone(self.model)
        model.steps[-1][1].set_params(**parameters)
        return model.fit(self.structures, targets)


@pytest.fixture(scope="module", params=_marked())
def combination(request):
    return Combination(*request.param)


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


# Small enough that no distance passes a cutoff, where second derivatives jump, and for Matern's
# kernel near its centre, where third derivatives do.
STEP = 3e-5


def test_forces_are_minus_the_slopes_of_the_energy(combination):
    one = combination.structures[1]
    forces = combination.predict(["forces"], one)["forces"]
    assert np.abs(forces).max() > 1e-3
    direction = np.random.default_rng(0).normal(size=forces.shape)
    slope = central(energies(combination.model, one, direction, np.zeros((3, 3))), STEP)
    assert -np.sum(forces * direction) == pytest.approx(slope, abs=1e-6 * np.abs(forces).sum())


def test_stress_is_the_slope_along_strains_over_the_volume(combination):
    one = combination.structures[1]
    if not one.pbc.all():
        with pytest.raises(ValueError, match="periodic in three directions"):
            combination.predict(["stress"], one)
        return
    stress = combination.predict(["stress"], one)["stress"][0]
    assert np.abs(stress).max() > 1e-4
    np.testing.assert_allclose(stress, stress.T, atol=1e-10 * np.abs(stress).max())
    strain = np.random.default_rng(1).normal(size=(3, 3))
    slope = central(energies(combination.model, one, np.zeros_like(one.positions), strain), STEP)
    expected = slope / one.volumes()[0]
    assert np.sum(stress * strain) == pytest.approx(expected, abs=1e-6 * np.abs(stress).sum())


# The label that is changed: the energy and one component of force and stress of structure 1.
CHANGED = {"energy": (1,), "forces": (4, 1), "stress": (1, 0, 0)}


def changed(targets, name, by):
    """Targets of which one label is changed."""
    labels = {n: getattr(targets, n).copy() for n in targets.names}
    labels[name][CHANGED[name]] += by
    return Targets(**labels, offsets=targets.offsets)


def influence(combination, name, by, **parameters):
    """How much a prediction follows its own label: h = ∂p/∂y."""
    targets = combination.targets
    models = [
        combination.refitted(changed(targets, name, sign * by), **parameters) for sign in (1, -1)
    ]
    plus, minus = (predict(m, combination.structures, [name])[name] for m in models)
    slope = (plus - minus) / (2 * by)
    if combination.name in {"greedy", "bagged", "gdml"} and name == "energy":
        slope = slope - slope.mean()  # which a constant alone would follow
    return slope[CHANGED[name]]


@pytest.fixture(scope="module")
def influences(combination):
    # what a greedy model selects must not change; all others but networks are linear in the labels
    by = 1e-5 if combination.name in {"greedy", "bagged"} else 0.1
    return {name: influence(combination, name, by) for name in combination.targets.names}


@pytest.mark.thorough
def test_every_kind_of_label_is_learnt(combination, influences):
    for name, found in influences.items():
        if combination.name == "network":  # whose descent ends on its way to the minimum
            assert abs(found) > 1e-5, name
        else:
            assert 1e-5 < found < 1 + 1e-9, name


def noise_variances(combination):
    """The noise variance of each kind of label; that of a virial for a stress."""
    model = combination.last
    n_atoms = combination.structures.n_atoms[1]
    if combination.name == "gdml":
        # without the energies, whose mean is not that of the process
        return {"forces": model.alpha * model.posterior_.scale}
    if hasattr(model, "variance_"):
        return dict.fromkeys(CHANGED, model.alpha * model.variance_)
    return {
        "energy": n_atoms * model.noise_energy**2, "forces": model.noise_forces**2,
        "stress": n_atoms * model.noise_virial**2,
    }  # fmt: skip


@pytest.mark.thorough
def test_standard_deviations(combination, request):
    names = [n for n in predictable_of(combination.model, combination.structures) if "_std" in n]
    if combination.name in SPREAD:
        assert {"energy_std", "forces_std"} <= {*names}
        check_spread(combination, names)
    elif combination.name in BAYESIAN | SPARSE:
        assert {*names} == {f"{name}_std" for name in combination.targets.names}
        check_variances(combination, request.getfixturevalue("influences"))
    else:
        assert not names
        with pytest.raises(ValueError, match="gives energy, forces.* but no energy_std"):
            combination.model.predict(combination.structures, return_std=True)


def check_variances(combination, influences):
    r"""The posterior covariance of K(K + Λ)⁻¹y at the labels is K − K(K + Λ)⁻¹K = K(K + Λ)⁻¹Λ.

    The variance is the noise times the influence ∂p/∂y of a label; that of a sparse process has a
    part more, which does not depend on the noise.
    """
    noise = noise_variances(combination)
    found = {
        name: combination.predict([name + "_std"])[name + "_std"][CHANGED[name]] ** 2
        for name in influences
        if name in noise
    }
    if "stress" in found:
        found["stress"] *= combination.structures.volumes()[1] ** 2
    if combination.name in BAYESIAN:
        expected = {name: noise[name] * influences[name] for name in found}
        assert found == pytest.approx(expected, rel=1e-6)
        return
    for name, h in influences.items():
        assert found[name] > noise[name] * h * (1 - 1e-6)
    other = {"noise_energy": 3 * combination.last.noise_energy}
    model = combination.refitted(combination.targets, **other)
    rise = predict(model, combination.structures, ["energy_std"])["energy_std"][1] ** 2
    rise -= found["energy"]
    expected = 9 * noise["energy"] * influence(combination, "energy", 0.1, **other)
    expected -= noise["energy"] * influences["energy"]
    assert rise == pytest.approx(expected, rel=1e-6)


def check_spread(combination, names):
    """Standard deviations of several models are the spread of their predictions."""
    model, structures = combination.model, combination.structures
    features = model[:-1].transform(structures)
    found = combination.predict(names)
    for name in names:
        of = name.removesuffix("_std")
        members = np.stack([predict(m, features, [of])[of] for m in members_of(model[-1])])
        expected = members.std(axis=0, ddof=1)
        assert expected.max() > 0
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-8 * expected.max())


def members_of(model):
    """The members of a committee; those of a bagged model are linear models."""
    if isinstance(model, Committee):
        return model.estimators_
    return [LinearMember(model, b) for b in range(len(model.coefs_))]


class LinearMember:
    """One member of a BaggedGreedyOLS: its coefficients instead of their mean."""

    def __init__(self, model, b):
        self.model = clone(model)
        vars(self.model).update(vars(model))
        self.model.coef_, self.model.intercept_ = model.coefs_[b], model.intercepts_[b]
        self.outputs_ = model.outputs_

    def predict(self, X, **keywords):
        return self.model.predict(X, **keywords)


@pytest.mark.thorough
def test_a_search_by_a_scorer_of_forces(combination):
    model, structures, targets = combination.model, combination.structures, combination.targets
    name = f"{model.steps[-1][0]}__{combination.parameter}"
    search = GridSearchCV(
        model, {name: combination.values}, scoring=neg_force_mae, cv=2, error_score="raise"
    ).fit(structures, targets)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] != scores[1]
    # a score of the search is that of a fit outside of it
    half = slice(0, N_STRUCTURES // 2), slice(N_STRUCTURES // 2, None)
    alone = clone(model).set_params(**{name: combination.values[1]})
    alone.fit(structures[half[1]], targets[half[1]])
    errors = targets[half[0]].forces - predict(alone, structures[half[0]], ["forces"])["forces"]
    found = search.cv_results_["split0_test_score"][1]
    assert found == pytest.approx(-np.abs(errors).mean(), rel=1e-9)
    assert "forces" in predict(search, structures[:2], ["forces"])


def test_files(combination, tmp_path):
    model, structures = combination.model, combination.structures
    names = predictable_of(model, structures)
    expected = predict(model, structures[:2], names)
    assert set(expected) == set(names)
    joblib.dump(model, tmp_path / "model.joblib")
    stream = io.BytesIO(skops.io.dumps(model))
    unknown = skops.io.get_untrusted_types(data=stream.getvalue())
    again = [
        joblib.load(tmp_path / "model.joblib"),
        skops.io.loads(stream.getvalue(), trusted=unknown),
    ]
    for copied in again:
        found = predict(copied, structures[:2], names)
        for name, values in found.items():
            np.testing.assert_array_equal(values, expected[name])


def predictable_of(model, structures):
    names = predictable(model)
    return [n for n in names if structures.pbc.all() or not n.startswith("stress")]
