"""A search that shares work finds what scikit-learn's finds."""

import warnings

import numpy as np
import pytest
from models_under_contract import crystals, labels_of, waters
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.pipeline import make_pipeline

from skatom import Targets
from skatom.calculators import SkatomCalculator
from skatom.descriptors import FCHL19, SOAP, FeatureScaler, InverseDistances
from skatom.kernels import FCHL18, Gaussian, StructureKernel
from skatom.metrics import neg_force_mae, neg_force_rmse
from skatom.model_selection import SharedGridSearchCV
from skatom.models import GDML, SGDML, ForceKernelRidge, SparseGaussianProcess
from skatom.models.gdml import shared_fits as of_gdml
from skatom.models.kernel_ridge import shared_fits as of_ridge

SMALL = FCHL19(cutoff=4.0, n_r2=8, n_r3=6)
SHUFFLED = KFold(3, shuffle=True, random_state=0)


def searched(estimator, grid, data, scoring=neg_force_rmse, cv=SHUFFLED, **parameters):
    """A shared and a plain search."""
    options = {"scoring": scoring, "cv": cv, "error_score": "raise", **parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            kind(estimator, grid, **options).fit(*data)
            for kind in (SharedGridSearchCV, GridSearchCV)
        ]


def check_equal(searches, tolerance):
    ours, theirs = (search.cv_results_ for search in searches)
    assert ours["params"] == theirs["params"]
    assert ours.keys() == theirs.keys()
    for name in ours:
        if name.endswith("test_score") and not name.startswith("rank"):
            # errors are differences of predictions and labels, which are of the order of 1 eV/Å
            np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=tolerance)
        elif name.startswith("param_"):
            np.testing.assert_array_equal(ours[name], theirs[name])
    assert searches[0].best_params_ == searches[1].best_params_
    assert searches[0].best_index_ == searches[1].best_index_


@pytest.fixture(scope="module")
def molecules():
    structures = waters(24)
    return structures, labels_of(structures, ("energy", "forces"))


@pytest.fixture(scope="module")
def cells():
    structures = crystals(12)
    return structures, labels_of(structures, ("energy", "forces", "stress"))


def counting(monkeypatch, module):
    """A list that grows with every stored matrix."""
    made, kind = [], module.StoredMatrix

    def make(*arguments):
        made.append(kind(*arguments))
        return made[-1]

    monkeypatch.setattr(module, "StoredMatrix", make)
    return made


class TestGDML:
    @pytest.mark.parametrize("energy_constraint", [False, True])
    @pytest.mark.parametrize("device", ["cpu", "torch"])
    @pytest.mark.parametrize("model", [GDML(), SGDML(random_state=0)])
    def test_scores_are_those_of_separate_fits(
        self, molecules, model, device, energy_constraint, monkeypatch
    ):
        if device == "torch":
            pytest.importorskip("torch")
        made = counting(monkeypatch, of_gdml)
        grid = {"sigma": [1.0, 3.0], "alpha": [1e-6, 1e-4]}
        model = clone(model).set_params(device=device, energy_constraint=energy_constraint)
        check_equal(searched(model, grid, molecules), 1e-10)
        assert len(made) == 2  # one for each sigma

    def test_one_split_shares_nothing_but_frames(self, molecules, monkeypatch):
        made = counting(monkeypatch, of_gdml)
        cv = [(np.arange(16), np.arange(16, 24))]
        check_equal(searched(GDML(alpha=1e-6), {"sigma": [1.0, 3.0]}, molecules, cv=cv), 1e-12)
        assert not made

    def test_a_small_memory_shares_no_matrix(self, molecules, monkeypatch):
        made = counting(monkeypatch, of_gdml)
        model = GDML(alpha=1e-6, solver="cholesky", max_memory=3.5e-4)
        check_equal(searched(model, {"sigma": [1.0, 3.0]}, molecules), 1e-12)
        assert not made

    def test_conjugate_gradients_make_no_matrix(self, molecules, monkeypatch):
        made = counting(monkeypatch, of_gdml)
        model = GDML(alpha=1e-4, solver="cg", random_state=0, tol=1e-6)
        check_equal(searched(model, {"sigma": [1.0, 3.0]}, molecules), 1e-10)
        assert not made

    def test_permutations_are_found_once_for_each_split(self, molecules, monkeypatch):
        calls, find = [], SGDML._permutations
        monkeypatch.setattr(SGDML, "_permutations", lambda s, X: calls.append(1) or find(s, X))
        grid = {"sigma": [1.0, 2.0, 3.0], "alpha": [1e-6, 1e-4]}
        SharedGridSearchCV(SGDML(random_state=0), grid, cv=3, refit=False).fit(*molecules)
        assert len(calls) == 3


