"""Recipes: names, settings and their nearest ones, defaults that follow the data, searches."""

import itertools
import time
from importlib.util import find_spec

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from models_under_contract import crystals as skewed_cells
from models_under_contract import labels_of
from sparse_systems import labels, salt

from skatom import Structures, Targets, recipes
from skatom.cli.recipe_options import SUMMARIES
from skatom.datasets import load_ethanol
from skatom.descriptors import SOAP, MomentTensor
from skatom.metrics import evaluate
from skatom.models.kernel_ridge.derivative_system import CholeskySystem
from skatom.models.sparse import fitting as sparse_fitting
from skatom.recipes import estimates
from skatom.recipes.base import Cost
from skatom.recipes.estimates import _by_pace, _extrapolated, estimate
from skatom.recipes.facts import Facts
from skatom.recipes.fitting import fit
from skatom.recipes.labels import chosen_labels, labels_to_learn, only
from skatom.recipes.learning import LearningCurve, nested_parts
from skatom.recipes.settings import flat, merged, nearest, nested, text_of, value_of
from skatom.recipes.tuning import Search, SearchWithNoises, search_of

SMALL = {
    "gap": {"n_sparse": 20, "soap": {"n_max": 3, "l_max": 2}},
    "fchl19": {"fchl19__n_r2": 8, "fchl19__n_r3": 6, "fchl19__cutoff": 4.0},
    "nbody": {"n_environments": 40},
    "mapped": {"n_environments": 40, "tables__n_knots_triangles": 20},
    "mtp": {"moments__level": 8},
    "ace": {"expansion__degrees": (6, 4, 4, 4)},
    "hdnnp": {
        "n_radial": 4,
        "zetas": (1,),
        "hidden_layer_sizes": (5,),
        "max_iter": 60,
        "batch_size": 4,
        "learning_rate_init": 0.02,
    },
    "schnet": {
        "n_features": 16,
        "n_interactions": 2,
        "max_iter": 20,
        "batch_size": 5,
        "learning_rate_init": 5e-3,
    },
    "dtnn": {
        "n_features": 16,
        "n_factors": 32,
        "n_interactions": 2,
        "max_iter": 20,
        "batch_size": 5,
        "learning_rate_init": 1e-2,
    },
    "painn": {
        "n_features": 8,
        "n_interactions": 2,
        "max_iter": 20,
        "batch_size": 5,
        "learning_rate_init": 5e-3,
    },
    "mpnn": {
        "n_features": 8,
        "n_filters": 4,
        "n_passes": 2,
        "max_iter": 30,
        "batch_size": 5,
        "learning_rate_init": 1e-2,
    },
    "greedy": {"moments__level": 8, "soap__n_max": 4, "soap__l_max": 3, "n_terms": 60},
}


WITH_TORCH = ["schnet", "dtnn", "painn", "mpnn"] if find_spec("torch") else []


@pytest.fixture(scope="module")
def crystals():
    structures = salt(24)
    return structures, labels(structures)


@pytest.fixture(scope="module")
def ethanol():
    data = load_ethanol()
    X, y = data.structures[:1000:10], data.targets[:1000:10]
    return X, Targets(y.energy, y.forces, offsets=y.offsets)


