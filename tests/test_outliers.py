"""Structures with labels of others, or with species in changed places, are named."""

import json
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from models_under_contract import SMALL_SOAP, crystals, labels_of
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets, cli
from skatom._outliers import far_outside, usual
from skatom.datasets import read
from skatom.metrics.outliers import outlying_errors, sentences
from skatom.models import LinearPotential, SparseGaussianProcess
from skatom.models._outliers import _left_out, outliers, outlying_energies
from skatom.models._probe import n_functions, probe_energies, probe_rows
from skatom.models.label_checks import counted_as


def cells(n=80):
    """Cells of four lithium atoms."""
    images = crystals(n).to_ase()
    for atoms in images:
        atoms.numbers[:] = 3
    return Structures.from_ase(images)


def with_energies(targets, energy):
    values = {name: getattr(targets, name) for name in targets.names}
    return Targets(**values | {"energy": energy}, offsets=targets.offsets)


@pytest.fixture(scope="module")
def data():
    structures = cells()
    return structures, labels_of(structures, ("energy", "forces"))


@pytest.fixture(scope="module")
def wrong(data):
    """One energy is 2 eV too high."""
    structures, targets = data
    energy = targets.energy.copy()
    energy[31] += 2.0
    return structures, with_energies(targets, energy)


class TestFarOutside:
    def test_of_a_normal_law_the_usual_is_two_deviations(self):
        sizes = np.abs(np.random.default_rng(0).normal(scale=0.3, size=100_000))
        assert usual(sizes) == pytest.approx(0.6, rel=0.03)

    def test_does_not_depend_on_what_is_outside(self):
        sizes = np.abs(np.random.default_rng(0).normal(size=200))
        sizes[[7, 90]] = 1e6, 1e9
        assert far_outside(sizes).tolist() == [90, 7]

    @pytest.mark.parametrize("law", ["normal", "laplace", "exponential", "lognormal"])
    def test_long_tails_are_not_outside(self, law):
        sizes = np.abs(getattr(np.random.default_rng(1), law)(size=2000))
        assert len(far_outside(sizes)) == 0

    def test_unknown_and_few_sizes_say_nothing(self):
        sizes = np.full(40, np.nan)
        sizes[:29] = 1.0
        sizes[3] = 1e5
        assert len(far_outside(sizes)) == 0
        sizes[29:35] = 1.0
        assert far_outside(sizes).tolist() == [3]


class TestProbe:
    def test_energies_are_those_of_all_rows(self):
        structures = crystals(20)
        np.testing.assert_allclose(
            probe_energies(structures), probe_rows(structures).energy, rtol=1e-10, atol=1e-12
        )

    @pytest.mark.parametrize("formula", ["Cu2", "LiF", "CHN", "HCNO"])
    def test_number_of_functions(self, formula):
        atoms = Atoms(formula, cell=[4, 4, 4], pbc=True)
        atoms.positions = np.random.default_rng(0).uniform(0, 4, (len(atoms), 3))
        structures = Structures.from_ase([atoms])
        assert probe_energies(structures).shape == (1, n_functions(len(structures.species)))

    def test_distances_are_those_of_fits_without_the_structure(self):
        rng = np.random.default_rng(2)
        rows, energies = rng.normal(size=(60, 5)), rng.normal(size=60)
        distances, _ = _left_out(rows, energies)
        scaled = rows / np.linalg.norm(rows, axis=0)

        def without(s, ridge):
            kept = np.arange(60) != s
            matrix = scaled[kept].T @ scaled[kept] + ridge * np.eye(5)
            coefficients = np.linalg.solve(matrix, scaled[kept].T @ energies[kept])
            return energies[s] - scaled[s] @ coefficients

        ridges = [[without(s, ridge) for s in range(60)] for ridge in 10.0 ** np.arange(-12, 0)]
        best = min(ridges, key=lambda found: np.median(np.abs(found)))
        np.testing.assert_allclose(distances, best, rtol=1e-8)


class TestEnergies:
    def test_correct_ones_are_not_named(self, data):
        assert outliers(*data) == []

    def test_a_wrong_one_is_named(self, wrong):
        (found,) = outliers(*wrong)
        assert found.structure == 31
        assert found.distance == pytest.approx(0.5, rel=0.3)  # 2 eV of four atoms
        assert found.usual < 0.05

    def test_species_in_changed_places(self):
        structures = crystals(260)
        targets = labels_of(structures, ("energy", "forces"))
        assert outliers(structures, targets) == []
        images = structures.to_ase()
        images[100].numbers[[0, 1]] = images[100].numbers[[1, 0]]
        images[100].positions[1] += 0.3  # so that the fluorine atoms are near each other
        found = outliers(Structures.from_ase(images), targets)
        assert [o.structure for o in found] == [100]

    def test_unlabelled_structures_and_isolated_atoms_are_left_out(self, wrong):
        structures, targets = wrong
        images = [Atoms("Li"), *structures.to_ase()]
        energy = np.append(-1e3, targets.energy)
        energy[1:6] = np.nan
        found = outliers(Structures.from_ase(images), Targets(energy))
        assert [o.structure for o in found] == [32]

    def test_few_structures_say_nothing(self, wrong):
        structures, targets = wrong
        assert outliers(structures[:59], targets[:59]) == []

    def test_several_are_named_the_farthest_first(self):
        structures = cells(200)
        targets = labels_of(structures, ("energy",))
        energy = targets.energy.copy()
        energy[[5, 50, 150]] += [3.0, 5.0, -4.0]
        wrong = with_energies(targets, energy)
        assert [o.structure for o in outliers(structures, wrong)] == [50, 150, 5]
        (text,) = outlying_energies(structures, wrong, np.arange(200))
        assert text.startswith("the energies of structures 50 (1.")
        assert "other 197" in text


