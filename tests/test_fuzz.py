"""Hostile input gets a finite and invariant answer, or an error in one sentence.

The fast tests try some inputs in every run, the slow ones ten thousand structures and two thousand
fits. All are reproducible: hypothesis draws from a fixed seed.
"""

import numpy as np
import pytest
from batches import random_rotation
from hostile import DAMAGE, FAULTS, answer, damaged, spoilt, structures, with_strange_parameter
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from models_under_contract import CASES as MODELS
from scipy.spatial.distance import pdist
from test_features_contract import CASES as DESCRIPTORS

from skatom import Structures
from skatom._cpu.neighbors import _COINCIDENT
from skatom._prediction import last_step, predict
from skatom.neighbors import neighbor_list

ROTATION = random_rotation(7)
# Compiled once; the first of each class, and those whose equations have poles of their own.
DRAWN = [name for name, case in DESCRIPTORS.items() if case.first and name != "scattering"] + [
    "soap_plain", "acsf_all", "chebyshev_angles", "moments_vectors", "points_kinks",
    "points_second",
]  # fmt: skip


def runs(n, number):
    """n examples from a fixed seed."""
    options = settings(
        max_examples=n, deadline=None, database=None, print_blob=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    return lambda test: seed(number)(options(test))


def rotated(x, reverse=True):
    """Rotated structures, whose atoms may be in the reverse order."""
    order = -1 if reverse else 1
    reverse = np.concatenate(
        [np.arange(a, b)[::order] for a, b in zip(x.offsets[:-1], x.offsets[1:], strict=True)]
    )
    turned = x.positions[reverse] @ ROTATION.T
    return Structures(x.numbers[reverse], turned, x.offsets, x.cells @ ROTATION.T, x.pbc), reverse


def conditioning(x):
    """Rounding of distances, relative to the shortest."""
    shortest = [
        pdist(x.positions[a:b]).min()
        for a, b in zip(x.offsets[:-1], x.offsets[1:], strict=True) if b - a > 1
    ]  # fmt: skip
    extent = max(np.abs(x.positions).max(), np.abs(x.cells).max(), 1.0)
    return 1e-15 * extent / min([*shortest, 1.0])


def is_at_the_limit(x):
    """Whether rounding decides if two atoms are at the same place, which is an error."""
    vectors = neighbor_list(x, 2 * _COINCIDENT).vectors
    extent = max(np.abs(x.positions).max(), np.abs(x.cells).max(), 1.0)
    excess = np.abs(np.linalg.norm(vectors, axis=1) - _COINCIDENT)
    return excess.min(initial=np.inf) < 1e-14 * extent


def check_descriptor(name, arrays):
    case = DESCRIPTORS[name]
    batch = answer(Structures, *arrays)
    if batch is None:
        return
    features = answer(lambda: case().fit_transform(batch))
    if features is None:
        return
    values = features.values
    assert np.isfinite(values).all()
    pulled = answer(features.pullback, np.ones(values.shape[1]))
    if pulled is not None:
        assert np.isfinite(pulled[0]).all() and np.isfinite(pulled[1]).all()
    # moduli that vanish by symmetry are roots of rounding
    tolerance = (1e-5 if name.startswith("points") else 1e-8) + 1e3 * conditioning(batch)
    if not case.invariant or tolerance > 1e-3:
        return
    turned, reverse = rotated(batch, reverse=case.extensive)  # others know atoms by their place
    other = answer(features.descriptor.transform, turned)
    if other is None and is_at_the_limit(batch):
        return
    assert other is not None, "an error for the rotated structures only"
    expected = values[reverse] if case.atomic else values
    np.testing.assert_allclose(
        other.values, expected, rtol=0, atol=tolerance * np.abs(values).max(initial=0.0)
    )


def check_model(name, n, damage, fault, at):
    case = MODELS[name]
    batch, targets = case.data()
    batch, targets = batch[:n], targets[:n]
    broken = answer(damaged, batch, damage, at)
    labels = answer(spoilt, targets, fault, at)
    if broken is None or labels is None:
        return
    model = case.make()
    if answer(model.fit, broken, labels) is None:
        return
    outputs = [p for p in last_step(model).outputs_ if batch.pbc.all() or "stress" not in p]
    found = predict(model, batch, outputs)
    for output, values in found.items():
        assert np.isfinite(values).all(), output
    if "energy" in found and "forces" in found:
        check_forces(model, batch, found)


def check_parameter(name, which, value):
    case = MODELS[name]
    batch, targets = case.data()
    batch, targets = batch[:4], targets[:4]
    model = answer(with_strange_parameter, case.make(), which, value)
    if model is None or answer(model.fit, batch, targets) is None:
        return
    outputs = [p for p in last_step(model).outputs_ if batch.pbc.all() or "stress" not in p]
    found = answer(predict, model, batch, outputs)
    for output, values in (found or {}).items():
        assert np.isfinite(values).all(), output


def check_parameter_of_descriptor(name, which, value):
    case = DESCRIPTORS[name]
    descriptor = answer(with_strange_parameter, case(), which, value)
    features = None if descriptor is None else answer(descriptor.fit_transform, case.structures())
    if features is not None:
        assert np.isfinite(features.values).all()


def check_forces(model, batch, found):
    """Energies are invariant, and fall along the forces as these say."""
    turned, reverse = rotated(batch, reverse=batch.pbc.all())  # sGDML knows atoms by their place
    other = predict(model, turned, ["energy", "forces"])
    size = max(np.abs(found["energy"]).max(), np.abs(found["forces"]).max())
    np.testing.assert_allclose(other["energy"], found["energy"], rtol=0, atol=1e-6 * size)
    expected = found["forces"][reverse] @ ROTATION.T
    np.testing.assert_allclose(other["forces"], expected, rtol=0, atol=1e-6 * size)


@runs(300, 1)
@given(st.sampled_from(DRAWN), structures())
def test_descriptors(name, arrays):
    check_descriptor(name, arrays)


def test_atoms_at_the_limit_of_being_at_the_same_place():
    positions = [[1e6, 0, 0], [0, 0, 1e-3], [0, 0, 1e6], [703125.0, 0, 0]]
    cell, pbc = np.diag([2.0, 3.0, 2.0])[None], np.array([[True, True, False]])
    arrays = np.ones(4, int), np.array(positions), np.array([0, 4]), cell, pbc
    assert is_at_the_limit(Structures(*arrays))
    check_descriptor("soap", arrays)


@runs(30, 2)
@given(
    st.sampled_from(["sgdml", "kernel-ridge", "sparse", "nbody", "greedy"]),
    st.integers(1, 6), st.sampled_from([*DAMAGE]), st.sampled_from([*FAULTS]), st.integers(0, 30),
)  # fmt: skip
def test_models(name, n, damage, fault, at):
    check_model(name, n, damage, fault, at)


@runs(40, 5)
@given(
    st.sampled_from(["sgdml", "kernel-ridge", "sparse", "nbody", "greedy"]),
    st.integers(0, 30), st.integers(0, 30),
)  # fmt: skip
def test_parameters(name, which, value):
    check_parameter(name, which, value)


@runs(100, 6)
@given(st.sampled_from(DRAWN), st.integers(0, 30), st.integers(0, 30))
def test_parameters_of_descriptors(name, which, value):
    check_parameter_of_descriptor(name, which, value)


@pytest.mark.slow
@runs(10_000, 3)
@given(st.sampled_from([*DESCRIPTORS]), structures())
def test_descriptors_at_length(name, arrays):
    check_descriptor(name, arrays)


@pytest.mark.slow
@runs(2_000, 4)
@given(
    st.sampled_from([*MODELS]), st.integers(1, 8), st.sampled_from([*DAMAGE]),
    st.sampled_from([*FAULTS]), st.integers(0, 30),
)  # fmt: skip
def test_models_at_length(name, n, damage, fault, at):
    check_model(name, n, damage, fault, at)


@pytest.mark.slow
@runs(2_000, 7)
@given(st.sampled_from([*MODELS]), st.integers(0, 40), st.integers(0, 30))
def test_parameters_at_length(name, which, value):
    check_parameter(name, which, value)


@pytest.mark.slow
@runs(2_000, 8)
@given(st.sampled_from([*DESCRIPTORS]), st.integers(0, 40), st.integers(0, 30))
def test_parameters_of_descriptors_at_length(name, which, value):
    check_parameter_of_descriptor(name, which, value)