class TestRecipes:
    @pytest.mark.parametrize(
        "name", ["gap", "fchl19", "nbody", "mapped", "greedy", "mtp", "ace", "hdnnp", *WITH_TORCH]
    )
    @pytest.mark.filterwarnings("ignore")
    def test_learns_crystals(self, name, crystals):
        X, y = crystals
        model = recipes.make(name, X[:20], **SMALL[name]).fit(X[:20], y[:20])
        errors = evaluate(model, X, y)
        assert errors["force_mae"] < 0.7 * np.abs(y.forces).mean()
        assert np.isfinite(errors["stress_mae"])

    @pytest.mark.parametrize(
        "name",
        ["sgdml", "gdml", "gap", "fchl19", "nbody", "greedy", "mtp", "ace", "hdnnp", *WITH_TORCH],
    )
    def test_learns_a_molecule(self, name, ethanol):
        X, y = ethanol
        model = recipes.make(name, X[:60], **SMALL.get(name, {})).fit(X[:60], y[:60])
        errors = evaluate(model, X[60:], y[60:])
        assert errors["force_mae"] < 0.5 * np.abs(y.forces).mean()

    def test_the_help_of_the_command_has_all(self):
        assert {name: recipe.summary for name, recipe in recipes.RECIPES.items()} == SUMMARIES

    @pytest.mark.parametrize("name", recipes.RECIPES)
    def test_settings_make_the_same_estimator_again(self, name, ethanol):
        X, _ = ethanol
        settings = recipes.settings(name, X)
        again = recipes.settings(name, X, **nested(settings))
        assert again == settings
        assert repr(recipes.make(name, X)) == repr(recipes.make(name, X, **nested(settings)))

    def test_unknown_names_have_the_nearest(self, ethanol):
        X, _ = ethanol
        with pytest.raises(ValueError, match=r"there is no model 'fchl': did you mean fchl19\?"):
            recipes.make("fchl", X)
        with pytest.raises(ValueError, match=r"no setting 'soap.cutof': did you mean soap.cutoff"):
            recipes.make("gap", X, soap={"cutof": 5.0})
        with pytest.raises(ValueError, match=r"no setting 'zeta': did you mean kernel.zeta\?"):
            recipes.make("gap", X, zeta=5)
        with pytest.raises(ValueError, match="there is no setting 'quux': there are alpha, "):
            recipes.make("sgdml", X, quux=5)
        with pytest.raises(ValueError, match="descriptor is 'acsf': give moments or soap"):
            recipes.make("greedy", X, descriptor="acsf")

    def test_parameters_that_are_no_defaults_can_be_set(self, ethanol):
        X, _ = ethanol
        model = recipes.make("gap", X, soap__central_weight=0.5, pairs__n_sparse=0)
        ((name, soap, _, _),) = model.terms
        assert (name, soap.central_weight) == ("soap", 0.5)
        assert recipes.make("gap", X, soap__radial_scaling=None).terms[0][1].radial_scaling is None

    def test_a_device_reaches_the_descriptors(self, ethanol):
        X, _ = ethanol
        assert recipes.make("gap", X, device="torch").terms[1][1].device == "torch"
        assert recipes.make("fchl19", X, device="torch")[0].device == "torch"
        for name in ("ace", "hdnnp"):
            assert recipes.make(name, X, device="torch")[0].device == "torch"
        assert recipes.make("sgdml", X, device="torch").device == "torch"
        with pytest.raises(ValueError, match="nbody runs on the CPU alone: leave device='torch'"):
            recipes.make("nbody", X, device="torch")


class TestFacts:
    def test_defaults_follow_the_density(self):
        dense, light = (
            recipes.settings("gap", [bulk("Cu", a=a) * (2, 1, 1)] * 3) for a in (3.6, 4.4)
        )
        assert dense["soap.cutoff"] < light["soap.cutoff"]
        assert dense["soap.sigma"] < light["soap.sigma"]
        assert recipes.settings("gap", [molecule("H2O")])["soap.cutoff"] == 5.0

    @pytest.mark.parametrize("kind", ["moments", "soap"])
    def test_no_more_terms_than_features(self, kind):
        silicon = Structures.from_ase([bulk("Si")])
        found = recipes.settings("greedy", silicon, descriptor=kind, moments__level=8)
        descriptor = (
            MomentTensor(level=8, mu_level=2) if kind == "moments" else SOAP(n_max=6, l_max=4)
        )
        assert found["n_terms"] == descriptor.fit(silicon).n_features_out_ < 300
        assert recipes.settings("greedy", silicon)["n_terms"] == 300

    def test_defaults_follow_the_species(self):
        one = recipes.settings("gap", [bulk("Cu")])
        four = recipes.settings("gap", [bulk(s, "fcc", a=4.0) for s in ("Cu", "Ag", "Au", "Ni")])
        assert one["n_sparse"] == 4 * four["n_sparse"]
        assert (one["soap.species_compression"], four["soap.species_compression"]) == (None, 2)

    def test_pairs_follow_a_given_cutoff(self):
        assert recipes.settings("gap", [bulk("Cu")], soap__cutoff=6.2)["pairs.cutoff"] == 6.2

    def test_of_structures(self):
        same = Facts.of(Structures.from_ase([molecule("H2O"), molecule("H2O")]))
        assert same.is_one_molecule and not same.periodic
        other = Facts.of(Structures.from_ase([molecule("H2O"), molecule("NH3")]))
        assert not other.is_one_molecule
        cubes = [Atoms("HHO", np.eye(3), cell=3 * np.eye(3), pbc=True)] * 2
        found = Facts.of(Structures.from_ase([molecule("H2O"), *cubes]))
        assert found.periodic and found.spacing == pytest.approx(9 ** (1 / 3))
        assert (found.n_structures, found.n_atoms, found.species) == (3, 9, (1, 8))


