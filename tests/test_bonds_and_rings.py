"""Sensitivity of features to bonds, and rings ranked by the energies of their atoms."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from models_under_contract import SMALL_ACSF, SMALL_SOAP, labels_of, waters
from sklearn.pipeline import Pipeline, make_pipeline

from skatom import Structures
from skatom.attribution import bond_sensitivity, ring_energies
from skatom.descriptors import SOAP
from skatom.models import HDNNP, LinearPotential, PaiNN, SchNet
from skatom.plotting import RankedRingsDisplay

DISTANCES = np.array([0.9, 1.4, 2.5, 3.49, 3.6])


@pytest.fixture(scope="module", params=["SchNet", "PaiNN", "HDNNP", "Pipeline"])
def model(request):
    structures = waters(12)
    y = labels_of(structures, ("energy", "forces"))
    if request.param == "Pipeline":
        return make_pipeline(SMALL_SOAP, LinearPotential(alpha=1e-6)).fit(structures, y)
    if request.param == "HDNNP":
        return HDNNP(SMALL_ACSF, max_iter=1, random_state=0).fit(structures, y)
    pytest.importorskip("torch")
    cls = {"SchNet": SchNet, "PaiNN": PaiNN}[request.param]
    return cls(3.5, n_features=6, n_interactions=2, max_iter=1, random_state=0).fit(structures, y)


def features(model, r):
    """Of oxygen beside hydrogen."""
    dimer = Structures.from_ase([Atoms("OH", [(0, 0, 0), (0, 0, r)])])
    found = (model[:-1] if isinstance(model, Pipeline) else model).transform(dimer)
    return np.asarray(getattr(found, "values", found))[0]


@pytest.mark.filterwarnings("ignore:.* the model reproduces")
class TestBonds:
    def test_are_slopes_of_the_features(self, model):
        found, h = bond_sensitivity(model, ("O", "H"), DISTANCES), 1e-3
        for s, r in zip(found[:3], DISTANCES, strict=False):
            moved = [features(model, r + k * h) for k in (-2, -1, 1, 2)]
            slope = (8 * (moved[2] - moved[1]) - (moved[3] - moved[0])) / (12 * h)
            assert s == pytest.approx(np.linalg.norm(slope), rel=1e-5)

    def test_end_at_the_cutoff(self, model):
        found = bond_sensitivity(model, ("O", "H"), DISTANCES)
        assert found[-1] == 0 and 0 < found[3] < 0.1 * found[:3].max()

    def test_are_those_of_the_first_atom(self, model):
        pairs = [bond_sensitivity(model, pair, [1.0])[0] for pair in (("O", "H"), ("H", "O"))]
        # symmetry functions of an atom see that there is another one, of whatever element
        same = abs(pairs[0] - pairs[1]) < 1e-3 * max(pairs)
        assert same != hasattr(model, "probe_energies")

    def test_bad_input(self, model):
        with pytest.raises(ValueError, match="must be symbols of two elements"):
            bond_sensitivity(model, ("O", "Q"), [1.0])
        with pytest.raises(ValueError, match="must be positive lengths in Å"):
            bond_sensitivity(model, ("O", "H"), [0.0])
        with pytest.raises(ValueError, match="contains C, which was not in"):
            bond_sensitivity(model, ("O", "C"), [1.0])

    def test_transform_structures_are_refused(self):
        structures = waters(6)
        pooled = make_pipeline(SOAP(3.5, n_max=2, l_max=1, pool="sum"), LinearPotential())
        pooled.fit(structures, labels_of(structures, ("energy",)))
        with pytest.raises(ValueError, match="use a descriptor without pool"):
            bond_sensitivity(pooled, ("O", "H"), [1.0])

    def test_features_make_the_energies_of_atoms(self):
        torch = pytest.importorskip("torch")
        structures = waters(6)
        model = SchNet(3.5, n_features=6, max_iter=2, dtype="float64", random_state=0)
        model.fit(structures, labels_of(structures, ("energy", "forces")))
        network = model.network_
        weights = {name: torch.tensor(w) for name, w in network.weights.items()}
        numbers = network.head.numbers(weights, torch.tensor(model.transform(structures).values))
        kinds = np.searchsorted(network.species, structures.numbers)
        found = network.scale * numbers.numpy() + network.constants[kinds]
        local = model.predict(structures, return_local_energies=True)[1]
        np.testing.assert_allclose(found, local, rtol=1e-12)


class OfPlaces:
    """A model whose energies of atoms are their x."""

    outputs_ = ("energy", "local_energies")

    def predict(self, X, return_local_energies=False):
        local = X.positions[:, 0]
        return np.add.reduceat(local, X.offsets[:-1]), local


def fused(n):
    """n hexagons of carbon in a row, and a hydrogen atom."""
    a, places = 1.4, set()
    for k in range(n):
        for angle in np.arange(6) * np.pi / 3 + np.pi / 6:
            x, y = k * a * 3**0.5 + a * np.cos(angle), a * np.sin(angle)
            places.add((round(x, 6) + 0.0, round(y, 6) + 0.0))
    positions = [(0, 0, 5.0), *((x, y, 0) for x, y in sorted(places))]
    return Atoms("H" + f"C{len(places)}", positions)


class TestRings:
    def test_are_ranked_by_energy(self):
        molecules = [molecule("C2H6"), fused(2), molecule("C6H6"), fused(3)]
        molecules[2].positions[:, 0] -= 1.0
        found = ring_energies(OfPlaces(), molecules)
        assert found.structures.tolist() == [2, 1, 3, 1, 3, 3]
        middle = 1.4 * 3**0.5
        expected = 6 * np.array([-1.0, 0, 0, middle, middle, 2 * middle])
        np.testing.assert_allclose(found.energies, expected, atol=1e-5)

    def test_atoms_are_bonded_in_their_order(self):
        found = ring_energies(OfPlaces(), [fused(2)])
        atoms = fused(2)
        for ring in found.atoms:
            assert set(atoms.numbers[ring]) == {6}
            steps = atoms.positions[ring] - atoms.positions[np.roll(ring, 1)]
            np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 1.4, rtol=1e-5)

    def test_around_two_rings_is_none(self):
        assert len(ring_energies(OfPlaces(), [fused(2)], size=10).energies) == 0

    @pytest.mark.parametrize("size", [3, 4, 5])
    def test_of_other_sizes(self, size):
        angles = 2 * np.pi * np.arange(size) / size
        radius = 0.7 / np.sin(np.pi / size)
        ring = Atoms(f"C{size}", radius * np.array([np.cos(angles), np.sin(angles), 0 * angles]).T)
        found = ring_energies(OfPlaces(), [ring], size=size)
        assert [sorted(atoms) for atoms in found.atoms.tolist()] == [list(range(size))]

    def test_are_drawn_in_their_order(self):
        molecules = [fused(3), fused(1)]
        rings = ring_energies(OfPlaces(), molecules)
        display = RankedRingsDisplay(molecules, rings, n_rings=3).plot()
        energies = [text.get_text() for text in display.ax_.texts if "." in text.get_text()]
        expected = 6 * 1.4 * 3**0.5
        assert energies == [
            f"{rings.energies[0]:.2f} eV",
            f"+{expected:.2f}",
            f"+{2 * expected:.2f}",
        ]
        # regular hexagons, one beside the other, with their first atom at the top
        corners = np.array([patch.get_xy()[:6] for patch in display.rings_])
        middles = corners.mean(axis=1)
        np.testing.assert_allclose(
            np.linalg.norm(corners - middles[:, None], axis=2), 1.4, rtol=1e-5
        )
        assert (np.diff(middles[:, 0]) > 3).all()
        assert (corners[:, 0, 1] > corners[:, 1:, 1].max(axis=1) + 0.1).all()
        again = RankedRingsDisplay.from_estimator(OfPlaces(), molecules, n_rings=1)
        assert len(again.rings_) == 1

    def test_none_cannot_be_drawn(self):
        with pytest.raises(
            ValueError, match="n_rings=6 of 0 rings are to be drawn: give molecules"
        ):
            RankedRingsDisplay.from_estimator(OfPlaces(), [fused(1)], size=5)
        with pytest.raises(ValueError, match="n_rings=0 of 1 rings"):
            RankedRingsDisplay.from_estimator(OfPlaces(), [fused(1)], n_rings=0)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="structure 0 is periodic, and rings are those of"):
            ring_energies(OfPlaces(), [bulk("C", a=3.6)])
        with pytest.raises(ValueError, match="symbol='Q' is no element"):
            ring_energies(OfPlaces(), [fused(1)], "Q")
        with pytest.raises(ValueError, match="size=2 is too small for a ring"):
            ring_energies(OfPlaces(), [fused(1)], size=2)