class TestForceKernelRidge:
    GRID = {"kernel__sigma": [1.0, 3.0], "alpha": [1e-4, 1e-2]}

    def test_scores_are_those_of_separate_fits(self, molecules, cells, monkeypatch):
        made = counting(monkeypatch, of_ridge)
        for data in (molecules, cells):
            X = SMALL.fit_transform(data[0])
            model = ForceKernelRidge(Gaussian(2.0), alpha_forces=1e-3)
            check_equal(searched(model, self.GRID, (X, data[1])), 1e-10)
        assert len(made) == 4

    def test_on_tensors(self, molecules):
        pytest.importorskip("torch")
        X = FCHL19(cutoff=4.0, n_r2=8, n_r3=6, device="torch").fit_transform(molecules[0])
        model = ForceKernelRidge(Gaussian(2.0), alpha_forces=1e-3)
        check_equal(searched(model, self.GRID, (X, molecules[1])), 1e-10)

    def test_structures_may_lack_labels(self, molecules, cells):
        for structures, y in (molecules, cells):
            energy, forces = y.energy.copy(), y.forces.copy()
            energy[::4] = np.nan
            a, b = structures.offsets[[5, 8]]
            forces[a:b] = np.nan
            energy[5] = np.nan  # no label at all
            y = Targets(energy=energy, forces=forces, offsets=y.offsets)
            X = InverseDistances().fit_transform(structures) if len(y) == 24 else None
            X = SMALL.fit_transform(structures) if X is None else X
            model = ForceKernelRidge(Gaussian(2.0), alpha_forces=1e-3)
            check_equal(searched(model, self.GRID, (X, y)), 1e-10)

    @pytest.mark.parametrize(
        ("model", "grid"),
        [
            (ForceKernelRidge(Gaussian(2.0), "operators"), {"alpha": [1e-4, 1e-2]}),
            (ForceKernelRidge(Gaussian(2.0), solver="cg", tol=1e-8, random_state=0), GRID),
            (
                ForceKernelRidge(StructureKernel(Gaussian(2.0), match="sum"), alpha=1e-3),
                {"alpha": [1e-4, 1e-2]},
            ),
        ],
    )
    def test_what_shares_no_matrix(self, molecules, model, grid, monkeypatch):
        made = counting(monkeypatch, of_ridge)
        check_equal(searched(model, grid, (SMALL.fit_transform(molecules[0]), molecules[1])), 1e-9)
        assert not made

    def test_fchl18_and_arrays(self, molecules):
        X, y = molecules
        grid = {"alpha": [1e-4, 1e-2]}
        check_equal(searched(ForceKernelRidge(FCHL18(), alpha=1e-3), grid, (X[:6], y[:6])), 1e-12)
        table = np.asarray(InverseDistances().fit_transform(X))
        check_equal(searched(ForceKernelRidge(), grid, (table, y.energy), None), 1e-12)

    def test_alphas_by_configuration(self, molecules):
        X, names = SMALL.fit_transform(molecules[0]), np.array(["a", "b"])[np.arange(24) % 2]
        model = make_pipeline(SMALL, ForceKernelRidge(Gaussian(2.0)))
        grid = {"forcekernelridge__alpha": [{"a": 1e-4, "b": 1e-2}, {"a": 1e-2, "b": 1e-4}]}
        search = SharedGridSearchCV(model, grid, scoring=neg_force_mae, cv=2)
        search.fit(*molecules, configurations=names)
        bare = ForceKernelRidge(Gaussian(2.0), alpha=search.best_params_["forcekernelridge__alpha"])
        expected = bare.fit(X, molecules[1], names).predict(X)
        np.testing.assert_allclose(search.predict(molecules[0]), expected, rtol=1e-12)


