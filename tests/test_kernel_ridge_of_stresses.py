"""Kernel ridge regression of energies, forces and stresses, and its standard deviations."""

import io

import joblib
import numpy as np
import pytest
import skops.io
from ase.build import bulk, molecule
from models_under_contract import crystals, labels_of, waters
from sklearn.base import clone
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom._prediction import predict
from skatom.descriptors import (
    SOAP,
    FeatureScaler,
    InverseDistances,
    PointScattering,
    WaveletScattering,
)
from skatom.kernels import (
    FCHL18,
    Cosine,
    Gaussian,
    Laplacian,
    Matern,
    StructureKernel,
    bases,
    covariance,
)
from skatom.metrics import neg_force_mae
from skatom.models import ForceKernelRidge

SMALL = SOAP(cutoff=3.5, n_max=3, l_max=2)
ALL = ("energy", "forces", "stress")
KINDS = ("energy", "forces", "virial")
ALPHAS = {"alpha": 1e-4, "alpha_forces": 3e-4, "alpha_virial": 2e-3}
STDS = ("energy_std", "forces_std", "stress_std")
_STEP = 2e-4
VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


@pytest.fixture(scope="module", params=[None, "sum"], ids=["atoms", "structures"])
def labelled(request):
    """Features of atoms or of structures, and labels of which each structure lacks some."""
    structures = crystals(8)
    features = clone(SMALL).set_params(pool=request.param).fit_transform(structures)
    targets = labels_of(structures, ALL)
    targets.energy[1] = np.nan
    targets.forces[8:16] = np.nan
    targets.stress[[0, 4]] = np.nan
    return features, targets


def kernel_of(features):
    return Gaussian(2.0 if hasattr(features, "numbers") else 6.0)


def virials(structures, stress):
    return (stress * structures.volumes()[:, None, None])[:, *VOIGT]


def stacked(structures, energy, forces, stress):
    """All labels in the order of the rows of covariances."""
    virial, parts = virials(structures, stress), []
    for s, (a, b) in enumerate(zip(structures.offsets[:-1], structures.offsets[1:], strict=True)):
        parts += [energy[s : s + 1], forces[a:b].ravel(), virial[s]]
    return np.concatenate(parts)


def noise_of(structures):
    """The regularisation of all rows."""
    n, m = len(structures), len(structures.numbers)
    stress = np.full((n, 3, 3), ALPHAS["alpha_virial"]) / structures.volumes()[:, None, None]
    forces = np.full((m, 3), ALPHAS["alpha_forces"])
    return stacked(structures, np.full(n, ALPHAS["alpha"]), forces, stress)


def by_name(structures, rows):
    """Energies, forces and symmetric matrices over the volume, of rows in this order."""
    starts = np.cumsum(7 + 3 * structures.n_atoms) - 7 - 3 * structures.n_atoms
    energy = rows[starts]
    ends = [slice(a + 1, a + 1 + 3 * n) for a, n in zip(starts, structures.n_atoms, strict=True)]
    forces = np.concatenate([rows[part] for part in ends]).reshape(-1, 3)
    virial = np.stack([rows[part.stop : part.stop + 6] for part in ends])
    stress = np.empty((len(energy), 3, 3))
    stress[:, *VOIGT] = stress[:, *VOIGT[::-1]] = virial
    return energy, forces, stress / structures.volumes()[:, None, None]


def dense_process(kernel, train, labels, noise, test):
    """Predictions and deviations of all kinds by the whole covariance matrix."""
    known = np.isfinite(labels)
    matrix = covariance(kernel, train, rows=KINDS)[np.ix_(known, known)]
    matrix += np.diag(noise[known])
    cross = covariance(kernel, test, train, rows=KINDS)[:, known]
    weights = np.linalg.solve(matrix, labels[known])
    prior = covariance(kernel, test, rows=KINDS).diagonal()
    explained = np.einsum("ij,ji->i", cross, np.linalg.solve(matrix, cross.T))
    # forces have three directions of translation in which there is nothing to learn
    n_free = 3 * np.sum(known[np.cumsum(7 + 3 * train.structures.n_atoms) - 8])
    scale = labels[known] @ weights / (known.sum() - n_free)
    return cross @ weights, np.sqrt(scale * (prior - explained))


def check_against(found, expected, std, structures):
    for name, values in zip(ALL, by_name(structures, expected), strict=True):
        np.testing.assert_allclose(found[name], values, atol=1e-8 * np.abs(values).max())
    for name, values in zip(STDS, by_name(structures, std), strict=True):
        assert values.min() > 0
        np.testing.assert_allclose(found[name], values, rtol=1e-8)


