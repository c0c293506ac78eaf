"""LinearPotential: dense references, evidence, cross-validation, merging, priors, solvers."""

import pickle

import joblib
import numpy as np
import pytest
from models_under_contract import OF_THE_ENERGY, crystals, labels_of
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVR

from skatom import Targets, _linear_design
from skatom._linear_design import Design
from skatom.baseline import count_species
from skatom.descriptors import SOAP, FeatureScaler, MomentTensor
from skatom.descriptors.maps import Scale
from skatom.models import GreedyOLS, LinearPotential
from skatom.models.linear import label_sums
from skatom.models.linear.label_sums import LabelSums
from skatom.models.linear.ridge import ALPHAS, RidgeProblem
from skatom.random_features import SampledNetworkFeatures
from skatom.solvers.packed_equations import PackedEquations

NOISE = {"noise_energy": 0.02, "noise_forces": 0.1, "noise_virial": 0.2}


@pytest.fixture(scope="module")
def data():
    structures = crystals(12)
    features = MomentTensor(cutoff=3.5, level=6, by_center=False).fit_transform(structures)
    return features, labels_of(structures, OF_THE_ENERGY)


def dense(X, y, by_species=True):
    """Rows, targets and noises of all labels, from one pullback a column."""
    structures, species = X.structures, X.structures.species
    index = np.searchsorted(species, X.numbers)
    blocks = [index == b for b in range(len(species))] if by_species else [index >= 0]
    columns, volumes = [], structures.volumes()
    for block in blocks:
        for f in range(X.n_features):
            cotangent = np.zeros(X.values.shape)
            cotangent[block, f] = 1.0
            gradient, virial = X.pullback(cotangent)
            energy = np.add.reduceat(X.values[:, f] * block, X.offsets[:-1])
            six = virial[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
            columns.append(np.concatenate([energy, -gradient.ravel(), six.ravel()]))
    constants = count_species(structures, species)
    n_rest = len(columns[0]) - len(X)
    A = np.hstack([np.vstack([constants, np.zeros((n_rest, 2))]), np.array(columns).T])
    virial = (y.stress * volumes[:, None, None])[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    b = np.concatenate([y.energy, y.forces.ravel(), virial.ravel()])
    roots = np.sqrt(structures.n_atoms)
    noise = np.concatenate([
        0.02 * roots, np.full(y.forces.size, 0.1), np.repeat(0.2 * roots, 6)
    ])  # fmt: skip
    return A, b, noise


def penalties(A, noise, alpha):
    """The diagonal of the prior's precision."""
    W = A / noise[:, None]
    constants = np.vstack([W[:, :2], np.eye(2) / 100])
    rest = np.vstack([W[:, 2:], np.zeros((2, W.shape[1] - 2))])
    rest = rest - constants @ np.linalg.lstsq(constants, rest, rcond=None)[0]
    return np.append(np.full(2, 1e-4), alpha * (rest**2).sum(axis=0))


class TestAgainstDenseLeastSquares:
    @pytest.mark.parametrize("by_species", [True, False])
    def test_coefficients_deviations_and_evidence(self, data, by_species):
        X, y = data
        A, b, noise = dense(X, y, by_species)
        P = np.diag(penalties(A, noise, 1e-4))
        # by QR: the two constants are determined only together
        rows = np.vstack([A / noise[:, None], np.sqrt(P)])
        w = np.linalg.lstsq(rows, np.append(b / noise, np.zeros(len(P))), rcond=None)[0]
        inverse = np.linalg.inv(np.linalg.qr(rows)[1])
        model = LinearPotential(1e-4, by_species=by_species, **NOISE).fit(X, y)
        np.testing.assert_allclose(model.coef_.ravel(), w[2:], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(model.intercept_, w[:2], rtol=1e-8)
        energy, forces, stress, std, forces_std, stress_std = model.predict(
            X, return_forces=True, return_stress=True, return_std=True, return_forces_std=True,
            return_stress_std=True,
        )  # fmt: skip
        n, k = len(X), 3 * len(X.numbers)
        fitted, deviations = A @ w, np.linalg.norm(A @ inverse, axis=1)
        np.testing.assert_allclose(energy, fitted[:n], rtol=1e-8)
        np.testing.assert_allclose(forces.ravel(), fitted[n : n + k], atol=1e-8)
        np.testing.assert_allclose(std, deviations[:n], rtol=1e-8)
        np.testing.assert_allclose(forces_std.ravel(), deviations[n : n + k], rtol=1e-7, atol=1e-9)
        volumes = X.structures.volumes()[:, None]
        six = stress_std[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        np.testing.assert_allclose(
            six, deviations[n + k :].reshape(n, 6) / volumes, rtol=1e-7, atol=1e-12
        )
        marginal = multivariate_normal(
            np.zeros(len(b)), A @ np.linalg.inv(P) @ A.T + np.diag(noise**2)
        )
        assert model.log_marginal_likelihood_ == pytest.approx(marginal.logpdf(b), rel=1e-6)
        assert stress.shape == (n, 3, 3)

    @pytest.mark.parametrize("scaling", [0.0, 0.5])
    @pytest.mark.parametrize("alpha", [1e-12, 1e-4])  # by a factorisation, by normal equations
    def test_penalties_follow_the_lengths_of_columns_as_far_as_scaling_says(
        self, data, scaling, alpha
    ):
        X, y = data
        A, b, noise = dense(X, y)
        squares = penalties(A, noise, 1.0)[2:]
        prior = np.append([1e-4, 1e-4], alpha * squares.mean() ** (1 - scaling) * squares**scaling)
        rows = np.vstack([A / noise[:, None], np.diag(np.sqrt(prior))])
        w = np.linalg.lstsq(rows, np.append(b / noise, np.zeros(len(prior))), rcond=None)[0]
        model = LinearPotential(alpha, scaling=scaling, **NOISE).fit(X, y)
        forces = model.predict(X, return_forces=True)[1].ravel()
        np.testing.assert_allclose(
            forces, (A @ w)[len(X) : len(X) + len(forces)], atol=1e-8 * np.abs(forces).max()
        )

    def test_weights_divide_the_variance(self, data):
        X, y = data
        weights = np.array([0.0, 2.0] * 6)
        A, b, noise = dense(X, y)
        owner = np.repeat(np.arange(12), X.n_atoms)
        of_row = np.concatenate([np.arange(12), np.repeat(owner, 3), np.repeat(np.arange(12), 6)])
        kept = weights[of_row] > 0
        A, b, noise = A[kept], b[kept], noise[kept] / np.sqrt(2)
        W = A / noise[:, None]
        w = np.linalg.solve(W.T @ W + np.diag(penalties(A, noise, 1e-3)), W.T @ (b / noise))
        model = LinearPotential(1e-3, **NOISE).fit(X, y, sample_weight=weights)
        np.testing.assert_allclose(model.coef_.ravel(), w[2:], rtol=1e-7, atol=1e-9)

    def test_features_that_belong_to_species_need_no_columns_of_each(self, data):
        X, y = data
        blocks = MomentTensor(cutoff=3.5, level=6).fit_transform(X.structures)
        one = LinearPotential(1e-5, **NOISE).fit(X, y)
        two = LinearPotential(1e-5, **NOISE).fit(blocks, y)
        assert two.coef_.shape == (2 * X.n_features,)
        np.testing.assert_allclose(one.coef_.ravel(), two.coef_, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(
            one.predict(X, return_forces=True)[1], two.predict(blocks, return_forces=True)[1],
            atol=1e-9,
        )  # fmt: skip

    def test_pooled_features_share_coefficients(self, data):
        X, y = data
        atomic = LinearPotential(1e-5, by_species=False, **NOISE).fit(X, y)
        pooled = LinearPotential(1e-5, **NOISE).fit(X.pool("sum"), y)
        np.testing.assert_allclose(atomic.coef_, pooled.coef_, rtol=1e-10)

    def test_maps_of_features_are_in_the_rows(self, data):
        X, y = data
        scaled = X.map(Scale(0.0, np.geomspace(1e-3, 1e3, X.n_features)))
        one = LinearPotential(1e-6, **NOISE).fit(X, y).predict(X, return_forces=True)
        two = LinearPotential(1e-6, **NOISE).fit(scaled, y).predict(scaled, return_forces=True)
        # the penalty does not depend on the scale of the features
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-8)


class TestEvidence:
    def test_slopes_are_those_of_the_value(self, data):
        X, y = data
        model = LinearPotential(**NOISE).fit(X, y)
        problem = RidgeProblem(model.sums_, 2, np.ones(2 * X.n_features))
        x, step = np.log([1e-3, 0.7, 1.3, 2.0]), 1e-4
        _, slopes = problem.evidence(np.exp(x[0]), np.exp(x[1:]))
        for k, unit in enumerate(np.eye(4)):
            up, down = (
                problem.evidence(np.exp(z[0]), np.exp(z[1:]))[0]
                for z in (x + step * unit, x - step * unit)
            )
            assert slopes[k] == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-3)

    def test_the_largest_is_found(self, data):
        X, y = data
        best = LinearPotential(**NOISE).fit(X, y)
        for factor in (0.1, 10.0):
            other = LinearPotential(factor * best.alpha_, **NOISE).fit(X, y)
            assert other.log_marginal_likelihood_ < best.log_marginal_likelihood_

    def test_noises_are_learnt(self, data):
        X, _ = data
        rng = np.random.default_rng(0)
        truth = LinearPotential(1e-6, **NOISE).fit(*data)
        energy, forces, stress = truth.predict(X, return_forces=True, return_stress=True)
        X = X[np.arange(12).repeat(4)]
        volumes, roots = X.structures.volumes()[:, None, None], np.sqrt(X.n_atoms)
        y = Targets(
            energy=energy.repeat(4) + 0.01 * roots * rng.normal(size=48),
            forces=truth.predict(X, return_forces=True)[1] + 0.3 * rng.normal(size=(192, 3)),
            stress=_noisy(stress.repeat(4, axis=0), 0.05 * roots, volumes, rng),
            offsets=X.offsets,
        )
        model = LinearPotential(learn_noise=True, **NOISE).fit(X, y)
        expected = {"energy": 0.5, "forces": 3.0, "virial": 0.25}
        for kind, factor in expected.items():
            assert model.noise_factors_[kind] == pytest.approx(factor, rel=0.25)
        given = LinearPotential(**NOISE).fit(X, y)
        assert model.log_marginal_likelihood_ > given.log_marginal_likelihood_ + 50

    def test_of_a_table_learns_the_noise(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(400, 5)) * [1, 100, 0.01, 1, 1]
        y = X @ [1.0, 0.02, 30.0, 0, 0] + 7 + 0.25 * rng.normal(size=400)
        model = LinearPotential().fit(X, y)
        assert model.noise_factors_["energy"] == pytest.approx(0.25, rel=0.1)
        _, std = model.predict(X, return_std=True)
        errors = X @ (model.coef_ - [1.0, 0.02, 30.0, 0, 0]) + model.intercept_ - 7
        assert 0.3 < np.sqrt(np.mean((errors / std) ** 2)) < 3

    @pytest.mark.parametrize("seed", range(6, 9))
    def test_columns_that_nearly_depend_on_each_other(self, seed):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(150, 6))
        y = np.sin(X[:, 0]) + X[:, 1] ** 2
        planes = SampledNetworkFeatures(30, activation="relu", random_state=seed)
        X = planes.fit(X, y).transform(X)
        best = LinearPotential().fit(X, y)
        for factor in (0.1, 10.0):
            other = LinearPotential(factor * best.alpha_).fit(X, y)
            assert other.log_marginal_likelihood_ < best.log_marginal_likelihood_


def _noisy(stress, noise, volumes, rng):
    shifts = rng.normal(size=stress.shape)
    shifts = np.tril(shifts) + np.swapaxes(np.tril(shifts, -1), 1, 2)
    return stress + noise[:, None, None] * shifts / volumes


class TestParts:
    def test_partial_fits_and_merged_models_are_those_of_all_data(self, data):
        X, y = data
        whole = LinearPotential(learn_noise=True, **NOISE).fit(X, y)
        steps = LinearPotential(learn_noise=True, **NOISE).partial_fit(X[:5], y[:5])
        steps.partial_fit(X[5:7], y[5:7]).partial_fit(X[7:], y[7:])
        parts = [LinearPotential(learn_noise=True, **NOISE).fit(X[s], y[s])
                 for s in (slice(5), slice(5, 12))]  # fmt: skip
        before = parts[0].coef_.copy()
        merged = parts[0].merge(parts[1])
        for model in (steps, merged):
            assert model.n_structures_seen_ == 12
            np.testing.assert_allclose(model.alpha_, whole.alpha_, rtol=1e-3)
            np.testing.assert_allclose(model.predict(X), whole.predict(X), rtol=0, atol=1e-6)
        np.testing.assert_array_equal(parts[0].coef_, before)

    def test_tables_too(self):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(60, 4)), rng.normal(size=60)
        whole = LinearPotential(1e-3).fit(X, y)
        parts = LinearPotential(1e-3).partial_fit(X[:20], y[:20]).partial_fit(X[20:], y[20:])
        np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-10)

    def test_another_regularisation_is_that_of_another_fit(self):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(60, 5)), rng.normal(size=60)
        model = LinearPotential(alpha=1e-3).fit(X, y)
        before = model.coef_.copy()
        other = model.regularized(alpha=2.0, scaling=0.5)
        fitted = LinearPotential(alpha=2.0, scaling=0.5).fit(X, y)
        np.testing.assert_allclose(other.coef_, fitted.coef_, rtol=1e-10)
        np.testing.assert_allclose(other.predict(X), fitted.predict(X), rtol=1e-10)
        assert other.alpha == 2.0 and model.alpha == 1e-3
        np.testing.assert_array_equal(model.coef_, before)

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"noise_energy": 0.1}, "noise_energy needs a fit"),
            ({"alpha": "cv"}, "alpha='cv' needs a fit"),
            ({"alpha": -1.0}, "alpha"),
        ],
    )
    def test_other_parameters_need_a_fit(self, parameters, message):
        X = np.random.default_rng(0).normal(size=(20, 2))
        model = LinearPotential().fit(X, X.sum(axis=1))
        with pytest.raises(ValueError, match=message):
            model.regularized(**parameters)

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"alpha": "evidence"}, "alpha='evidence' needs a QR factorisation"),
            ({"alpha": 1e-14}, "alpha=1e-14 needs a QR factorisation"),
            ({"learn_noise": True}, "learn_noise=True needs a QR factorisation"),
            ({"solver": Ridge()}, r"solver=Ridge\(\) needs a QR factorisation"),
            ({"alpha": "cv"}, "alpha='cv' is chosen in fit"),
        ],
    )
    def test_normal_equations_do_not_become_what_needs_more_digits(self, data, changed, message):
        X, y = data
        model = LinearPotential(1e-6, **NOISE).fit(X[:6], y[:6])
        with pytest.raises(ValueError, match=message):
            model.set_params(**changed).partial_fit(X[6:], y[6:])
        if changed == {"alpha": 1e-14}:
            with pytest.raises(ValueError, match=message):
                model.set_params(alpha=1e-6).regularized(**changed)

    def test_alpha_is_not_that_of_a_solver(self, data):
        X, y = data
        model = LinearPotential(solver=Ridge(1e-3), **NOISE).fit(X, y)
        with pytest.raises(ValueError, match=r"alpha has no effect beside solver=Ridge"):
            model.regularized(alpha=1e-3)

    def test_what_differs_cannot_be_merged(self, data):
        X, y = data
        model = LinearPotential(1e-3).fit(X[:6], y[:6])
        farther = clone(X.descriptor).set_params(cutoff=3.6).fit_transform(X[6:].structures)
        others = {
            r"the parameter alpha \(0.001 and 0.01\)": LinearPotential(1e-2).fit(X[6:], y[6:]),
            "numbers of features": LinearPotential(1e-3).fit(X[6:, :4], y[6:]),
            "kinds of features": LinearPotential(1e-3).fit(X[6:].pool("sum"), y[6:]),
            r"their descriptors \(cutoff=3.6 in place of 3.5\)":
                LinearPotential(1e-3).fit(farther, y[6:]),
        }  # fmt: skip
        for what, other in others.items():
            with pytest.raises(ValueError, match=f"differ in {what}.*cannot be merged"):
                model.merge(other)
        with pytest.raises(TypeError, match="another LinearPotential, but got Ridge"):
            model.merge(Ridge())
        fitted = [LinearPotential(1e-3, baseline="elements").fit(X[s], y[s])
                  for s in (slice(6), slice(6, 12))]  # fmt: skip
        with pytest.raises(ValueError, match="differ in baselines"):
            fitted[0].merge(fitted[1])

    def test_jobs_find_the_same(self, data):
        X, y = data
        alone = LinearPotential(**NOISE).fit(X, y)
        with joblib.parallel_config("loky", n_jobs=2):
            shared = LinearPotential(**NOISE).fit(X, y)
        np.testing.assert_allclose(shared.coef_, alone.coef_, rtol=1e-9)

    def test_the_gram_matrix_is_allocated_once(self, data, monkeypatch):
        """However many batches of rows it is summed of."""
        X, y = data
        made = []

        class Counted(PackedEquations):
            @classmethod
            def empty(cls, n_columns, device=None):
                made.append(n_columns)
                return PackedEquations.empty(n_columns, device)

        monkeypatch.setattr(label_sums, "PackedEquations", Counted)
        monkeypatch.setattr(_linear_design, "_BATCH_BYTES", 1)  # one structure after the other
        model = LinearPotential(alpha=1e-4, **NOISE).fit(X, y)
        assert made == [model.sums_.n_columns]  # forces and virials have one

    def test_rows_of_a_kind_are_a_triangle_once_they_are_many(self):
        rng = np.random.default_rng(0)
        rows, y = rng.normal(size=(30, 4)), rng.normal(size=30)
        sums = LabelSums(4)
        for piece in (slice(0, 3), slice(3, 4), slice(4, 12), slice(12, 14), slice(14, 30)):
            sums = sums.add("energy", rows[piece], y[piece], np.full(len(y[piece]), 0.5),
                            np.ones(len(y[piece])))  # fmt: skip
        triangle = sums.reduced().parts["energy"]
        np.testing.assert_allclose(triangle.triangle.T @ triangle.triangle, 4 * rows.T @ rows)
        assert sums.n_labels == {"energy": 30}
        assert sums.log_noise == pytest.approx(30 * np.log(0.5))


