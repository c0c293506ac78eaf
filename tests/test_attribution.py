"""Shares of features in predictions: conservation, limits, and what has none."""

import numpy as np
import pytest
from chains import PAIRS, WINDOWS, chain_data
from models_under_contract import SMALL_SOAP, crystals, labels_of, waters
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatom._layers import DenseLayer
from skatom.attribution import energy_by_atom, relevance, sensitivity
from skatom.attribution.propagation import gradients, relevances
from skatom.descriptors import SOAP, FeatureScaler, FeatureSelector, InverseDistances
from skatom.kernels import Gaussian
from skatom.models import (
    GDML,
    BaggedGreedyOLS,
    ForceKernelRidge,
    GreedyOLS,
    LinearPotential,
    SparseGaussianProcess,
    StructuredMLPRegressor,
)
from skatom.network_potentials import extensive_potential
from skatom.plotting import RelevanceDisplay
from skatom.random_features import (
    PrincipalComponents,
    RandomFourierFeatures,
    SampledNetworkFeatures,
)

ALL = ("energy", "forces", "stress")
POOLED = SOAP(cutoff=3.5, n_max=3, l_max=2, pool="sum")
SCALER = FeatureScaler("standard", out_of_range="ignore")
NETWORK = {"solver": "lbfgs", "tol": 0.05, "random_state": 0}
RECTIFIER = (lambda z: np.maximum(z, 0.0), lambda z: (z > 0).astype(float))