class TestFits:
    def warned(self, X, y, **parameters):
        model = make_pipeline(SMALL_SOAP, LinearPotential())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X, y, **parameters)
        return [str(w.message) for w in caught if "the energies of" in str(w.message)]

    def test_name_the_structure(self, data, wrong):
        assert self.warned(*data) == []
        (found,) = self.warned(*wrong)
        assert found.startswith("LinearPotential: the energies of structure 31 (0.")

    def test_count_those_without_weight(self, wrong):
        weights = np.ones(80)
        weights[:5] = 0.0
        (found,) = self.warned(*wrong, linearpotential__sample_weight=weights)
        assert "structure 31" in found

    def test_count_frames_of_a_file(self, wrong):
        with counted_as(3 * np.arange(80)):
            (found,) = self.warned(*wrong)
        assert "frame 93" in found

    def test_energies_that_are_not_learnt_are_not_judged(self, wrong):
        structures, targets = wrong
        forces = Targets(forces=targets.forces, offsets=targets.offsets)
        model = make_pipeline(SMALL_SOAP, SparseGaussianProcess(n_sparse=8, random_state=0))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(structures, forces)


class TestErrors:
    def test_are_per_atom_and_root_mean_square(self, data):
        structures, targets = data
        rng = np.random.default_rng(0)
        predicted = {
            "energy": targets.energy + rng.normal(scale=0.01, size=80),
            "forces": targets.forces + rng.normal(scale=0.02, size=targets.forces.shape),
        }
        assert outlying_errors(structures, targets, predicted) == []
        predicted["energy"][8] += 4.0
        predicted["forces"][20:24] += [1.0, 0.0, 0.0]  # structure 5
        energy, forces = outlying_errors(structures, targets, predicted, 2 * np.arange(80))
        assert (energy["structure"], energy["frame"], energy["unit"]) == (8, 16, "eV/atom")
        assert energy["error"] == pytest.approx(1.0, rel=0.01)
        assert (forces["frame"], forces["property"]) == (10, "forces")
        assert forces["error"] == pytest.approx(1 / np.sqrt(3), rel=0.05)
        assert forces["usual"] == pytest.approx(0.06, rel=0.2)
        first, second = sentences([energy, forces])
        assert "the errors of the energy of frame 16 (1) are" in first
        assert "of the forces of frame 10 (0.58) are" in second

    def test_unlabelled_structures_have_none(self, data):
        structures, targets = data
        energy = targets.energy.copy()
        energy[3] = np.nan
        partly = with_energies(targets, energy)
        predicted = {"energy": targets.energy + 0.01}
        assert outlying_errors(structures, partly, predicted) == []


class TestCommandLine:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch, wrong):
        structures, targets = wrong
        write(tmp_path / "train.xyz", structures.to_ase(targets))
        forces = targets.forces.copy()
        forces[160:164] += [2.0, 0.0, -1.0]  # frame 40
        changed = Targets(forces=forces, offsets=targets.offsets)
        write(tmp_path / "test.xyz", structures.to_ase(changed))
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def test_names_frames(self, folder, capsys):
        line = (
            "train train.xyz --model mtp --set moments.level=4 --test-file test.xyz "
            "--out m.joblib --report r.json r.html"
        )
        assert cli.main(line.split()) == 0
        warned = [line for line in capsys.readouterr().err.splitlines() if "warning:" in line]
        assert len(warned) == 2
        assert "the energies of frame 31 (0." in warned[0]
        assert "the errors of the forces of frame 40 (" in warned[1]
        found = json.loads((folder / "r.json").read_text(encoding="utf-8"))
        assert "frame 31" in found["warnings"][0]
        (entry,) = found["outliers"]
        assert (entry["frame"], entry["property"], entry["unit"]) == (40, "forces", "eV/Å")
        page = (folder / "r.html").read_text(encoding="utf-8")
        assert "forces of frame 40 (" in page and "energies of frame 31 (" in page


DATA = [f"mlearn/mlearn_{name}_train.xyz.xz" for name in ("Cu", "Ge", "Li", "Mo", "Ni", "Si")]
DATA += [f"molecules/rmd17_{name}_train.npz" for name in ("ethanol", "aspirin")]


@pytest.mark.thorough
class TestData:
    @pytest.mark.parametrize("name", DATA)
    def test_without_outliers(self, reference_data, name):
        data = read(reference_data / name)
        assert outliers(data.structures, data.targets) == []

    @pytest.mark.parametrize("name", DATA[:6])
    def test_parts_without_outliers(self, reference_data, name):
        data = read(reference_data / name)
        rng = np.random.default_rng(0)
        for _ in range(5):
            part = np.sort(rng.permutation(len(data.structures))[:100])
            assert outliers(data.structures[part], data.targets[part]) == []

    def test_indium_phosphide(self, reference_data):
        """Frame 10 has no phosphorus, but its energy; in frame 634 species changed places.

        The first frames are cells at half of their volume, 1 to 4 eV per atom up.
        """
        data = read(reference_data / "periodic" / "InP_jpca2020.xyz.xz")
        part = np.unique([*range(0, 1426, 3), 10, 634])
        found = outliers(data.structures[part], data.targets[part])
        named = {*part[[o.structure for o in found]]}
        assert {10, 634} <= named and len(named) <= 4
        assert max(named - {634}) < 20
