"""Labels less their baseline, with noise by property, structure, atom, configuration and weight."""

import numpy as np
import pytest
from models_under_contract import crystals, labels_of
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatom import Targets
from skatom.baseline import AtomicBaseline
from skatom.descriptors import SOAP
from skatom.models import Committee, ForceKernelRidge, GreedyOLS
from skatom.models._labels import Labels, check_labels, per_structure

NOISE = {"noise_energy": 0.01, "noise_forces": 0.2, "noise_virial": 0.05}


@pytest.fixture(scope="module")
def data():
    structures = crystals(6)
    return structures, labels_of(structures, ("energy", "forces", "stress"))


def test_noise_of_energies_and_virials_grows_with_the_root_of_the_atoms(data):
    labels = Labels.of(*data, None, NOISE)
    np.testing.assert_allclose(labels.noise_energy, 0.02)
    np.testing.assert_allclose(labels.noise_virial, 0.1)
    np.testing.assert_allclose(labels.noise_forces, 0.2)


def test_labels_of_a_structure_follow_each_other(data):
    structures, targets = data
    labels = Labels.of(structures, targets, None, NOISE)
    values, noises = labels.of_structure(2)
    assert len(values) == len(noises) == 1 + 12 + 6
    assert values[0] == targets.energy[2]
    np.testing.assert_array_equal(values[1:13], targets.forces[8:12].ravel())
    virial = targets.stress[2] * structures.volumes()[2]
    np.testing.assert_allclose(values[13:], virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])


def test_weights_divide_variances_and_zero_leaves_out(data):
    weights = np.array([1.0, 4.0, 0.25, 0.0, 1.0, 1.0])
    labels = Labels.of(*data, None, NOISE, sample_weight=weights)
    np.testing.assert_allclose(labels.noise_energy[:3], [0.02, 0.01, 0.04])
    np.testing.assert_allclose(labels.noise_forces[4:8], 0.1)
    assert not labels.has_energy[3] and not labels.has_forces[3] and not labels.has_virial[3]
    assert len(labels.of_structure(3)[0]) == 0


def test_what_a_model_does_not_learn_is_not_there(data):
    labels = Labels.of(*data, None, {"noise_forces": 0.1})
    assert labels.has_forces.all() and not labels.has_energy.any() and not labels.has_virial.any()


def test_the_baseline_is_taken_off(data):
    structures, targets = data
    baseline = AtomicBaseline().fit(structures, targets)
    labels = Labels.of(structures, targets, baseline, NOISE)
    np.testing.assert_allclose(labels.energy, targets.energy - baseline.energies(structures))


class TestPerStructure:
    def test_number_array_and_dict(self, data):
        structures, _ = data
        everywhere = np.ones(6, bool)
        names = ["a", "b", "a", "b", "a", "b"]
        made = [
            per_structure("noise_energy", value, structures, names, everywhere)
            for value in (0.5, np.linspace(1, 2, 6), {"a": 1.0, "b": 3.0})
        ]
        np.testing.assert_array_equal(made[0], 0.5)
        np.testing.assert_array_equal(made[1], np.linspace(1, 2, 6))
        np.testing.assert_array_equal(made[2], [1, 3, 1, 3, 1, 3])

    def test_one_for_each_atom(self, data):
        structures, _ = data
        of_atoms = per_structure(
            "noise_forces", np.arange(1.0, 7.0), structures, None, np.ones(6, bool), per_atom=True
        )
        np.testing.assert_array_equal(of_atoms, np.repeat(np.arange(1.0, 7.0), 4))

    @pytest.mark.parametrize(
        ("value", "names", "message"),
        [
            (np.ones(5), None, r"has the shape \(5,\): give a number, a dict"),
            (0.0, None, "must be positive and finite"),
            (np.nan, None, "must be positive and finite"),
            ({"a": 1.0}, None, "is a dict by configuration: pass fit"),
            ({"a": 1.0}, ["a", "b"], r"configurations have the shape \(2,\)"),
            ({"a": 1.0}, list("ababab"), "has no entry for b"),
        ],
    )
    def test_refuses_anything_else(self, data, value, names, message):
        with pytest.raises(ValueError, match=f"noise_energy {message}|{message}"):
            per_structure("noise_energy", value, data[0], names, np.ones(6, bool))


class TestLabelsThatCannotBeUsed:
    def test_are_named(self, data):
        with pytest.warns(UserWarning, match="Thing does not learn from stress: these labels"):
            check_labels(data[1], ("energy", "forces"), "Thing")

    def test_of_other_properties_are_for_other_models(self, recwarn):
        targets = Targets(energy=np.zeros(2), dipole=np.zeros((2, 3)))
        assert check_labels(targets, ("energy",), "Thing") == ["energy"]
        assert check_labels(targets, ("dipole",), "Thing") == ["dipole"]
        assert not recwarn

    def test_a_stress_of_a_molecule_is_an_error(self, data):
        structures, targets = data
        molecules = type(structures)(structures.numbers, structures.positions, structures.offsets)
        with pytest.raises(ValueError, match="structure 0 has a stress but is not periodic"):
            Labels.of(molecules, targets, None, NOISE)

    @pytest.mark.parametrize("model", [ForceKernelRidge(), GreedyOLS(2), Committee(Ridge())])
    def test_forces_beside_an_array_are_an_error_that_names_the_maps(self, data, model):
        structures, targets = data
        soap = SOAP(cutoff=3.0, n_max=2, l_max=1, pool="sum")
        with pytest.raises(ValueError, match="plain array.*FeatureScaler and FeatureSelector"):
            make_pipeline(soap, StandardScaler(), model).fit(structures, targets)