def rectifiers(sizes, biases=True, seed=0):
    """Layers of rectifiers below a linear one, with random weights."""
    rng = np.random.default_rng(seed)
    layers = [
        DenseLayer(rng.normal(size=(n, m)), biases * rng.normal(scale=0.5, size=m), *RECTIFIER)
        for n, m in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    top = layers[-1]
    return [*layers[:-1], DenseLayer(top.weights, top.biases)]


class TestRules:
    """Layer-wise relevance of networks of known weights."""

    x = np.random.default_rng(1).normal(size=(20, 4))

    @pytest.mark.parametrize("sizes", [(4, 1), (4, 6, 1), (4, 6, 5, 1)])
    def test_without_gamma_it_is_the_slope_times_the_input(self, sizes):
        layers = rectifiers(sizes)
        values, _, outputs = relevances(self.x, layers, [0.0] * len(layers))
        slopes, expected = gradients(self.x, layers)
        np.testing.assert_allclose(values, self.x * slopes, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(outputs, expected)

    @pytest.mark.parametrize("gamma", [0.0, 0.25, 1.0])
    def test_without_biases_the_shares_of_inputs_are_everything(self, gamma):
        layers = rectifiers((4, 6, 5, 1), biases=False)
        values, rest, outputs = relevances(self.x, layers, [gamma, gamma, 0.0])
        assert np.abs(outputs).max() > 0.5
        np.testing.assert_allclose(values.sum(axis=1), outputs, atol=1e-10)
        np.testing.assert_allclose(rest, 0.0, atol=1e-10)

    @pytest.mark.parametrize("gamma", [0.0, 0.25, 1.0])
    def test_biases_have_what_is_left(self, gamma):
        layers = rectifiers((4, 6, 5, 1))
        values, rest, outputs = relevances(self.x, layers, [gamma, gamma, 0.0])
        assert np.abs(rest).min() > 1e-3
        np.testing.assert_allclose(values.sum(axis=1) + rest, outputs, atol=1e-10)

    def test_of_one_neuron_by_hand(self):
        layers = [
            DenseLayer(np.array([[2.0], [-1.0]]), np.array([1.0]), *RECTIFIER),
            DenseLayer(np.array([[3.0]]), np.zeros(1)),
        ]
        # its argument is 2 · 3 − 1 · 2 + 1 = 5, of which it passes 3 · 5
        values, rest, outputs = relevances(np.array([[3.0, 2.0]]), layers, [1.0, 0.0])
        # g(x) g(w) + g(−x) g(−w): 6 · 4 + 3 · 2, 4 · −1 − 2 · 2, and 2 · 2 + 1 of the bias
        sums = np.array([30.0, -8.0, 5.0])
        assert outputs == pytest.approx([15.0])
        assert [*values[0], rest[0]] == pytest.approx(15 * sums / sums.sum())

    def test_of_positive_inputs_takes_one_side(self):
        layers = [
            DenseLayer(np.eye(2), np.zeros(2), *RECTIFIER),
            DenseLayer(np.array([[2.0], [-1.0]]), np.array([1.0]), *RECTIFIER),
            DenseLayer(np.array([[1.0]]), np.zeros(1)),
        ]
        values, rest, outputs = relevances(np.array([[3.0, 2.0]]), layers, [0.0, 1.0, 0.0])
        # a g(w): 3 · 4 and 2 · −1, and g(b) = 2
        assert [*values[0], rest[0]] == pytest.approx(5 * np.array([12.0, -2.0, 2.0]) / 12)
        assert outputs == pytest.approx([5.0])

    def test_a_dead_network_has_none(self):
        layers = [
            DenseLayer(-np.ones((4, 3)), -np.ones(3), *RECTIFIER),
            DenseLayer(np.ones((3, 1)), np.zeros(1)),
        ]
        values, rest, outputs = relevances(np.ones((2, 4)), layers, [1.0, 0.0])
        assert not values.any() and not rest.any() and not outputs.any()

    def test_where_an_argument_vanishes_the_share_is_lost_to_the_rest(self):
        softplus = (lambda z: np.logaddexp(0, z), lambda z: 1 / (1 + np.exp(-z)))
        layers = [
            DenseLayer(np.array([[1.0], [1.0]]), np.zeros(1), *softplus),
            DenseLayer(np.array([[1.0]]), np.zeros(1)),
        ]
        values, rest, outputs = relevances(np.array([[1.0, -1.0]]), layers, [0.0, 0.0])
        assert not values.any()
        assert rest == pytest.approx(outputs)
        assert outputs == pytest.approx([np.log(2)])

    def test_gamma_damps_terms_that_cancel(self):
        layers, x = rectifiers((4, 30, 30, 1), seed=3), self.x
        sizes = [
            np.abs(relevances(x, layers, [gamma, gamma, 0.0])[0]).sum() for gamma in (0, 0.5, 1)
        ]
        assert sizes[0] > sizes[1] > sizes[2]


@pytest.fixture(scope="module")
def table():
    X = np.random.default_rng(0).normal(size=(150, 6))
    return X, np.sin(X[:, 0]) * X[:, 1] + X[:, 2] ** 2 + 5.0


def of_tables():
    """Models of tables, with and without hidden layers."""
    yield LinearPotential()
    yield GreedyOLS(3)
    yield BaggedGreedyOLS(n_estimators=3, random_state=0)
    yield Ridge()
    yield Lasso(0.01)
    yield MLPRegressor(
        hidden_layer_sizes=(5, 4), activation="relu", solver="lbfgs", max_iter=30, random_state=0
    )
    yield MLPRegressor(
        hidden_layer_sizes=(5,),
        activation="logistic",
        solver="lbfgs",
        max_iter=30,
        random_state=0,
    )
    yield StructuredMLPRegressor((5, 4), **NETWORK)
    yield StructuredMLPRegressor((5,), "relu", n_groups=2, **NETWORK)
    yield make_pipeline(SampledNetworkFeatures(30, random_state=0), Ridge(1e-6))
    yield make_pipeline(
        StandardScaler(), SampledNetworkFeatures(30, activation="softplus", random_state=0),
        LinearPotential(),
    )  # fmt: skip
    yield make_pipeline(
        SampledNetworkFeatures(20, random_state=0), SampledNetworkFeatures(20, random_state=1),
        Ridge(1e-3),
    )  # fmt: skip
    yield GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [1.0]}, cv=2)


