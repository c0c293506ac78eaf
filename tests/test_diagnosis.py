"""Labels in a wrong unit, of a wrong sign or of other structures are said after each fit."""

import warnings

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from models_under_contract import CASES, SMALL_ACSF, crystals, labels_of, waters
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom.datasets import load_ethanol, read
from skatom.descriptors import SOAP
from skatom.kernels import NBody
from skatom.models import (
    HDNNP,
    SGDML,
    Committee,
    NBodyGaussianProcess,
    PaiNN,
    SchNet,
    SparseGaussianProcess,
)
from skatom.models._consistency import inconsistencies
from skatom.models._stress_comparison import stress_finding

OF_THE_ENERGY = ("energy", "forces", "stress")
KCAL = 23.0605

FAULTS = {
    "energies in kcal/mol": ("energy", KCAL, r"times as much .* energies are in kcal/mol"),
    "energies in hartree": ("energy", 1 / 27.2114, "the energies are in hartree"),
    "forces in kcal/mol/Å": ("forces", KCAL, "the forces are in kcal/mol/Å"),
    "forces in hartree/bohr": ("forces", 1 / 51.4221, "the forces are in hartree/bohr"),
    "sign of forces": ("forces", -1.0, "fall where .* are the forces gradients"),
    "sign of stresses": ("stress", -1.0, "tension must be positive"),
    "stresses in GPa": ("stress", 160.2177, "stresses .* looks as if they are in GPa"),
    "stresses in kbar": ("stress", -1602.177, "in kbar .* with compression positive"),
}
# variants of models that are here, whose fits take seconds
SLOW = {
    "gdml-deviations", "sgdml-deviations", "sgdml-torch", "kernel-ridge-fchl18-global",
    "kernel-ridge-fchl18-derivatives", "kernel-ridge-average", "kernel-order",
}  # fmt: skip
MODELS = [
    name
    for name, case in CASES.items()
    if {"energy", "forces"} <= {*case.labels} and name not in SLOW
]


def changed(targets, name, factor):
    """Targets with a property multiplied by a factor."""
    values = {n: getattr(targets, n) for n in targets.names}
    return Targets(**values | {name: factor * values[name]}, offsets=targets.offsets)


def shuffled(structures, targets, names):
    """Targets with some properties of other structures."""
    other = targets[np.random.default_rng(3).permutation(len(structures))]
    values = {n: getattr(other if n in names else targets, n) for n in targets.names}
    return Targets(**values, offsets=targets.offsets)


