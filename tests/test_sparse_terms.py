"""Sparse Gaussian processes of several descriptors, and of features of structures."""

import pickle
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import skops.io
from derivatives import slopes_of_displacements, slopes_of_strains
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sparse_systems import (
    PAIRS,
    SMALL,
    SMOOTH,
    check_slopes,
    derivative_functionals,
    labels,
    rattled_water,
    salt,
    second_derivatives,
)

from skatom import Structures
from skatom._cpu.voigt import voigt
from skatom.descriptors import (
    ACSF,
    SOAP,
    FeatureScaler,
    FeatureSelector,
    InverseDistances,
    PointScattering,
    WaveletScattering,
)
from skatom.kernels import FCHL18, Cosine, Gaussian, Laplacian, Matern, Polynomial
from skatom.metrics import neg_force_mae
from skatom.models import PairRepulsion, SparseGaussianProcess
from skatom.models.sparse import fitting, tangents
from skatom.models.sparse.rows import derivative_rows, energy_rows
from skatom.models.sparse.tangents import strain_tangents


@pytest.fixture(scope="module")
def crystals():
    structures = salt(16)
    return structures, labels(structures)


class TestTerms:
    """Parameters of terms, pipelines in terms, and what each term predicts."""

    NAMED = [
        ("pairs", PAIRS, 4.0 * Polynomial(zeta=1), 3),
        ("soap", make_pipeline(SMALL, FeatureScaler("center")), 0.5 * Gaussian(sigma=1.0), 8),
        (ACSF(), Gaussian(sigma=3.0), 6),
    ]

    def test_parameters_have_names(self):
        model = SparseGaussianProcess(terms=self.NAMED)
        params = model.get_params()
        assert params["terms__pairs__descriptor__n_max"] == 4
        assert params["terms__soap__descriptor__soap__l_max"] == 2
        assert params["terms__soap__descriptor__featurescaler__scaling"] == "center"
        assert params["terms__soap__kernel__kernel__sigma"] == 1.0
        assert params["terms__2__n_sparse"] == 6
        assert params["terms__2__descriptor"] is self.NAMED[2][0]
        assert "terms__2__descriptor" not in model.get_params(deep=False)

    def test_parameters_are_set_in_copies(self):
        model = SparseGaussianProcess(terms=self.NAMED)
        other = clone(model).set_params(
            terms__pairs__n_sparse=4,
            terms__soap__descriptor__soap__sigma=0.4,
            terms__2__kernel=Matern(nu=2.5),
            terms__2__kernel__sigma=2.0,
            noise_forces=0.3,
        )
        assert [term[:1] for term in other.terms[:2]] == [("pairs",), ("soap",)]
        assert len(other.terms[2]) == 3
        params = other.get_params()
        assert params["terms__pairs__n_sparse"] == 4
        assert params["terms__soap__descriptor__soap__sigma"] == 0.4
        assert params["terms__2__kernel__sigma"] == 2.0
        assert params["noise_forces"] == 0.3
        assert model.get_params()["terms__2__kernel"] is self.NAMED[2][1]
        assert model.get_params()["terms__soap__descriptor__soap__sigma"] == 0.5
        assert clone(model).get_params().keys() == model.get_params().keys()

    def test_parameters_that_are_not_there(self):
        model = SparseGaussianProcess(terms=self.NAMED)
        for name in ("terms__3__n_sparse", "terms__pairs__number", "terms__pairs"):
            with pytest.raises(ValueError, match=f"no parameter {name}: the terms are pairs, soap"):
                model.set_params(**{name: 1})
        with pytest.raises(ValueError, match="Invalid parameter 'width'"):
            model.set_params(terms__pairs__descriptor__width=1)
        with pytest.raises(ValueError, match="the terms are none"):
            SparseGaussianProcess().set_params(terms__0__n_sparse=1)

    def test_search_over_terms(self, crystals):
        model = SparseGaussianProcess(terms=self.NAMED, selection="random", random_state=0)
        grid = {
            "terms__soap__descriptor__soap__sigma": [0.4, 0.6],
            "terms__pairs__kernel__factor": [1.0, 10.0],
            "terms__2__n_sparse": [4],
        }
        search = GridSearchCV(model, grid, cv=2, error_score="raise", scoring=neg_force_mae)
        search.fit(*crystals)
        assert len(set(search.cv_results_["mean_test_score"])) == 4
        best = search.best_estimator_
        for name, value in search.best_params_.items():
            assert best.get_params()[name] == value
        assert [len(b.vectors) for b in best.blocks_] == [3, 3, 8, 8, 4, 4]

    def test_pipelines_have_derivatives(self, crystals):
        terms = [
            self.NAMED[1],
            (make_pipeline(SMALL, FeatureSelector(20)), Cosine(2), 6),
        ]
        model = SparseGaussianProcess(terms=terms, random_state=0).fit(*crystals)
        check_slopes(model, crystals[0][:2])
        assert model.blocks_[-1].vectors.shape == (6, 20)

    def test_pipeline_in_a_term_is_the_pipeline_before_the_model(self, crystals):
        inside = SparseGaussianProcess(terms=[self.NAMED[1]], random_state=0).fit(*crystals)
        outside = make_pipeline(
            SMALL, FeatureScaler("center"),
            SparseGaussianProcess(0.5 * Gaussian(sigma=1.0), 8, random_state=0),
        ).fit(*crystals)  # fmt: skip
        np.testing.assert_allclose(
            inside.predict(crystals[0]), outside.predict(crystals[0]), rtol=1e-10
        )

    @pytest.mark.parametrize("return_forces", [False, True])
    def test_components_sum_up(self, crystals, monkeypatch, return_forces):
        model = SparseGaussianProcess(
            terms=self.NAMED, baseline=["elements", PairRepulsion(cutoff=2.2)], random_state=0
        ).fit(*crystals)
        monkeypatch.setattr(fitting, "_PREDICTED_ATOMS", 12)
        names = ["pairs", "soap", "2", "baseline__0", "baseline__1"]
        found = model.predict_components(crystals[0], return_forces=return_forces)
        energies, forces = found if return_forces else (found, {})
        expected = model.predict(crystals[0], return_forces=True)
        assert list(energies) == names
        np.testing.assert_allclose(sum(energies.values()), expected[0], rtol=1e-10)
        counts = np.array([2, 2]) @ model.baseline_.baselines_[0].energies_
        np.testing.assert_allclose(energies["baseline__0"], counts)
        if return_forces:
            assert list(forces) == names
            np.testing.assert_allclose(sum(forces.values()), expected[1], atol=1e-10)

    def test_components_are_the_model_of_their_blocks(self, crystals):
        model = SparseGaussianProcess(terms=self.NAMED, random_state=0).fit(*crystals)
        found = model.predict_components(crystals[0])
        features = fitting.features_of(model.descriptors_, crystals[0], slice(None))
        rows = energy_rows(model.blocks_, features, len(model.coef_))
        for t, name in enumerate(model.term_names_):
            columns = [
                np.arange(b.columns.start, b.columns.stop) for b in model.blocks_ if b.term == t
            ]
            columns = np.concatenate(columns)
            expected = rows[:, columns] @ model.coef_[columns]
            np.testing.assert_allclose(found[name], expected, rtol=1e-8)

    def test_files(self, crystals):
        model = SparseGaussianProcess(terms=self.NAMED, random_state=0).fit(*crystals)
        stream = skops.io.dumps(model)
        unknown = skops.io.get_untrusted_types(data=stream)
        assert all(name.startswith("skatom.") for name in unknown), unknown
        for again in (skops.io.loads(stream, trusted=unknown), pickle.loads(pickle.dumps(model))):
            found = again.predict_components(crystals[0])
            for name, values in model.predict_components(crystals[0]).items():
                np.testing.assert_array_equal(found[name], values)
            assert again.set_params(terms__soap__n_sparse=3).terms[1][3] == 3

    def test_components_of_a_model_of_features(self, crystals):
        features = SMALL.fit_transform(crystals[0])
        model = SparseGaussianProcess(n_sparse=8, random_state=0).fit(features, crystals[1])
        found = model.predict_components(features)
        assert list(found) == ["0", "baseline"]
        np.testing.assert_allclose(sum(found.values()), model.predict(features), rtol=1e-10)
        model = clone(model).set_params(baseline=None).fit(features, crystals[1])
        assert list(model.predict_components(features)) == ["0"]

    @pytest.mark.parametrize(
        "terms, message",
        [
            ([], "terms is empty"),
            ([(SMALL, Cosine(2))], r"give \(descriptor, kernel, n_sparse\)"),
            ([SMALL], r"term 0 is SOAP.* give \(descriptor"),
            ([(SMALL, FCHL18(), 5)], "the kernel of term '0' is FCHL18.* no DotKernel"),
            ([("a", SMALL, Laplacian(), 5)], "the kernel of term 'a' is Laplacian.* no DotKernel"),
            ([(Cosine(2), SMALL, 5)], "the descriptor of term '0' is Cosine"),
            ([(SMALL, Cosine(2), 0)], "n_sparse of term '0' is 0: give a positive number"),
            ([(SMALL, Cosine(2), {"Li": 5, "F": 2.5})], "n_sparse of term '0' is"),
            ([("a__b", SMALL, Cosine(2), 5)], "the name of a term is 'a__b'"),
            ([("baseline", SMALL, Cosine(2), 5)], "other than 'baseline'"),
            ([("1", SMALL, Cosine(2), 5), (SMALL, Cosine(2), 5)], "two terms have the name '1'"),
        ],
    )
    def test_that_are_none(self, crystals, terms, message):
        with pytest.raises(ValueError, match=message):
            SparseGaussianProcess(terms=terms).fit(*crystals)

    def test_arrays_have_no_derivatives(self, crystals):
        pipeline = make_pipeline(SOAP(n_max=2, l_max=1, pool="sum"), StandardScaler())
        with pytest.raises(TypeError, match="gives ndarray, which has no derivatives: end it with"):
            SparseGaussianProcess(terms=[(pipeline, Cosine(2), 5)]).fit(*crystals)