class TestPipelines:
    def test_descriptors_and_kernels_together(self, molecules, monkeypatch):
        calls, transform = [], FCHL19.transform
        monkeypatch.setattr(FCHL19, "transform", lambda s, X: calls.append(1) or transform(s, X))
        model = make_pipeline(SMALL, ForceKernelRidge(Gaussian(2.0), alpha_forces=1e-3))
        grid = {
            "fchl19__cutoff": [3.0, 4.0], "forcekernelridge__kernel__sigma": [1.0, 3.0],
            "forcekernelridge__alpha": [1e-4, 1e-2],
        }  # fmt: skip
        search = SharedGridSearchCV(model, grid, scoring="neg_force_rmse", cv=SHUFFLED, refit=False)
        search.fit(*molecules)
        assert len(calls) == 2
        check_equal(searched(model, grid, molecules), 1e-10)

    def test_what_learns_from_the_training_part_is_fitted_to_it(self, molecules):
        model = make_pipeline(
            SMALL, FeatureScaler(out_of_range="ignore"), ForceKernelRidge(Gaussian(9.0), alpha=0.01)
        )  # fmt: skip
        grid = {"forcekernelridge__kernel__sigma": [10.0, 20.0]}
        check_equal(searched(model, grid, molecules), 1e-10)

    def test_scorers_that_know_structures_only(self, molecules):
        def scorer(estimator, X, y):
            assert hasattr(X, "positions")
            return -abs(estimator.predict(X) - y.energy).max()

        model = make_pipeline(SMALL, ForceKernelRidge(Gaussian(2.0)))
        check_equal(
            searched(model, {"forcekernelridge__alpha": [1e-4, 1e-2]}, molecules, scorer), 1e-10
        )

    def test_models_that_share_nothing(self, molecules):
        model = make_pipeline(
            SOAP(cutoff=3.5, n_max=3, l_max=2), SparseGaussianProcess(n_sparse=8, random_state=0)
        )
        grid = [
            {"sparsegaussianprocess__noise_energy": [1e-3, 1e-2]},
            {"sparsegaussianprocess__noise_forces": [0.1]},
        ]
        check_equal(searched(model, grid, molecules, None), 1e-10)

    def test_a_search_at_the_end_of_a_pipeline(self, molecules):
        search = SharedGridSearchCV(ForceKernelRidge(Gaussian(2.0)), {"alpha": [1e-4, 1e-2]}, cv=3)
        model = clone(make_pipeline(SMALL, search)).fit(*molecules)
        energy, forces = model.predict(molecules[0], return_forces=True)
        assert energy.shape == (24,) and forces.shape == (72, 3)
        assert model.score(*molecules) > 0.9


class TestSearch:
    def test_parameters_and_clones(self):
        search = SharedGridSearchCV(GDML(sigma=3.0), {"alpha": [1e-3]}, cv=4, verbose=1)
        assert clone(search).get_params()["estimator__sigma"] == 3.0

    def test_groups(self, molecules):
        search = SharedGridSearchCV(GDML(), {"sigma": [1.0, 3.0]}, cv=GroupKFold(2))
        search.fit(*molecules, groups=np.arange(24) % 3)
        assert search.n_splits_ == 2

    def test_the_best_model_is_one_like_any_other(self, molecules):
        search = SharedGridSearchCV(GDML(alpha=1e-6), {"sigma": [1.0, 2.0, 3.0]}, cv=3)
        search.fit(molecules[0].to_ase(), molecules[1])
        alone = GDML(alpha=1e-6, **search.best_params_).fit(*molecules)
        np.testing.assert_array_equal(search.predict(molecules[0]), alone.predict(molecules[0]))
        atoms = molecules[0][:1].to_ase()[0]
        atoms.calc = SkatomCalculator(search)
        expected = alone.predict(molecules[0][:1])[0]
        np.testing.assert_allclose(atoms.get_potential_energy(), expected, rtol=1e-10)

    @pytest.mark.parametrize(("sigmas", "side"), [([1e-3, 1.0], "larger"), ([3.0, 1e5], "smaller")])
    def test_the_edge_of_the_grid_is_a_warning(self, molecules, sigmas, side):
        model = GDML(alpha=1e-6)
        with pytest.warns(UserWarning, match=f"at the edge of those tried: try {side} ones"):
            SharedGridSearchCV(model, {"sigma": sigmas}, cv=3, scoring=neg_force_mae).fit(
                *molecules
            )

    def test_no_warning_within_the_grid(self, molecules):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            grid = {"sigma": [1e-3, 2.0, 1e5], "alpha": [1e-6]}
            SharedGridSearchCV(GDML(), grid, cv=3, scoring="neg_force_mae").fit(*molecules)

    def test_a_fit_that_fails_has_the_error_score(self, molecules):
        grid = {"sigma": [3.0], "solver": ["cholesky", "wrong"]}
        search = SharedGridSearchCV(GDML(alpha=1e-6), grid, cv=2)
        with pytest.warns(FitFailedWarning, match="'solver' parameter of GDML"):
            search.fit(*molecules)
        assert search.best_params_["solver"] == "cholesky"
        assert np.isnan(search.cv_results_["mean_test_score"][1])
        assert search.cv_results_["rank_test_score"][1] == 2
        with pytest.raises(ValueError, match="'solver' parameter of GDML"):
            search.set_params(error_score="raise").fit(*molecules)
        with pytest.raises(ValueError, match="all fits of the search failed, the last one with"):
            SharedGridSearchCV(GDML(), {"solver": ["wrong"]}, cv=2).fit(*molecules)

    def test_progress(self, molecules, capsys):
        SharedGridSearchCV(GDML(), {"sigma": [3.0]}, cv=2, verbose=1).fit(*molecules)
        assert "fits: 100%" in capsys.readouterr().err
