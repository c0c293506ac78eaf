"""What every model promises: outputs by name, derivatives, labels, baselines, files, pipelines."""

import copy
import inspect
import io
import re
import warnings

import joblib
import numpy as np
import pytest
import skops.io
from models_under_contract import CASES, labels_of
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

import skatom.models
from skatom import Structures, Targets
from skatom._prediction import comparable, last_step, predict, predictable
from skatom.baseline import AtomicBaseline, PairRepulsion
from skatom.calculators import SkatomCalculator
from skatom.metrics import evaluate, neg_force_mae
from skatom.neighbors import neighbor_list
from skatom.properties import LABELS, OUTPUTS, in_order

ENERGY_MODELS = [name for name, case in CASES.items() if {"energy", "forces"} & {*case.labels}]


@pytest.fixture(scope="module", params=CASES)
def fit_and_warnings(request):
    case = CASES[request.param]
    structures, targets = case.data()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = case.make().fit(structures, targets)
    return case, model, structures, targets, said


@pytest.fixture
def fitted(fit_and_warnings):
    return fit_and_warnings[:4]


@pytest.fixture(scope="module", params=ENERGY_MODELS)
def of_energies(request):
    """A model with a baseline of elements and a repulsion, where it takes one."""
    case = CASES[request.param]
    structures, targets = case.data()
    model = case.make()
    name = f"{case.prefix}baseline"
    if name in model.get_params():
        model.set_params(**{name: ["elements", PairRepulsion(cutoff=2.5)]})
    return case, model.fit(structures, targets), structures, targets


def everything(model, X):
    """All outputs in one call of ``predict``, by name."""
    names = predictable(model)
    keywords = {OUTPUTS[name].keyword: True for name in names[1:]}
    if not X.pbc.all():
        names = [name for name in names if not name.startswith("stress")]
        keywords = {k: v for k, v in keywords.items() if "stress" not in k}
    answer = model.predict(X, **keywords)
    return dict(zip(names, answer if isinstance(answer, tuple) else (answer,), strict=True))


class TestOutputs:
    def test_are_named_in_the_order_of_the_registry(self, fitted):
        _, model, _, _ = fitted
        names = predictable(model)
        assert names == in_order(names)
        assert set(names) <= set(last_step(model).gives)

    def test_come_in_that_order_with_the_shapes_of_the_registry(self, fitted):
        _, model, structures, _ = fitted
        found = everything(model, structures[:3])
        n_atoms = len(structures[:3].numbers)
        for name, values in found.items():
            n = 3 if OUTPUTS[name].per == "structure" else n_atoms
            assert values.shape == (n, *OUTPUTS[name].shape), name
            assert np.isfinite(values).all(), name
            if name.endswith("_std"):
                assert (values >= 0).all(), name

    def test_do_not_depend_on_what_else_is_asked_for(self, fitted):
        _, model, structures, _ = fitted
        found = everything(model, structures[:3])
        for name, values in found.items():
            alone = predict(model, structures[:3], [name])[name]
            np.testing.assert_allclose(alone, values, rtol=1e-9, atol=1e-12)

    def test_what_is_not_given_is_an_error_that_names_models(self, fitted):
        _, model, structures, _ = fitted
        names = predictable(model)
        for name in set(OUTPUTS) - set(names):
            expected = f"gives {names[0]}.* but no {name}; {name} may be given by: "
            with pytest.raises(ValueError, match=expected):
                model.predict(structures[:1], **{OUTPUTS[name].keyword: True})

    def test_an_unknown_keyword_is_an_error(self, fitted):
        _, model, structures, _ = fitted
        with pytest.raises(TypeError, match="unexpected keyword argument 'return_force'"):
            model.predict(structures[:1], return_force=True)

    def test_an_unfitted_model_says_so(self, fitted):
        case, _, structures, _ = fitted
        with pytest.raises(NotFittedError):
            case.make().predict(structures)

    def test_local_energies_sum_up(self, fitted):
        _, model, structures, _ = fitted
        if "local_energies" not in predictable(model):
            pytest.skip("gives no energies of atoms")
        found = predict(model, structures, ["energy", "local_energies"])
        sums = np.add.reduceat(found["local_energies"], structures.offsets[:-1])
        np.testing.assert_allclose(sums, found["energy"], rtol=1e-9)

    def test_metrics_judge_what_is_labelled_and_comparable(self, fitted):
        _, model, structures, targets = fitted
        names = [name for name in comparable(model) if targets.labelled(name).any()]
        expected = {{"forces": "force"}.get(name, name) for name in names}
        figures = evaluate(model, structures, targets)
        stems = {re.sub("_(mae|rmse|magnitude|angle).*", "", figure) for figure in figures}
        assert stems == expected

    def test_the_calculator_knows_them(self, fitted):
        _, model, structures, _ = fitted
        atoms = structures[:1].to_ase()[0]
        atoms.calc = SkatomCalculator(model)
        names = atoms.calc.implemented_properties
        found = everything(model, structures[:1])
        if "energy" in found:
            assert atoms.get_potential_energy() == pytest.approx(found["energy"][0], abs=1e-9)
        else:
            assert "energy" not in names
        if "forces" in found:
            np.testing.assert_allclose(atoms.get_forces(), found["forces"], atol=1e-9)
        if "dipole" in found:
            np.testing.assert_allclose(atoms.get_dipole_moment(), found["dipole"][0], atol=1e-9)


