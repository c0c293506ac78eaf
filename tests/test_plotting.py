import matplotlib
import numpy as np
import pandas
import pytest
from ase import Atoms
from pair_model import PairPotential, binding_pair_potential
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatom import Targets
from skatom.metrics import neg_energy_rmse
from skatom.model_selection import EnergyStratifiedSplit
from skatom.models import BaggedGreedyOLS, GreedyOLS
from skatom.plotting import (
    ChosenFeaturesDisplay,
    GreedyPathDisplay,
    LearningCurveDisplay,
    ParityDisplay,
    SpectrumDisplay,
)


@pytest.fixture(autouse=True)
def no_windows():
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")


@pytest.fixture(scope="module")
def dimers():
    """Dimers with a label noise that more of them average out."""
    rng = np.random.default_rng(0)
    X = [Atoms("Ar2", [[0, 0, 0], [0, 0, r]]) for r in rng.uniform(1.5, 3.0, 120)]
    energy, forces = binding_pair_potential().predict(X, return_forces=True)
    energy += rng.normal(scale=1e-3, size=energy.shape)
    return X, Targets(energy, forces, offsets=2 * np.arange(len(X) + 1))


def texts(ax):
    return "\n".join(text.get_text() for text in ax.texts)


class TestParity:
    def test_axes_are_equal_and_hold_all_points(self):
        true, pred = np.random.default_rng(0).normal(size=(2, 50, 3))
        ax = ParityDisplay.from_predictions(true, pred).ax_
        assert ax.get_xlim() == ax.get_ylim()
        assert ax.get_aspect() == 1.0
        assert ax.get_xlim()[0] < min(true.min(), pred.min())
        assert ax.get_xlim()[1] > max(true.max(), pred.max())

    def test_shows_units_and_errors(self):
        true = np.linspace(-1, 1, 30).reshape(10, 3)
        ax = ParityDisplay.from_predictions(true, true + 0.02).ax_
        assert ax.get_xlabel() == "reference force component (eV/Å)"
        assert texts(ax) == "MAE 20 meV/Å\nRMSE 20 meV/Å"

    def test_energies_are_counted_from_the_reference_mean(self):
        energies = -4000.0 + np.arange(5.0)
        ax = ParityDisplay.from_predictions(energies, energies + 0.5, quantity="energy").ax_
        assert abs(np.array(ax.get_xlim())).max() < 4.0
        assert ax.get_ylabel() == "predicted energy − mean (eV)"
        assert "MAE 0.5 eV" in texts(ax)

    def test_many_points_are_coloured_by_their_density(self):
        def drawn(n):
            forces = np.random.default_rng(0).normal(size=(n, 3))
            (points,) = ParityDisplay.from_predictions(forces, forces).ax_.collections
            return points

        assert drawn(100).get_array() is None
        points = drawn(2000)
        at, density = points.get_offsets()[:, 0], points.get_array()
        assert len(density) == 6000
        assert (np.diff(density) >= 0).all()  # the densest are drawn last, on top
        assert density[abs(at) < 0.2].min() > 5 * density[abs(at) > 2.5].max()

    def test_predicts_what_is_plotted(self, dimers):
        X, y = dimers
        display = ParityDisplay.from_estimator(binding_pair_potential(), X, y)
        assert display.y_pred == pytest.approx(y.forces)

    def test_draws_on_given_axes(self, dimers):
        X, y = dimers
        figure, axes = matplotlib.pyplot.subplots(1, 2)
        for ax, quantity in zip(axes, ("energy", "forces"), strict=True):
            model = binding_pair_potential()
            display = ParityDisplay.from_estimator(model, X, y, quantity=quantity, ax=ax)
            assert display.ax_ is ax
            assert display.figure_ is figure

    def test_equal_values_have_a_range(self):
        low, high = ParityDisplay.from_predictions(
            np.zeros((2, 3)), np.zeros((2, 3))
        ).ax_.get_xlim()
        assert low < 0.0 < high

    def test_unknown_quantity_is_an_error(self, dimers):
        X, y = dimers
        with pytest.raises(ValueError, match="quantity='spins' is not known: choose from energy"):
            ParityDisplay.from_estimator(binding_pair_potential(), X, y, quantity="spins")

    def test_a_quantity_that_the_model_does_not_predict_is_an_error(self, dimers):
        X, y = dimers
        with pytest.raises(ValueError, match="does not predict dipole, only energy, forces"):
            ParityDisplay.from_estimator(binding_pair_potential(), X, y, quantity="dipole")

    @pytest.mark.parametrize(
        ("quantity", "shape", "label"),
        [
            ("dipole", (5, 3), "predicted dipole component (e·Å)"),
            ("polarizability", (5, 3, 3), "predicted polarisability component (Å³)"),
            ("dipole_norm", (5,), "predicted dipole length (e·Å)"),
            ("charges", (5,), "predicted charge (e)"),
        ],
    )
    def test_components_of_tensors(self, quantity, shape, label):
        true = np.random.default_rng(0).normal(size=shape)
        display = ParityDisplay.from_predictions(true, true + 0.5, quantity=quantity)
        assert display.ax_.get_ylabel() == label
        assert f"MAE 0.5 {label.split('(')[1][:-1]}" in texts(display.ax_)
        (points,) = display.ax_.collections
        assert len(points.get_offsets()) == true.size