class TestWholeStructures:
    """Features of structures: one centre a structure."""

    POOLED = SOAP(cutoff=3.5, n_max=3, l_max=2, normalize=False, pool="sum")

    @pytest.fixture(scope="class")
    def frames(self):
        return rattled_water(24)

    @pytest.fixture(scope="class")
    def of_frames(self, frames):
        kernel = 10.0 * Gaussian(sigma=0.3)
        model = SparseGaussianProcess(kernel, 20, baseline=PairRepulsion(1.5), random_state=0)
        return make_pipeline(InverseDistances(), model).fit(*frames)

    @pytest.fixture(scope="class")
    def of_crystals(self, crystals):
        terms = [
            ("atoms", SMALL, Cosine(zeta=2), 6),
            ("cells", self.POOLED, 0.1 * Gaussian(sigma=20.0), 8),
            (make_pipeline(self.POOLED, FeatureScaler()), Gaussian(sigma=5.0), 4),
        ]
        return SparseGaussianProcess(terms=terms, random_state=0).fit(*crystals)

    def test_forces_and_stress_are_derivatives(self, of_frames, of_crystals, frames, crystals):
        for model, structures in ((of_frames, frames[0][:3]), (of_crystals, crystals[0][:3])):
            check_slopes(model, structures)

    @pytest.mark.parametrize(
        "descriptor",
        [
            PointScattering(**SMOOTH, cutoff=3.5, pool="sum"),
            PointScattering(**SMOOTH, order=1, cutoff=3.5, pool="mean"),
            WaveletScattering(**SMOOTH, grid_spacing=0.4, grid_shape=(12, 11, 14)),
            SOAP(cutoff=3.5, n_max=2, l_max=1, pool="mean"),
        ],
    )
    def test_descriptors_of_structures(self, descriptor, crystals):
        structures, targets = crystals[0][:6], crystals[1][:6]
        width = np.sqrt(descriptor.fit(structures).n_features_out_)
        process = SparseGaussianProcess(Gaussian(sigma=width), 3, random_state=0)
        model = make_pipeline(descriptor, FeatureScaler(out_of_range="ignore"), process)
        check_slopes(model.fit(structures, targets), structures[:1])

    def test_forces_are_learnt(self, frames):
        structures, targets = frames
        model = make_pipeline(
            InverseDistances(),
            SparseGaussianProcess(10.0 * Gaussian(sigma=0.3), 16, random_state=0),
        ).fit(structures[:16], targets[:16])
        found = model.predict(structures[16:], return_forces=True)[1]
        expected = targets[16:].forces
        assert np.std(found - expected) < 0.1 * np.std(expected)
        assert "local_energies" not in model[-1].outputs_

    def test_rows_are_derivatives_of_energy_rows(self, of_crystals, crystals):
        structures = crystals[0][:2]
        block = next(block for block in of_crystals.blocks_ if block.term == 1)
        features = fitting.features_of(of_crystals.descriptors_, structures, slice(None))[1]
        descriptor = of_crystals.descriptors_[1]

        def values(moved):
            x = descriptor.transform(moved).values
            return SimpleNamespace(values=block.values(x)[:, 3:4])

        watched = SimpleNamespace(structures=structures)
        slopes = slopes_of_displacements(watched, np.ones((2, 1)), values)
        strains = slopes_of_strains(watched, np.ones((2, 1)), values)
        for s in range(2):
            forces, virial = derivative_rows(block, features, s)
            np.testing.assert_allclose(forces[:, :, 3], -slopes[4 * s : 4 * s + 4], atol=1e-8)
            np.testing.assert_allclose(virial[:, 3], voigt(strains)[s], atol=1e-8)

    def test_deviations_equal_a_dense_reference(self, of_frames, frames, monkeypatch):
        monkeypatch.setattr(tangents, "_BYTES", 500)  # parts of a molecule
        structures, model = frames[0][:3], of_frames[-1]
        features = of_frames[0].transform(structures)
        x, z = features.values, model.blocks_[0].vectors
        jacobian = features.jacobian(slice(None)).gradients.reshape(3, 9, -1)
        profile = model.blocks_[0].kernel.profile(
            x @ z.T, (x**2).sum(axis=1)[:, None], (z**2).sum(axis=1)
        )
        gradient = profile.s[:, :, None] * z + 2 * profile.u[:, :, None] * x[:, None]
        rows = np.einsum("saf,smf->sam", jacobian, gradient).reshape(27, -1)
        own = np.stack(
            [second_derivatives(model.blocks_[0].kernel, a, a)[0, 0] for a in x[:, None]]
        )
        variance = np.einsum("saf,sfg,sag->sa", jacobian, own, jacobian).ravel()
        variance += np.sum(np.linalg.solve(model.solver_.triangle.T, rows.T) ** 2, axis=0)
        variance -= np.sum(np.linalg.solve(model.prior_factors_[0], rows.T) ** 2, axis=0)
        found = of_frames.predict(structures, return_forces_std=True)[1]
        np.testing.assert_allclose(found.ravel(), np.sqrt(variance), rtol=1e-8)

    def test_deviation_of_stress_is_that_of_strained_energies(self, of_crystals, crystals):
        # where nothing is learnt and there is one representative far away, by differences
        structures, targets = crystals
        kernel = 0.1 * Gaussian(sigma=20.0)
        model = SparseGaussianProcess(
            terms=[(self.POOLED, kernel, 1)], selection=[15], noise_energy=1e6
        ).fit(structures, targets.energy)
        prior, rows = derivative_functionals(
            model, fitting.features_of(model.descriptors_, structures[:2], slice(None)),
            strain_tangents,
        )  # fmt: skip
        assert prior.shape == (2, 6) and rows.shape == (2, 6, 1)
        step, one = 1e-4, structures[0]
        strained = []
        for sign in (1, -1):
            turn = np.eye(3) + sign * step * np.diag([0, 1, 0])
            strained.append(
                Structures(one.numbers, one.positions @ turn, None, one.cells @ turn, one.pbc)
            )
        x = [model.descriptors_[0].transform(s).values for s in strained]
        k = [[kernel(a, b)[0, 0] for a in x] for b in x]
        expected = np.array([1, -1]) @ k @ np.array([1, -1]) / (4 * step**2)
        assert prior[0, 1] == pytest.approx(expected, rel=1e-4)
        found = model.predict(structures[:2], return_stress_std=True)[1]
        assert found.shape == (2, 3, 3)

    def test_selection_by_indices_and_number(self, frames, crystals):
        features = InverseDistances().fit_transform(frames[0])
        model = SparseGaussianProcess(Gaussian(0.3), selection=[3, 5]).fit(features, frames[1])
        np.testing.assert_array_equal(model.blocks_[0].vectors, features.values[[3, 5]])
        with pytest.raises(ValueError, match="from 3 to 24, but there are 24 structures"):
            SparseGaussianProcess(Gaussian(0.3), selection=[3, 24]).fit(features, frames[1])
        with pytest.raises(ValueError, match="is for species, but these features are those of"):
            SparseGaussianProcess(n_sparse={"O": 3, "H": 5}).fit(features, frames[1])
        with pytest.warns(UserWarning, match="there are only 24 structures: all of them"):
            SparseGaussianProcess(Gaussian(0.3), 50).fit(features, frames[1])

    def test_all_representative_is_a_process_of_scikit_learn(self, frames):
        structures, targets = frames
        features = InverseDistances().fit_transform(structures)
        ours = SparseGaussianProcess(
            Gaussian(sigma=0.3), selection=np.arange(16), baseline=None, noise_energy=0.05
        ).fit(features[:16], targets[:16].energy)
        theirs = GaussianProcessRegressor(RBF(0.3), alpha=0.05**2 * 3, optimizer=None)
        theirs.fit(features.values[:16], targets[:16].energy)
        for one, other in zip(
            ours.predict(features[16:], return_std=True),
            theirs.predict(features.values[16:], return_std=True),
            strict=True,
        ):
            np.testing.assert_allclose(one, other, rtol=1e-6)

    def test_saving(self, of_crystals, crystals, tmp_path):
        joblib.dump(of_crystals, tmp_path / "model.joblib")
        again = joblib.load(tmp_path / "model.joblib")
        np.testing.assert_array_equal(again.predict(crystals[0]), of_crystals.predict(crystals[0]))
        with pytest.raises(ValueError, match="but no local_energies"):
            again.predict(crystals[0], return_local_energies=True)
        assert list(again.predict_components(crystals[0])) == ["atoms", "cells", "2", "baseline"]
