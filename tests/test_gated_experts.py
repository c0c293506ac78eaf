"""Experts for parts of the data, joined by a gate."""

import numpy as np
import pytest
from ase import Atoms
from models_under_contract import crystals, labels_of
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom.descriptors import SOAP, InverseDistances
from skatom.kernels import NBody
from skatom.models import GatedExperts, NBodyGaussianProcess, SparseGaussianProcess

LABELS = ("energy", "forces", "stress")
GATE = SOAP(cutoff=3.5, n_max=3, l_max=2, pool="mean")


def scaled(structures, factor):
    return Structures(
        structures.numbers, factor * structures.positions, structures.offsets,
        factor * structures.cells, structures.pbc,
    )  # fmt: skip


def two_phases():
    """Eight crystals of one density, then eight of another."""
    dense, loose = crystals(8), scaled(crystals(8), 1.15)
    return Structures.from_ase([*dense.to_ase(), *loose.to_ase()])


@pytest.fixture(scope="module")
def model():
    structures = two_phases()
    process = NBodyGaussianProcess(NBody(cutoff=3.6), noise_energy=1e-2, noise_forces=0.05)
    gated = GatedExperts(process, GATE, random_state=0)
    return gated.fit(structures, labels_of(structures, LABELS))


def between(model):
    """A crystal for which both experts are responsible."""
    for factor in np.linspace(1.0, 1.15, 151):
        structure = scaled(crystals(1), factor)
        p = responsibilities(model, structure)[0]
        if p.min() > 0.2:
            return structure
    raise AssertionError("the gate is hard")


def responsibilities(model, structures):
    return model.gate_.responsibilities(np.asarray(model.descriptor_.transform(structures)))


def test_each_phase_has_its_expert(model):
    found = sorted(chosen.tolist() for chosen in model.samples_)
    assert found == [list(range(8)), list(range(8, 16))]
    assert [len(expert.environments_) for expert in model.estimators_] == [32, 32]
    p = responsibilities(model, two_phases())
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-14)
    assert p.max(axis=1).min() > 0.98


def test_energy_and_deviation_are_those_of_the_mixture(model):
    structure = between(model)
    p = responsibilities(model, structure)[0]
    means, stds = np.array([e.predict(structure, return_std=True) for e in model.estimators_])[
        ..., 0
    ].T
    energy, std = model.predict(structure, return_std=True)
    assert energy[0] == pytest.approx(p @ means, rel=1e-12)
    assert std[0] ** 2 == pytest.approx(p @ (stds**2 + means**2) - (p @ means) ** 2, rel=1e-6)


def test_forces_and_stress_contain_the_slope_of_the_gate(model):
    structure, step = between(model), 3e-5
    _, forces, stress = model.predict(structure, return_forces=True, return_stress=True)
    direction = np.random.default_rng(0).normal(size=forces.shape)
    energies = [
        model.predict(
            Structures(structure.numbers, structure.positions + k * step * direction,
                       structure.offsets, structure.cells, structure.pbc)
        )[0]
        for k in (-2, -1, 1, 2)
    ]  # fmt: skip
    weights = np.array([1, -8, 8, -1]) / (12 * step)
    slope = weights @ energies
    assert np.sum(forces * direction) == pytest.approx(-slope, abs=1e-6 * np.abs(forces).sum())
    p = responsibilities(model, structure)[0]
    hard = sum(
        w * e.predict(structure, return_forces=True)[1]
        for w, e in zip(p, model.estimators_, strict=True)
    )
    assert np.abs(hard - forces).max() > 1e-3  # the gate's part
    energies = [model.predict(scaled(structure, 1 + k * step))[0] for k in (-2, -1, 1, 2)]
    pressure = np.trace(stress[0]) * structure.volumes()[0]
    assert pressure == pytest.approx(weights @ energies, abs=1e-6 * abs(pressure))


def test_any_model_of_energies_may_be_an_expert():
    structures = two_phases()
    targets = labels_of(structures, LABELS)
    expert = make_pipeline(
        SOAP(cutoff=3.5, n_max=3, l_max=2), SparseGaussianProcess(n_sparse=10, random_state=0)
    )
    gated = GatedExperts(expert, GATE, random_state=0).fit(structures, targets)
    assert gated.outputs_ == ("energy", "forces", "stress", "energy_std")
    assert gated.score(structures, targets) > 0.9


def test_bad_input_is_refused():
    structures = two_phases()
    targets = labels_of(structures, LABELS)
    process = NBodyGaussianProcess(NBody(cutoff=3.6))
    with pytest.raises(ValueError, match="3 structures are too few for n_experts=3"):
        GatedExperts(process, GATE, n_experts=3).fit(structures[:3], targets[:3])
    with pytest.raises(ValueError, match=r"set its pool, such as SOAP\(pool='mean'\), .* SOAP"):
        GatedExperts(process, SOAP(cutoff=3.5, n_max=3, l_max=2)).fit(structures, targets)
    forces = Targets(forces=targets.forces, offsets=structures.offsets)
    with pytest.raises(ValueError, match="learnt no energies, whose zeros would differ"):
        GatedExperts(process, GATE, random_state=0).fit(structures, forces)
    with pytest.raises(ValueError, match="'overlap' parameter"):
        GatedExperts(process, GATE, overlap=0.7).fit(structures, targets)


def test_molecules_may_be_told_apart_by_their_distances():
    rng = np.random.default_rng(0)

    images = [
        Atoms("OHH", [[0, 0, 0], [r, 0, 0], [0, r, 0]] + rng.normal(scale=0.02, size=(3, 3)))
        for r in (*8 * [0.9], *8 * [1.3])
    ]
    energies = [float(np.sum((a.get_distances(0, [1, 2]) - 1) ** 2)) for a in images]
    process = NBodyGaussianProcess(NBody(2, sigma=0.3), noise_energy=1e-3)
    model = GatedExperts(process, InverseDistances(), random_state=0).fit(images, energies)
    assert sorted(len(s) for s in model.samples_) == [8, 8]
    assert model.score(images, energies) > 0.9