class TestLearningCurve:
    def test_finds_the_power_law(self):
        sizes = np.array([50, 100, 400])
        errors = 3.0 * sizes[:, None] ** -0.75 * np.ones(2)
        display = LearningCurveDisplay(sizes, errors).plot()
        assert display.slope_ == pytest.approx(-0.75)
        assert display.prefactor_ == pytest.approx(3.0)
        assert "-0.75" in display.ax_.get_legend().get_texts()[0].get_text()

    def test_axes_are_logarithmic_with_plain_numbers(self):
        ax = LearningCurveDisplay([50, 100, 400], [[0.3], [0.2], [0.05]]).plot().ax_
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        ax.figure.canvas.draw()
        assert {"100", "200"} <= {label.get_text() for label in ax.get_xticklabels()}

    def test_fits_to_growing_parts(self, dimers):
        X, y = dimers
        cv = EnergyStratifiedSplit(3, test_size=40, random_state=0)
        curves = [
            LearningCurveDisplay.from_estimator(
                PairPotential(), X, y, train_sizes=[5, 20, 80], cv=cv, scoring=scoring
            )
            for scoring in (neg_energy_rmse, "neg_energy_rmse")
        ]
        display = curves[0]
        np.testing.assert_array_equal(curves[1].errors, display.errors)
        assert curves[1].ax_.get_ylabel() == "energy RMSE (eV)"
        assert list(display.train_sizes) == [5, 20, 80]
        assert display.errors.shape == (3, 3)
        assert display.slope_ < 0.0
        assert display.ax_.get_ylabel() == "energy RMSE (eV)"
        assert "PairPotential" in display.ax_.get_legend().get_texts()[0].get_text()

    def test_several_models_share_axes(self):
        first = LearningCurveDisplay([10, 20], [[2.0], [1.0]]).plot(label="one")
        LearningCurveDisplay([10, 40], [[2.0], [1.0]]).plot(first.ax_, label="two")
        labels = [text.get_text().split()[0] for text in first.ax_.get_legend().get_texts()]
        assert labels == ["one", "two"]

    @pytest.mark.parametrize("bad", [0.0, -0.1, np.nan])
    def test_errors_that_are_not_positive(self, bad):
        with pytest.raises(ValueError, match="choose a scorer that gives minus an error"):
            LearningCurveDisplay([10, 20], [[0.2], [bad]]).plot()

    def test_one_size_is_no_curve(self):
        with pytest.raises(ValueError, match="at least two sizes"):
            LearningCurveDisplay([10], [[0.2]]).plot()


class TestGreedyPath:
    @pytest.fixture
    def data(self):
        X = np.random.default_rng(0).normal(size=(80, 15))
        return X, X[:, 0] - X[:, 3] + 0.3 * np.sin(X[:, 1] * X[:, 2])

    def test_shows_the_errors_of_the_path(self, data):
        X, y = data
        model = GreedyOLS().fit(X[:60], y[:60])
        display = GreedyPathDisplay.from_estimator(model, X[60:], y[60:], name="RMSE (eV)")
        training, held_out, test = display.ax_.get_lines()[:3]
        assert np.array_equal(training.get_xdata(), np.arange(1, 16))
        assert training.get_ydata() == pytest.approx(-model.train_score_path_[1:])
        assert held_out.get_ydata() == pytest.approx(-model.score_path_[1:])
        errors = model.predict(X[60:]) - y[60:]
        assert test.get_ydata()[model.n_terms_ - 1] == pytest.approx(np.sqrt(np.mean(errors**2)))
        mark = display.ax_.get_lines()[3]
        assert mark.get_xdata()[0] == model.n_terms_
        assert (display.ax_.get_xscale(), display.ax_.get_ylabel()) == ("log", "RMSE (eV)")

    def test_one_curve_where_the_number_of_terms_was_given(self, data):
        display = GreedyPathDisplay.from_estimator(GreedyOLS(n_terms=4).fit(*data))
        assert list(display.errors) == ["training"]

    def test_members_of_a_bag_are_a_band(self, data):
        model = BaggedGreedyOLS(n_estimators=5, random_state=0).fit(*data)
        display = GreedyPathDisplay.from_estimator(model)
        (line,) = [line for line in display.ax_.get_lines() if line.get_label() == "held out"]
        assert line.get_ydata() == pytest.approx(np.median(-model.score_path_[:, 1:], axis=0))
        assert len(display.ax_.collections) == 1
        with pytest.raises(ValueError, match="keeps no models but the last"):
            GreedyPathDisplay.from_estimator(model, *data)

    def test_steps_before_the_model_transform(self, data):
        X, y = data
        model = make_pipeline(StandardScaler(), GreedyOLS(n_terms=5)).fit(X, y)
        display = GreedyPathDisplay.from_estimator(model, X, y)
        assert display.errors["test"] == pytest.approx(display.errors["training"])

    def test_a_path_of_no_terms_is_an_error(self):
        with pytest.raises(ValueError, match="no model of one term"):
            GreedyPathDisplay({"training": [1.0]}).plot()


