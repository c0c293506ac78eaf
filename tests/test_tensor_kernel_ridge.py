"""Dipoles and polarisabilities learnt by kernels that rotate with the structure."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from batches import random_rotation
from conftest import rattled
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom._persistence import load_model, save_model
from skatom.datasets import read
from skatom.descriptors import (
    LambdaSOAP,
    cartesian_from_spherical,
    spherical_from_cartesian,
)
from skatom.metrics import evaluate, get_scorer
from skatom.models import Committee, TensorKernelRidge
from skatom.neighbors import neighbor_list

TINY = LambdaSOAP(cutoff=3.0, n_max=2, l_max=2)


def model_of(target="dipole", descriptor=TINY, **parameters):
    return make_pipeline(clone(descriptor), TensorKernelRidge(target, **parameters))


def turned(atoms, rotation):
    atoms = atoms.copy()
    # minus the lattice vectors make the same lattice: keep it right-handed
    atoms.set_cell(atoms.cell.array @ rotation.T * np.linalg.det(rotation))
    atoms.positions = atoms.positions @ rotation.T
    return atoms


def tensors_of(structures):
    """Dipoles of point charges, and polarisabilities of a sum over pairs."""
    dipoles, polarizabilities = [], []
    for atoms in structures.to_ase():
        charge = np.where(atoms.numbers == 1, 0.4, 0.0)
        heavy = atoms.numbers > 1
        charge[heavy] = -charge.sum() / heavy.sum()
        dipoles.append(charge @ atoms.positions)
        vectors = atoms.positions[:, None] - atoms.positions
        decay = np.exp(-0.5 * np.sum(vectors**2, axis=2))
        isotropic = (2.0 + 0.1 * atoms.numbers.sum()) * np.eye(3)
        polarizabilities.append(isotropic + np.einsum("ab,abx,aby->xy", decay, vectors, vectors))
    return Targets(dipole=dipoles, polarizability=polarizabilities)


@pytest.fixture(scope="module")
def ammonia_tensors(ammonia):
    structures, _ = ammonia
    return structures, tensors_of(structures)


def brute_force(structures, others, lam, zeta, descriptor):
    """The kernel of the documentation, atom by atom."""
    soap = clone(descriptor).set_params(lam=lam).fit(structures)
    scalar = clone(descriptor).set_params(lam=0).fit(structures)
    n_mu = 2 * lam + 1
    left, right = (
        [(x.numbers, soap.transform(x).values, scalar.transform(x).values[:, 0]) for x in side]
        for side in (others, structures)
    )
    kernel = np.zeros((len(others), n_mu, len(structures), n_mu))
    for a, (numbers, f, p) in enumerate(left):
        for b, (other_numbers, g, q) in enumerate(right):
            for j, z in enumerate(numbers):
                for k in np.flatnonzero(other_numbers == z):
                    kernel[a, :, b] += f[j] @ g[k].T * (p[j] @ q[k]) ** (zeta - 1)
    return kernel.reshape(len(others) * n_mu, -1)


@pytest.mark.parametrize("zeta", [1, 2, 3])
@pytest.mark.parametrize("descriptor", [TINY, LambdaSOAP(cutoff=3.0, n_max=4, l_max=2)])
def test_predictions_are_those_of_the_kernel(ammonia_tensors, zeta, descriptor):
    structures, targets = ammonia_tensors
    train, test = structures[:12], structures[12:16]
    alpha = 1e-3
    model = model_of("dipole", descriptor, zeta=zeta, alpha=alpha).fit(train, targets[:12])
    kernel = brute_force(train, train, 1, zeta, descriptor)
    assert np.linalg.eigvalsh(kernel).min() > -1e-12 * np.trace(kernel)
    ridge = alpha * np.trace(kernel) / len(kernel) * np.eye(len(kernel))
    components = spherical_from_cartesian(targets[:12].dipole, 1)
    solution = np.linalg.solve(kernel + ridge, components.ravel())
    expected = (brute_force(train, test, 1, zeta, descriptor) @ solution).reshape(-1, 3)
    np.testing.assert_allclose(
        model.predict(test), cartesian_from_spherical(expected, 1), rtol=0, atol=1e-9
    )


def test_many_structures_in_several_blocks_give_the_same_kernel():
    structures = rattled("NH3", 170)  # more than one block column
    targets = tensors_of(structures)
    model = model_of("dipole", zeta=1, alpha=1e-2).fit(structures, targets)
    # ζ = 1 is ridge regression on features summed by species, one weight for all components
    features = clone(TINY).fit_transform(structures).values
    by_species = [
        np.add.reduceat(features * mask[:, None, None], structures.offsets[:-1])
        for mask in structures.numbers == structures.species[:, None]
    ]
    rows = np.concatenate(by_species, axis=2).reshape(3 * len(structures), -1)
    components = spherical_from_cartesian(targets.dipole, 1).ravel()
    gram = rows.T @ rows
    ridge = 1e-2 * np.trace(gram) / len(rows) * np.eye(len(gram))
    weights = np.linalg.solve(gram + ridge, rows.T @ components)
    expected = cartesian_from_spherical((rows @ weights).reshape(-1, 3), 1)
    np.testing.assert_allclose(model.predict(structures), expected, atol=1e-8)


@pytest.mark.parametrize("target", ["dipole", "polarizability"])
def test_predictions_rotate_and_reflect_with_the_structure(ammonia_tensors, target):
    structures, targets = ammonia_tensors
    model = model_of(target).fit(structures[:20], targets[:20])
    proper = random_rotation(7)
    test = structures[20:].to_ase()
    predicted = model.predict(test)
    for rotation in (proper, -proper):
        images = [turned(atoms, rotation)[::-1] for atoms in test]
        for atoms in images:
            atoms.positions += [5.0, 1.0, -2.0]
        expected = predicted @ rotation.T if target == "dipole" else None
        if target == "polarizability":
            expected = rotation @ predicted @ rotation.T
        np.testing.assert_allclose(model.predict(images), expected, atol=1e-9)
    if target == "polarizability":
        np.testing.assert_allclose(predicted, predicted.transpose(0, 2, 1), atol=1e-13)


@pytest.mark.parametrize("target", ["dipole", "polarizability"])
def test_tensors_of_distorted_molecules_are_learnt(ammonia_tensors, target):
    structures, targets = ammonia_tensors
    model = model_of(target, LambdaSOAP(cutoff=3.0), alpha=1e-6)
    model.fit(structures[:30], targets[:30])
    predicted, true = model.predict(structures[30:]), getattr(targets[30:], target)
    mean = np.eye(3) * np.trace(true, axis1=1, axis2=2).mean() / 3 if true.ndim == 3 else 0.0
    r2 = 1 - np.sum((predicted - true) ** 2) / np.sum((true - mean) ** 2)
    assert r2 > 0.99
    assert model.score(structures[30:], targets[30:]) == pytest.approx(r2)
    assert model.score(structures[30:], true) == pytest.approx(r2)


def test_no_dipole_is_predicted_for_a_molecule_without_one(ammonia_tensors):
    structures, targets = ammonia_tensors
    model = model_of("dipole").fit(structures, targets)
    flat = Atoms("NH3", [[0, 0, 0], [1, 0, 0], [-0.5, 0.75**0.5, 0], [-0.5, -(0.75**0.5), 0]])
    np.testing.assert_allclose(model.predict([flat]), 0.0, atol=1e-12)


def test_shuffled_training_structures_give_the_same_model(ammonia_tensors):
    structures, targets = ammonia_tensors
    order = np.random.default_rng(0).permutation(20)
    one = model_of("polarizability").fit(structures[:20], targets[:20])
    two = model_of("polarizability").fit(structures[order], targets[order])
    np.testing.assert_allclose(
        one.predict(structures[20:]), two.predict(structures[20:]), atol=1e-9
    )


def test_mixed_molecules_and_few_labelled_species():
    structures = Structures.from_ase(
        [*rattled("H2O", 8).to_ase(), *rattled("CH4", 8).to_ase(), Atoms("O")]
    )
    targets = tensors_of(structures)
    model = model_of("polarizability", alpha=1e-8).fit(structures, targets)
    predicted = model.predict(structures)
    np.testing.assert_allclose(predicted, targets.polarizability, atol=0.2)
    np.testing.assert_allclose(model.predict([Atoms("O")])[0], predicted[-1], atol=1e-12)
    np.testing.assert_allclose(predicted[-1], predicted[-1][0, 0] * np.eye(3), atol=1e-12)


def test_persistence_search_and_cross_validation(ammonia_tensors, tmp_path):
    structures, targets = ammonia_tensors
    model = model_of("dipole")
    grid = [
        {"tensorkernelridge__zeta": [1, 2], "lambdasoap__cutoff": [1.5, 3.0]},
        {"tensorkernelridge__n_sparse": [4]},
    ]
    search = GridSearchCV(model, grid, cv=2).fit(structures, targets)
    assert search.best_score_ > 0.8
    scores = cross_val_score(model, structures.to_ase(), targets.dipole, cv=2)
    assert (scores > 0.5).all()
    for name in ("model.joblib", "model.skops"):
        save_model(search.best_estimator_, tmp_path / name)
        again = load_model(tmp_path / name)
        np.testing.assert_array_equal(again.predict(structures), search.predict(structures))
    cutoffs = {"lambdasoap__cutoff": [1.5, 3.0]}
    by_error = GridSearchCV(model, cutoffs, cv=2, scoring=get_scorer("neg_dipole_rmse"))
    by_error.fit(structures, targets)
    assert by_error.best_params_["lambdasoap__cutoff"] == 3.0
    assert -0.1 < by_error.best_score_ < 0.0


# --- standard deviations, representatives, weights --------------------------------------------


ORDERS = {"dipole": (1,), "polarizability": (0, 2)}


def components_of(targets, target, lam):
    """Spherical components of like molecules, and the constant that the model subtracts."""
    components = spherical_from_cartesian(getattr(targets, target), lam)
    constant = components.mean() if lam == 0 else 0.0
    return components - constant, constant


def cartesian_variances(covariances, lam):
    basis = cartesian_from_spherical(np.eye(2 * lam + 1), lam)
    return np.einsum("m...,nmk,k...->n...", basis, covariances, basis)


def own_blocks(structures, lam, zeta):
    n_mu = 2 * lam + 1
    kernel = brute_force(structures, structures, lam, zeta, TINY)
    return np.array([kernel[i : i + n_mu, i : i + n_mu] for i in range(0, len(kernel), n_mu)])


@pytest.mark.parametrize("zeta", [1, 2])
@pytest.mark.parametrize("target", ["dipole", "polarizability"])
def test_deviations_are_those_of_the_gaussian_process(ammonia_tensors, target, zeta):
    structures, targets = ammonia_tensors
    train, test, labels = structures[:12], structures[12:16], targets[:12]
    alpha = np.linspace(1e-3, 1e-2, 12)
    model = model_of(target, zeta=zeta, alpha=alpha, keep_factor=True).fit(train, labels)
    variances = 0.0
    for lam in ORDERS[target]:
        n_mu = 2 * lam + 1
        kernel = brute_force(train, train, lam, zeta, TINY)
        kernel += np.trace(kernel) / len(kernel) * np.diag(np.repeat(alpha, n_mu))
        y = components_of(labels, target, lam)[0].ravel()
        scale = y @ np.linalg.solve(kernel, y) / len(y)
        cross = brute_force(train, test, lam, zeta, TINY).reshape(4, n_mu, -1)
        learnt = cross @ np.linalg.solve(kernel, cross.transpose(0, 2, 1))
        prior = own_blocks(test, lam, zeta)
        variances = variances + cartesian_variances(scale * (prior - learnt), lam)
    _, std = model.predict(test, **{f"return_{target}_std": True})
    np.testing.assert_allclose(std, np.sqrt(variances), rtol=1e-8)


def kernel_of_representatives(structures, others, lam, zeta, atoms):
    """K_MM of some atoms, and K_AM of other structures, from the formula."""
    f, p = (clone(TINY).set_params(lam=l).fit(structures) for l in (lam, 0))
    g, q = f.transform(structures).values[atoms], p.transform(structures).values[atoms, 0]
    numbers, n_mu = structures.numbers[atoms], 2 * lam + 1

    def kernel(x, powers, z):
        weights = (z[:, None] == numbers) * (powers @ q.T) ** (zeta - 1)
        return np.einsum("amf,bnf,ab->ambn", x, g, weights)

    own = kernel(g, q, numbers).reshape(len(atoms) * n_mu, -1)
    cross = [
        kernel(f.transform(x).values, p.transform(x).values[:, 0], x.numbers).sum(axis=0)
        for x in others
    ]
    return own, np.array(cross).reshape(len(others), n_mu, -1)


class Representation:
    """A Gaussian process with the covariance Q = K_AM K_MM⁻¹ K_MB, and what Q lacks of K."""

    def __init__(self, structures, lam, zeta, atoms):
        self.structures, self.lam, self.zeta, self.atoms = structures, lam, zeta, atoms
        self.own, rows = kernel_of_representatives(structures, structures, lam, zeta, atoms)
        self.rows = rows.reshape(-1, len(self.own))
        self.mean_diagonal = np.einsum("nmm->", own_blocks(structures, lam, zeta)) / len(self.rows)

    def covariance(self, k, other):
        return k @ np.linalg.solve(self.own, other.T)

    def predict(self, x, k, y, noise, used):
        """Mean and covariance of a structure x whose K_AM is k, from the rows ``used``."""
        rows = self.rows[used]
        marginal = self.covariance(rows, rows) + np.diag(noise[used])
        between = self.covariance(k, rows)
        left = own_blocks(x, self.lam, self.zeta)[0] - between @ np.linalg.solve(
            marginal, between.T
        )
        return between @ np.linalg.solve(marginal, y[used]), left

    def scale(self, y, noise):
        """s² that makes errors of structures that are left out as large as their deviations."""
        total, n_mu = 0.0, 2 * self.lam + 1
        for s in range(len(self.structures)):
            out = np.arange(s * n_mu, (s + 1) * n_mu)
            used = np.setdiff1d(np.arange(len(y)), out)
            mean, left = self.predict(self.structures[[s]], self.rows[out], y, noise, used)
            error = y[out] - mean
            total += error @ np.linalg.solve(left + np.diag(noise[out]), error)
        return total / len(y)


@pytest.mark.parametrize("zeta", [1, 2, 3])
@pytest.mark.parametrize("target", ["dipole", "polarizability"])
def test_sparse_form_is_the_posterior_of_its_representatives(ammonia_tensors, target, zeta):
    structures, targets = ammonia_tensors
    train, test, labels = structures[:15], structures[15:18], targets[:15]
    atoms, alpha = np.array([0, 5, 12, 22, 38, 51]), np.linspace(1e-3, 1e-2, 15)
    model = model_of(target, zeta=zeta, alpha=alpha, selection=atoms, keep_factor=True)
    mean, std = model.fit(train, labels).predict(test, **{f"return_{target}_std": True})
    expected, variances = 0.0, 0.0
    for lam in ORDERS[target]:
        reference = Representation(train, lam, zeta, atoms)
        components, constant = components_of(labels, target, lam)
        y = components.ravel()
        noise = np.repeat(alpha, 2 * lam + 1) * reference.mean_diagonal
        _, cross = kernel_of_representatives(train, test, lam, zeta, atoms)
        found, left = zip(
            *(
                reference.predict(test[[s]], cross[s], y, noise, np.arange(len(y)))
                for s in range(3)
            ),
            strict=True,
        )
        expected = expected + cartesian_from_spherical(np.array(found) + constant, lam)
        left = reference.scale(y, noise) * np.array(left)
        variances = variances + cartesian_variances(left, lam)
    np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-8 * np.abs(expected).max())
    np.testing.assert_allclose(std, np.sqrt(variances), rtol=1e-8)
    np.testing.assert_array_equal(model[-1].representatives_, atoms)


@pytest.mark.parametrize("target", ["dipole", "polarizability"])
def test_all_environments_represent_the_kernel_ridge(target):
    # atoms of water lie in a plane, so that the components of each depend on each other
    structures = rattled("H2O", 9)
    targets = tensors_of(structures)
    dense = model_of(target, alpha=1e-3, keep_factor=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sparse = clone(dense).set_params(tensorkernelridge__selection=np.arange(24))
        sparse.fit(structures[:8], targets[:8])
    dense.fit(structures[:8], targets[:8])
    expected, found = dense.predict(structures), sparse.predict(structures)
    np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())
    features = dense[0].transform(structures)
    for lam in ORDERS[target]:
        expected, found = (
            model[-1].posteriors_[lam].covariances(features) / model[-1].posteriors_[lam].scale
            for model in (dense, sparse)
        )
        np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("selection", ["fps", "cur", "random"])
def test_few_representatives_learn_the_tensors(ammonia_tensors, selection):
    structures, targets = ammonia_tensors
    model = model_of(
        "dipole", LambdaSOAP(cutoff=3.0, n_max=4, l_max=3), alpha=1e-6, n_sparse={"N": 12, "H": 24},
        selection=selection, random_state=0,
    )  # fmt: skip
    model.fit(structures[:30], targets[:30])
    assert model.score(structures[30:], targets[30:]) > 0.99
    chosen = model[-1].representatives_
    assert (structures.numbers[chosen] == 7).sum() == 12 and len(set(chosen)) == 36


def test_more_representatives_than_environments_are_warned_of(ammonia_tensors):
    structures, targets = ammonia_tensors
    with pytest.warns(UserWarning, match="n_sparse=20, but there are only 6 environments of N"):
        model_of(n_sparse=20).fit(structures[:6], targets[:6])
    twice = Structures.from_ase(structures[:4].to_ase() * 2)
    with pytest.warns(UserWarning, match="only 4 environments of N differ from each other"):
        model_of(n_sparse=5).fit(twice, tensors_of(twice))


@pytest.mark.parametrize("sparse", [{}, {"n_sparse": 6, "random_state": 0}])
@pytest.mark.parametrize("target", ["dipole", "polarizability"])
def test_deviations_rotate_and_vanish_with_the_data(ammonia_tensors, target, sparse):
    structures, targets = ammonia_tensors
    model = model_of(target, alpha=1e-6, keep_factor=True, **sparse)
    model.fit(structures[:20], targets[:20])
    rotation, keyword = random_rotation(3), {f"return_{target}_std": True}
    test = structures[18:22]
    images = [turned(atoms, rotation) for atoms in test.to_ase()]
    totals = [
        np.sum(model.predict(x, **keyword)[1].reshape(4, -1) ** 2, axis=1) for x in (test, images)
    ]
    np.testing.assert_allclose(totals[1], totals[0], rtol=1e-7)
    if not sparse:
        assert totals[0][:2].max() < 0.5 * totals[0][2:].min()  # two were learnt, two not
    far = test[[0]].to_ase()[0]
    far.positions *= 1.3
    assert np.sum(model.predict([far], **keyword)[1] ** 2) > 4 * totals[0].max()


def test_deviations_need_a_factor(ammonia_tensors):
    structures, targets = ammonia_tensors
    model = model_of().fit(structures[:8], targets[:8])
    with pytest.raises(ValueError, match="no dipole_std.*fitted with keep_factor=True"):
        model.predict(structures[:2], return_dipole_std=True)


@pytest.mark.parametrize("sparse", [{}, {"selection": [0, 5, 13, 21, 38]}])
def test_weights_of_two_are_structures_that_occur_twice(ammonia_tensors, sparse):
    structures, targets = ammonia_tensors
    weights = np.array([1, 2, 1, 1, 2, 1, 1, 1, 2, 1])
    # the scale of the noise, the mean of the diagonal, counts structures: hold it fixed
    model = model_of(alpha=1e-2, **sparse)
    weighted = clone(model).fit(
        structures[:10], targets[:10], tensorkernelridge__sample_weight=weights
    )
    halved = clone(model).set_params(tensorkernelridge__alpha=1e-2 / weights)
    halved.fit(structures[:10], targets[:10])
    np.testing.assert_allclose(
        weighted.predict(structures[10:]), halved.predict(structures[10:]), rtol=1e-9, atol=1e-12
    )
    hot = np.where(weights == 2, "hot", "cold")
    named = clone(model).set_params(tensorkernelridge__alpha={"hot": 5e-3, "cold": 1e-2})
    named.fit(structures[:10], targets[:10], tensorkernelridge__configurations=hot)
    np.testing.assert_array_equal(named.predict(structures[10:]), halved.predict(structures[10:]))


@pytest.mark.parametrize("sparse", [{}, {"selection": [4, 9, 17]}])
def test_structures_of_weight_zero_are_ignored(ammonia_tensors, sparse):
    structures, targets = ammonia_tensors
    weights = np.repeat([0.0, 1.0], [1, 9])
    model = model_of("polarizability", **sparse)
    weighted = clone(model).fit(
        structures[:10], targets[:10], tensorkernelridge__sample_weight=weights
    )
    if sparse:
        model.set_params(tensorkernelridge__selection=[0, 5, 13])
    model.fit(structures[1:10], targets[1:10])
    np.testing.assert_array_equal(weighted.predict(structures[10:]), model.predict(structures[10:]))
    if sparse:
        with pytest.raises(ValueError, match="the atom 2, whose structure has the weight 0"):
            clone(model).set_params(tensorkernelridge__selection=[2, 9]).fit(
                structures[:10], targets[:10], tensorkernelridge__sample_weight=weights
            )


def test_score_weighs_structures(ammonia_tensors):
    structures, targets = ammonia_tensors
    model = model_of(alpha=1.0).fit(structures[:20], targets[:20])
    weights = np.repeat([1.0, 0.0], 10)
    part = model.score(structures[20:30], targets[20:30])
    found = model.score(structures[20:], targets[20:], sample_weight=weights)
    assert found == pytest.approx(part)


@pytest.mark.parametrize("sparse", [{}, {"n_sparse": 6, "random_state": 0}])
def test_deviations_survive_files(ammonia_tensors, sparse, tmp_path):
    structures, targets = ammonia_tensors
    model = model_of("polarizability", keep_factor=True, **sparse)
    model.fit(structures[:20], targets[:20])
    expected = model.predict(structures[20:], return_polarizability_std=True)
    for name in ("model.joblib", "model.skops"):
        save_model(model, tmp_path / name)
        found = load_model(tmp_path / name).predict(structures[20:], return_polarizability_std=True)
        for one, two in zip(expected, found, strict=True):
            np.testing.assert_array_equal(two, one)


def test_structures_need_a_descriptor_in_front(ammonia_tensors):
    structures, targets = ammonia_tensors
    model = TensorKernelRidge()
    with pytest.raises(TypeError, match="got Structures, .*make_pipeline\\(LambdaSOAP"):
        model.fit(structures, targets)
    features = TINY.fit_transform(structures)
    model.fit(features, targets)
    other = clone(TINY).set_params(n_max=3).fit_transform(structures)
    with pytest.raises(ValueError, match="features, but fit saw 32: use the descriptor of the fit"):
        model.predict(other)
    found = evaluate(model, features, targets)
    assert set(found) == {"dipole_mae", "dipole_rmse"}
    with pytest.raises(ValueError, match="have their neighbours already"):
        model.predict(features, neighbors=neighbor_list(structures, 3.0))


def test_committees_have_deviations_of_their_own(ammonia_tensors):
    structures, targets = ammonia_tensors
    committee = Committee(TensorKernelRidge(), n_models=3, random_state=0)
    model = make_pipeline(clone(TINY), committee).fit(structures[:20], targets[:20])
    mean, std = model.predict(structures[20:], return_dipole_std=True)
    features = TINY.fit_transform(structures)[20:]
    members = [member.predict(features) for member in model[-1].estimators_]
    np.testing.assert_allclose(mean, np.mean(members, axis=0), atol=1e-12)
    np.testing.assert_allclose(std, np.std(members, axis=0, ddof=1), atol=1e-12)


def test_features_are_not_kept_by_the_model(ammonia_tensors):
    structures, targets = ammonia_tensors
    features = TINY.fit_transform(structures)
    model = TensorKernelRidge(keep_factor=True).fit(features, targets)
    assert features._values is None and model.posteriors_[1].features._values is None


@pytest.mark.parametrize(
    ("target", "y", "message"),
    [
        ("dipole", np.zeros((3, 2)), r"dipole has the shape \(3, 2\).*need \(3, 3\)"),
        ("dipole", np.zeros(3), "dipole has the shape"),
        ("polarizability", np.zeros((3, 9)), r"polarizability has the shape \(3, 9\)"),
        ("polarizability", np.zeros((3, 3)), "polarizability has the shape"),
        ("dipole", np.zeros((2, 3)), "3 structures but 2 targets"),
        ("dipole", Targets(energy=np.zeros(3)), "no structure has dipole, .*labels: energy"),
        (
            "dipole",
            Targets(dipole=[[1, 0, 0], [np.nan] * 3, [0, 0, 1]]),
            r"structure 1 has no dipole .*labelled\('dipole'\)",
        ),
        ("dipole", [[1, 0, 0], [np.inf, 0, 0], [0, 0, 1]], "dipole of structure 1 is not finite"),
        (
            "polarizability",
            [np.eye(3), np.eye(3) + np.eye(3, k=1), np.eye(3)],
            "structure 1 is not symmetric: it differs from its transpose by 1, where at most",
        ),
    ],
)
def test_bad_labels(target, y, message):
    structures = rattled("H2O", 3)
    with pytest.raises(ValueError, match=message):
        model_of(target).fit(structures, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"target": "quadrupole"}, "target"),
        ({"zeta": 0}, "zeta"),
        ({"zeta": 1.5}, "zeta"),
        ({"alpha": -1.0}, "alpha"),
        ({"n_sparse": 0}, "n_sparse"),
        ({"n_sparse": 5, "alpha": 0.0}, "alpha must be positive"),
        ({"selection": "best"}, "selection"),
        ({"selection": [0, 9]}, "selection has indices from 0 to 9, but there are 9 atoms"),
        ({"selection": [[0]]}, r"selection of shape \(1, 1\)"),
        ({"n_sparse": {"O": 2}}, "has no entry for H"),
        ({"alpha": {"hot": 1.0}}, "pass fit"),
        ({"alpha": [1.0, 2.0]}, r"alpha has the shape \(2,\)"),
        ({"descriptor": LambdaSOAP(l_max=0)}, "lam=1"),
    ],
)
def test_bad_model_parameters(parameters, message):
    structures = rattled("H2O", 3)
    with pytest.raises(ValueError, match=message):
        model_of(**parameters).fit(structures, np.zeros((3, 3)))


def test_equal_structures_without_ridge_are_an_error():
    structures = Structures.from_ase(rattled("H2O", 4).to_ase() * 2)
    with pytest.raises(ValueError, match="singular to rounding errors with alpha=0.0: raise alpha"):
        model_of(alpha=0.0).fit(structures, np.zeros((8, 3)))


@pytest.mark.parametrize("sparse", [{}, {"n_sparse": 1}])
def test_structures_too_symmetric_to_have_a_direction_are_an_error(sparse):
    with pytest.raises(ValueError, match="all features of order 1 vanish"):
        model_of(**sparse).fit([Atoms("C"), bulk("C")], np.zeros((2, 3)))


def test_kernel_that_does_not_fit_is_refused(ammonia_tensors):
    structures, targets = ammonia_tensors
    model = model_of(max_memory=1e-6)
    with pytest.raises(MemoryError, match="40 structures with 3 components"):
        model.fit(structures, targets)


def test_unseen_species_in_prediction_is_an_error(ammonia_tensors):
    structures, targets = ammonia_tensors
    model = model_of().fit(structures[:5], targets[:5])
    with pytest.raises(ValueError, match="structure 140 contains C"):
        model.predict([molecule("NH3")] * 140 + [molecule("CH4")])


def test_polarizabilities_pass_through_ase_and_files(ammonia_tensors, tmp_path):
    structures, targets = ammonia_tensors
    images = structures[:2].to_ase(targets[:2])
    again = Targets.from_ase(images)
    np.testing.assert_array_equal(again.polarizability, targets[:2].polarizability)
    np.testing.assert_array_equal(again.dipole, targets[:2].dipole)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["dipole", "polarizability"])
def test_error_on_qm7b_is_a_fifth_of_the_rotated_mean(reference_data, target):
    path = reference_data / "molecules" / "qm7b_dipole_polarizability.xyz.xz"
    data = read(path, keys={"dipole": "dipole_raw", "polarizability": "pol_raw"})
    order = np.random.default_rng(0).permutation(len(data.structures))
    train, test = order[:600], order[600:]
    model = model_of(target, LambdaSOAP(species_compression=3))
    model.fit(data.structures[train], data.targets[train])
    assert model.score(data.structures[test], data.targets[test]) > 1 - 1 / 5**2