class TestForPrediction:
    @pytest.mark.parametrize("alpha", [1e-12, 1e-4])  # by a factorisation, by normal equations
    def test_predictions_stay_and_files_become_small(self, data, alpha):
        X, y = data
        model = LinearPotential(alpha, **NOISE).fit(X, y)
        small, careful = model.for_prediction(), model.for_prediction(keep_factor=True)
        asked = {"return_forces": True, "return_stress": True, "return_local_energies": True}
        for other in (small, pickle.loads(pickle.dumps(careful))):
            for a, b in zip(other.predict(X, **asked), model.predict(X, **asked), strict=True):
                np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(
            careful.predict(X, return_forces_std=True)[1],
            model.predict(X, return_forces_std=True)[1],
        )
        sizes = [len(pickle.dumps(part)) for part in (small, careful, model)]
        assert sizes == sorted(sizes)
        assert sizes[0] < sizes[1] - 4 * model.sums_.n_columns**2
        assert hasattr(model, "sums_") and model.posterior_ is not None
        with pytest.raises(ValueError, match=r"no energy_std; .*keep_factor=True\) of the whole"):
            small.predict(X, return_std=True)

    def test_what_needs_the_sums_says_so(self, data):
        X, y = data
        model = LinearPotential(1e-4, **NOISE).fit(X, y)
        small = model.for_prediction()
        for what, call in {
            "partial_fit": lambda: small.partial_fit(X, y),
            "merge": lambda: model.merge(small),
            "regularized": lambda: small.regularized(alpha=1e-3),
        }.items():
            with pytest.raises(ValueError, match=f"{what} needs the sums of squares"):
                call()
        assert hasattr(small.fit(X, y), "sums_")


