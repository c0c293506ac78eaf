import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pair_model import PairPotential, binding_pair_potential
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skatom import Structures, Targets, metrics
from skatom.datasets import load_ethanol
from skatom.descriptors import SOAP
from skatom.kernels import Cosine, Laplacian
from skatom.metrics.evaluation import FIGURES
from skatom.models import SGDML, ForceKernelRidge, GreedyOLS
from skatom.properties import LABELS

SCORERS = [metrics.get_scorer(name) for name in metrics.get_scorer_names()]
OF_CRYSTALS = [
    scorer for scorer in SCORERS if scorer.__name__.split("_")[1] in ("energy", "force", "stress")
]


@pytest.fixture(scope="module")
def crystals():
    """Rattled argon crystals of two sizes, labelled by a pair potential."""
    rng = np.random.default_rng(0)
    images = [bulk("Ar", cubic=True, a=2.6) * (1 + s % 2, 1, 1) for s in range(12)]
    for atoms in images:
        atoms.positions += rng.normal(size=atoms.positions.shape, scale=0.1)
    structures = Structures.from_ase(images)
    energy, forces, stress = binding_pair_potential().predict(
        structures, return_forces=True, return_stress=True
    )
    return structures, Targets(energy, forces, stress, offsets=structures.offsets)


def wrong(targets, scale=1.1):
    return Targets(
        scale * targets.energy, scale * targets.forces, scale * targets.stress,
        offsets=targets.offsets,
    )  # fmt: skip