class TestDerivatives:
    def test_forces_are_minus_the_slopes_of_the_energy(self, of_energies):
        _, model, structures, _ = of_energies
        one, step = structures[1], 1e-4
        forces = predict(model, one, ["forces"])["forces"]
        n, rng = len(one.numbers), np.random.default_rng(0)
        for direction in rng.normal(size=(3, n, 3)):
            moved = [
                Structures(one.numbers, one.positions + x * direction, None, one.cells, one.pbc)
                for x in step * np.array([-2, -1, 1, 2])
            ]
            e = [predict(model, x, ["energy"])["energy"][0] for x in moved]
            slope = (8 * (e[2] - e[1]) - (e[3] - e[0])) / (12 * step)
            expected = -np.sum(forces * direction)
            assert slope == pytest.approx(expected, abs=1e-6 * np.abs(forces).sum() + 1e-8)

    def test_stress_is_the_slope_along_strains_over_the_volume(self, of_energies):
        _, model, structures, _ = of_energies
        if not structures.pbc.all():
            pytest.skip("molecules have no stress")
        one, step = structures[1], 1e-4
        stress = predict(model, one, ["stress"])["stress"][0]
        np.testing.assert_allclose(stress, stress.T, atol=1e-9 + 1e-7 * np.abs(stress).max())
        for a, b in ((0, 0), (2, 1), (0, 2)):
            e = []
            for k in (-2, -1, 1, 2):
                strain = np.eye(3)
                strain[a, b] += k * step
                x = Structures(
                    one.numbers, one.positions @ strain.T, None, one.cells @ strain.T, one.pbc
                )
                e.append(predict(model, x, ["energy"])["energy"][0])
            slope = (8 * (e[2] - e[1]) - (e[3] - e[0])) / (12 * step) / one.volumes()[0]
            assert stress[a, b] == pytest.approx(slope, abs=1e-6 * np.abs(stress).max() + 1e-9)

    def test_molecules_have_no_stress(self, of_energies):
        _, model, structures, _ = of_energies
        if structures.pbc.all():
            pytest.skip("these structures are periodic")
        with pytest.raises(ValueError, match="periodic in three directions"):
            model.predict(structures, return_stress=True)


