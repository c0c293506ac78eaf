"""Charges that are learnt from dipoles, and the dipoles that they make."""

from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from batches import random_rotation
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom.descriptors import ACSF, SOAP
from skatom.kernels import Cosine, Gaussian, Polynomial
from skatom.models import LatentChargeRidge
from skatom.models._environment_expansion import EnvironmentExpansion
from skatom.models.charges.charge_expansion import ChargeExpansion
from skatom.models.charges.left_out import solve_ridge
from skatom.models.neural.heads import DipoleHead

FEATURES = ACSF(4.0, g2=[(0.3, 0.0), (1.0, 1.0), (1.0, 2.0)], g4=[(0.05, 1, 1), (0.05, 1, -1)])
SMALL_SOAP = SOAP(cutoff=4.0, n_max=3, l_max=2)
KERNELS = {"linear": None, "cosine": Cosine(2), "gaussian": Gaussian(2.0)}


def molecules(names=("H2O", "NH3", "CH3OH", "CH4"), n=6, seed=0):
    rng = np.random.default_rng(seed)
    images = []
    for name in names:
        for _ in range(n):
            atoms = molecule(name)
            atoms.positions += rng.normal(scale=0.08, size=(len(atoms), 3)) + rng.normal(size=3)
            atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
            images.append(atoms)
    return Structures.from_ase(images)


def dipoles_of(structures, charges):
    """Σ q (r - r_M), and charges that sum up to what they are given as."""
    images = structures.to_ase()
    parts = np.split(charges, structures.offsets[1:-1])
    return np.array(
        [q @ (a.positions - a.get_center_of_mass()) for q, a in zip(parts, images, strict=True)]
    )


def synthetic(structures, total=0.0, seed=1):
    """Charges that are linear in the features of each species, with a given sum; their dipoles."""
    X = FEATURES.fit_transform(structures)
    rng = np.random.default_rng(seed)
    free = np.zeros(len(X.numbers))
    for z in X.species:
        mine = X.numbers == z
        free[mine] = X.values[mine] @ rng.normal(scale=0.1, size=X.n_features) + 0.1 * rng.normal()
    means = np.add.reduceat(free, X.offsets[:-1]) / X.n_atoms
    charges = free + np.repeat(total / X.n_atoms - means, X.n_atoms)
    return charges, dipoles_of(structures, charges)


def fitted(total=0.0, kernel=None, **parameters):
    structures = molecules()
    _, dipoles = synthetic(structures, total)
    model = LatentChargeRidge(kernel, total_charge=total, random_state=0, **parameters)
    return make_pipeline(FEATURES, model).fit(structures, Targets(dipole=dipoles))


@pytest.mark.parametrize("total", [0.0, 1.0])
def test_charges_that_are_linear_in_the_features_give_exact_dipoles(total):
    structures = molecules(n=40)
    charges, dipoles = synthetic(structures, total)
    model = make_pipeline(FEATURES, LatentChargeRidge(total_charge=total, alpha=1e-18))
    model.fit(structures[::2], Targets(dipole=dipoles[::2]))
    found, of_atoms = model.predict(structures[1::2], return_charges=True)
    np.testing.assert_allclose(found, dipoles[1::2], atol=1e-7)
    sums = np.add.reduceat(of_atoms, structures[1::2].offsets[:-1])
    np.testing.assert_allclose(sums, total, atol=1e-12)


def test_water_has_the_charges_of_its_dipoles():
    """Two unlike directions and three equal positions of charges leave one choice of them."""
    structures = molecules(["H2O"], n=20)
    charges = np.where(structures.numbers == 8, -0.8, 0.4)
    targets = Targets(dipole=dipoles_of(structures, charges))
    model = make_pipeline(FEATURES, LatentChargeRidge(alpha=1e-12)).fit(structures, targets)
    found = model.predict(structures, return_charges=True)[1]
    np.testing.assert_allclose(found, charges, atol=1e-4)