class TestFigures:
    def test_are_zero_for_equal_targets(self, crystals):
        _, y = crystals
        for name in ("energy_mae", "energy_rmse", "force_mae", "force_rmse",
                     "force_magnitude_error", "stress_mae", "stress_rmse"):  # fmt: skip
            assert getattr(metrics, name)(y, y) == 0.0
        assert metrics.force_angle_error(y, y) < 1e-15

    def test_targets_and_arrays_agree(self, crystals):
        _, y = crystals
        pred = wrong(y)
        assert metrics.energy_mae(y, pred) == metrics.energy_mae(y.energy, pred.energy)
        assert metrics.force_rmse(y, pred) == metrics.force_rmse(y.forces, pred.forces)
        assert metrics.stress_mae(y, pred) == metrics.stress_mae(y.stress, pred.stress)

    def test_frames_of_forces_are_taken_as_one_batch(self):
        rng = np.random.default_rng(0)
        true, pred = rng.normal(size=(2, 5, 4, 3))
        assert metrics.force_mae(true, pred) == np.abs(pred - true).mean()
        assert metrics.force_mae(Targets(forces=true), pred) == np.abs(pred - true).mean()

    def test_energy_per_atom_divides_by_each_size(self):
        y = Targets([-4.0, -9.0], offsets=[0, 2, 5])
        assert metrics.energy_mae(y, [-3.0, -6.0], per_atom=True) == pytest.approx(0.75)
        assert metrics.energy_rmse(y, [-3.0, -6.0], per_atom=True) == pytest.approx(
            np.sqrt((0.5**2 + 1.0**2) / 2)
        )

    def test_force_per_atom_is_the_length_of_the_error(self):
        true, pred = np.zeros((2, 3)), np.array([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]])
        assert metrics.force_mae(true, pred, per_atom=True) == pytest.approx(2.5)
        assert metrics.force_rmse(true, pred, per_atom=True) == pytest.approx(np.sqrt(12.5))

    def test_of_tensors_are_means_over_components(self):
        rng = np.random.default_rng(0)
        for name, shape in (
            ("dipole", (4, 3)), ("polarizability", (4, 3, 3)), ("dipole_norm", (4,)),
        ):  # fmt: skip
            true, pred = rng.normal(size=(2, *shape))
            if name == "polarizability":
                true += true.transpose(0, 2, 1)
            mae, rmse = (getattr(metrics, f"{name}_{kind}") for kind in ("mae", "rmse"))
            assert mae(true, pred) == pytest.approx(np.abs(pred - true).mean())
            assert rmse(true, pred) ** 2 == pytest.approx(np.square(pred - true).mean())
            true[1] = np.nan
            rest = [0, 2, 3]
            assert mae(Targets(**{name: true}), pred) == mae(true[rest], pred[rest])

    def test_unlabelled_structures_take_no_part(self):
        energy = np.array([1.0, np.nan, 3.0])
        forces = np.zeros((3, 2, 3))
        forces[0] = np.nan
        y = Targets(energy, forces)
        assert metrics.energy_mae(y, [2.0, 100.0, 3.0]) == 0.5
        pred = np.zeros((6, 3))
        pred[:2], pred[2] = 100.0, 3.0
        assert metrics.force_mae(y, pred) == pytest.approx(3.0 / 4)

    @pytest.mark.parametrize("degrees", [1e-7, 60.0, 90.0, 180.0])
    def test_force_angle_is_exact_also_when_small(self, degrees):
        angle = np.radians(degrees)
        pred = 3.0 * np.array([[np.cos(angle), np.sin(angle), 0.0]])
        error = metrics.force_angle_error([[2.0, 0.0, 0.0]], pred)
        assert error == pytest.approx(degrees / 180.0, rel=1e-12)

    def test_zero_reference_forces_have_no_angle(self):
        true, pred = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], [[5.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]
        assert metrics.force_angle_error(true, pred) == 1.0
        assert np.isnan(metrics.force_angle_error(np.zeros((2, 3)), pred))

    def test_zero_predicted_forces_count_as_a_right_angle(self):
        assert metrics.force_angle_error([[1.0, 0.0, 0.0]], np.zeros((1, 3))) == 0.5


class TestBadInput:
    def test_shapes_that_differ(self):
        with pytest.raises(ValueError, match=r"\(2,\), the prediction \(3,\)"):
            metrics.energy_mae([1.0, 2.0], [1.0, 2.0, 3.0])

    def test_forces_of_wrong_shape(self):
        with pytest.raises(ValueError, match=r"forces in y_pred .* give \(n_atoms, 3\)"):
            metrics.force_mae(np.zeros((2, 3)), np.zeros(6))

    def test_missing_property(self):
        with pytest.raises(ValueError, match="y_true has no forces, only energy"):
            metrics.force_mae(Targets([1.0]), np.zeros((2, 3)))

    def test_nothing_labelled(self):
        with pytest.raises(ValueError, match="no structure is labelled with energy"):
            metrics.energy_mae(Targets([np.nan, np.nan]), [1.0, 2.0])

    def test_nan_in_a_plain_reference(self):
        with pytest.raises(ValueError, match="the reference is not finite"):
            metrics.energy_mae([1.0, np.nan], [1.0, 2.0])

    def test_per_atom_without_numbers_of_atoms(self):
        with pytest.raises(ValueError, match="offsets=structures.offsets"):
            metrics.energy_mae([1.0], [2.0], per_atom=True)


class TestScorers:
    @pytest.mark.parametrize("scorer", OF_CRYSTALS, ids=lambda scorer: scorer.__name__)
    def test_are_minus_the_metric(self, scorer, crystals):
        X, y = crystals
        metric = getattr(metrics, scorer.__name__.removeprefix("neg_"))
        model = binding_pair_potential()
        assert scorer(model, X, wrong(y)) == pytest.approx(-metric(wrong(y), y))

    @pytest.mark.parametrize("scorer", SCORERS, ids=lambda scorer: scorer.__name__)
    def test_pickle(self, scorer):
        assert pickle.loads(pickle.dumps(scorer)) is scorer

    @pytest.mark.parametrize("as_list", [False, True])
    def test_choose_the_right_parameter_in_a_search(self, crystals, as_list):
        X, y = crystals
        X = X.to_ase() if as_list else X
        grid = {"powers": [(2, 4), (3, 6, 9)]}
        search = GridSearchCV(PairPotential(), grid, scoring=metrics.neg_force_mae, cv=2)
        assert search.fit(X, y).best_params_ == {"powers": (3, 6, 9)}
        assert search.best_score_ == pytest.approx(0.0, abs=1e-9)

    def test_work_through_a_pipeline_and_a_search_of_it(self, crystals):
        X, y = crystals
        model = make_pipeline(FunctionTransformer(), PairPotential())
        search = GridSearchCV(
            model, {"pairpotential__cutoff": [3.0, 4.0]}, scoring=metrics.neg_stress_rmse, cv=2
        )
        scores = cross_validate(
            search, X, y, cv=2, scoring={"energy": metrics.neg_energy_mae,
                                         "force": metrics.neg_force_mae},
            error_score="raise",
        )  # fmt: skip
        assert scores["test_force"] == pytest.approx([0.0, 0.0], abs=1e-9)

    def test_have_names_of_metrics(self):
        names = metrics.get_scorer_names()
        of_labels = {name.removeprefix("neg_").rpartition("_")[0] for name in names}
        assert of_labels == {{"forces": "force"}.get(label, label) for label in LABELS}
        assert FIGURES.keys() == LABELS.keys()
        assert all(name.removeprefix("neg_") in metrics.__all__ for name in names)
        assert metrics.get_scorer("neg_force_mae") is metrics.neg_force_mae
        with pytest.raises(ValueError, match="no scorer 'neg_charge_mae': choose from neg_energy"):
            metrics.get_scorer("neg_charge_mae")

    def test_say_what_the_model_does_not_predict(self, crystals):
        class Energies(PairPotential):
            def predict(self, X):
                return super().predict(X)

        X, y = crystals
        model = Energies().fit(X, y)
        with pytest.raises(ValueError, match="does not predict forces, only energy"):
            metrics.neg_force_mae(model, X, y)


class TestEvaluate:
    def test_gives_all_figures_from_one_prediction(self, crystals):
        X, y = crystals
        calls = []

        class Counted(PairPotential):
            def predict(self, X, return_forces=False, return_stress=False):
                calls.append(1)
                return super().predict(X, return_forces, return_stress)

        model = Counted().fit(X, y)
        figures = metrics.evaluate(model, X, wrong(y))
        assert len(calls) == 1
        assert figures["energy_mae"] == pytest.approx(metrics.energy_mae(wrong(y), y))
        assert figures["force_rmse"] == pytest.approx(metrics.force_rmse(wrong(y), y))
        assert figures["stress_rmse"] == pytest.approx(metrics.stress_rmse(wrong(y), y))
        assert figures["energy_mae_per_atom"] < figures["energy_mae"]
        assert len(figures) == 10

    def test_judges_what_is_labelled(self, crystals):
        X, y = crystals
        figures = metrics.evaluate(binding_pair_potential(), X, y.energy)
        assert {name.split("_")[0] for name in figures} == {"energy"}
        part = Targets(np.where(np.arange(len(X)) < 3, y.energy + 1.0, np.nan))
        figures = metrics.evaluate(binding_pair_potential(), X, part)
        assert figures["energy_mae"] == pytest.approx(1.0)

    def test_is_a_scorer_of_many_figures(self, crystals):
        X, y = crystals
        scores = cross_validate(PairPotential(), X, y, cv=3, scoring=metrics.evaluate)
        assert scores["test_force_angle_error"].shape == (3,)

    def test_says_when_there_is_nothing_to_compare(self):
        atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 2]])
        with pytest.raises(ValueError, match="the targets have dipole"):
            metrics.evaluate(binding_pair_potential(), [atoms], Targets(dipole=np.zeros((1, 3))))

    def test_leaves_out_energies_without_a_zero(self):
        ethanol = load_ethanol()
        X, y = ethanol.structures[:40], ethanol.targets[:40]
        model = SGDML(random_state=0).fit(X, Targets(forces=y.forces, offsets=y.offsets))
        assert {name.split("_")[0] for name in metrics.evaluate(model, X, y)} == {"force"}
        pipeline = make_pipeline(FunctionTransformer(), SGDML(random_state=0)).fit(X, y)
        assert "energy_mae" in metrics.evaluate(pipeline, X, y)


@pytest.mark.parametrize(
    ("model", "judged"),
    [(GreedyOLS(n_terms=3), {"energy", "force"}), (ForceKernelRidge(Laplacian()), {"energy"})],
    ids=["with derivatives", "without"],
)
def test_models_of_pooled_features_are_judged_by_what_they_predict(water, model, judged):
    structures, targets = water
    pipeline = make_pipeline(SOAP(n_max=3, l_max=2, pool="sum"), model)
    pipeline.fit(structures[:30], Targets(energy=targets.energy[:30]))
    found = metrics.evaluate(pipeline, structures[30:], targets[30:])
    assert {name.split("_")[0] for name in found} == judged


def test_features_take_the_place_of_structures(water):
    structures, targets = water
    descriptor, model = SOAP(n_max=3, l_max=2), ForceKernelRidge(Cosine(2))
    features = descriptor.fit_transform(structures)
    model.fit(features[:20], targets[:20])
    found = metrics.evaluate(model, features[20:], targets[20:])
    pipeline = make_pipeline(descriptor, model)
    assert found == metrics.evaluate(pipeline, structures[20:], targets[20:])