def test_derivatives_equal_the_dense_process(labelled):
    features, targets = labelled
    train, test, kernel = features[:6], features[6:], kernel_of(features)
    model = ForceKernelRidge(kernel, baseline=None, **ALPHAS).fit(train, targets[:6])
    assert set(ALL + STDS) <= set(model.outputs_)
    structures = train.structures
    labels = stacked(structures, targets.energy[:6], targets.forces[:24], targets.stress[:6])
    expected, std = dense_process(kernel, train, labels, noise_of(structures), test)
    check_against(predict(model, test, ALL + STDS), expected, std, test.structures)


STRUCTURE_KERNELS = {
    "weighted average": StructureKernel(Gaussian(2.0), "average", weights={"Li": 0.4}),
    "normalised": StructureKernel(Gaussian(2.0), normalize=True, zeta=2.5),
    "power": StructureKernel(0.3 * Cosine(2) + 0.1 * Gaussian(2.0), "average", zeta=2),
}


@pytest.mark.parametrize("kernel", STRUCTURE_KERNELS.values(), ids=STRUCTURE_KERNELS)
@pytest.mark.parametrize("rows_per_feature", [0, 1e9], ids=["basis", "no basis"])
def test_kernels_of_structures_equal_the_dense_process(kernel, rows_per_feature, monkeypatch):
    monkeypatch.setattr(bases, "_ROWS_PER_FEATURE", rows_per_feature)
    structures = crystals(8)
    features, targets = SMALL.fit_transform(structures), labels_of(structures, ALL)
    targets.energy[2] = np.nan
    targets.forces[12:16] = np.nan
    train, test = features[:6], features[6:]
    model = ForceKernelRidge(kernel, baseline=None, **ALPHAS).fit(train, targets[:6])
    labels = stacked(train.structures, targets.energy[:6], targets.forces[:24], targets.stress[:6])
    expected, std = dense_process(kernel, train, labels, noise_of(train.structures), test)
    check_against(predict(model, test, ALL + STDS), expected, std, test.structures)


@pytest.mark.parametrize("kernel", STRUCTURE_KERNELS.values(), ids=STRUCTURE_KERNELS)
def test_kernels_of_structures_as_operators(kernel):
    """The basis is the training structures, compared with the rows by covariances."""
    structures = crystals(8)
    features, targets = SMALL.fit_transform(structures), labels_of(structures, ALL)
    train, test = features[:6], features[6:]
    model = ForceKernelRidge(kernel, "operators", baseline=None, **ALPHAS)
    model.fit(train, targets[:6])
    labels = stacked(train.structures, targets.energy[:6], targets.forces[:24], targets.stress[:6])
    roots = np.sqrt(noise_of(train.structures))
    rows = covariance(kernel, train, rows=KINDS, columns=("energy",)) / roots[:, None]
    precision = rows.T @ rows + np.eye(6)
    mean = np.linalg.solve(precision, rows.T @ (labels / roots))
    left = labels / roots - rows @ mean
    scale = (left @ left + mean @ mean) / (len(labels) - 18)
    new = covariance(kernel, test, train, rows=KINDS, columns=("energy",))
    std = np.sqrt(scale * np.einsum("ij,ji->i", new, np.linalg.solve(precision, new.T)))
    check_against(predict(model, test, ALL + STDS), new @ mean, std, test.structures)


def test_energies_alone_under_kernels_of_structures_equal_scikit_learn():
    images = [molecule(name) for name in ("H2O", "CH4", "CH3OH", "NH3", "C2H6", "CO2")]
    features = SOAP(cutoff=3.5, n_max=3, l_max=2).fit_transform(images)
    kernel, energy = StructureKernel(Cosine(2), "average", normalize=True), np.arange(6.0)
    theirs = KernelRidge(alpha=1e-3, kernel="precomputed").fit(kernel(features), energy)
    for basis in ("derivatives", "operators"):
        ours = ForceKernelRidge(kernel, basis, alpha=1e-3, baseline=None).fit(features, energy)
        if basis == "derivatives":
            found = ours.predict(features)
            np.testing.assert_allclose(found, theirs.predict(kernel(features)), rtol=1e-9)
        energies = ours.predict(features, return_forces=True)[0]
        np.testing.assert_allclose(energies, ours.predict(features), rtol=1e-12)


