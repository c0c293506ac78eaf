"""Kernel ridge regression of energies, forces and stresses, and its standard deviations."""

import io

import joblib
import numpy as np
import pytest
import skops.io
from models_under_contract import crystals, labels_of, waters
from sklearn.base import clone

from skatom import Targets
from skatom._prediction import predict
from skatom.descriptors import SOAP, InverseDistances, PointScattering, WaveletScattering
from skatom.kernels import FCHL18, Gaussian, covariance
from skatom.models import ForceKernelRidge

SMALL = SOAP(cutoff=3.5, n_max=3, l_max=2)
ALL = ("energy", "forces", "stress")
KINDS = ("energy", "forces", "virial")
ALPHAS = {"alpha": 1e-4, "alpha_forces": 3e-4, "alpha_virial": 2e-3}
STDS = ("energy_std", "forces_std", "stress_std")
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
    assert set(ALL + STDS) < set(model.outputs_)
    structures = train.structures
    labels = stacked(structures, targets.energy[:6], targets.forces[:24], targets.stress[:6])
    ones = np.ones((6, 3, 3)) / structures.volumes()[:, None, None]
    noise = stacked(
        structures, np.full(6, 1e-4), np.full((24, 3), 3e-4), 2e-3 * ones
    )  # fmt: skip
    expected, std = dense_process(kernel, train, labels, noise, test)
    check_against(predict(model, test, ALL + STDS), expected, std, test.structures)


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
    known = np.isfinite(labels)
    ones = np.ones((6, 3, 3)) / structures.volumes()[:, None, None]
    roots = np.sqrt(stacked(structures, np.full(6, 1e-4), np.full((24, 3), 3e-4), 2e-3 * ones))
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
    structures = crystals(24)
    features, targets = SMALL.fit_transform(structures), labels_of(structures, ALL)
    alone = Targets(stress=targets.stress)
    model = ForceKernelRidge(Gaussian(3.0), basis, alpha=1e-8).fit(features[:18], alone[:18])
    assert not model.absolute_energies_
    found = model.predict(features[18:], return_stress=True)[1]
    spread = np.abs(targets.stress - targets.stress.mean(axis=0)).mean()
    assert np.abs(found - targets.stress[18:]).mean() < 0.2 * spread


@pytest.mark.parametrize("basis", ["derivatives", "operators"])
def test_stress_counts_by_its_regularisation(basis):
    structures = crystals(8)
    features, targets = SMALL.fit_transform(structures), labels_of(structures, ALL)
    without = Targets(energy=targets.energy, forces=targets.forces, offsets=targets.offsets)
    model = ForceKernelRidge(Gaussian(2.0), basis, alpha=1e-6, alpha_virial=1e14)
    ignored = predict(model.fit(features, targets), features, ALL)
    absent = predict(clone(model).fit(features, without), features, ALL)
    learnt = predict(
        clone(model).set_params(alpha_virial=1e-6).fit(features, targets), features, ALL
    )
    for name in ALL:
        scale = np.abs(absent[name]).max()
        np.testing.assert_allclose(ignored[name], absent[name], atol=1e-6 * scale)
    errors = [np.abs(found["stress"] - targets.stress).mean() for found in (learnt, absent)]
    assert errors[0] < 0.5 * errors[1]


def test_fchl18_learns_stresses():
    structures = crystals(6)
    targets = labels_of(structures, ALL)
    model = ForceKernelRidge(FCHL18(cutoff=4.0), "operators", alpha=1e-10)
    found = predict(model.fit(structures, targets), structures, ALL + STDS)
    for name, values in found.items():
        if name in ALL:
            scale = np.abs(getattr(targets, name)).max()
            np.testing.assert_allclose(values, getattr(targets, name), atol=0.05 * scale)
        else:
            assert values.min() > 0


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


def test_a_stress_of_a_molecule_is_an_error():
    structures = waters(4)
    targets = Targets(energy=np.arange(4.0), stress=np.ones((4, 3, 3)))
    with pytest.raises(ValueError, match="structure 0 has a stress but is not periodic"):
        ForceKernelRidge().fit(SMALL.fit_transform(structures), targets)


DESCRIPTORS = {
    "inverse distances": (InverseDistances(), "waters", Gaussian(1.0)),
    "pooled": (SOAP(cutoff=3.5, n_max=3, l_max=2, pool="sum"), "crystals", Gaussian(6.0)),
    "means": (SOAP(cutoff=3.5, n_max=3, l_max=2, pool="mean"), "crystals", Gaussian(2.0)),
    "point scattering": (PointScattering(order=2), "crystals", Gaussian(6.0)),
    "wavelet scattering": (WaveletScattering(), "crystals", Gaussian(6.0)),
}
