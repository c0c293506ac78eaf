"""Features of atoms in networks of graphs, for measures of novelty."""

import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from architectures_under_contract import (  # noqa: E402
    ARCHITECTURES,
    CPU,
    WATER,
    ice,
    random_network,
    rattled,
)
from ase import Atoms  # noqa: E402
from ase.build import molecule  # noqa: E402
from sklearn.frozen import FrozenEstimator  # noqa: E402

from skatom import Structures, Targets  # noqa: E402
from skatom.kernels import Cosine  # noqa: E402
from skatom.models import SchNet  # noqa: E402
from skatom.selection import KernelVariance, MaxVol, NearestDistance  # noqa: E402


def features_of(network, *frames):
    return network.features(Structures.from_ase(frames), CPU)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_features_do_not_depend_on_motion_order_and_batch(name):
    network = random_network(ARCHITECTURES[name]())
    atoms = rattled(molecule("CH3CH2OH"))
    alone = features_of(network, atoms)
    assert alone.shape == (len(atoms), network.architecture.n_features)
    assert np.ptp(alone, axis=0).max() > 1e-3
    turned = atoms.copy()
    turned.rotate(40, (1, 2, 3))
    turned.translate((3.0, -1.0, 2.0))
    np.testing.assert_allclose(features_of(network, turned), alone, rtol=1e-9, atol=1e-10)
    order = np.random.default_rng(0).permutation(len(atoms))
    np.testing.assert_allclose(
        features_of(network, atoms[order]), alone[order], rtol=1e-9, atol=1e-10
    )
    together = features_of(network, WATER, ice(), atoms)
    np.testing.assert_allclose(together[-len(atoms) :], alone, rtol=1e-9, atol=1e-10)


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(0)
    frames = [Atoms("OHH", WATER.positions + rng.normal(0, 0.05, (3, 3))) for _ in range(6)]
    structures = Structures.from_ase(frames)
    model = SchNet(n_features=8, n_interactions=2, max_iter=2, validation_fraction=0)
    return model.fit(structures, Targets(rng.normal(size=6))), structures


def far():
    atoms = WATER.copy()
    atoms.positions[1] += 0.8
    return atoms


@pytest.mark.parametrize(
    "measure",
    [NearestDistance, lambda d: MaxVol(d, rows="atom"), lambda d: KernelVariance(Cosine(2), d)],
    ids=["distance", "grades", "variance"],
)
def test_measures_take_a_network_as_their_descriptor(network, measure):
    model, structures = network
    known = measure(model).fit(structures)
    scores = known.score(Structures.from_ase([WATER, far()]))
    assert scores[1] > 2 * scores[0]
    assert known.score([molecule("CH4")])[0] == np.inf
    assert known.select(Structures.from_ase([WATER, far()]), 1).tolist() == [1]
    frozen = measure(FrozenEstimator(model)).fit(structures)
    np.testing.assert_array_equal(frozen.score(structures), known.score(structures))


def test_features_have_names_and_are_features_of_atoms(network):
    model, structures = network
    features = model.transform(structures)
    assert features.values.shape == (18, 8)
    assert features.feature_names[:2].tolist() == ["schnet0", "schnet1"]
    np.testing.assert_array_equal(features[2:4].values, features.values[6:12])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(features)).values, features.values)
    np.testing.assert_allclose(features.pool("sum").values[1], features.values[3:6].sum(axis=0))


@pytest.mark.parametrize(
    "use",
    [lambda f: f.pullback(np.ones(8)), lambda f: f.jacobian(0), lambda f: f.jacobian_of([0]),
     lambda f: f.pool("sum").pullback(np.ones(8)), lambda f: MaxVol(rows="labels").fit(f)],
    ids=["pullback", "jacobian", "centers", "pooled", "labels"],
)  # fmt: skip
def test_derivatives_are_an_error_that_says_where_forces_are(network, use):
    model, structures = network
    with pytest.raises(ValueError, match="have values alone"):
        use(model.transform(structures))