class TestCrossValidation:
    def test_errors_are_those_of_the_structures_left_out(self, data):
        X, y = data
        folds = KFold(3, shuffle=True, random_state=0)
        model = LinearPotential("cv", cv=folds, **NOISE).fit(X, y)
        k = 8
        expected = 0.0
        for train, test in folds.split(np.arange(12)):
            part = LinearPotential(ALPHAS[k], **NOISE).fit(X[train], y[train])
            A, b, noise = dense(X[test], y[test])
            w = np.concatenate([part.intercept_, part.coef_.ravel()])
            expected += np.sum(((A @ w - b) / noise) ** 2)
        assert model.cv_errors_[k] == pytest.approx(expected, rel=1e-6)
        assert model.alpha_ == ALPHAS[np.argmin(model.cv_errors_)]
        np.testing.assert_allclose(
            model.coef_,
            LinearPotential(model.alpha_, **NOISE).fit(X, y).coef_,
            rtol=1e-5,
            atol=1e-7,
        )

    def test_groups_stay_together(self, data):
        X, y = data
        groups = np.arange(12) // 4
        by_hand = [(np.flatnonzero(groups != g), np.flatnonzero(groups == g)) for g in range(3)]
        one = LinearPotential("cv", cv=GroupKFold(3), **NOISE).fit(X, y, groups=groups)
        two = LinearPotential("cv", cv=by_hand, **NOISE).fit(X, y)
        np.testing.assert_allclose(one.cv_errors_, two.cv_errors_, rtol=1e-8)

    def test_a_split_without_labels_is_an_error(self, data):
        X, y = data
        with pytest.raises(ValueError, match="a split of cv has no labels"):
            LinearPotential("cv", cv=KFold(6)).fit(X, y, sample_weight=np.arange(12) > 2)