class TestSettings:
    def test_values_of_text(self):
        texts = ["5.5", "7", "none", "True", "fps", "{'H': 3}", "[1, 2]", "1e-4"]
        values = [5.5, 7, None, True, "fps", {"H": 3}, [1, 2], 1e-4]
        assert [value_of(text) for text in texts] == values

    def test_flat_and_nested(self):
        names, sections = {"a.b", "a.c", "n"}, {"a"}
        assert flat({"a": {"b": 1}, "a__c": 2, "n": {"x": 3}}, names, sections) == {
            "a.b": 1, "a.c": 2, "n": {"x": 3},
        }  # fmt: skip
        assert nested({"a.b": 1, "a.c.d": 2, "n": 3}) == {"a": {"b": 1, "c": {"d": 2}}, "n": 3}

    def test_a_part_given_whole_replaces_its_defaults(self):
        assert merged({"a.b": 1, "a.c": 2, "ab": 3}, {"a": None}) == {"ab": 3, "a": None}

    def test_nearest(self):
        assert nearest("cutof", ["cutoff", "sigma"]) == "did you mean cutoff?"
        both = ["degrees", "expansion.degrees", "expansion.cutoff"]
        assert nearest("max_degree", both) == "did you mean degrees or expansion.degrees?"
        assert nearest("x", ["cutoff", "sigma"]) == "there are cutoff, sigma"

    def test_text(self):
        assert text_of({"a.b": 0.1 + 0.2, "n": {"x": 1.0}}) == "a.b=0.3 n={x: 1}"


class TestLabels:
    def test_contradictory_stresses_are_left_out(self):
        X = salt(40)
        y = labels(X)
        names, reason = labels_to_learn(X, y)
        assert (names, reason) == (["energy", "forces", "stress"], None)
        wrong = Targets(y.energy, y.forces, -y.stress, offsets=y.offsets)
        names, reason = labels_to_learn(X, wrong)
        assert names == ["energy", "forces"]
        assert reason.startswith("the stresses are not the derivatives")
        assert only(wrong, names).stress is None

    def test_chosen(self, ethanol):
        _, y = ethanol
        assert chosen_labels("forces, energy", y) == ["forces", "energy"]
        with pytest.raises(ValueError, match="no structure has 'stress'; there are energy, forces"):
            chosen_labels("energy,stress", y)


