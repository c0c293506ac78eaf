"""Learnt point scattering: explicit sums without harmonics, the descriptor, read-outs, training."""

import joblib
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import eval_legendre

torch = pytest.importorskip("torch")

from architectures_under_contract import CPU, WATER, evaluated, ice, random_network  # noqa: E402
from ase import Atoms  # noqa: E402
from models_under_contract import labels_of, waters  # noqa: E402

from skatom import Structures  # noqa: E402
from skatom.descriptors import PointScattering  # noqa: E402
from skatom.descriptors.scattering.wavelets import radial_function  # noqa: E402
from skatom.models import PointScatteringNetwork  # noqa: E402
from skatom.models._torch.networks.solid_harmonics import harmonics  # noqa: E402
from skatom.models.neural.point_scattering_architecture import (  # noqa: E402
    PointScatteringArchitecture,
)
from skatom.models.neural.read_outs import NetworkOfSumReadOut  # noqa: E402

SMALL = {
    "cutoff": 3.5, "n_features": 6, "widths": (0.5, 1.0), "batch_size": 5, "max_iter": 60,
    "learning_rate_init": 0.01, "ema_decay": 0.9, "random_state": 0,
}  # fmt: skip


def architecture(orbitals=((3, 0), (3, 1), (4, 2), (4, 3)), n_layers=2, **changes):
    sizes = {"n_species": 3, "cutoff": 4.5, "n_mixed": 2, "widths": (0.6, 1.2)} | changes
    return PointScatteringArchitecture.of(n_layers=n_layers, orbitals=orbitals, **sizes)


def radial_of(n, l, width):
    """The radial function of a wavelet whose peak is 1."""
    grid = np.linspace(0, 8 * width, 2001)
    at = grid[np.abs(radial_function(n, l, width, grid)).argmax()]
    peak = minimize_scalar(
        lambda r: -abs(radial_function(n, l, width, r)),
        bounds=(max(at - 0.01, 0), at + 0.01), method="bounded", options={"xatol": 1e-11},
    )  # fmt: skip
    highest = max(-peak.fun, abs(radial_function(n, l, width, at)))
    return lambda r: radial_function(n, l, width, r) / highest


def squared_modulus(h, vectors, n, l, width, cutoff):
    """Σ_jk h_j h_k g(r_j) g(r_k) P_l(cos) of neighbours h (n, d), without harmonics."""
    r = np.linalg.norm(vectors, axis=1)
    g = radial_of(n, l, width)(r) * (np.cos(np.pi * r / cutoff) + 1) / 2
    units = vectors / np.maximum(r, 1e-9)[:, None]
    return np.einsum("jd,kd,j,k,jk->d", h, h, g, g, eval_legendre(l, units @ units.T))


def features_of(network, atoms):
    """The features of the atoms by explicit sums over an atom itself and all images."""
    a = network.architecture
    images = np.mgrid[-3:4, -3:4, -3:4].reshape(3, -1).T if atoms.pbc.any() else np.zeros((1, 3))
    x = np.eye(3)[np.searchsorted(network.species, atoms.numbers)]
    for layer in range(1, a.n_layers + 1):
        h = np.repeat(x @ network.weights[f"mixing_{layer}"], len(images), axis=0)
        rows = []
        for center in atoms.positions:
            vectors = atoms.positions[:, None] + images @ atoms.cell.array - center
            vectors = vectors.reshape(-1, 3)
            near = np.linalg.norm(vectors, axis=1) < a.cutoff
            squares = [
                squared_modulus(h[near], vectors[near], n, l, width, a.cutoff)
                for n, l in a.orbitals
                for width in a.widths
            ]
            rows.append(np.sqrt(np.concatenate(squares) + a.smallest_modulus**2))
        x = np.array(rows)
    return np.hstack([x**q for q in (1, 4 / 3, 5 / 3, 2)])


def two_layers(network, x):
    w = network.weights
    hidden = np.logaddexp(0, x @ w["head_1"] + w["head_bias_1"]) - np.log(2)
    return 0.5 * (hidden @ w["head_2"] + w["head_bias_2"])[:, 0]