class TestSmoothness:
    def test_features_of_a_higher_degree_are_smaller(self, data):
        X, y = data
        degrees = X.degrees
        assert set(degrees) == {2, 4, 6}
        plain = LinearPotential(1e-2, **NOISE).fit(X, y)
        smooth = LinearPotential(1e-2, smoothness=4.0, **NOISE).fit(X, y)
        size = [np.linalg.norm(m.coef_[:, degrees == 6]) / np.linalg.norm(m.coef_[:, degrees == 2])
                for m in (plain, smooth)]  # fmt: skip
        assert size[1] < 0.5 * size[0]

    def test_is_that_of_divided_features(self, data):
        X, y = data
        given = LinearPotential(1e-2, smoothness=1.0, degrees=X.degrees, **NOISE).fit(X, y)
        known = LinearPotential(1e-2, smoothness=1.0, **NOISE).fit(X, y)
        np.testing.assert_array_equal(given.coef_, known.coef_)
        A, b, noise = dense(X, y)
        P = penalties(A, noise, 1e-2)
        P[2:] *= np.tile(X.degrees / 2, 2) ** 2
        W = A / noise[:, None]
        w = np.linalg.solve(W.T @ W + np.diag(P), W.T @ (b / noise))
        np.testing.assert_allclose(given.coef_.ravel(), w[2:], rtol=1e-7, atol=1e-9)

    def test_degrees_pass_through_maps(self, data):
        X, _ = data
        scaled = FeatureScaler().fit_transform(X)
        np.testing.assert_array_equal(scaled[:, [3, 0]].degrees, X.degrees[[3, 0]])
        np.testing.assert_array_equal(X.pool("sum", [3, 9]).degrees, np.tile(X.degrees, 2))

    def test_unknown_degrees_are_an_error(self, data):
        X, y = data
        soap = SOAP(cutoff=3.5, n_max=2, l_max=1).fit_transform(X.structures)
        with pytest.raises(ValueError, match="smoothness=1.0 needs the degrees of the features"):
            LinearPotential(smoothness=1.0).fit(soap, y)
        with pytest.raises(ValueError, match=r"degrees have the shape \(3,\), but there are"):
            LinearPotential(smoothness=1.0, degrees=[1, 2, 3]).fit(X, y)


