"""What is easily given in the wrong place says what was meant."""

from functools import cache

import numpy as np
import pytest
from ase.build import molecule
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom.baseline import AtomicBaseline
from skatom.calculators import SkatomCalculator
from skatom.datasets import load_ethanol
from skatom.descriptors import SOAP, LambdaSOAP
from skatom.kernels import Cosine, Gaussian, NBody
from skatom.metrics import evaluate
from skatom.models import (
    GDML,
    SGDML,
    Committee,
    ForceKernelRidge,
    GreedyOLS,
    MappedForceField,
    NBodyGaussianProcess,
    SparseGaussianProcess,
    TensorKernelRidge,
)

ETHANOL = load_ethanol()
X, Y = ETHANOL.structures[:12], ETHANOL.targets[:12]
ATOMS = X.to_ase(Y)
SMALL_SOAP = SOAP(cutoff=3.0, n_max=2, l_max=2)
OF_STRUCTURES = {
    "gdml": GDML(),
    "sgdml": SGDML(),
    "nbody": NBodyGaussianProcess(),
    "ridge": make_pipeline(SMALL_SOAP, ForceKernelRidge()),
    "sparse": make_pipeline(SMALL_SOAP, SparseGaussianProcess(n_sparse=5)),
    "greedy": make_pipeline(SMALL_SOAP, GreedyOLS(n_terms=3)),
    "tensor": make_pipeline(LambdaSOAP(n_max=2, l_max=2), TensorKernelRidge("dipole")),
}
NEEDS_LABELS = r"Targets\.from_ase\(structures\), if they carry labels, or Targets\(energy=…"


@cache
def features():
    """Made when they are needed: nothing is compiled while tests are collected."""
    return SMALL_SOAP.fit_transform(X)


@pytest.fixture(params=OF_STRUCTURES)
def model(request):
    return OF_STRUCTURES[request.param]


class TestStructuresOfAFit:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("md.xyz", r"got the name 'md.xyz' .*: read the file .*read\('md.xyz'\).structures"),
            (features, "got AtomicFeatures where structures are needed: .*without a descriptor"),
            (Y, "got Targets where structures are needed: structures come before labels"),
            (ATOMS[0], r"got a single ase.Atoms .*: pass \[atoms\]"),
            (X.positions, "item 0 is a ndarray, not an ase.Atoms"),
            ([], "got no structures"),
        ],
    )
    def test_are_named_if_they_are_none(self, model, given, message):
        with pytest.raises(ValueError, match=message):
            model.fit(given() if callable(given) else given, Y)


class TestLabelsOfAFit:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (None, f"there are no labels: give y={NEEDS_LABELS}"),
            (ATOMS, f"y are structures where labels are needed: give y={NEEDS_LABELS}"),
            (X, "y are structures where labels are needed"),
            ("md.xyz", r"got the name 'md.xyz' where labels .*read\('md.xyz'\).targets"),
            ({"energy": Y.energy}, r"y is a dict of labels: give Targets\(\*\*y\)"),
            ((Y.energy, Y.forces), "y is a tuple of arrays: name them, as in Targets"),
            (Y[:5], "12 structures but 5 targets"),
        ],
    )
    def test_are_named_if_they_are_none(self, model, given, message):
        with pytest.raises(ValueError, match=message):
            model.fit(ATOMS, given)

    @pytest.mark.parametrize("name", [name for name in OF_STRUCTURES if name != "tensor"])
    @pytest.mark.parametrize(
        ("given", "remedy"),
        [
            (Y.forces, r"Targets\(forces=y, offsets=structures.offsets\)"),
            (Y.forces.reshape(12, 9, 3), r"Targets\(forces=y\)"),
        ],
    )
    def test_that_are_forces_are_recognised(self, name, given, remedy):
        with pytest.raises(ValueError, match=f"forces, but an array means energies: give {remedy}"):
            OF_STRUCTURES[name].fit(ATOMS, given)

    def test_the_remedies_work(self):
        first = GDML().fit(ATOMS, Targets(forces=Y.forces, offsets=X.offsets))
        second = GDML().fit(ATOMS, Targets(forces=Y.forces.reshape(12, 9, 3)))
        assert np.array_equal(first.predict(X), second.predict(X))

    @pytest.mark.parametrize(
        "model",
        [GDML(), SGDML(), NBodyGaussianProcess(), Committee(GDML()), AtomicBaseline(),
         SparseGaussianProcess(terms=[(SMALL_SOAP, Cosine(2), 5)])],
    )  # fmt: skip
    def test_that_are_left_out(self, model):
        name = type(model).__name__
        with pytest.raises(TypeError, match=rf"{name}.fit needs labels: .*Targets.from_ase"):
            model.fit(ATOMS)
        if hasattr(model, "partial_fit"):
            with pytest.raises(TypeError, match=r"partial_fit needs labels"):
                model.partial_fit(ATOMS)

    def test_that_are_structures_in_a_score(self):
        model = GDML().fit(X, Y)
        for judge in (model.score, lambda X, y: evaluate(model, X, y)):
            with pytest.raises(ValueError, match="y are structures where labels are needed"):
                judge(ATOMS, ATOMS)

    def test_of_energies_alone_for_a_model_of_forces(self):
        with pytest.raises(ValueError, match="other models learn from energies alone, such as"):
            GDML().fit(X, Y.energy)