def of_structures():
    """Models of features of structures, and the structures."""
    neurons = SampledNetworkFeatures(12, random_state=0)
    network = StructuredMLPRegressor((5,), **NETWORK)
    pairs = StructuredMLPRegressor((5,), n_groups=3, **NETWORK)
    yield "crystals", make_pipeline(SMALL_SOAP, LinearPotential(baseline={"Li": -7.0, "F": -30.0}))
    yield "crystals", make_pipeline(SMALL_SOAP, LinearPotential(by_species=False))
    yield "crystals", make_pipeline(SMALL_SOAP, GreedyOLS(6))
    yield "crystals", make_pipeline(SMALL_SOAP, neurons, LinearPotential())
    yield (
        "crystals",
        make_pipeline(
            SMALL_SOAP,
            SampledNetworkFeatures(12, by_element=False, random_state=0),
            LinearPotential(),
        ),
    )
    yield "crystals", make_pipeline(POOLED, SCALER, neurons, LinearPotential())
    yield "crystals", make_pipeline(SMALL_SOAP, network)
    yield "crystals", make_pipeline(POOLED, network)
    yield "crystals", make_pipeline(SMALL_SOAP, SampledNetworkFeatures(5, random_state=0), network)
    yield "waters", make_pipeline(InverseDistances(), SCALER, neurons, LinearPotential())
    yield "waters", make_pipeline(InverseDistances(), SCALER, pairs)
    yield "waters", make_pipeline(InverseDistances(), GreedyOLS(2))
    yield "waters", extensive_potential(20, random_state=0)


@pytest.fixture(scope="module", params=[*of_structures()], ids=lambda p: str(p[1][-2:])[:60])
def fitted(request):
    system, model = request.param
    structures = {"crystals": crystals, "waters": waters}[system](8)
    names = [name for name in ALL if name != "stress" or structures.pbc.all()]
    return model.fit(structures, labels_of(structures, names)), structures


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestTables:
    @pytest.mark.parametrize("model", [*of_tables()], ids=lambda m: str(m)[:40])
    def test_shares_add_up_to_the_prediction(self, model, table):
        X, y = table
        model.fit(X, y)
        for found in (relevance(model, X), sensitivity(model, X, "gradient times input")):
            totals = found.by_structure().sum(axis=1) + found.rest.reshape(len(X), -1).sum(axis=1)
            np.testing.assert_allclose(totals, model.predict(X), rtol=1e-9)

    @pytest.mark.parametrize("model", [*of_tables()], ids=lambda m: str(m)[:40])
    def test_squared_slopes(self, model, table):
        X, y = table
        model.fit(X, y)
        scaled = X
        if hasattr(model, "steps") and isinstance(model[0], StandardScaler):
            scaled = model[0].transform(X)
        if isinstance(model, GridSearchCV):
            scaled = model.best_estimator_[0].transform(X)
        found = sensitivity(model, X).by_structure()
        ratios = ((scaled - scaled.mean(axis=0)) / (X - X.mean(axis=0))).mean(axis=0)
        for f in (0, 3):
            ends = [X + step * (np.arange(6) == f) for step in (-1e-5, 1e-5)]
            low, high = (model.predict(end) for end in ends)
            slopes = (high - low) / 2e-5 / ratios[f]
            # rectifiers have a kink in the way here and there
            away = np.abs(slopes**2 - found[:, f]) > 1e-4 * (1 + found[:, f])
            assert away.mean() < 0.02

    def test_of_a_linear_model_are_the_terms(self, table):
        X, y = table
        model = LinearRegression().fit(X, y)
        for gamma in (0.0, 1.0):
            found = relevance(model, X, gamma)
            np.testing.assert_allclose(found.values, X * model.coef_, rtol=1e-10)
            np.testing.assert_allclose(found.rest, model.intercept_)

    def test_one_gamma_for_each_layer(self, table):
        X, y = table
        model = StructuredMLPRegressor((5, 4), "relu", **NETWORK).fit(X, y)
        given = relevance(model, X, [1.0, 1.0, 0.0]).values
        np.testing.assert_array_equal(relevance(model, X).values, given)
        assert np.abs(relevance(model, X, [0.0, 1.0, 0.0]).values - given).max() > 1e-3