class TestEstimate:
    def test_fits_tell_both_coefficients(self):
        def cost(work, flops):
            return Cost(0, flops, work)

        # 2 s for a unit of work, 1e-9 s for an operation
        costs = [cost(1.0, 1e9), cost(2.0, 8e9), cost(4.0, 64e9)]
        times = [3.0, 12.0, 72.0]
        found = _extrapolated(costs, times, cost(100.0, 1e12), speed=1e9)
        assert found == pytest.approx(200.0 + 1000.0, rel=1e-6)

    def test_the_speed_of_products_tells_what_fits_do_not(self):
        costs, times = [Cost(0, 1e3, 1.0), Cost(0, 4e3, 2.0)], [2.0, 4.0]
        found = _extrapolated(costs, times, Cost(0, 1e12, 100.0), speed=1e9)
        assert found == pytest.approx(200.0 + 1000.0, rel=1e-3)

    def test_what_does_not_grow_is_not_extrapolated(self):
        costs = [Cost(0, 1e3, work) for work in (1.0, 2.0, 4.0)]
        found = _extrapolated(costs, [6.0, 7.0, 9.0], Cost(0, 1e3, 100.0), speed=1e9)
        assert found == pytest.approx(105.0, rel=1e-3)

    def test_the_pace_of_batches_goes_on(self):
        assert _by_pace([(5.0, 10), (6.0, 20), (7.0, 30)], 100) == pytest.approx(14.0)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("name", ["fchl19", "gap"])
    def test_of_a_fit(self, ethanol, name):
        X, y = ethanol
        recipe = recipes.find(name)
        settings = recipe.settings(Facts.of(X), SMALL[name])
        found = estimate(recipe, settings, X, y)
        if name == "fchl19":
            n = len(X) * (1 + 27 - 6)  # there are no forces along rigid motions
            assert 4 * n**2 < found.memory < 40 * n**2
        begin = time.perf_counter()
        fit(recipe.make(settings), X, y)
        seconds = time.perf_counter() - begin
        assert seconds / 5 < found.seconds < 5 * seconds + 0.5

    @pytest.mark.parametrize("system", ["molecules", "crystals"])
    def test_rows_of_fchl19_are_those_of_its_matrix(self, system, monkeypatch):
        if system == "crystals":
            X = skewed_cells(6)
            y = labels_of(X, ("energy", "forces", "stress"))
        else:
            X = Structures.from_ase([molecule(name) for name in ("H2O", "N2", "C2H2", "CH4", "O")])
            y = Targets(np.arange(5.0), np.zeros((len(X.numbers), 3)), offsets=X.offsets)
        sizes = []
        monkeypatch.setattr(CholeskySystem, "_check_memory", lambda self, n: sizes.append(n))
        recipe = recipes.find("fchl19")
        settings = recipe.settings(Facts.of(X), SMALL["fchl19"])
        fit(recipe.make(settings), X, y)
        found = recipe.cost(settings, X, y).flops
        linear = 1 if system == "molecules" else 0  # acetylene has one rotation less
        assert round((3 * found) ** (1 / 3)) == sizes[0] - linear

    @pytest.mark.skipif(find_spec("torch") is None, reason="needs torch")
    @pytest.mark.filterwarnings("ignore")
    def test_few_iterations_tell_the_time_of_a_training(self, monkeypatch):
        X, tried = salt(24), []
        recipe = recipes.find("schnet")
        settings = recipe.settings(Facts.of(X), {"n_features": 4, "n_rbf": 5, "max_iter": 100_000})
        short_fit = estimates._Data.fit

        def noted(data, given, part):
            tried.append(given["max_iter"])
            return short_fit(data, given, part)

        monkeypatch.setattr(estimates._Data, "fit", noted)
        begin = time.perf_counter()
        found = estimate(recipe, settings, X, labels(X))
        assert max(tried) == 5
        assert found.seconds > 100 * (time.perf_counter() - begin)

    def test_only_a_piece_of_a_long_fit_is_made(self, crystals, monkeypatch):
        monkeypatch.setattr(estimates, "_LONG_ENOUGH", 0.0)
        monkeypatch.setattr(sparse_fitting, "_BATCH_ATOMS", 8)
        X, y = crystals
        X, y = X[np.arange(48) % 24], y[np.arange(48) % 24]
        recipe, offered = recipes.find("gap"), []
        by_pace = estimates._by_pace
        monkeypatch.setattr(
            estimates, "_by_pace", lambda marks, n: offered.append(len(marks)) or by_pace(marks, n)
        )
        settings = recipe.settings(Facts.of(X), SMALL["gap"] | {"pairs.n_sparse": 4})
        assert estimate(recipe, settings, X, y).seconds > 0
        assert offered == [estimates._BATCHES + 1]

    def test_of_few_structures_says_no_time(self, ethanol):
        X, y = ethanol
        recipe = recipes.find("sgdml")
        found = estimate(recipe, recipe.settings(Facts.of(X[:20])), X[:20], y[:20])
        assert found.seconds is None and found.memory > 8 * (20 * 21) ** 2 / 2