def test_kernels_of_structures_that_do_not_fit_the_model_are_errors():
    structures = waters(4)
    features, targets = SMALL.fit_transform(structures), labels_of(structures, ALL[:2])
    cases = [
        (ForceKernelRidge(StructureKernel(Gaussian(), "rematch")), features, "use match='sum' or"),
        (ForceKernelRidge(StructureKernel(Laplacian())), features, "use match='sum' or 'average'"),
        (
            ForceKernelRidge(StructureKernel(Gaussian()), solver="cg"),
            features,
            "cholesky' or basis",
        ),
        (ForceKernelRidge(StructureKernel(Gaussian())), features.pool("sum"), "leave out pool in"),
        (ForceKernelRidge(StructureKernel(Matern(nu=0.5))), features, "has no derivatives"),
    ]
    for model, X, message in cases:
        with pytest.raises(ValueError, match=message):
            model.fit(X, targets)


def operator_rows(kernel, train, test):
    """Rows of all kinds by one pullback for each member of the basis."""
    columns = []
    numbers = [getattr(x, "numbers", np.zeros(len(x))) for x in (test, train)]
    for y, z in zip(train.values, numbers[1], strict=True):
        k = kernel(test.values, y[None])[:, 0] * (numbers[0] == z)
        slopes = -k[:, None] * (test.values - y) / kernel.sigma**2
        gradient, virial = test.pullback(slopes)
        sums = np.add.reduceat(k, test.offsets[:-1]) if hasattr(test, "offsets") else k
        stress = virial / test.structures.volumes()[:, None, None]
        columns.append(stacked(test.structures, sums, -gradient, stress))
    return np.transpose(columns)


def test_operators_equal_bayesian_linear_regression(labelled):
    features, targets = labelled
    train, test, kernel = features[:6], features[6:], kernel_of(features)
    model = ForceKernelRidge(kernel, "operators", baseline=None, **ALPHAS)
    model.fit(train, targets[:6])
    structures = train.structures
    labels = stacked(structures, targets.energy[:6], targets.forces[:24], targets.stress[:6])
    known, roots = np.isfinite(labels), np.sqrt(noise_of(structures))
    rows = (operator_rows(kernel, train, train) / roots[:, None])[known]
    precision = rows.T @ rows + np.eye(rows.shape[1])
    mean = np.linalg.solve(precision, rows.T @ (labels / roots)[known])
    left = (labels / roots)[known] - rows @ mean
    n_free = 3 * np.isfinite(targets.forces[:24].reshape(6, -1)[:, 0]).sum()
    scale = (left @ left + mean @ mean) / (known.sum() - n_free)
    assert model.variance_ == pytest.approx(scale, rel=1e-9)
    new = operator_rows(kernel, train, test)
    std = np.sqrt(scale * np.einsum("ij,ji->i", new, np.linalg.solve(precision, new.T)))
    check_against(predict(model, test, ALL + STDS), new @ mean, std, test.structures)


def test_conjugate_gradients_equal_cholesky(labelled):
    features, targets = labelled
    direct = ForceKernelRidge(kernel_of(features), **ALPHAS).fit(features[:6], targets[:6])
    iterative = clone(direct).set_params(solver="cg", n_inducing=30, tol=1e-12, random_state=0)
    iterative.fit(features[:6], targets[:6])
    for name, values in predict(direct, features[6:], ALL).items():
        found = predict(iterative, features[6:], ALL)[name]
        np.testing.assert_allclose(found, values, atol=1e-7 * np.abs(values).max())


@pytest.mark.parametrize("basis", ["derivatives", "operators"])
def test_stresses_alone_are_learnt(basis):
    structures = crystals(60)
    features, stress = SMALL.fit_transform(structures), labels_of(structures, ALL).stress
    model = ForceKernelRidge(Gaussian(3.0), basis).fit(features[:45], Targets(stress=stress[:45]))
    assert not model.absolute_energies_
    found = model.predict(features[45:], return_stress=True)[1]
    spread = np.abs(stress[45:] - stress[45:].mean(axis=0)).mean()
    assert np.abs(found - stress[45:]).mean() < 0.2 * spread


STRESSED = {
    "derivatives": (SMALL, Gaussian(2.0), "derivatives"),
    "operators": (SMALL, Gaussian(2.0), "operators"),
    "fchl18": (None, FCHL18(cutoff=4.0), "operators"),
}