class TestTargetsFromASE:
    def test_say_what_else_was_given(self):
        with pytest.raises(ValueError, match=r"got the name 'md.xyz' .*'md.xyz'\).targets"):
            Targets.from_ase("md.xyz")
        with pytest.raises(ValueError, match="got Structures, which carry no labels"):
            Targets.from_ase(X)

    def test_take_no_single_structure(self):
        with pytest.raises(ValueError, match=r"pass \[atoms\]"):
            Targets.from_ase(ATOMS[0])


class TestModelsOfFeatures:
    @pytest.mark.parametrize(
        "model",
        [ForceKernelRidge(), GreedyOLS(n_terms=2), SparseGaussianProcess(),
         TensorKernelRidge("dipole")],
    )  # fmt: skip
    def test_name_the_descriptor_that_structures_need(self, model):
        for structures in (X, ATOMS):
            with pytest.raises(TypeError, match="put a descriptor in front, .*make_pipeline"):
                model.fit(structures, Y)

    def test_say_that_a_name_is_none(self):
        for model in (ForceKernelRidge(), GreedyOLS(n_terms=2), Committee(GDML())):
            with pytest.raises(ValueError, match="got the name 'md.xyz' where features"):
                model.fit("md.xyz", Y)
            with pytest.raises(ValueError, match="got a single ase.Atoms"):
                model.fit(ATOMS[0], Y)

    def test_no_structures_of_a_committee(self):
        with pytest.raises(ValueError, match="0 sample|empty|no structures|Expected 2D"):
            Committee(GDML()).fit([], Y[:0])


class TestOthers:
    @pytest.mark.parametrize(
        ("fit", "name"),
        [
            (lambda: ForceKernelRidge(Gaussian).fit(features(), Y), "kernel=Gaussian"),
            (lambda: SparseGaussianProcess(Cosine).fit(features(), Y), "kernel=Cosine"),
            (lambda: NBodyGaussianProcess(NBody).fit(X, Y), "kernel=NBody"),
            (lambda: Committee(GDML).fit(X, Y), "estimator=GDML"),
            (
                lambda: MappedForceField(NBodyGaussianProcess).fit(X, Y),
                "estimator=NBodyGaussianProcess",
            ),
            (
                lambda: ForceKernelRidge(baseline=AtomicBaseline).fit(features(), Y),
                "baseline=AtomicBaseline",
            ),
        ],
    )
    def test_a_class_in_place_of_an_object(self, fit, name):
        with pytest.raises(TypeError, match=rf"{name} is a class: give an object of it, {name}\("):
            fit()

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            ("m.joblib", r"got the name 'm.joblib': give skatom.load_model\('m.joblib'\)"),
            (GDML, r"GDML is a class: give a fitted model, GDML\(\).fit\(…\)"),
            (SMALL_SOAP, "a SOAP predicts nothing: give a fitted model"),
        ],
    )
    def test_a_calculator_without_a_model(self, model, message):
        with pytest.raises(TypeError, match=message):
            SkatomCalculator(model)

    def test_molecules_of_several_kinds_name_a_model_that_takes_them(self):
        molecules = [molecule("H2O"), molecule("CH4")]
        forces = Targets(forces=np.zeros((8, 3)), offsets=[0, 3, 8])
        with pytest.raises(ValueError, match=r"structure 1 differs .*SparseGaussianProcess\(\)"):
            GDML().fit(molecules, forces)
        named = make_pipeline(SOAP(cutoff=3.0, n_max=2, l_max=2), SparseGaussianProcess())
        assert len(named.fit(molecules, [-14.0, -24.0]).predict(molecules)) == 2

    def test_features_of_atoms_in_an_estimator_of_rows(self):
        with pytest.raises(TypeError, match="one row for each atom, not for each structure: use"):
            make_pipeline(SMALL_SOAP, PCA(2)).fit(X)
        pooled = SOAP(cutoff=3.0, n_max=2, l_max=2, pool="sum")
        assert make_pipeline(pooled, PCA(2)).fit_transform(X).shape == (12, 2)

    def test_splits_keep_structures_and_labels_together(self):
        train, test, train_y, test_y = train_test_split(X, Y, random_state=0)
        assert isinstance(train, Structures) and isinstance(train_y, Targets)
        assert np.array_equal(np.diff(test_y.offsets), test.n_atoms)

    def test_a_search_names_the_parameters_there_are(self):
        search = GridSearchCV(OF_STRUCTURES["sparse"], {"soap__sgima": [1]})
        with pytest.raises(ValueError, match="Invalid parameter 'sgima'.*'sigma'"):
            search.fit(X, Y)