class TestInvariance:
    def test_rotation_and_translation(self, fitted):
        _, model, structures, _ = fitted
        turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
        turn *= np.linalg.det(turn)
        turned = Structures(
            structures.numbers, structures.positions @ turn.T + 0.3, structures.offsets,
            structures.cells @ turn.T, structures.pbc,
        )  # fmt: skip
        before, after = everything(model, structures), everything(model, turned)
        for name in set(before) - {"forces_std", "stress_std", "dipole_std", "polarizability_std"}:
            expected = before[name]
            if OUTPUTS[name].shape == (3,):
                expected = expected @ turn.T
            elif OUTPUTS[name].shape == (3, 3):
                expected = turn @ expected @ turn.T
            scale = np.abs(expected).max()
            tolerance = 1e-7 * scale + 1e-9
            np.testing.assert_allclose(after[name], expected, atol=tolerance, err_msg=name)

    def test_order_of_the_cell_vectors(self, fitted):
        _, model, structures, _ = fitted
        left = Structures(
            structures.numbers, structures.positions, structures.offsets,
            structures.cells[:, [1, 0, 2]], structures.pbc,
        )  # fmt: skip
        before, after = everything(model, structures), everything(model, left)
        for name, expected in before.items():
            tolerance = 1e-8 * np.abs(expected).max() + 1e-9
            np.testing.assert_allclose(after[name], expected, atol=tolerance, err_msg=name)

    def test_predictions_do_not_depend_on_the_batch(self, fitted):
        _, model, structures, _ = fitted
        whole, part = everything(model, structures), everything(model, structures[2:4])
        atoms = slice(*structures.offsets[[2, 4]])
        for name, values in part.items():
            rows = slice(2, 4) if OUTPUTS[name].per == "structure" else atoms
            np.testing.assert_allclose(values, whole[name][rows], rtol=1e-8, atol=1e-10)

    def test_neighbours_that_are_given_are_not_searched(self, fitted, monkeypatch):
        _, model, structures, _ = fitted
        expected = everything(model, structures[:3])
        pairs = neighbor_list(structures[:3], 6.5)
        known = structures[:3].with_neighbors(pairs)
        monkeypatch.setattr("skatom._cpu.neighbors.build_grids", None)
        for name, values in everything(model, known).items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-9, atol=1e-9)
        if not hasattr(model, "steps"):
            by_keyword = model.predict(structures[:3], neighbors=pairs)
            np.testing.assert_allclose(by_keyword, expected[predictable(model)[0]], rtol=1e-9)

    def test_neighbours_of_too_short_a_cutoff_are_an_error(self, fitted):
        _, model, structures, _ = fitted
        known = structures[:3].with_neighbors(neighbor_list(structures[:3], 0.5))
        if any(name in repr(model) for name in ("GDML", "InverseDistances")):
            pytest.skip("needs no neighbours")
        with pytest.raises(ValueError, match="are not in a list of neighbours within 0.5 Å"):
            model.predict(known)


class TestLabels:
    def test_labels_of_the_energy_that_are_not_learnt_are_named(self, fitted):
        case, model, structures, _ = fitted
        if "forces" not in case.labels or not structures.pbc.all() or "stress" in case.labels:
            pytest.skip("learns all labels of the energy, or none of these data has a stress")
        labels = labels_of(structures, ("energy", "forces", "stress"))
        with pytest.warns(UserWarning, match="does not learn from stress: these labels"):
            clone(model).fit(structures, labels)

    def test_labels_that_are_learnt_are_not_warned_of(self, fit_and_warnings):
        said = [str(w.message) for w in fit_and_warnings[4] if issubclass(w.category, UserWarning)]
        known = re.compile("n_sparse=|.*representative|only .* environments", re.IGNORECASE)
        assert not [message for message in said if not known.match(message)]

    def test_a_refit_forgets_what_was_before(self, fitted):
        _, model, structures, targets = fitted
        again = copy.deepcopy(model).fit(structures[:6], targets[:6])
        again.fit(structures, targets)
        for name, values in everything(model, structures[:2]).items():
            np.testing.assert_array_equal(predict(again, structures[:2], [name])[name], values)


class TestBaselines:
    def test_of_the_truth_leaves_nothing_to_learn(self, of_energies):
        case, model, structures, targets = of_energies
        name = f"{case.prefix}baseline"
        if name not in model.get_params():
            pytest.skip("has no baseline of its own")
        if getattr(model, "electrostatics", False):
            pytest.skip("its first charges have an energy, which training makes small, not zero")
        # the labels are a known repulsion: with it as the baseline, forces are right without data
        truth = Scaled(PairRepulsion(cutoff=3.3, inner=0.1), 0.05)
        knowing = clone(model).set_params(**{name: [truth, "elements"]})
        of_energy = [label for label in case.labels if label != "dipole"]
        knowing.fit(structures[:6], labels_of(structures[:6], of_energy))
        forces = predict(knowing, structures[6:], ["forces"])["forces"]
        expected = labels_of(structures[6:], ("forces",)).forces
        np.testing.assert_allclose(forces, expected, atol=1e-5 * np.abs(expected).max())

    def test_of_given_energies_is_added(self, of_energies):
        case, model, structures, targets = of_energies
        name = f"{case.prefix}baseline"
        if name not in model.get_params() or "energy" not in case.labels:
            pytest.skip("has no baseline of its own, or learns no energies")
        symbols = {"crystals": ("Li", "F"), "waters": ("H", "O")}[case.system]
        plain = clone(model).set_params(**{name: None}).fit(structures, targets)
        given = AtomicBaseline(dict.fromkeys(symbols, -7.0))
        shifted = Targets(
            **{label: getattr(targets, label) for label in targets.names if label != "energy"},
            energy=targets.energy - 7.0 * structures.n_atoms,
            offsets=targets.offsets,
        )
        other = clone(model).set_params(**{name: given}).fit(structures, shifted)
        np.testing.assert_allclose(
            predict(other, structures, ["energy"])["energy"],
            predict(plain, structures, ["energy"])["energy"] - 7.0 * structures.n_atoms,
            rtol=1e-6,
        )

    def test_that_fail_leave_the_model_as_it_was(self, of_energies):
        case, model, structures, targets = of_energies
        name = f"{case.prefix}baseline"
        if name not in model.get_params():
            pytest.skip("has no baseline of its own")
        again, before = copy.deepcopy(model), model.get_params()[name]
        with pytest.raises(RuntimeError, match="no energies today"):
            again.set_params(**{name: Failing()}).fit(structures[:6], targets[:6])
        again.set_params(**{name: before})
        found = everything(again, structures[:2])
        for output, values in everything(model, structures[:2]).items():
            np.testing.assert_array_equal(found[output], values)

    def test_of_another_kind_is_an_error(self, of_energies):
        case, model, structures, targets = of_energies
        name = f"{case.prefix}baseline"
        if name not in model.get_params():
            pytest.skip("has no baseline of its own")
        with pytest.raises(ValueError, match="baseline='atoms' must be 'elements', a dict"):
            clone(model).set_params(**{name: "atoms"}).fit(structures, targets)