@pytest.mark.parametrize(("descriptor", "kernel", "basis"), STRESSED.values(), ids=STRESSED)
def test_stress_counts_by_its_regularisation(descriptor, kernel, basis):
    X = crystals(8)
    targets = labels_of(X, ALL)
    without = Targets(energy=targets.energy, forces=targets.forces, offsets=targets.offsets)
    X = X if descriptor is None else descriptor.fit_transform(X)
    model = ForceKernelRidge(kernel, basis, alpha=1e-6, alpha_virial=1e14)
    ignored = predict(model.fit(X, targets), X, ALL)
    absent = predict(clone(model).fit(X, without), X, ALL)
    for name in ALL:
        scale = np.abs(absent[name]).max()
        np.testing.assert_allclose(ignored[name], absent[name], atol=1e-6 * scale)
    learnt = predict(clone(model).set_params(alpha_virial=1e-10).fit(X, targets), X, ALL + STDS)
    errors = [np.abs(found["stress"] - targets.stress).mean() for found in (learnt, absent)]
    assert errors[0] < 0.5 * errors[1]
    assert min(learnt[name].min() for name in STDS) > 0


def test_deviations_of_fchl18_are_those_of_its_rows():
    structures = waters(8)
    targets = labels_of(structures, ("energy", "forces", "dipole"))
    kernel, alpha = FCHL18(), 1e-4
    model = ForceKernelRidge(kernel, "operators", alpha=alpha, baseline=None)
    model.fit(structures[:5], targets[:5])

    def rows_of(X):
        made = kernel.atoms, kernel.gradients, kernel.field_gradients
        return [sign * f(X, structures[:5]) for sign, f in zip((1, -1, -1), made, strict=True)]

    rows = np.concatenate(rows_of(structures[:5])) / np.sqrt(alpha)
    covariance = model.variance_ * np.linalg.inv(rows.T @ rows + np.eye(rows.shape[1]))
    names = ("energy_std", "forces_std", "dipole_std")
    found = predict(model, structures[5:], names)
    for name, new in zip(names, rows_of(structures[5:]), strict=True):
        expected = np.sqrt(np.einsum("ij,jk,ik->i", new, covariance, new))
        np.testing.assert_allclose(found[name].ravel(), expected, rtol=1e-8)


@pytest.mark.parametrize("basis", ["derivatives", "operators"])
def test_deviations_survive_a_file(labelled, basis):
    features, targets = labelled
    model = ForceKernelRidge(kernel_of(features), basis, **ALPHAS).fit(features[:6], targets[:6])
    expected = predict(model, features[6:], STDS)
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    data = skops.io.dumps(model)
    trusted = skops.io.get_untrusted_types(data=data)
    for again in (joblib.load(file), skops.io.loads(data, trusted=trusted)):
        assert not hasattr(again, "_factor")
        for name, values in predict(again, features[6:], STDS).items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-9)


@pytest.mark.parametrize("kernel", [Gaussian(1.0), StructureKernel(Gaussian(1.0), "average")])
@pytest.mark.parametrize("basis", ["derivatives", "operators"])
def test_cells_of_one_atom_have_stresses_but_no_forces(basis, kernel):
    lattices = [bulk("Al", "fcc", a=a) for a in (3.9, 4.0, 4.1, 4.2)]
    features = SMALL.fit_transform(lattices)
    stress = np.array([-0.02, 0.0, 0.015, 0.03])[:, None, None] * np.eye(3)
    targets = Targets(forces=np.zeros((4, 3)), stress=stress, offsets=np.arange(5))
    model = ForceKernelRidge(kernel, basis, alpha=1e-8).fit(features, targets)
    found = predict(model, features, ["forces", "stress", "stress_std"])
    np.testing.assert_allclose(found["forces"], 0.0, atol=1e-9)
    np.testing.assert_allclose(found["stress"], stress, atol=2e-3)
    assert (found["stress_std"] < 0.01).all()


def test_a_stress_of_a_molecule_is_an_error():
    structures = waters(4)
    targets = Targets(energy=np.arange(4.0), stress=np.ones((4, 3, 3)))
    with pytest.raises(ValueError, match="structure 0 has a stress but is not periodic"):
        ForceKernelRidge().fit(SMALL.fit_transform(structures), targets)


# without kinks where a field changes its sign
SMALL_WAVELETS = {"orbitals": [(2, 1), (3, 2)], "scales": (0, 1), "exponents": (2,)}
DESCRIPTORS = {
    "inverse distances": (InverseDistances(), "waters"),
    "pooled": (SOAP(cutoff=3.5, n_max=3, l_max=2, pool="sum"), "crystals"),
    "means": (SOAP(cutoff=3.5, n_max=3, l_max=2, pool="mean"), "crystals"),
    "point scattering": (PointScattering(**SMALL_WAVELETS, pool="sum"), "crystals"),
    "wavelet scattering": (WaveletScattering(**SMALL_WAVELETS, grid_spacing=0.4), "crystals"),
}