class TestLearningCurve:
    def curve(self, data, **options):
        X, y = data
        recipe = recipes.find("sgdml")
        settings = recipe.settings(Facts.of(X))
        said = []
        curve = LearningCurve(
            recipe, settings, X[:64], y[:64], X[64:], y[64:],
            report=lambda n, errors: said.append(n), **options,
        )  # fmt: skip
        return curve, fit(recipe.make(settings), X[:64], y[:64]), said

    def test_parts_are_nested_and_have_the_energies_of_all(self, ethanol):
        X, y = ethanol
        parts = nested_parts(X, y, random_state=3)
        assert [len(part) for part in parts] == [12, 25, 50]
        for smaller, larger in itertools.pairwise(parts):
            assert set(smaller) < set(larger)
        spread = y.energy.std()
        assert abs(y.energy[parts[-1]].mean() - y.energy.mean()) < 0.1 * spread
        assert nested_parts(X[:15], y[:15]) == []

    def test_parts_have_all_species(self, crystals, ethanol):
        X = Structures.concatenate([ethanol[0][:20], crystals[0][:1]])
        y = Targets(energy=np.arange(21.0), offsets=X.offsets)
        for seed in range(8):
            for part in nested_parts(X, y, seed):
                assert len(X[part].species) == len(X.species)

    def test_errors_fall_and_end_with_the_model(self, ethanol):
        curve, model, said = self.curve(ethanol, seconds=3600.0)
        sizes, errors, is_complete = curve.run(model)
        assert sizes == said == [8, 16, 32, 64] and is_complete
        forces = errors["force_mae"]
        assert forces == sorted(forces, reverse=True)
        X, y = ethanol
        assert forces[-1] == evaluate(model, X[64:], y[64:])["force_mae"]

    def test_ends_in_time_and_goes_on_with_what_is_known(self, ethanol):
        curve, model, _ = self.curve(ethanol, seconds=1e-6)
        sizes, errors, is_complete = curve.run(model)
        assert sizes == [8, 64] and not is_complete
        other, _, _ = self.curve(ethanol, seconds=1e-6, known=dict(curve.known))
        other.recipe = None  # what is known is not fitted again
        assert other.run(model)[1]["force_mae"] == errors["force_mae"]


class TestSearch:
    def search(self, name, data, **options):
        X, y = data
        recipe = recipes.find(name)
        facts = Facts.of(X)
        given = SMALL.get(name, {})
        lines = []
        search = search_of(recipe)(recipe, facts, X, y, 3600.0, report=lines.append, **options)
        return search, recipe.settings(facts, given), lines

    @pytest.mark.parametrize(("score", "stays"), [(0.995, True), (0.98, False)])
    def test_small_gains_change_nothing(self, ethanol, monkeypatch, score, stays):
        X, y = ethanol
        search, before = Search(recipes.find("sgdml"), Facts.of(X), X, y, 60.0), {"sigma": 10}
        tried = iter([score + 0.01, score])
        monkeypatch.setattr(search, "_has_time", lambda: True)
        monkeypatch.setattr(
            search, "_trial", lambda start, new: {"settings": start | new, "score": next(tried)}
        )
        best = search._stage({"settings": before, "score": 1.0}, {"sigma": [10, 20, 40]})
        assert best["settings"]["sigma"] == (10 if stays else 40)

    @pytest.mark.parametrize(("name", "kind"), [("sgdml", Search), ("gap", SearchWithNoises)])
    @pytest.mark.thorough
    def test_finds_settings_that_are_no_worse(self, name, kind, ethanol):
        search, settings, lines = self.search(name, ethanol)
        assert type(search) is kind
        settings |= {"sigma": 500.0} if name == "sgdml" else {"noise_forces": 3.0}
        tuned = search.run(settings)
        assert tuned.after[1] < 0.8 * tuned.before[1]
        assert tuned.settings == settings | tuned.chosen and tuned.chosen
        assert len(lines) == tuned.n_trials and tuned.is_complete

    def test_fixed_settings_stay(self, ethanol):
        search, settings, _ = self.search("gap", ethanol)
        fixed = {"soap.cutoff", "noise_energy", "selection", "n_sparse"}
        tuned = search.run(settings, fixed)
        assert not fixed & set(tuned.chosen)

    def test_ends_in_time_and_goes_on_with_what_is_known(self, ethanol):
        search, settings, lines = self.search("sgdml", ethanol)
        search.seconds = 1e-6
        tuned = search.run(settings)
        assert (tuned.n_trials, tuned.is_complete) == (1, False)
        assert tuned.settings == settings
        other, _, _ = self.search("sgdml", ethanol, known=dict(search.known))
        other._evaluated = None  # what is known is not tried again
        other.seconds = 1e-6
        assert other.run(settings).after == tuned.after

    def test_configurations_of_the_data_get_noises(self, crystals):
        X, y = crystals
        kinds = np.array(["a", "b"] * 12)
        search, settings, _ = self.search("gap", (X, y), configurations=kinds)
        tuned = search.run(settings, {"soap.cutoff", "soap.sigma", "selection"})
        assert set(tuned.settings["noise_energy"]) == {"a", "b"}
        model = recipes.find("gap").make(tuned.settings)
        fit(model, X, y, kinds)
        assert model.n_structures_seen_ == 24