class TestStructures:
    def test_shares_add_up_to_the_energies(self, fitted):
        model, structures = fitted
        energies = model.predict(structures)
        if model[-1].baseline_ is not None:
            energies = energies - model[-1].baseline_.energies(structures)
        for found in (relevance(model, structures), sensitivity(model, structures, KIND)):
            rest = np.add.reduceat(found.rest, found.offsets[:-1])
            totals = found.by_structure().sum(axis=1) + rest
            np.testing.assert_allclose(totals, energies, rtol=1e-9)
            np.testing.assert_allclose(
                np.add.reduceat(found.outputs, found.offsets[:-1]), energies, rtol=1e-9
            )

    def test_rows_of_atoms_have_their_energies(self, fitted):
        model, structures = fitted
        if "local_energies" not in model[-1].outputs_:
            with pytest.raises(ValueError, match="and no energies of atoms: fit it to AtomicFea"):
                energy_by_atom(model, structures)
            return
        found, local = relevance(model, structures), energy_by_atom(model, structures)
        if model[-1].baseline_ is not None:
            local = local - model[-1].baseline_.local_energies(structures)
        np.testing.assert_allclose(found.outputs, local, rtol=1e-9)
        np.testing.assert_allclose(found.by_atom() + found.rest, local, rtol=1e-9)
        sums = np.add.reduceat(energy_by_atom(model, structures), structures.offsets[:-1])
        np.testing.assert_allclose(sums, model.predict(structures), rtol=1e-9)

    def test_slopes_of_the_features_make_the_forces(self, fitted):
        model, structures = fitted
        found = sensitivity(model, structures)
        times = sensitivity(model, structures, KIND)
        np.testing.assert_allclose(
            times.values**2, found.values * _inputs(model, structures) ** 2, atol=1e-12
        )
        features = _features(model, structures)
        slopes = np.sqrt(found.values) * np.sign(times.values * _inputs(model, structures))
        gradient, _ = features.pullback(slopes.reshape(features.values.shape))
        forces = model.predict(structures, return_forces=True)[1]
        if model[-1].baseline_ is None:
            np.testing.assert_allclose(-gradient, forces, atol=1e-9 * np.abs(forces).max())


KIND = "gradient times input"


def _features(model, structures):
    """The features that enter the first layer of neurons."""
    X = structures
    for _, step in model.steps[:-1]:
        if isinstance(step, SampledNetworkFeatures):
            break
        X = step.transform(X)
    return X