@pytest.mark.parametrize("name", KERNELS)
def test_dipoles_are_those_of_the_charges_about_the_centre_of_mass(name):
    model, structures = fitted(-1.0, KERNELS[name], n_sparse=5), molecules(seed=5, n=2)
    dipoles, charges = model.predict(structures, return_charges=True)
    np.testing.assert_allclose(dipoles, dipoles_of(structures, charges), atol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
def test_rotations_inversions_translations_and_permutations(name):
    model, one = fitted(1.0, KERNELS[name], n_sparse=5), molecules(seed=7, n=1)[2].to_ase()[0]
    dipole, charges = model.predict([one], return_charges=True)
    turn = -random_rotation(np.random.default_rng(0))
    order = np.random.default_rng(1).permutation(len(one))
    other = one[order]
    other.positions = other.positions @ turn.T + [3.0, -20.0, 7.0]
    turned, permuted = model.predict([other], return_charges=True)
    np.testing.assert_allclose(turned, dipole @ turn.T, atol=1e-9)
    np.testing.assert_allclose(permuted, charges[order], atol=1e-9)


@pytest.mark.parametrize("name", KERNELS)
def test_gradients_of_dipoles_are_their_differences(name):
    model = fitted(1.0, KERNELS[name], n_sparse=5)
    structures, step = molecules(["CH3OH"], seed=3, n=1), 1e-4
    gradients = model[-1].dipole_gradients(model[:-1].transform(structures))
    atoms = structures.to_ase()[0]
    for a, x in ((0, 0), (1, 2), (4, 1)):
        ends = [atoms.copy() for _ in range(4)]
        for image, k in zip(ends, (-2, -1, 1, 2), strict=True):
            image.positions[a, x] += k * step
        m = model.predict(ends)
        slope = (8 * (m[2] - m[1]) - (m[3] - m[0])) / (12 * step)
        np.testing.assert_allclose(gradients[a, :, x], slope, atol=1e-8)
    # the dipole about the centre of mass does not change with a translation
    np.testing.assert_allclose(gradients.sum(axis=0), 0, atol=1e-10)


def test_two_molecules_far_apart_have_the_gradients_of_each():
    model, structures = fitted(), molecules(["H2O", "CH4"], n=1)
    X = model[:-1].transform(structures)
    both = model[-1].dipole_gradients(X)
    alone = [model[-1].dipole_gradients(X[k : k + 1]) for k in range(2)]
    np.testing.assert_allclose(both, np.concatenate(alone), atol=1e-12)


def test_single_atoms_have_the_total_charge_and_no_dipole():
    model = fitted(1.0)
    dipole, charges = model.predict([Atoms("O", [[5.0, 0, 0]])], return_charges=True)
    np.testing.assert_allclose(dipole, 0, atol=1e-12)
    np.testing.assert_allclose(charges, 1.0)
    lonely = Structures.from_ase([Atoms("O"), Atoms("H")])
    with pytest.raises(ValueError, match="every structure is a single atom"):
        make_pipeline(FEATURES, LatentChargeRidge()).fit(lonely, Targets(dipole=np.zeros((2, 3))))


def test_a_periodic_cell_around_a_whole_molecule_changes_nothing():
    model, atoms = fitted(), molecules(["NH3"], n=1).to_ase()[0]
    boxed = atoms.copy()
    boxed.set_cell([15.0, 15.0, 15.0])
    boxed.pbc = True
    np.testing.assert_allclose(model.predict([boxed]), model.predict([atoms]), atol=1e-10)


def test_outputs_are_those_of_the_networks_head():
    """The same charges of atoms before their mean is subtracted give the same charges, dipoles."""
    structures = molecules(["H2O", "CH4"], n=2)
    X, constants = FEATURES.fit_transform(structures), np.array([0.3, -0.2, -0.7])
    zeros = {int(z): np.zeros((1, X.n_features)) for z in X.species}
    none = EnvironmentExpansion(Polynomial(), zeros, {z: np.ones(1) for z in zeros})
    ours = ChargeExpansion(none, constants, X.species, 0.0)
    graphs = SimpleNamespace(
        kinds=np.searchsorted(X.species, X.numbers), n_atoms=X.n_atoms, offsets=X.offsets,
        positions=structures.positions,
    )  # fmt: skip
    theirs = DipoleHead(1, 1).of_elements(graphs, constants)
    np.testing.assert_allclose(ours.charges(X), theirs["charges"], atol=1e-12)
    np.testing.assert_allclose(ours.dipoles(X, ours.charges(X)), theirs["dipole"], atol=1e-12)
    assert set(LatentChargeRidge.gives) == set(DipoleHead.gives)


def test_a_species_that_was_not_learnt_is_an_error():
    with pytest.raises(ValueError, match="contains F"):
        fitted().predict([Atoms("HF", [[0, 0, 0], [0, 0, 0.9]])])


def test_charges_are_learnt_from_charges():
    structures = molecules(n=40)
    charges, _ = synthetic(structures)
    model = make_pipeline(FEATURES, LatentChargeRidge(target="charges", alpha=1e-16))
    offsets = structures[::2].offsets
    labels = charges[np.repeat(np.arange(len(structures)) % 2 == 0, structures.n_atoms)]
    model.fit(structures[::2], Targets(charges=labels, offsets=offsets))
    others = charges[np.repeat(np.arange(len(structures)) % 2 == 1, structures.n_atoms)]
    np.testing.assert_allclose(model.predict(structures[1::2]), others, atol=1e-6)


def test_charges_of_ions_need_the_total_charge():
    structures = molecules()
    targets = Targets(charges=synthetic(structures, 1.0)[0], offsets=structures.offsets)
    with pytest.raises(ValueError, match=r"sum up to 1 e, but total_charge=0.0: give"):
        make_pipeline(FEATURES, LatentChargeRidge(target="charges")).fit(structures, targets)


def test_structures_without_a_label_and_of_weight_zero_are_left_out():
    structures = molecules()
    dipoles = synthetic(structures)[1]
    keep = np.arange(len(structures)) % 3 > 0
    expected = make_pipeline(FEATURES, LatentChargeRidge()).fit(
        structures[keep], Targets(dipole=dipoles[keep])
    )
    missing = np.where(keep[:, None], dipoles, np.nan)
    wrong = np.where(keep[:, None], dipoles, 10.0)
    for labels, weights in ((missing, None), (wrong, keep.astype(float))):
        model = make_pipeline(FEATURES, LatentChargeRidge())
        model.fit(structures, Targets(dipole=labels), latentchargeridge__sample_weight=weights)
        np.testing.assert_allclose(
            model.predict(structures), expected.predict(structures), atol=1e-9
        )


def test_a_weight_of_two_is_that_of_two_structures():
    structures = molecules(n=3)
    dipoles = synthetic(structures)[1] + 0.1
    twice = np.append(np.arange(len(structures)), 0)
    weights = np.ones(len(structures))
    weights[0] = 2
    model, other = LatentChargeRidge(alpha=1e-4), LatentChargeRidge(alpha=1e-4)
    X = FEATURES.fit_transform(structures)
    model.fit(X, dipoles, sample_weight=weights)
    other.fit(X[twice], dipoles[twice])
    np.testing.assert_allclose(model.predict(X), other.predict(X), atol=1e-9)


def test_many_rows_in_batches_give_what_all_at_once_give(monkeypatch):
    structures = molecules(n=30)
    dipoles = synthetic(structures)[1]
    dipoles += np.random.default_rng(0).normal(scale=0.01, size=dipoles.shape)
    X = FEATURES.fit_transform(structures)
    whole = LatentChargeRidge().fit(X, dipoles)
    monkeypatch.setattr("skatom.models.charges.charge_rows._BATCH_BYTES", 2**15)
    parts = LatentChargeRidge().fit(X, dipoles)
    assert parts.alpha_ == whole.alpha_
    np.testing.assert_allclose(parts.predict(X), whole.predict(X), atol=1e-6)


@pytest.mark.parametrize("sizes", [[3] * 10, [2, 5, 3, 9, 2, 4, 5]])
def test_left_out_errors_are_those_of_fits_without_the_structure(sizes):
    rng, alpha = np.random.default_rng(0), 0.3
    sizes, rows, y = np.array(sizes), rng.normal(size=(30, 8)), rng.normal(size=30)
    penalty = alpha * np.trace(rows @ rows.T) / 30 * np.eye(8)
    found = solve_ridge(rows.copy(), y, sizes, 30, alpha)
    w = np.linalg.solve(rows.T @ rows + penalty, rows.T @ y)
    np.testing.assert_allclose(found.coefficients, w, atol=1e-12)
    squares, owner = 0.0, np.repeat(np.arange(len(sizes)), sizes)
    for s in range(len(sizes)):
        a, b = rows[owner != s], y[owner != s]
        w = np.linalg.solve(a.T @ a + penalty, a.T @ b)
        squares += np.sum((y[owner == s] - rows[owner == s] @ w) ** 2)
    assert found.loo_error == pytest.approx(np.sqrt(squares / 30), rel=1e-10)
    best = solve_ridge(rows.copy(), y, sizes, 30, "loo")
    assert best.loo_error <= found.loo_error


def test_a_search_over_kernels():
    structures = molecules()
    targets = Targets(dipole=synthetic(structures)[1])
    model = make_pipeline(SMALL_SOAP, LatentChargeRidge(n_sparse=2, random_state=0))
    grid = {"latentchargeridge__kernel": [None, Cosine(2)]}
    cv = KFold(2, shuffle=True, random_state=0)
    search = GridSearchCV(model, grid, cv=cv, error_score="raise").fit(structures, targets)
    assert search.best_score_ > 0.5


def test_structures_without_features_are_an_error():
    with pytest.raises(TypeError, match="got list, but need AtomicFeatures: put a descriptor"):
        LatentChargeRidge().fit([molecule("H2O")], Targets(dipole=np.zeros((1, 3))))