class TestSolvers:
    def test_least_squares_are_the_ridge_without_penalty(self, data):
        X, y = data
        X = X[:, [0, 2, 5]]
        one = LinearPotential(0.0, **NOISE).fit(X, y)
        two = LinearPotential(solver=LinearRegression(), **NOISE).fit(X, y)
        np.testing.assert_allclose(one.predict(X), two.predict(X), atol=1e-6)
        np.testing.assert_allclose(one.coef_, two.coef_, rtol=1e-6)
        assert "energy_std" not in two.outputs_

    def test_penalties_of_the_mean_squared_error_are_those_of_all_rows(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(300, 6))
        X = (X - X.mean(axis=0)) / X.std(axis=0)
        y = X @ [1, 0, 0, -2, 0, 0.05] + 4 + 0.1 * rng.normal(size=300)
        model = LinearPotential(solver=Lasso(0.1, tol=1e-10)).fit(X, y)
        reference = Lasso(0.1, tol=1e-10).fit(X, y)
        np.testing.assert_allclose(model.coef_, reference.coef_, atol=1e-6)
        assert model.intercept_ == pytest.approx(reference.intercept_, abs=1e-8)

    def test_greedy_terms(self, data):
        X, y = data
        model = LinearPotential(solver=GreedyOLS(3), **NOISE).fit(X, y)
        assert np.count_nonzero(model.coef_) == 3
        forces = model.predict(X, return_forces=True)[1]
        assert np.isfinite(forces).all()

    @pytest.mark.parametrize(
        ("solver", "message"),
        [
            (make_pipeline(Lasso(0.1)), "has no coef_ after its fit: give a linear regressor"),
            (SVR(), "has no coef_ after its fit: give a linear regressor"),
            (SVR(kernel="linear"), "fits an intercept, of which reduced rows have none"),
        ],
    )
    def test_others_than_linear_regressors_without_a_constant_are_errors(
        self, data, solver, message
    ):
        with pytest.raises(ValueError, match=message):
            LinearPotential(solver=solver, **NOISE).fit(*data)

    def test_learn_noise_needs_the_evidence(self, data):
        for model in (LinearPotential("cv", learn_noise=True),
                      LinearPotential(learn_noise=True, solver=Ridge())):  # fmt: skip
            with pytest.raises(ValueError, match="learn_noise=True needs the evidence"):
                model.fit(*data)


