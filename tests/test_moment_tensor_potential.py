"""Moment tensors with radial coefficients, and their training by variable projection."""

import numpy as np
import pytest
from models_under_contract import OF_THE_ENERGY, crystals, labels_of

from skatom.descriptors import MomentTensor
from skatom.models import LinearPotential, MomentTensorPotential
from skatom.models.linear.radial_problem import RadialProblem

NOISE = {"noise_energy": 0.02, "noise_forces": 0.1, "noise_virial": 0.2}
SMALL = MomentTensor(cutoff=3.5, level=6, r_min=1.0, by_center=False)


@pytest.fixture(scope="module")
def data():
    structures = crystals(5)
    return structures, labels_of(structures, OF_THE_ENERGY)


def coefficients(n_radial=3, seed=0):
    return np.random.default_rng(seed).normal(size=(2, 2, 2, n_radial))


def test_identity_gives_the_moments_of_all_neighbours(data):
    X, _ = data
    identity = np.broadcast_to(np.eye(2)[:, None, None], (2, 2, 2, 2))
    ours = MomentTensor(**SMALL.get_params() | {"radial_coefficients": identity})
    plain = MomentTensor(**SMALL.get_params() | {"species_compression": [[1.0, 1.0]]})
    np.testing.assert_allclose(
        ours.fit_transform(X).values, plain.fit_transform(X).values, rtol=1e-12, atol=1e-12
    )


def test_energies_change_along_coefficients_as_their_slopes_say(data):
    X, _ = data
    rng, c, step = np.random.default_rng(1), coefficients(), 1e-5
    coef, moves = rng.normal(size=(2, 5)), rng.normal(size=(len(X.numbers), 3))
    weights = rng.normal(size=len(X.numbers))

    def value(c):
        made = MomentTensor(**SMALL.get_params() | {"radial_coefficients": c}).fit(X)
        features = made.transform(X)
        rows = coef[np.searchsorted([3, 9], X.numbers)]
        gradient, _ = features.pullback(rows)
        energy = weights @ np.einsum("if,if->i", features.values, rows)
        return energy + np.sum(gradient * moves), made, features

    _, made, features = value(c)
    pairs = features.neighbors
    motions = moves[pairs.indices] - moves[pairs.centers]
    slopes = made.coefficient_slopes(features, coef, weights, motions)
    direction = rng.normal(size=c.shape)
    found = (value(c + step * direction)[0] - value(c - step * direction)[0]) / (2 * step)
    assert np.sum(slopes * direction) == pytest.approx(found, rel=1e-6)


def test_slopes_of_the_loss_are_those_of_its_inner_minimum(data):
    X, y = data
    problem = RadialProblem(SMALL, LinearPotential(**NOISE), X, y, None, None)
    c, step = coefficients(), 1e-5
    problem.begin(c)
    value, slopes = problem.loss(c)
    direction = np.random.default_rng(2).normal(size=c.shape)
    up, down = (problem.loss(c + s * direction)[0] for s in (step, -step))
    assert np.sum(slopes * direction) == pytest.approx((up - down) / (2 * step), rel=1e-5)
    assert value > 0


def test_training_finds_radial_functions_that_describe_more(data):
    X, y = data
    plain, trained = (
        MomentTensorPotential(
            SMALL, LinearPotential(**NOISE), n_radial=4, max_iter=n, random_state=0
        ).fit(X, y)
        for n in (0, 30)
    )
    assert trained.loss_path_[-1] < 0.5 * trained.loss_path_[0]
    assert (np.diff(trained.loss_path_) <= 0).all()
    assert len(plain.loss_path_) == 1
    errors = [np.abs(m.predict(X, return_forces=True)[1] - y.forces).mean()
              for m in (plain, trained)]  # fmt: skip
    assert errors[1] < errors[0]
    assert trained.estimator_.n_features_in_ == 5


def test_levels_and_species_share_the_number_of_features(data):
    X, _ = data
    for level, expected in ((2, 1), (8, 9), (12, 29), (28, 2445)):
        n_mu = (level + 2) // 4 if level < 24 else 6
        c = np.ones((n_mu, 2, 2, 8))
        made = MomentTensor(level=level, by_center=False, radial_coefficients=c).fit(X)
        assert made.n_features_out_ == expected


def test_bad_input(data):
    X, y = data
    with pytest.raises(ValueError, match=r"radial_coefficients have the shape \(2, 1, 1, 3\)"):
        MomentTensor(level=6, radial_coefficients=np.ones((2, 1, 1, 3))).fit(X)
    with pytest.raises(ValueError, match="leave species_compression out"):
        MomentTensor(level=6, radial_coefficients=coefficients(), species_compression=1).fit(X)
    with pytest.raises(ValueError, match="n_radial=1 polynomials are fewer than the 2 radial"):
        MomentTensorPotential(SMALL, n_radial=1).fit(X, y)
    model = MomentTensorPotential(SMALL, n_radial=2, max_iter=0, random_state=0).fit(X, y)
    with pytest.raises(TypeError, match="pass structures, not features"):
        model.predict(SMALL.fit_transform(X))