@pytest.fixture(scope="module", params=DESCRIPTORS.values(), ids=DESCRIPTORS)
def pooled(request):
    descriptor, system = request.param
    structures = {"waters": waters, "crystals": crystals}[system](8)
    return descriptor, structures, labels_of(structures, ALL if system == "crystals" else ALL[:2])


def test_features_of_structures_learn_all_labels(pooled):
    descriptor, structures, targets = pooled
    kernel = ForceKernelRidge(Gaussian(5.0), alpha=1e-6, alpha_virial=1e-8)
    model = make_pipeline(descriptor, FeatureScaler(out_of_range="ignore"), kernel).fit(
        structures, targets
    )
    for name, values in predict(model, structures, targets.names).items():
        truth = getattr(targets, name)
        spread = np.abs(truth - truth.mean(axis=0)).mean()
        assert np.abs(values - truth).mean() < 0.1 * spread, name


@pytest.mark.parametrize("basis", ["derivatives", "operators"])
def test_forces_and_stresses_from_features_of_structures_are_slopes(pooled, basis):
    descriptor, structures, targets = pooled
    kernel = ForceKernelRidge(Gaussian(5.0), basis, alpha=1e-5)
    model = make_pipeline(descriptor, FeatureScaler(out_of_range="ignore"), kernel).fit(
        structures[:6], targets[:6]
    )
    one = structures[7]
    found = predict(model, one, targets.names)
    cell, rng = one.cells[0], np.random.default_rng(0)

    def slope(change):
        moves = [change(k * _STEP) for k in (-2, -1, 1, 2)]
        x = [Structures(one.numbers, r, None, c[None], one.pbc) for r, c in moves]
        e = [model.predict(moved)[0] for moved in x]
        return (8 * (e[2] - e[1]) - (e[3] - e[0])) / (12 * _STEP)

    for direction in rng.normal(size=(3, *one.positions.shape)):
        expected = -np.sum(found["forces"] * direction)
        scale = np.abs(found["forces"]).sum()
        along = slope(lambda step, d=direction: (one.positions + step * d, cell))
        assert along == pytest.approx(expected, abs=1e-6 * scale)
    for a, b in ((0, 0), (1, 2)) if "stress" in found else ():
        unit = np.zeros((3, 3))
        unit[a, b] = 1.0
        along = slope(
            lambda step, u=unit: (
                one.positions @ (np.eye(3) + step * u).T,
                cell @ (np.eye(3) + step * u).T,
            )
        )
        scale = np.abs(found["stress"]).max()
        assert along / one.volumes()[0] == pytest.approx(found["stress"][0, a, b], abs=1e-6 * scale)


def test_a_search_over_features_of_structures_by_their_forces():
    structures = crystals(8)
    targets = labels_of(structures, ALL)
    model = make_pipeline(SOAP(cutoff=3.5, n_max=3, l_max=2, pool="sum"), ForceKernelRidge())
    grid = {"forcekernelridge__kernel": [Gaussian(0.01), Gaussian(6.0)]}
    search = GridSearchCV(model, grid, scoring=neg_force_mae, cv=2, error_score="raise")
    search.fit(structures, targets)
    assert search.best_params_["forcekernelridge__kernel"].sigma == 6.0


def test_features_of_another_kind_than_those_of_the_fit_are_an_error():
    structures = waters(6)
    features, targets = SMALL.fit_transform(structures), labels_of(structures, ALL[:2])
    model = ForceKernelRidge(alpha=1e-5).fit(features, targets)
    with pytest.raises(ValueError, match="X is a StructureFeatures, but .* to AtomicFeatures"):
        model.predict(features.pool("sum"))
    model = ForceKernelRidge(alpha=1e-5).fit(features.pool("sum"), targets)
    with pytest.raises(ValueError, match="X is a AtomicFeatures, but .* to StructureFeatures"):
        model.predict(features)


def test_kernels_without_derivatives_do_not_learn_forces_from_features_of_structures():
    structures = waters(6)
    features, targets = InverseDistances().fit_transform(structures), labels_of(structures, ALL[:2])
    with pytest.raises(ValueError, match=r"Laplacian\(\) has no derivatives, .* use Gaussian"):
        ForceKernelRidge(Laplacian()).fit(features, targets)
    energies = ForceKernelRidge(Laplacian()).fit(features, targets.energy)
    np.testing.assert_allclose(energies.predict(features), targets.energy, rtol=1e-6)
