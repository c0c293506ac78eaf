"""Networks of the parts of a structure: derivatives, limits, descent, and what is refused."""

import numpy as np
import pytest
from chains import WINDOWS, chain_data
from models_under_contract import SMALL_SOAP, crystals, labels_of, waters
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatom import Targets
from skatom.baseline import count_species
from skatom.descriptors import SOAP, FeatureScaler, InverseDistances
from skatom.models import LinearPotential, StructuredMLPRegressor
from skatom.models._labels import Labels
from skatom.models.neural.labelled_rows import LabelledRows
from skatom.models.neural.nonlinearities import nonlinearity
from skatom.models.neural.objective import SquaredErrors, SummedNetworks
from skatom.models.neural.perceptron import Passage, Perceptron

ACTIVATIONS = ("centered softplus", "softplus", "tanh", "logistic", "relu")
POOLED = SOAP(cutoff=3.5, n_max=3, l_max=2, pool="sum")
NOISES = {"noise_energy": 0.01, "noise_forces": 0.05, "noise_virial": 0.05}
ALL = ("energy", "forces", "stress")


def slope_of(function, step=1e-4):
    """The slope of a function at zero, to fourth order."""
    e = [function(k * step) for k in (-2, -1, 1, 2)]
    return (8 * (e[2] - e[1]) - (e[3] - e[0])) / (12 * step)


def network(sizes=(4, 5, 3, 1), activation="centered softplus", seed=0, beta=1.0):
    rng = np.random.RandomState(seed)
    made = Perceptron.random(list(sizes), activation, beta, rng)
    biases = [rng.normal(scale=0.3, size=b.shape) for b in made.intercepts]
    return Perceptron(made.coefs, biases, activation, beta)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6))
    return X, np.sin(X.reshape(200, 3, 2)).prod(axis=2).sum(axis=1)


class TestNetwork:
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize("sizes", [(4, 1), (4, 5, 1), (4, 5, 3, 1)])
    def test_slopes_of_inputs(self, activation, sizes):
        made, rng = network(sizes, activation), np.random.default_rng(1)
        x, d = rng.normal(size=(2, 7, 4))
        slopes = Passage(made, x).input_slopes()
        expected = slope_of(lambda t: Passage(made, x + t * d).outputs)
        np.testing.assert_allclose(np.sum(slopes * d, axis=1), expected, atol=1e-9)

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize("sizes", [(4, 1), (4, 5, 1), (4, 5, 3, 1)])
    def test_slopes_of_weights_and_of_weights_along_tangents(self, activation, sizes):
        made, rng = network(sizes, activation), np.random.default_rng(2)
        x, tangents = rng.normal(size=(2, 7, 4))
        weights = rng.normal(size=7)
        directions = [rng.normal(size=part.shape) for part in made.parts()]

        def along(t):
            parts = [p + t * d for p, d in zip(made.parts(), directions, strict=True)]
            way = Passage(made.with_parts(parts), x)
            return weights @ way.outputs + np.sum(tangents * way.input_slopes())

        way = Passage(made, x)
        way.input_slopes()
        slopes = way.parameter_slopes(weights, tangents)
        found = sum(np.sum(s * d) for s, d in zip(slopes, directions, strict=True))
        assert found == pytest.approx(slope_of(along), rel=1e-8)

    def test_passes_values_as_that_of_scikit_learn(self, table):
        X, y = table
        theirs = MLPRegressor(
            hidden_layer_sizes=(5, 4), activation="tanh", max_iter=3, random_state=0
        )
        with pytest.warns(ConvergenceWarning):
            theirs.fit(X, y)
        ours = Perceptron(theirs.coefs_, theirs.intercepts_, "tanh", 1.0)
        np.testing.assert_allclose(Passage(ours, X).outputs, theirs.predict(X), rtol=1e-12)

    def test_initial_weights_have_the_variance_of_two_over_their_inputs(self):
        made = Perceptron.random([400, 300, 1], "relu", 1.0, np.random.RandomState(0))
        assert made.coefs[0].var() == pytest.approx(2 / 400, rel=0.02)
        assert not any(b.any() for b in made.intercepts)


