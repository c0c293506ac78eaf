"""Files of moment tensor potentials have all that is needed for the energies of the model."""

import re
from collections import namedtuple

import joblib
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list
from models_under_contract import labels_of
from numpy.polynomial.chebyshev import chebval
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Lasso
from sklearn.pipeline import make_pipeline

from skatom import Structures
from skatom.cli import main
from skatom.descriptors import ACSF, FeatureScaler, MomentTensor
from skatom.models import (
    BaggedGreedyOLS,
    GreedyOLS,
    LinearPotential,
    MomentTensorPotential,
    PairRepulsion,
    SparseGaussianProcess,
    write_mtp,
)
from skatom.random_features import RandomFourierFeatures

File = namedtuple("File", "values radial")


def crystals(n, elements=("In", "P"), seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        atoms = bulk("InP", "zincblende", a=4.9, cubic=True)
        atoms.set_atomic_numbers([*map({"In": 49, "P": 15, "Si": 14}.get, elements)] * 4)
        atoms.set_cell(atoms.cell @ (np.eye(3) + 0.05 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += 0.15 * rng.normal(size=(8, 3))
        found.append(atoms)
    return Structures.from_ase(found)


def numbers_in(text):
    return [float(v) for v in text.replace("{", " ").replace("}", " ").replace(",", " ").split()]


def read_file(path):
    """The numbers and arrays of a file, and the radial coefficients of its pairs of species."""
    values, radial, pair = {}, {}, None
    for line in path.read_text().splitlines():
        if " = " in line:
            name, text = line.split(" = ")
            values[name] = numbers_in(text) if "{" in text else text
        elif re.fullmatch(r"\d+-\d+", line):
            pair = tuple(map(int, line.split("-")))
        elif line.startswith("{"):
            radial.setdefault(pair, []).append(numbers_in(line))
    return File(values, radial)


def energy_of(file, atoms, symbols):
    """The energy from the equations of the format."""
    values = file.values
    basics = np.array(values["alpha_index_basic"], int).reshape(-1, 4)
    times = np.array(values["alpha_index_times"], int).reshape(-1, 4)
    low, high = float(values["min_dist"]), float(values["max_dist"])
    kinds = [symbols.index(s) for s in atoms.get_chemical_symbols()]
    centers, others, vectors = neighbor_list("ijD", atoms, high)
    energy = 0.0
    for i, kind in enumerate(kinds):
        numbers = np.zeros(int(values["alpha_moments_count"]))
        for j, vector in zip(others[centers == i], vectors[centers == i], strict=True):
            r = np.linalg.norm(vector)
            x = (2 * r - low - high) / (high - low)
            f = [chebval(x, c) * (high - r) ** 2 for c in file.radial[kind, kinds[j]]]
            for k, (mu, *powers) in enumerate(basics):
                numbers[k] += f[mu] * np.prod((vector / r) ** powers)
        for a, b, factor, k in times:
            numbers[k] += factor * numbers[a] * numbers[b]
        scalars = numbers[np.array(values["alpha_moment_mapping"], int)]
        energy += values["species_coeffs"][kind] + scalars @ values["moment_coeffs"]
    return energy


SMALL = {"cutoff": 3.6, "level": 8, "max_factors": 3}
MODELS = {
    "coefficients of each species": lambda: make_pipeline(MomentTensor(**SMALL), LinearPotential()),
    "one set of coefficients": lambda: make_pipeline(
        MomentTensor(**SMALL, by_center=False), LinearPotential(1e-8, by_species=False)
    ),
    "scaled, with a baseline": lambda: make_pipeline(
        MomentTensor(**SMALL, by_center=False), FeatureScaler(),
        LinearPotential(1e-8, baseline="elements"),
    ),
    "a bias, and constants of the baseline alone": lambda: make_pipeline(
        MomentTensor(**SMALL, include_bias=True),
        LinearPotential(1e-8, fit_intercept=False, baseline={"In": -2.0, "P": -1.0}),
    ),
    "mixed species, other levels": lambda: make_pipeline(
        MomentTensor(3.6, 8, mu_level=2, species_compression=[[1.0, 0.4]], r_min=1.5),
        LinearPotential(1e-8),
    ),
    "few coefficients": lambda: make_pipeline(
        MomentTensor(**SMALL), LinearPotential(solver=Lasso(1e-4))
    ),
    "a few terms": lambda: make_pipeline(MomentTensor(**SMALL), GreedyOLS(12)),
    "the mean of a few terms": lambda: make_pipeline(
        MomentTensor(**SMALL, by_center=False),
        BaggedGreedyOLS(n_estimators=2, max_terms=8, random_state=0),
    ),
    "products of one moment": lambda: make_pipeline(
        MomentTensor(cutoff=3.6, level=2), LinearPotential(1e-8)
    ),
    "trained": lambda: MomentTensorPotential(
        MomentTensor(**SMALL), n_radial=4, max_iter=2, random_state=0
    ),
    "trained, one set of coefficients": lambda: MomentTensorPotential(
        MomentTensor(**SMALL), LinearPotential(1e-8, by_species=False), n_radial=3, max_iter=1,
        random_state=0,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*features outside of the range", "ignore:.*Objective did not")
@pytest.mark.parametrize("name", MODELS)
def test_energies_of_the_file_are_those_of_the_model(name, tmp_path):
    X, others = crystals(8), crystals(2, seed=1)
    model = MODELS[name]().fit(X, labels_of(X, ["energy", "forces"]))
    path = tmp_path / "inp.mtp"
    symbols = write_mtp(model, path)
    assert symbols == ["P", "In"]
    file = read_file(path)
    found = [energy_of(file, atoms, symbols) for atoms in others.to_ase()]
    expected = model.predict(others)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    assert [*tmp_path.iterdir()] == [path]


def test_one_species_has_one_set_of_invariants(tmp_path):
    X = crystals(6, ("Si", "Si"))
    model = make_pipeline(MomentTensor(cutoff=4.0, level=12), LinearPotential())
    model.fit(X, labels_of(X, ["energy", "forces"]))
    assert write_mtp(model, tmp_path / "si.mtp") == ["Si"]
    file = read_file(tmp_path / "si.mtp")
    # as many as in the tables of MLIP
    assert int(file.values["alpha_scalar_moments"]) == 29
    assert energy_of(file, X.to_ase()[0], ["Si"]) == pytest.approx(model.predict(X[:1])[0], 1e-10)


def test_files_of_few_terms_are_short(tmp_path):
    X = crystals(8)
    y = labels_of(X, ["energy", "forces"])
    numbers = {}
    for model in (GreedyOLS(6), LinearPotential(1e-8)):
        write_mtp(make_pipeline(MomentTensor(**SMALL), model).fit(X, y), tmp_path / "inp.mtp")
        values = read_file(tmp_path / "inp.mtp").values
        numbers[type(model)] = [
            int(values[f"alpha_{name}"])
            for name in ("scalar_moments", "moments_count", "index_times_count")
        ]
    assert numbers[GreedyOLS][0] <= 6
    assert all(3 * n < m for n, m in zip(*numbers.values(), strict=True))


def test_the_command_writes_the_file_and_names_the_species(tmp_path, capsys):
    X = crystals(4)
    model = make_pipeline(MomentTensor(**SMALL), LinearPotential())
    joblib.dump(model.fit(X, labels_of(X, ["energy"])), tmp_path / "inp.joblib")
    assert main(["export", str(tmp_path / "inp.joblib"), "--out", str(tmp_path / "inp")]) == 0
    assert capsys.readouterr().out.endswith("inp.mtp: species 0 is P, 1 is In\n")
    assert (tmp_path / "inp.mtp").read_text().startswith("MTP\nversion = 1.1.0\n")


class TestErrors:
    X = crystals(4)
    y = labels_of(X, ["energy", "forces"])

    def refused(self, model, message, kind=ValueError, fit=True, y=None):
        if fit:
            model.fit(self.X, self.y if y is None else y)
        with pytest.raises(kind, match=message):
            write_mtp(model, "never.mtp")

    def test_other_models_and_features(self):
        descriptor = MomentTensor(**SMALL)
        self.refused(
            make_pipeline(descriptor, SparseGaussianProcess(n_sparse=3)),
            "got SparseGaussianProcess: make_pipeline.* can be written", TypeError,
        )  # fmt: skip
        self.refused(
            make_pipeline(ACSF(cutoff=3.6), LinearPotential()), "fitted to features of ACSF"
        )
        self.refused(
            make_pipeline(MomentTensor(**SMALL, pool="sum"), LinearPotential()),
            "fitted to the sum over atoms.*leave pool=None",
        )
        self.refused(
            make_pipeline(MomentTensor(**SMALL, unit_vectors=False), LinearPotential()),
            "fit with unit_vectors=True",
        )
        self.refused(
            make_pipeline(descriptor, RandomFourierFeatures(n_features=20), LinearPotential()),
            "is no linear function of the features",
        )
        table = LinearPotential().fit(np.eye(5)[:, :2], np.arange(5.0))
        self.refused(table, "fitted to an array", fit=False)

    def test_not_fitted(self):
        for model in (LinearPotential(), MomentTensorPotential(), GreedyOLS()):
            self.refused(model, "not fitted", NotFittedError, fit=False)

    @pytest.mark.filterwarnings("ignore:LinearPotential. the model reproduces")
    def test_baselines_with_forces(self):
        model = LinearPotential(1e-6, baseline=PairRepulsion())
        self.refused(
            make_pipeline(MomentTensor(**SMALL), model), "baseline of the model has forces"
        )

    def test_a_file_stays_if_nothing_can_be_written(self, tmp_path):
        path = tmp_path / "old.mtp"
        path.write_text("before")
        with pytest.raises(TypeError):
            write_mtp(SparseGaussianProcess(), path)
        assert path.read_text() == "before"


def test_molecules_of_three_species(tmp_path):
    rng = np.random.default_rng(3)
    images = []
    for _ in range(6):
        atoms = molecule("CH3OH")
        atoms.positions += 0.1 * rng.normal(size=(6, 3))
        images.append(atoms)
    X = Structures.from_ase(images)
    model = make_pipeline(MomentTensor(cutoff=4.0, level=6), LinearPotential())
    model.fit(X, labels_of(X, ["energy", "forces"]))
    symbols = write_mtp(model, tmp_path / "methanol.mtp")
    assert symbols == ["H", "C", "O"]
    file = read_file(tmp_path / "methanol.mtp")
    pair = Atoms("OH", [[0, 0, 0], [0, 0, 1.1]])
    for atoms in (images[0], pair, Atoms("C")):
        expected = model.predict(Structures.from_ase([atoms]))[0]
        assert energy_of(file, atoms, symbols) == pytest.approx(expected, rel=1e-9)
