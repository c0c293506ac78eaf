"""Standard deviations of forces and stresses of sparse Gaussian processes."""

import numpy as np
import pytest
from ase import Atoms
from sparse_systems import (
    SEVERAL,
    SMALL,
    dense_deviations,
    dense_energy_kernel,
    derivative_functionals,
    distorted_molecules,
    labels,
    salt,
)

from skatom import Structures
from skatom._cpu.voigt import voigt
from skatom.descriptors import ACSF, SOAP
from skatom.kernels import Cosine, Gaussian
from skatom.models import PairRepulsion, SparseGaussianProcess
from skatom.models.sparse import fitting, tangents, variance
from skatom.models.sparse.tangents import force_tangents


@pytest.fixture(scope="module")
def crystals():
    structures = salt(16)
    return structures, labels(structures)


@pytest.fixture(scope="module")
def rich_model(crystals):
    return SparseGaussianProcess(
        terms=SEVERAL, baseline=["elements", PairRepulsion(cutoff=2.2)], random_state=0
    ).fit(*crystals)


@pytest.fixture(scope="module")
def molecular_model():
    terms = [(SMALL, Cosine(zeta=2), 2), (ACSF(), 0.1 * Gaussian(sigma=2.0), 2)]
    structures = distorted_molecules()
    return SparseGaussianProcess(terms=terms, random_state=0).fit(structures, labels(structures))


def test_prior_variance_of_forces_is_a_mixed_derivative_of_the_kernel(crystals):
    structures, targets = crystals
    kernel, step = 0.5 * Gaussian(sigma=2.0), 1e-3
    descriptor = SOAP(cutoff=3.5, n_max=3, l_max=2, normalize=False)
    terms = [(descriptor, kernel, 1)]
    # nothing is learnt
    model = SparseGaussianProcess(terms=terms, noise_energy=1e6).fit(structures, targets.energy)
    features = model.descriptors_[0].transform(structures[:1])
    prior, _ = derivative_functionals(model, [features], force_tangents)
    for atom, axis in [(0, 0), (1, 2), (3, 1)]:
        moved = []
        for sign in (1, -1):
            shifted = structures[:1]
            shifted.positions = shifted.positions.copy()
            shifted.positions[atom, axis] += sign * step
            moved.append(model.descriptors_[0].transform(shifted))
        covariances = [[dense_energy_kernel(a, b, kernel)[0, 0] for a in moved] for b in moved]
        expected = np.array([1, -1]) @ covariances @ np.array([1, -1]) / (4 * step**2)
        assert prior[atom, axis] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("molecules", [False, True])
def test_deviations_of_forces_and_stress_equal_a_dense_reference(
    rich_model, molecular_model, crystals, molecules
):
    if molecules:
        model, structures = molecular_model, distorted_molecules()
    else:
        model, structures = rich_model, crystals[0][:3]
    found = model.predict(
        structures, return_forces_std=True, **({} if molecules else {"return_stress_std": True})
    )
    features = fitting.features_of(model.descriptors_, structures, slice(None))
    for s in range(len(structures)):
        forces, virials = dense_deviations(model, features, s)
        atoms = slice(*structures.offsets[s : s + 2])
        np.testing.assert_allclose(found[1][atoms].ravel(), forces, rtol=1e-8)
        if not molecules:
            stress = voigt(found[2][s : s + 1])[0] * structures[s].volumes()
            np.testing.assert_allclose(stress, virials, rtol=1e-8)
            np.testing.assert_array_equal(found[2], found[2].transpose(0, 2, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"_CENTERS": 1, "_BLOCK": 3, "_SOLVED": 7},
        {"_ROWS": 5, "_COLUMNS": 4, "_SOLVED": 7, "_BLOCK": 5},
    ],
)
def test_deviations_of_large_structures_in_pieces(rich_model, crystals, monkeypatch, changes):
    keywords = {"return_forces_std": True, "return_stress_std": True}
    expected = rich_model.predict(crystals[0][:3], **keywords)
    for name, value in changes.items():
        monkeypatch.setattr(variance, name, value)
    monkeypatch.setattr(tangents, "_BYTES", 100_000)
    for one, other in zip(rich_model.predict(crystals[0][:3], **keywords), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_deviations_of_one_molecule_do_not_depend_on_its_orientation(molecular_model):
    atoms = distorted_molecules().to_ase()[0]
    turned = atoms.copy()
    turned.rotate(90, "z")
    std, of_turned = (
        molecular_model.predict([x], return_forces_std=True)[1] for x in (atoms, turned)
    )
    np.testing.assert_allclose(of_turned, std[:, [1, 0, 2]], rtol=1e-6)


def test_certain_at_the_data_and_uncertain_far_from_them(crystals):
    structures, targets = crystals
    model = SparseGaussianProcess(
        terms=[(SMALL, Cosine(zeta=2), 64)], selection=np.arange(64), noise_forces=0.01
    ).fit(structures, targets)
    far = Structures.from_ase([Atoms("LiF", [[0, 0, 0], [0, 0, 1.1]])])
    _, energy_std, force_std = model.predict(structures, return_std=True, return_forces_std=True)
    _, far_energy_std, far_force_std = model.predict(far, return_std=True, return_forces_std=True)
    assert far_energy_std[0] > 30 * energy_std.max()
    assert far_force_std[:, 2].min() > 5 * force_std.max()