@pytest.mark.parametrize("atoms", [WATER, ice()], ids=["water", "ice"])
class TestEquations:
    def test_energies_of_atoms(self, atoms):
        network = random_network(architecture())
        kinds = np.searchsorted(network.species, atoms.numbers)
        expected = two_layers(network, features_of(network, atoms)) + network.constants[kinds]
        np.testing.assert_allclose(evaluated(network, atoms)[1], expected, rtol=1e-10)

    def test_a_network_of_sums(self, atoms):
        """`pooling="network"`, whose forces are slopes as well."""
        a = architecture(n_layers=1)
        network = random_network(a, NetworkOfSumReadOut(a.n_features, 3, a.n_features, True))
        sums = features_of(network, atoms).sum(axis=0)[None]
        constants = network.constants[np.searchsorted(network.species, atoms.numbers)].sum()

        def energy_of(moved):
            found = network.evaluate(Structures.from_ase([moved]), CPU, True)
            return found["energy"][0], found["gradient"]

        energy, gradient = energy_of(atoms)
        assert energy == pytest.approx(two_layers(network, sums)[0] + constants, rel=1e-10)
        direction, ends = np.random.default_rng(0).normal(size=(3, 3)), []
        for h in (-1e-5, 1e-5):
            moved = atoms.copy()
            moved.positions += h * direction
            ends.append(energy_of(moved)[0])
        slope = (ends[1] - ends[0]) / 2e-5
        assert slope == pytest.approx((gradient * direction).sum(), rel=1e-6)

    def test_charges_for_matrices_give_the_descriptor(self, atoms):
        """One layer, a column for each element: the first order of `PointScattering`."""
        orbitals, cutoff = [(3, 0), (3, 1), (3, 2)], 4.5
        a = architecture(orbitals, 1, n_mixed=3)
        network = random_network(a)
        network.weights = network.weights | {"mixing_1": np.eye(3)}
        charges = {f"Z{z}": {k: float(k == z) for k in (1, 6, 8)} for z in (1, 6, 8)}
        scattering = PointScattering(
            orbitals, (0, 1), beta=0.6, order=1, exponents=(2,), cutoff=cutoff,
            cutoff_width=cutoff - 1e-9, channels=charges,
        )  # fmt: skip
        found = scattering.fit([atoms, Atoms("C")]).transform([atoms])
        names = list(scattering.get_feature_names_out())
        own = features_of(network, atoms)[:, -a.n_moduli * 3 :].reshape(3, -1, 3) - 1e-4
        places = [(n, l, j) for n, l in orbitals for j in (0, 1)]
        for k, (n, l, j) in enumerate(places):
            width = 0.6 * 2**j
            one = radial_function(n, l, width, width) / radial_of(n, l, width)(width)
            one *= 2.0 ** (j * (2 * n - 2 - l))  # a scale dilates the wavelet of β at equal norm
            factor = one**2 * (2 * l + 1) / (4 * np.pi)
            for channel, name in enumerate(charges):
                column = names.index(f"S1[{name};n{n}l{l}j{j};q2]")
                expected = factor * own[:, k, channel]
                np.testing.assert_allclose(found.values[:, column], expected, rtol=1e-6, atol=1e-8)


def test_an_atom_alone_has_its_own_wavelets():
    """Those of l = 0, of whichever width; the others have the smallest modulus."""
    network = random_network(architecture(((3, 0), (3, 1)), 1))
    features = features_of(network, Atoms("O"))[0].reshape(4, 2, 2, 2)
    own = np.abs(network.weights["mixing_1"][2])  # L_2^(1/2)(0) is the peak
    np.testing.assert_allclose(features[0, 0], np.tile(np.hypot(own, 0.01), (2, 1)), rtol=1e-12)
    np.testing.assert_allclose(features[0, 1], 0.01, rtol=1e-12)
    local = two_layers(network, features.reshape(1, -1))
    assert evaluated(network, Atoms("O"))[0] == pytest.approx(local[0] - 3.0, rel=1e-12)


def test_harmonics_make_legendre_polynomials():
    units = np.random.default_rng(0).normal(size=(12, 3))
    units /= np.linalg.norm(units, axis=1)[:, None]
    for l, values in enumerate(harmonics(torch.tensor(units), 6)):
        assert values.shape == (12, 2 * l + 1)
        np.testing.assert_allclose(values @ values.T, eval_legendre(l, units @ units.T), atol=1e-12)


@pytest.mark.parametrize("n_layers, count", [(1, 12), (3, 12 + 2 * 36 * 4)])
def test_numbers_of_weights(n_layers, count):
    """Layer b mixes its d_b = 9 · 4 features of an atom to 4; the first one 3 elements."""
    a = architecture(((3, 0), (3, 1), (3, 2)), n_layers, n_mixed=4, widths=(0.4, 0.8, 1.6))
    assert (a.n_weights, a.n_features) == (count, 4 * 36)


class TestEstimator:
    def test_training_lowers_the_loss_and_is_repeated(self):
        structures = waters(12)
        targets = labels_of(structures, ("energy", "forces"))
        model = PointScatteringNetwork(**SMALL, validation_fraction=0.2)
        losses = model.fit(structures, targets).history_["validation_loss"]
        assert losses[-1] < 0.3 * model.history_["loss"][0]
        theta = model.network_.theta()
        np.testing.assert_array_equal(model.fit(structures, targets).network_.theta(), theta)

    @pytest.mark.parametrize("pooling", ["sum", "mean", "network"])
    def test_poolings_and_files(self, pooling, tmp_path):
        structures = waters(8)
        targets = labels_of(structures, ("energy", "forces"))
        model = PointScatteringNetwork(**SMALL | {"max_iter": 20}, pooling=pooling)
        model.fit(structures, targets)
        assert ("local_energies" in model.outputs_) == (pooling != "network")
        joblib.dump(model, tmp_path / "model")
        again = joblib.load(tmp_path / "model").predict(structures, return_forces=True)
        for one, other in zip(again, model.predict(structures, return_forces=True), strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("target", ["dipole", "charges"])
    def test_other_properties(self, target):
        structures = waters(8)
        model = PointScatteringNetwork(**SMALL | {"max_iter": 3}, target=target)
        model.fit(structures, labels_of(structures, (target,)))
        assert np.isfinite(model.predict(structures)).all()

    @pytest.mark.parametrize(
        "wrong, message",
        [
            ({"widths": ()}, r"widths=\(\) must be positive lengths in Å: give at least one"),
            ({"widths": (0.5, -1.0)}, "must be positive lengths"),
            ({"widths": (0.5, 0.5)}, "has one of them twice: give each width once"),
            ({"orbitals": (0,)}, "orbitals contain 0; each must be an n >= 1"),
        ],
    )
    def test_wrong_wavelets(self, wrong, message):
        structures = waters(8)
        model = PointScatteringNetwork(**SMALL | wrong)
        with pytest.raises(ValueError, match=message):
            model.fit(structures, labels_of(structures, ("energy",)))