class TestNonlinearities:
    def test_centered_softplus_passes_through_the_origin_with_slope_one_half(self):
        for beta in (0.5, 1.0, 10.0):
            rho = nonlinearity("centered softplus", beta)
            assert rho.function(np.zeros(1))[0] == 0
            assert rho.slope(np.zeros(1))[0] == 0.5

    def test_softplus_becomes_a_rectifier(self):
        z = np.linspace(-2, 2, 41)
        for name in ("softplus", "centered softplus"):
            errors = [
                np.abs(nonlinearity(name, beta).function(z) - np.maximum(z, 0)).max()
                for beta in (10, 100, 1000)
            ]
            assert errors == pytest.approx(np.log(2) / np.array([10, 100, 1000]), rel=1e-6)

    @pytest.mark.parametrize("name", ACTIVATIONS)
    def test_derivatives_by_differences(self, name):
        rho, z = nonlinearity(name, 1.7), np.linspace(-3, 3, 20)
        np.testing.assert_allclose(rho.slope(z), slope_of(lambda t: rho.function(z + t)), atol=1e-9)
        np.testing.assert_allclose(
            rho.curvature(*rho.both(z)), slope_of(lambda t: rho.slope(z + t)), atol=1e-9
        )


@pytest.mark.parametrize(
    "descriptor, system, n_groups",
    [(SMALL_SOAP, crystals, 1), (POOLED, crystals, 3), (InverseDistances(), waters, 3)],
    ids=["atoms", "structures", "pairs"],
)
class TestLoss:
    """The loss of energies, forces and virials, and its derivative by the weights."""

    def made(self, descriptor, system, n_groups, weights=None):
        structures = system(4)
        names = [n for n in ALL if n != "stress" or structures.pbc.all()]
        targets = labels_of(structures, names)
        X = make_pipeline(
            descriptor, FeatureScaler("standard", out_of_range="ignore")
        ).fit_transform(structures)
        atomic = hasattr(X, "pool")
        x = X.values if atomic else X.values.reshape(n_groups * len(X), -1)
        species = structures.species
        kinds = np.searchsorted(species, structures.numbers) if atomic else np.zeros(len(x), int)
        offsets = X.offsets if atomic else n_groups * np.arange(len(X) + 1)
        labels = Labels.of(structures, targets, None, NOISES, None, weights)
        energies = labels.energy + 9.0 * structures.n_atoms
        weights = np.ones(len(X)) if weights is None else weights
        data = LabelledRows.of_structures(
            X, (x, kinds, offsets), labels, energies, n_groups, weights
        )
        networks = [network((x.shape[1], 5, 3, 1), seed=k) for k in range(kinds.max() + 1)]
        return SquaredErrors(data, SummedNetworks(networks, 0.3), 1e-3, np.arange(4)), X, targets

    def test_slope_of_all_and_of_some(self, descriptor, system, n_groups):
        loss, _, _ = self.made(descriptor, system, n_groups)
        theta, direction = loss.summed.vector(), np.random.default_rng(3).normal(size=3)
        direction = np.resize(direction, theta.shape)
        for some in (slice(None), np.array([0, 3])):
            value = slope_of(lambda t, s=some: loss(theta + t * direction, s)[0])
            assert loss(theta, some)[1] @ direction == pytest.approx(value, rel=1e-8)

    def test_is_that_of_the_pullback_of_the_features(self, descriptor, system, n_groups):
        loss, X, targets = self.made(descriptor, system, n_groups)
        data, summed = loss.data, loss.summed
        outputs = np.add.reduceat(summed.outputs(data.x, data.kinds), data.offsets[:-1])
        n_atoms = X.structures.n_atoms
        left = (outputs - targets.energy - 9.0 * n_atoms) / (0.01 * np.sqrt(n_atoms))
        errors, n = np.sum(left**2), len(left)
        gradient, virial = X.pullback(summed.slopes(data.x, data.kinds).reshape(X.values.shape))
        off = (gradient + targets.forces) / 0.05
        errors, n = errors + np.sum(off**2), n + off.size
        if targets.stress is not None:
            volumes = X.structures.volumes()[:, None, None]
            off = (virial - targets.stress * volumes) / (0.05 * np.sqrt(n_atoms))[:, None, None]
            off = off[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
            errors, n = errors + np.sum(off**2), n + off.size
        decay = sum(np.sum(w**2) for made in summed.networks for w in made.coefs)
        expected = errors / n + 1e-3 * decay
        assert loss(summed.vector())[0] == pytest.approx(expected, rel=1e-10)
        assert loss.errors(summed.vector()) == pytest.approx(errors / n, rel=1e-10)

    def test_a_weight_of_two_is_two_structures(self, descriptor, system, n_groups):
        loss, X, _ = self.made(descriptor, system, n_groups, np.array([2.0, 1.0, 1.0, 0.0]))
        plain, _, _ = self.made(descriptor, system, n_groups)
        theta, chosen = loss.summed.vector(), np.array([0, 0, 1, 2])
        heavy = SquaredErrors(loss.data, loss.summed, 1e-3, np.arange(3))
        twice = SquaredErrors(plain.data, plain.summed, 1e-3, chosen)
        assert heavy(theta)[0] == pytest.approx(twice(theta)[0], rel=1e-12)
        np.testing.assert_allclose(heavy(theta)[1], twice(theta)[1], rtol=1e-9, atol=1e-9)

    def test_batches_average_to_the_whole(self, descriptor, system, n_groups):
        loss, _, _ = self.made(descriptor, system, n_groups)
        theta = loss.summed.vector()
        parts = [loss(theta, some) for some in (np.array([0]), np.array([1, 2, 3]))]
        value = 0.25 * parts[0][0] + 0.75 * parts[1][0]
        slope = 0.25 * parts[0][1] + 0.75 * parts[1][1]
        # structures of as many labels each
        assert value == pytest.approx(loss(theta)[0], rel=1e-10)
        np.testing.assert_allclose(slope, loss(theta)[1], rtol=1e-8, atol=1e-9)


class TestParts:
    def test_their_order_does_not_matter(self, table):
        X, y = table
        model = StructuredMLPRegressor((8,), n_groups=3, solver="lbfgs", random_state=0).fit(X, y)
        other = X.reshape(-1, 3, 2)[:, [2, 0, 1]].reshape(X.shape)
        np.testing.assert_allclose(model.predict(other), model.predict(X), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(
            model.predict_groups(other), model.predict_groups(X)[:, [2, 0, 1]], rtol=1e-12
        )

    def test_add_up(self, table):
        X, y = table
        model = StructuredMLPRegressor((8,), n_groups=3, solver="lbfgs", random_state=0).fit(X, y)
        np.testing.assert_allclose(model.predict_groups(X).sum(axis=1), model.predict(X))

    def test_one_part_is_a_plain_network(self, table):
        X, y = table
        models = [
            StructuredMLPRegressor((6,), n_groups=n, max_iter=20, tol=0.9, random_state=0)
            for n in (None, 1)
        ]
        first, second = (model.fit(X, y).predict(X) for model in models)
        np.testing.assert_array_equal(first, second)

    def test_of_structures_add_up_with_the_energies_of_the_elements(self):
        structures = waters(8)
        X = InverseDistances().fit_transform(structures)
        model = StructuredMLPRegressor((4,), n_groups=3, solver="lbfgs", tol=0.05, random_state=0)
        model.fit(X, labels_of(structures, ("energy", "forces")))
        np.testing.assert_allclose(model.predict_groups(X).sum(axis=1), model.predict(X))
        constants = count_species(structures, model.species_) @ model.intercept_
        assert np.abs(model.predict(X) - constants).max() < 1.0 < np.abs(constants).min()

    def test_atoms_of_all_species_may_share_a_network(self):
        structures = crystals(6)
        X = SMALL_SOAP.fit_transform(structures)
        y = labels_of(structures, ALL)
        own = StructuredMLPRegressor((4,), solver="lbfgs", tol=0.05, random_state=0).fit(X, y)
        shared = StructuredMLPRegressor(
            (4,), by_species=False, solver="lbfgs", tol=0.05, random_state=0
        ).fit(X, y)
        assert (len(own.networks_), len(shared.networks_)) == (2, 1)
        assert shared.score(X, y) > 0.5

    def test_structures_of_more_atoms_than_in_training(self):
        """Networks of atoms apply to any number of atoms."""
        structures = crystals(6)
        model = make_pipeline(
            SMALL_SOAP, StructuredMLPRegressor((4,), solver="lbfgs", tol=0.05, random_state=0)
        ).fit(structures, labels_of(structures, ALL))
        atoms = structures[0].to_ase()[0]
        one, two = model.predict([atoms, atoms.repeat((2, 1, 1))])
        assert two == pytest.approx(2 * one, rel=1e-9)


class TestDescent:
    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    def test_learns_a_product(self, table, solver):
        X, y = table
        model = StructuredMLPRegressor(
            (12, 12), n_groups=3, solver=solver, alpha=1e-5, tol=5e-3, max_iter=3000, random_state=0
        ).fit(X, y)
        assert model.score(X, y) > 0.98
        assert model.loss_curve_[-1] < 0.02 * model.loss_curve_[0]
        assert model.best_loss_ == min(model.loss_curve_)
        assert model.n_iter_ == len(model.loss_curve_)

    def test_momentum_learns_a_line(self):
        X = np.random.default_rng(0).normal(size=(100, 3))
        y = X @ [1.0, -2.0, 0.5]
        model = StructuredMLPRegressor(
            (), solver="sgd", alpha=0.0, max_iter=3000, tol=1e-2, random_state=0
        ).fit(X, y)
        np.testing.assert_allclose(model.predict(X), y, atol=1e-3)

    def test_without_hidden_layers_it_is_a_linear_model(self):
        structures = crystals(8)
        X = SMALL_SOAP.fit_transform(structures)[:, :10]
        y = labels_of(structures, ALL)
        settings = {"noise_energy": 0.01, "noise_forces": 0.1, "noise_virial": 0.1}
        model = StructuredMLPRegressor(
            (), by_species=False, solver="lbfgs", alpha=0.0, tol=1e-9, max_iter=20000, **settings
        ).fit(X, y)
        # whose constants are those of the elements, and one of all atoms
        linear = LinearPotential(1e-12, by_species=False, baseline="elements", **settings).fit(X, y)
        found, expected = (m.predict(X, return_forces=True) for m in (model, linear))
        assert np.abs(expected[1]).max() > 0.1
        np.testing.assert_allclose(found[1], expected[1], atol=0.02 * np.abs(expected[1]).max())

    def test_ends_at_the_number_of_iterations_with_a_warning(self, table):
        X, y = table
        for solver in ("adam", "sgd", "lbfgs"):
            model = StructuredMLPRegressor((5,), solver=solver, max_iter=4, random_state=0)
            with pytest.warns(ConvergenceWarning, match="still falls after max_iter=4 iterations"):
                model.fit(X, y)
            assert model.n_iter_ == 4

    def test_too_long_steps_become_shorter(self, table):
        X, y = table
        model = StructuredMLPRegressor(
            (10,), solver="sgd", n_groups=3, learning_rate_init=3.0, max_iter=2000, random_state=0
        ).fit(X, y)
        assert np.isfinite(model.predict(X)).all()
        assert model.best_loss_ < 1.0

    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    def test_early_stopping_keeps_the_weights_of_the_smallest_error_left_out(self, table, solver):
        X, y = table
        y = y + np.random.default_rng(1).normal(scale=0.5, size=len(y))
        settings = {"alpha": 0.0, "tol": 2e-2, "max_iter": 3000, "random_state": 0}
        model = StructuredMLPRegressor(
            (20,), solver=solver, early_stopping=True, validation_fraction=0.3, **settings
        ).fit(X, y)
        assert model.best_loss_ == min(model.validation_curve_)
        assert len(model.validation_curve_) == model.n_iter_
        assert model.validation_curve_[-1] >= model.best_loss_
        whole = StructuredMLPRegressor((20,), solver=solver, **settings).fit(X, y)
        assert whole.score(X, y) > model.score(X, y)

    def test_a_warm_start_goes_on(self, table):
        X, y = table
        model = StructuredMLPRegressor(
            (8,), n_groups=3, solver="lbfgs", tol=0.05, warm_start=True, random_state=0
        )
        first = model.fit(X, y).best_loss_
        again = model.set_params(tol=1e-3).fit(X, y)
        assert again.loss_curve_[0] < 1.1 * first
        assert again.best_loss_ < first
        with pytest.raises(ValueError, match="warm_start=True goes on with 1 networks of the lay"):
            model.set_params(n_groups=2).fit(X, y)

    def test_weight_decay_makes_weights_smaller(self, table):
        X, y = table
        sizes = [
            sum(
                np.sum(w**2)
                for w in StructuredMLPRegressor(
                    (8,), n_groups=3, alpha=alpha, solver="lbfgs", random_state=0
                ).fit(X, y).networks_[0].coefs
            )
            for alpha in (1e-5, 1e-3, 1e-1)
        ]  # fmt: skip
        assert sizes[0] > sizes[1] > sizes[2]

    def test_threads_do_not_change_it(self, table):
        numba = pytest.importorskip("numba")
        structures = crystals(6)
        X, y = SMALL_SOAP.fit_transform(structures), labels_of(structures, ALL)
        found = []
        before = numba.get_num_threads()
        for threads in (1, before):
            numba.set_num_threads(threads)
            model = StructuredMLPRegressor((4,), solver="lbfgs", tol=0.1, random_state=0).fit(X, y)
            found.append(model.predict(X, return_forces=True)[1])
        numba.set_num_threads(before)
        np.testing.assert_array_equal(*found)


class TestForcesAlone:
    def test_leave_the_zero_of_energies_open(self):
        structures = crystals(8)
        y = labels_of(structures, ("forces",))
        model = make_pipeline(
            SMALL_SOAP, StructuredMLPRegressor((6,), solver="lbfgs", tol=0.01, random_state=0)
        ).fit(structures, y)
        assert not model[-1].absolute_energies_
        assert model.score(structures, y) > 0.5
        assert not model[-1].intercept_.any()

    def test_some_structures_without_labels_of_a_kind(self):
        structures = crystals(8)
        y = labels_of(structures, ALL)
        energy, forces, stress = y.energy.copy(), y.forces.copy(), y.stress.copy()
        energy[:4], stress[2:] = np.nan, np.nan
        forces[structures.offsets[6] :] = np.nan
        some = Targets(energy=energy, forces=forces, stress=stress, offsets=y.offsets)
        model = make_pipeline(
            SMALL_SOAP, StructuredMLPRegressor((6,), solver="lbfgs", tol=0.01, random_state=0)
        ).fit(structures, some)
        assert model.score(structures[4:], y[4:]) > 0


@pytest.fixture(scope="module")
def chain_scores():
    train, test = chain_data(6, 25, 0), chain_data(20, 25, 1)
    columns = {"plain": slice(None), "structured": WINDOWS.ravel()}
    found = {}
    for name, n_groups, activation in (
        ("plain", None, "centered softplus"),
        ("structured", 6, "centered softplus"),
        ("structured", 6, "relu"),
    ):
        model = make_pipeline(
            StandardScaler(),
            StructuredMLPRegressor(
                activation=activation, n_groups=n_groups, max_iter=150, random_state=0
            ),
        ).fit(train[0][:, columns[name]], train[1])
        found[name, activation] = model.score(test[0][:, columns[name]], test[1])
    return found


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestChain:
    """A network of windows of a chain, whose energy is a sum over them, beside a plain one."""

    def test_is_predicted_better_by_shared_networks_of_its_windows(self, chain_scores):
        structured = chain_scores["structured", "centered softplus"]
        assert structured > 0.9
        assert 1 - structured < 0.5 * (1 - chain_scores["plain", "centered softplus"])

    def test_is_predicted_better_by_smooth_functions(self, chain_scores):
        smooth = chain_scores["structured", "centered softplus"]
        assert smooth > chain_scores["structured", "relu"]


class TestBadInput:
    def test_features_that_cannot_be_divided(self, table):
        X, y = table
        with pytest.raises(ValueError, match="6 features cannot be divided into n_groups=4 parts"):
            StructuredMLPRegressor(n_groups=4).fit(X, y)

    def test_groups_of_atoms(self):
        X = SMALL_SOAP.fit_transform(crystals(3))
        with pytest.raises(ValueError, match="n_groups=2 divides the features of structures"):
            StructuredMLPRegressor(n_groups=2).fit(X, np.arange(3.0))

    def test_sizes_of_layers(self, table):
        for sizes in ((5, 0), (2.5,), (-1,)):
            with pytest.raises(ValueError, match="must be positive integers"):
                StructuredMLPRegressor(sizes).fit(*table)

    def test_weights_that_are_all_zero(self, table):
        X, y = table
        with pytest.raises(ValueError, match="no label has weight|sample weights are zero|zero"):
            StructuredMLPRegressor().fit(X, y, sample_weight=np.zeros(len(y)))

    def test_a_baseline_of_a_table(self, table):
        with pytest.raises(ValueError, match="baseline='elements' needs structures"):
            StructuredMLPRegressor(baseline="elements").fit(*table)

    def test_parts_of_atoms_are_their_energies(self):
        structures = crystals(4)
        X = SMALL_SOAP.fit_transform(structures)
        model = StructuredMLPRegressor((3,), solver="lbfgs", tol=0.1, random_state=0)
        model.fit(X, labels_of(structures, ALL))
        with pytest.raises(ValueError, match="the parts of AtomicFeatures are atoms"):
            model.predict_groups(X)

    def test_derivatives_that_do_not_fit_in_memory(self, monkeypatch):
        X = SMALL_SOAP.fit_transform(crystals(4))
        monkeypatch.setattr("skatom.memory.available_memory", lambda: 2**20)
        with pytest.raises(MemoryError, match="derivatives of 63 features of 4 structures"):
            StructuredMLPRegressor().fit(X, labels_of(crystals(4), ALL))

    def test_more_rows_than_fit_in_memory(self, monkeypatch, table):
        monkeypatch.setattr("skatom.memory.available_memory", lambda: 2**20)
        X = np.tile(table[0], (20, 1))
        with pytest.raises(MemoryError, match="the passage of 4000 rows through a network"):
            StructuredMLPRegressor((2000,), solver="lbfgs").fit(X, X[:, 0])


def test_a_search_of_hidden_layers(table):
    X, y = table
    search = GridSearchCV(
        StructuredMLPRegressor(n_groups=3, solver="lbfgs", tol=0.01, random_state=0),
        {"hidden_layer_sizes": [(2,), (12, 12)]}, cv=2,
    ).fit(X, y)  # fmt: skip
    assert search.best_params_ == {"hidden_layer_sizes": (12, 12)}


def test_a_progress_bar_shows_the_loss(table, capsys):
    StructuredMLPRegressor((4,), solver="lbfgs", tol=0.1, verbose=1, random_state=0).fit(*table)
    shown = capsys.readouterr().err
    assert "StructuredMLPRegressor" in shown and "loss=" in shown