def _inputs(model, structures):
    values = _features(model, structures).values
    return values.reshape(-1, values.shape[1] // (getattr(model[-1], "n_groups", None) or 1))


@pytest.fixture(scope="module")
def model_of_pairs():
    structures = waters(16)
    return make_pipeline(
        InverseDistances(), SCALER, SampledNetworkFeatures(30, random_state=0),
        LinearPotential(),
    ).fit(structures, labels_of(structures, ("energy", "forces"))), structures  # fmt: skip


class TestPairs:
    def test_are_halved_between_their_atoms(self, model_of_pairs):
        model, structures = model_of_pairs
        found = relevance(model, structures)
        pairs = found.by_pair()
        np.testing.assert_allclose(pairs, pairs.transpose(0, 2, 1))
        np.testing.assert_allclose(pairs.sum(axis=(1, 2)), found.values.sum(axis=1))
        np.testing.assert_allclose(2 * pairs[:, 2, 1], found.values[:, 2])
        np.testing.assert_allclose(found.by_atom().reshape(-1, 3), pairs.sum(axis=2))

    def test_selected_distances_belong_to_none(self):
        structures = waters(8)
        model = make_pipeline(
            InverseDistances(), FeatureSelector(n_select=2), LinearPotential()
        ).fit(structures, labels_of(structures, ("energy", "forces")))
        with pytest.raises(ValueError, match="the features do not belong to pairs of atoms"):
            relevance(model, structures).by_pair()
        with pytest.raises(ValueError, match="belong neither to atoms nor to pairs of atoms"):
            relevance(model, structures).by_atom()


@pytest.fixture(scope="module")
def model_of_waves():
    structures = crystals(8)
    return make_pipeline(
        SMALL_SOAP, PrincipalComponents(5),
        RandomFourierFeatures(Gaussian(1.0), 30, random_state=0), LinearPotential(),
    ).fit(structures, labels_of(structures, ALL)), structures  # fmt: skip


class TestWaves:
    """Random Fourier features have slopes, but no shares."""

    def test_have_no_relevance(self, model_of_waves):
        with pytest.raises(ValueError, match="1 of the 2 layers are waves.*use sensitivity"):
            relevance(*model_of_waves)

    def test_have_slopes(self, model_of_waves):
        model, structures = model_of_waves
        found = sensitivity(model, structures, KIND)
        np.testing.assert_allclose(
            found.values.sum(axis=1) + found.rest, energy_by_atom(model, structures), rtol=1e-9
        )
        x = model[:2].transform(structures)
        slopes = found.values / x.values
        gradient, _ = x.pullback(slopes)
        forces = model.predict(structures, return_forces=True)[1]
        np.testing.assert_allclose(-gradient, forces, atol=1e-8 * np.abs(forces).max())


@pytest.fixture(scope="module")
def chain_shares():
    X, y = chain_data(10, 25, 0)
    found = []
    for columns, n_groups in ((np.arange(28), None), (WINDOWS.ravel(), 6)):
        model = make_pipeline(
            StandardScaler(),
            StructuredMLPRegressor(
                activation="relu", n_groups=n_groups, solver="lbfgs", tol=0.02, random_state=0
            ),
        ).fit(X[:, columns], y)
        of_pairs = np.zeros((len(X), 28))
        for f, values in zip(columns, relevance(model, X[:, columns]).by_structure().T,
                             strict=True):  # fmt: skip
            of_pairs[:, f] += values
        found.append(of_pairs)
    return found


class TestChain:
    """Which pairs of a chain have the energy, by a plain network and one of windows."""

    def test_the_windows_keep_far_pairs_out(self, chain_shares):
        far = PAIRS[1] - PAIRS[0] > 2
        plain, structured = chain_shares
        assert not structured[:, far].any()
        assert np.abs(plain[:, far]).sum() > 0.1 * np.abs(plain).sum()

    def test_the_windows_are_nearer_to_the_true_energies_of_pairs(self, chain_shares):
        X, _ = chain_data(10, 25, 0)
        true = np.zeros_like(X)
        for i, j, k in WINDOWS:
            for f, of in ((i, (X[:, i] - 1) ** 2), (j, (X[:, j] - 1) ** 2),
                          (k, 0.5 * (X[:, k] - 2) ** 2)):  # fmt: skip
                true[:, f] += of
        agreement = [np.corrcoef(s.sum(axis=0), true.sum(axis=0))[0, 1] for s in chain_shares]
        assert agreement[1] > agreement[0]


class TestEnergyByAtom:
    def test_of_every_model_that_has_them(self):
        structures = crystals(8)
        y = labels_of(structures, ALL)
        for model in (
            SparseGaussianProcess(n_sparse=6, random_state=0),
            ForceKernelRidge(Gaussian(2.0), alpha=1e-6),
            LinearPotential(baseline="elements"),
            StructuredMLPRegressor((4,), **NETWORK),
        ):
            whole = make_pipeline(SMALL_SOAP, model).fit(structures, y)
            local = energy_by_atom(whole, structures)
            sums = np.add.reduceat(local, structures.offsets[:-1])
            np.testing.assert_allclose(sums, whole.predict(structures), rtol=1e-9)

    def test_of_a_model_without(self):
        structures = waters(6)
        model = GDML(3.0, 1e-6).fit(structures, labels_of(structures, ("energy", "forces")))
        with pytest.raises(ValueError, match="this GDML gives energy, forces, stress and no e"):
            energy_by_atom(model, structures)


class TestDisplay:
    """A molecule with coloured atoms and pairs."""

    def test_draws_atoms_bonds_and_pairs(self, model_of_pairs):
        model, structures = model_of_pairs
        display = RelevanceDisplay.from_estimator(model, structures)
        found = relevance(model, structures)
        np.testing.assert_allclose(display.values, found.by_atom().reshape(-1, 3).mean(axis=0))
        np.testing.assert_allclose(display.pairs, found.by_pair().mean(axis=0))
        assert sorted(text.get_text() for text in display.ax_.texts) == ["H", "H", "O"]
        bonds, pairs = display.ax_.collections
        assert len(bonds.get_segments()) == 2
        assert 1 <= len(pairs.get_segments()) <= 3
        # red is positive, blue negative
        largest = np.abs(display.pairs).argmax()
        red, _, blue, _ = pairs.get_colors()[-1]
        assert (red > blue) == (display.pairs.flat[largest] > 0)

    def test_of_atoms_has_no_pairs(self):
        structures = waters(8)
        model = make_pipeline(SMALL_SOAP, LinearPotential()).fit(
            structures, labels_of(structures, ("energy", "forces"))
        )
        display = RelevanceDisplay.from_estimator(model, structures[:1])
        assert display.pairs is None and len(display.ax_.collections) == 1
        colors = [patch.get_facecolor() for patch in display.ax_.patches]
        shown = [text.get_position() for text in display.ax_.texts]
        assert len(colors) == 3 and np.isfinite(shown).all()

    def test_does_not_depend_on_how_the_molecule_lies(self):
        one = waters(1)
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
        turned = one.to_ase()[0]
        turned.positions = turned.positions @ turn.T + 2.0
        places = [
            np.array(
                [
                    text.get_position()
                    for text in RelevanceDisplay(s, [1.0, 2.0, 3.0]).plot().ax_.texts
                ]
            )
            for s in (one, [turned])
        ]
        distances = [np.sort(np.linalg.norm(p[:, None] - p, axis=2).ravel()) for p in places]
        np.testing.assert_allclose(*distances, atol=1e-9)

    def test_values_of_another_number_of_atoms(self):
        for structures, values in ((waters(1), [1.0, 2.0]), (waters(2), np.ones(6))):
            with pytest.raises(ValueError, match="give one structure and one value for each atom"):
                RelevanceDisplay(structures, values).plot()

    def test_structures_of_several_compositions(self, model_of_pairs):
        model, structures = model_of_pairs
        with pytest.raises(ValueError, match="1 structures differ|2 structures differ"):
            RelevanceDisplay.from_estimator(
                model, [*structures[:1].to_ase(), *crystals(1).to_ase()]
            )


class TestBadInput:
    def test_a_model_that_is_no_network(self, table):
        model = RandomForestRegressor(3, random_state=0).fit(*table)
        for explain in (relevance, sensitivity):
            with pytest.raises(ValueError, match="RandomForestRegressor is no network of one out"):
                explain(model, table[0])

    def test_a_network_of_two_outputs(self, table):
        X, y = table
        model = Ridge().fit(X, np.c_[y, y])
        with pytest.raises(ValueError, match="Ridge is no network of one output"):
            relevance(model, X)

    @pytest.mark.parametrize("gamma", [-1.0, np.nan, [1.0], [1.0, 1.0, 0.0, 0.0]])
    def test_gamma(self, table, gamma):
        model = StructuredMLPRegressor((5, 4), **NETWORK).fit(*table)
        with pytest.raises(ValueError, match="must be a number from 0 on, or one for each of the"):
            relevance(model, table[0], gamma)

    def test_an_unknown_kind(self, table):
        model = Ridge().fit(*table)
        with pytest.raises(ValueError, match="kind='slope' must be 'squared gradient' or"):
            sensitivity(model, table[0], "slope")

    def test_features_of_another_width(self, table):
        X, y = table
        model = StructuredMLPRegressor((5,), **NETWORK).fit(X, y)
        with pytest.raises(ValueError, match="X has 5 features, but StructuredMLPRegressor"):
            relevance(model, X[:, :5])

    def test_more_than_fits_in_memory(self, table, monkeypatch):
        X, y = table
        model = Ridge().fit(X, y)
        monkeypatch.setattr("skatom.memory.available_memory", lambda: 2**20)
        with pytest.raises(MemoryError, match="the shares of 6 inputs of 150000 rows"):
            relevance(model, np.tile(X, (1000, 1)))