class TestBadInput:
    def test_coefficients_that_nothing_determines(self, data):
        X, y = data
        forces = Targets(energy=y.energy[:2])
        with pytest.raises(ValueError, match="2 labels do not determine the coefficients of"):
            LinearPotential(0.0).fit(X[:2], forces)
        twice = X[:, [0, 1, 1]]
        with pytest.raises(ValueError, match="features that do not depend on each other"):
            LinearPotential(0.0, **NOISE).fit(twice, y)
        assert np.isfinite(LinearPotential(**NOISE).fit(twice, y).coef_).all()

    def test_weights_of_zero(self, data):
        X, y = data
        energy = np.where(np.arange(12) < 6, y.energy, np.nan)
        with pytest.raises(ValueError, match="no label has weight"):
            LinearPotential().fit(X, Targets(energy=energy), sample_weight=np.arange(12) >= 6)
        for table in ((X, y), (np.eye(12), np.arange(12.0))):
            with pytest.raises(ValueError, match="at least one non-zero|weights are zero"):
                LinearPotential().fit(*table, sample_weight=np.zeros(12))

    def test_other_features_and_species(self, data):
        X, y = data
        model = LinearPotential(1e-3).fit(X, y)
        with pytest.raises(ValueError, match="X has 3 features, but LinearPotential was fitted"):
            model.predict(X[:, :3])
        with pytest.raises(ValueError, match="but the model was fitted to AtomicFeatures"):
            model.predict(X.pool("sum"))

    def test_as_many_features_of_another_descriptor(self, data):
        X, y = data
        farther = clone(X.descriptor).set_params(cutoff=3.6).fit_transform(X[:6].structures)
        nearest = clone(X.descriptor).fit_transform(X[:1].structures)
        assert farther.n_features == nearest.n_features == X.n_features
        for model in (LinearPotential(1e-3), GreedyOLS(3)):
            model.fit(X, y)
            with pytest.raises(ValueError, match="cutoff=3.6 in place of 3.5: transform all"):
                model.predict(farther)
            with pytest.raises(ValueError, match="another descriptor .* r_min_="):
                model.predict(nearest)
            kept = pickle.loads(pickle.dumps(model))
            np.testing.assert_array_equal(kept.predict(X), model.predict(X))
        with pytest.raises(ValueError, match="cutoff=3.6 in place of 3.5"):
            LinearPotential(1e-3).fit(X, y).partial_fit(farther, y[:6])

    def test_as_many_weights_as_structures(self, data):
        X, y = data
        for weights, message in (
            (np.ones(3), r"the shape \(3,\), but there are 12 structures: give one weight"),
            (np.full(12, -1.0), "sample_weight of structure 0 is -1"),
            (np.full(12, np.nan), "sample_weight of structure 0 is nan"),
        ):
            with pytest.raises(ValueError, match=message):
                LinearPotential().fit(X, y, sample_weight=weights)

    @pytest.mark.parametrize("by_species", [True, False])
    def test_no_structures_have_no_predictions(self, data, by_species):
        X, y = data
        for features in (
            X,
            MomentTensor(cutoff=3.5, level=4, pool="sum").fit_transform(X.structures),
        ):
            model = LinearPotential(1e-3, by_species=by_species).fit(features, y)
            asked = {"return_forces": True, "return_stress": True, "return_std": True}
            shapes = [a.shape for a in model.predict(features[:0], **asked)]
            assert shapes == [(0,), (0, 3), (0, 3, 3), (0,)]

    def test_forces_alone_leave_the_zero_open(self, data):
        X, y = data
        model = LinearPotential(**NOISE).fit(X, Targets(forces=y.forces, offsets=y.offsets))
        assert not model.absolute_energies_
        assert (model.predict(X, return_std=True)[1] < 10).all()
        model.partial_fit(X[:4], Targets(energy=y.energy[:4]))
        assert model.absolute_energies_