class TestChosenFeatures:
    NAMES = (
        "S0[Li;q1]", "S1[Li;n3l2j0;q4/3]", "S1[valence;n3l2j1.5;q2]",
        "S2[Si;n3l2j0;n3l1j1;q4/3]", "S2[Si;n3l2j0;n2l1j1;q5/3]",
    )  # fmt: skip

    def test_counts_what_the_names_say(self):
        display = ChosenFeaturesDisplay(self.NAMES, [1, 2, 3, 4, 0]).plot()
        assert display.statistics_ == {
            "channel": {"Li": 3, "Si": 4, "valence": 3},
            "exponent": {"1": 1, "4/3": 6, "2": 3},
            "wavelet": {"n3l1": 4, "n3l2": 9},
            "scales": {"0": 2, "0, 1": 4, "1.5": 3, "none": 1},
        }
        assert list(display.statistics_["exponent"]) == ["1", "4/3", "2"]
        assert [len(ax.patches) for ax in display.axes_] == [3, 3, 2, 4]

    def test_takes_the_features_of_a_model(self):
        X = np.random.default_rng(0).normal(size=(40, 5))
        single = GreedyOLS(n_terms=2).fit(X, X[:, 0] + X[:, 3])
        display = ChosenFeaturesDisplay.from_estimator(single, self.NAMES)
        assert display.statistics_["channel"] == {"Li": 1, "Si": 1}
        bag = BaggedGreedyOLS(n_estimators=4, max_features=None, random_state=0)
        bag.fit(X, X[:, 0] + X[:, 3])
        display = ChosenFeaturesDisplay.from_estimator(bag, self.NAMES)
        assert display.statistics_["channel"] == {"Li": 4, "Si": 4}

    def test_names_come_from_the_steps_before(self):
        frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(40, 5)), columns=self.NAMES)
        model = make_pipeline(StandardScaler(), GreedyOLS(n_terms=1)).fit(frame, frame.iloc[:, 3])
        display = ChosenFeaturesDisplay.from_estimator(model)
        assert display.statistics_["scales"] == {"0, 1": 1}

    def test_other_names_are_an_error(self):
        with pytest.raises(ValueError, match="'p17' is not the name of a scattering feature"):
            ChosenFeaturesDisplay(["p17"], [1]).plot()

    def test_a_model_alone_needs_names(self):
        model = GreedyOLS(n_terms=1).fit(np.eye(4), np.arange(4.0))
        with pytest.raises(ValueError, match="give names"):
            ChosenFeaturesDisplay.from_estimator(model)


class TestSpectrum:
    def test_area_is_the_sum_of_the_lines(self):
        display = SpectrumDisplay([1000.0, 2000.0], [40.0, 10.0], width=5.0).plot()
        x, y = display.ax_.lines[0].get_data()
        assert np.trapezoid(y, x) == pytest.approx(50.0, rel=0.01)
        assert x[np.argmax(y)] == pytest.approx(1000.0, abs=0.5)
        half = y > y.max() / 2
        assert np.ptp(x[half]) == pytest.approx(5.0, abs=1.0)

    def test_a_curve_is_drawn_as_it_is(self):
        x, y = np.linspace(0, 4000, 50), np.random.default_rng(0).uniform(size=50)
        display = SpectrumDisplay(x, y, width=None).plot()
        np.testing.assert_array_equal(display.ax_.lines[0].get_data(), (x, y))
        assert display.ax_.get_xlim() == (0, 4000)

    def test_several_on_one_axis(self):
        first = SpectrumDisplay([1000.0], [1.0]).plot(label="a")
        second = SpectrumDisplay([1100.0], [2.0]).plot(first.ax_, label="b")
        assert second.ax_ is first.ax_
        assert len(first.ax_.get_legend().get_texts()) == 2

    def test_bad_input(self):
        with pytest.raises(ValueError, match="must be as many"):
            SpectrumDisplay([1.0, 2.0], [1.0]).plot()
        with pytest.raises(ValueError, match="must be positive"):
            SpectrumDisplay([1.0], [1.0], width=0.0).plot()