def warned(model, X, y):
    """The warnings about labels after a fit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    about = ("the energies", "the forces", "the stresses", "the model reproduces")
    return [str(w.message) for w in caught if any(start in str(w.message) for start in about)]


class TestEveryModel:
    @pytest.fixture(scope="class", params=MODELS)
    def case(self, request):
        case = CASES[request.param]
        structures = crystals(10) if case.system == "crystals" else waters(12)
        model = case.make()
        cheaper(model)
        return model, structures, labels_of(structures, case.labels)

    def test_is_silent_about_correct_labels(self, case):
        model, structures, targets = case
        assert warned(clone(model), structures, targets) == []

    @pytest.mark.parametrize(
        "fault", ["energies in kcal/mol", "sign of forces", "sign of stresses"]
    )
    def test_says_what_looks_wrong_once(self, case, fault):
        model, structures, targets = case
        name, factor, message = FAULTS[fault]
        if name not in targets.names:
            pytest.skip(f"does not learn {name}")
        found = warned(clone(model), structures, changed(targets, name, factor))
        assert len(found) == 1
        with pytest.warns(UserWarning, match=message):
            warnings.warn(found[0], UserWarning, stacklevel=1)


def cheaper(model):
    """Fewer members and environments: the labels are the subject."""
    parameters = model.get_params()
    for name in parameters:
        if name.endswith("n_environments"):
            model.set_params(**{name: 6})
        if name.endswith("n_knots_pairs"):
            model.set_params(**{name: 60})
    if "map_variance" in parameters:
        model.set_params(map_variance=False)


class TestInconsistencies:
    @pytest.fixture(scope="class", params=["crystals", "waters"])
    def data(self, request):
        structures = crystals() if request.param == "crystals" else waters()
        names = OF_THE_ENERGY if request.param == "crystals" else OF_THE_ENERGY[:2]
        return structures, labels_of(structures, names)

    def test_of_correct_labels_are_none(self, data):
        assert inconsistencies(*data, {*data[1].names}) == []

    @pytest.mark.parametrize("fault", FAULTS)
    def test_are_named(self, data, fault):
        structures, targets = data
        name, factor, message = FAULTS[fault]
        if name not in targets.names:
            pytest.skip("no stresses of molecules")
        found = inconsistencies(structures, changed(targets, name, factor), {*targets.names})
        assert len(found) == 1
        with pytest.warns(UserWarning, match=message):
            warnings.warn(found[0], UserWarning, stacklevel=1)

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (("energy",), "energies do not follow the forces"),
            (OF_THE_ENERGY, "forces cannot be predicted from those of similar structures"),
        ],
    )
    def test_labels_of_other_structures(self, data, names, message):
        structures, targets = data
        found = inconsistencies(structures, shuffled(structures, targets, names), {*targets.names})
        assert len(found) == 1 and message in found[0]

    def test_exchanged_components_of_the_stress(self):
        structures = crystals(16)
        targets = labels_of(structures, OF_THE_ENERGY)
        stress = targets.stress[:, [1, 2, 0]][:, :, [1, 2, 0]]
        wrong = Targets(targets.energy, targets.forces, stress, offsets=targets.offsets)
        (found,) = inconsistencies(structures, wrong, {*targets.names})
        assert "order, xz in the place of yz and xy in the place of xz and yz in the place" in found

    @pytest.mark.parametrize(
        ("order", "message"),
        [
            ([0, 1, 2, 4, 3, 5], "xz in the place of yz and yz in the place of xz"),
            ([0, 1, 2, 4, 5, 3], "xz in the place of yz and xy in the place of xz and yz in the"),
        ],
    )
    def test_shears_in_the_order_of_others(self, order, message):
        rng = np.random.default_rng(0)
        expected = rng.normal(size=(80, 6))
        found = expected[:, order] + 0.3 * rng.normal(size=(80, 6))
        assert stress_finding([expected], expected + 0.3 * found, True) is None
        text = stress_finding([expected, expected + 0.1], found, True).text
        assert "components were in another order, " + message in text
        assert stress_finding([expected], found, False) is None

    def test_stresses_with_a_constant_pressure(self):
        structures = crystals(16)
        targets = labels_of(structures, OF_THE_ENERGY)
        stress = targets.stress + 3 * 0.00624151 * np.eye(3)
        wrong = Targets(targets.energy, targets.forces, stress, offsets=targets.offsets)
        (found,) = inconsistencies(structures, wrong, {*targets.names})
        assert "by 3 GPa" in found

    def test_pressures_of_one_volume_are_not_judged(self):
        frames = [bulk("Cu", cubic=True) for _ in range(20)]
        for seed, atoms in enumerate(frames):
            atoms.rattle(0.05, seed=seed)
            atoms.calc = EMT()
            atoms.get_stress()
        targets = Targets.from_ase(frames)
        found = inconsistencies(Structures.from_ase(frames), targets, {*targets.names})
        assert found == []

    def test_few_structures_say_nothing(self):
        structures = crystals(6)
        targets = changed(labels_of(structures, OF_THE_ENERGY), "forces", -1.0)
        assert inconsistencies(structures, targets, {*targets.names}) == []

    def test_unlabelled_structures_are_left_out(self):
        structures = waters(24)
        targets = labels_of(structures, ("energy", "forces"))
        energy = targets.energy.copy()
        energy[::2] = np.nan
        partly = Targets(energy, targets.forces, offsets=targets.offsets)
        assert inconsistencies(structures, partly, {"energy", "forces"}) == []
        (found,) = inconsistencies(
            structures, changed(partly, "energy", KCAL), {"energy", "forces"}
        )
        assert "kcal/mol" in found


@pytest.mark.thorough
class TestData:
    """Parts of data whose energies and forces agree, and the same with a wrong unit."""

    @pytest.fixture(scope="class", params=[
        "periodic/NbMoTaW_train.xyz.xz", "mlearn/mlearn_Ge_train.xyz.xz",
        "mlearn/mlearn_Ni_train.xyz.xz", "mlearn/mlearn_Li_train.xyz.xz",
        "molecules/rmd17_ethanol_train.npz",
    ])  # fmt: skip
    def data(self, request, reference_data):
        data = read(reference_data / request.param)
        rng, n = np.random.default_rng(0), len(data.structures)
        parts = [np.sort(rng.permutation(n)[:m]) for m in (n, 2 * n // 3, n // 2, 60, 60, 60)]
        return [(data.structures[part], data.targets[part]) for part in parts]

    def test_correct_labels(self, data):
        assert all(inconsistencies(X, y, {"energy", "forces"}) == [] for X, y in data)

    def test_energies_in_hartree(self, data):
        found = [
            inconsistencies(X, changed(y, "energy", 1 / 27.2114), {"energy", "forces"})
            for X, y in data
        ]
        assert sum(len(sentences) for sentences in found) >= 3

    def test_shears_of_mlearn(self, reference_data):
        data = read(reference_data / "mlearn" / "mlearn_Mo_train.xyz.xz")
        (found,) = inconsistencies(data.structures, data.targets, {*OF_THE_ENERGY})
        assert "xz in the place of yz and yz in the place of xz" in found


class TestResiduals:
    def test_worse_than_zero_forces_is_said(self):
        """Energies of another molecule's noise: a process that trusts them loses the forces."""
        structures = crystals(10)
        targets = labels_of(structures, ("energy", "forces"))
        noise = np.random.default_rng(0).normal(scale=0.3, size=len(structures))
        noisy = Targets(targets.energy + noise, targets.forces, offsets=targets.offsets)
        model = NBodyGaussianProcess(
            NBody(cutoff=3.6), noise_energy=1e-5, noise_forces=0.01, random_state=0
        )
        found = warned(model, structures, noisy)
        assert len(found) == 1
        assert "reproduces the forces of its own training structures" in found[0]
        assert "assumed noise 0.01" in found[0]

    def test_networks_that_learnt_nothing_yet_contradict_nothing(self):
        """One step from their first weights; also as members of a committee."""
        structures = waters(12)
        targets = labels_of(structures, ("energy", "forces"))
        hardly = HDNNP(SMALL_ACSF, max_iter=1, random_state=0)
        assert warned(hardly, structures, targets) == []
        assert warned(Committee(make_pipeline(hardly), n_models=2), structures, targets) == []
        pytest.importorskip("torch")
        for cls in (SchNet, PaiNN):
            sizes = {"n_features": 6, "n_interactions": 1}
            model = cls(3.5, **sizes, max_iter=3, learning_rate_init=0.03, random_state=0)
            assert warned(model, structures, targets) == []
            assert warned(model.set_params(max_iter=500, max_time=0.01), structures, targets) == []

    def test_networks_that_learnt_the_forces_tell_energies_that_they_contradict(self):
        pytest.importorskip("torch")
        structures = waters(24)
        targets = changed(labels_of(structures, ("energy", "forces")), "forces", -1.0)
        model = SchNet(
            3.5, n_features=8, n_interactions=1, batch_size=4, max_iter=40, ema_decay=0.9,
            learning_rate_init=0.01, random_state=0,
        )  # fmt: skip
        (found,) = warned(model, structures, targets)
        assert "are the forces gradients, with the wrong sign?" in found
        assert "reproduces the energy of its own training structures" in found

    def test_weightless_structures_are_not_judged(self):
        structures = waters(24)
        targets = labels_of(structures, ("energy", "forces"))
        energy = targets.energy.copy()
        energy[12:] *= KCAL
        mixed = Targets(energy, targets.forces, offsets=targets.offsets)
        features = SOAP(cutoff=3.5, n_max=3, l_max=2).fit_transform(structures)
        model = SparseGaussianProcess(n_sparse=12, random_state=0)
        weights = np.repeat([1.0, 0.0], 12)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(features, mixed, sample_weight=weights)

    def test_crystals_beside_molecules(self):
        """Stresses of some structures only."""
        solid, molecules = crystals(12), waters(12)
        both = Structures.from_ase([*molecules.to_ase(), *solid.to_ase()])
        some, many = (labels_of(part, ("energy", "forces")) for part in (molecules, solid))
        stress = np.full((24, 3, 3), np.nan)
        stress[12:] = labels_of(solid, ("stress",)).stress
        targets = Targets(
            np.append(some.energy, many.energy), np.concatenate([some.forces, many.forces]),
            stress, offsets=both.offsets,
        )  # fmt: skip
        model = make_pipeline(
            SOAP(cutoff=3.5, n_max=3, l_max=2), SparseGaussianProcess(n_sparse=20, random_state=0)
        )
        assert warned(model, both, targets) == []
        (found,) = warned(model, both, changed(targets, "stress", -1.0))
        assert "is the sign wrong" in found

    def test_a_committee_speaks_once_of_a_list_of_atoms(self):
        structures = waters(16)
        targets = changed(labels_of(structures, ("energy", "forces")), "forces", -1.0)
        model = Committee(SGDML(sigma=3.0), n_models=3, random_state=0)
        assert len(warned(model, structures.to_ase(), targets)) == 1


def test_ethanol_with_energies_in_kcal_per_mol():
    data = load_ethanol()
    X, y = data.structures[:60], data.targets[:60]
    model = make_pipeline(
        SOAP(cutoff=3.5, n_max=3, l_max=2), SparseGaussianProcess(n_sparse=20, random_state=0)
    )
    assert warned(model, X, y) == []
    (found,) = warned(model, X, changed(y, "energy", KCAL))
    assert "the energies are in kcal/mol (factor 23.1)" in found