class TestPoolingBySpecies:
    def test_has_the_sums_and_derivatives_of_each(self, data):
        X, _ = data
        pooled = X.pool("mean", [3, 9])
        n = X.n_features
        for block, number in enumerate((3, 9)):
            chosen = X.numbers == number
            sums = np.add.reduceat(X.values * chosen[:, None], X.offsets[:-1]) / X.n_atoms[:, None]
            np.testing.assert_allclose(pooled.values[:, block * n : (block + 1) * n], sums)
        cotangent = np.random.default_rng(0).normal(size=pooled.shape)
        jacobian = pooled.jacobian(slice(None))
        gradient, virial = pooled.pullback(cotangent)
        owners = np.repeat(np.arange(len(X)), X.n_atoms)
        np.testing.assert_allclose(
            np.einsum("kaf,kf->ka", jacobian.gradients, cotangent[owners]), gradient, atol=1e-10
        )
        np.testing.assert_allclose(
            np.einsum("sabf,sf->sab", jacobian.strains, cotangent), virial, atol=1e-10
        )
        assert pooled.feature_names[0] == "Li:" + X.feature_names[0]

    def test_other_species_are_an_error(self, data):
        with pytest.raises(ValueError, match="Li"):
            data[0].pool("sum", [9])


def test_columns_are_constants_then_blocks(data):
    X, _ = data
    design = Design(np.array([3, 9]), True, True, X.n_features)
    rows = design.energy_rows(design.pooled(X))
    assert rows.shape[1] == design.n_columns == 2 + 2 * X.n_features
    np.testing.assert_array_equal(rows[:, :2], 2.0)
    np.testing.assert_array_equal(rows[:, 2:], X.pool("sum", [3, 9]).values)