class Failing(PairRepulsion):
    """A repulsion that fails when it is used."""

    def local_energies(self, X):
        raise RuntimeError("no energies today")

    def differentiate(self, X):
        raise RuntimeError("no energies today")


class Scaled(PairRepulsion):
    """A repulsion times a number."""

    def __init__(self, repulsion, factor):
        self.repulsion = repulsion
        self.factor = factor
        super().__init__(repulsion.cutoff, repulsion.inner)

    def local_energies(self, X):
        return self.factor * super().local_energies(X)

    def differentiate(self, X):
        return tuple(self.factor * part for part in super().differentiate(X))


class TestScikitLearn:
    def test_clone_and_files(self, fitted, tmp_path):
        _, model, structures, _ = fitted
        expected = everything(model, structures[:2])
        joblib.dump(model, tmp_path / "model.joblib")
        stream = io.BytesIO(skops.io.dumps(model))
        unknown = skops.io.get_untrusted_types(data=stream.getvalue())
        assert all(name.startswith("skatom.") for name in unknown), unknown
        again = [
            joblib.load(tmp_path / "model.joblib"),
            skops.io.loads(stream.getvalue(), trusted=unknown),
        ]
        for copied in again:
            for name, values in everything(copied, structures[:2]).items():
                np.testing.assert_array_equal(values, expected[name])
        fresh = clone(model)
        with pytest.raises(NotFittedError):
            fresh.predict(structures)

    def test_a_search_by_a_scorer_of_forces(self, fitted):
        _, model, structures, targets = fitted
        if "forces" not in predictable(model) or not targets.labelled("forces").any():
            pytest.skip("learns no forces")
        half = np.array_split(np.arange(len(structures)), 2)
        search = GridSearchCV(
            clone(model), {}, scoring=neg_force_mae, cv=[half], error_score="raise"
        ).fit(structures, targets)
        assert np.isfinite(search.best_score_)
        assert "forces" in predict(search, structures[:2], ["forces"])

    def test_score_is_one_for_perfect_and_less_for_shuffled_labels(self, fitted):
        _, model, structures, targets = fitted
        score = model.score(structures, targets)
        order = np.random.default_rng(0).permutation(len(structures))
        assert score > model.score(structures, targets[order])
        assert score <= 1.0


def test_every_public_model_is_under_contract():
    under = {type(last_step(case.make())).__name__ for case in CASES.values()}
    under |= {type(case.make()).__name__ for case in CASES.values()}
    public = set(skatom.models.__all__) - {"PairRepulsion", "write_mtp"}
    assert public <= under


def test_the_keywords_of_predict_are_those_of_the_registry():
    for name in skatom.models.__all__:
        cls = getattr(skatom.models, name)
        if not hasattr(cls, "gives"):
            continue
        parameters = list(inspect.signature(cls.predict).parameters)
        assert parameters == ["self", "X", "neighbors", *(p.keyword for p in OUTPUTS.values())]


def test_standard_deviations_follow_the_means_in_the_registry():
    names = list(OUTPUTS)
    half = len(names) // 2
    assert names[half:] == [f"{name}_std" for name in names[:half]]
    assert OUTPUTS["energy_std"].keyword == "return_std"
    assert OUTPUTS["forces_std"].keyword == "return_forces_std"
    assert set(LABELS) <= set(names[:half])
