"""The table of what each model can do is up to date, and every mark in it is true."""

import importlib.util
import inspect
from pathlib import Path

import numpy as np
import pytest
from models_under_contract import CASES
from sklearn.base import clone

from skatom import Structures, Targets
from skatom._prediction import predict, predictable
from skatom.models.neural.neural_potential import NeuralPotential

_path = Path(__file__).parents[1] / "docs" / "capabilities.py"
_spec = importlib.util.spec_from_file_location("capabilities", _path)
capabilities = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(capabilities)


def class_of(model):
    """The class of the model, at the end of a pipeline but not inside another model."""
    return type(model.steps[-1][1] if hasattr(model, "steps") else model)


CASES_OF = {
    cls: {name: case for name, case in CASES.items() if class_of(case.make()) is cls}
    for cls in capabilities.models()
}


# Cases of one neural potential for all of them: heads are apart from architectures.
HEADS = {name: case for name, case in CASES.items() if name.startswith("schnet-")}


def others_with_its_heads(cls):
    return HEADS.values() if issubclass(cls, NeuralPotential) else ()


def models(can=lambda cls: True):
    """Run a test for the models that can do something."""
    return pytest.mark.parametrize("cls", [*filter(can, CASES_OF)], ids=lambda cls: cls.__name__)


def cases(can):
    """Run a test for the cases of such models."""
    names = [name for cls, found in CASES_OF.items() if can(cls) for name in found]
    return pytest.mark.parametrize("name", names)


def fit_params(case, **params):
    """Arguments of ``fit`` for the last step, or for the model itself."""
    model = case.make()
    if not hasattr(model, "steps"):
        return params
    return {f"{model.steps[-1][0]}__{name}": value for name, value in params.items()}


def outputs(model, structures):
    """The first output and the forces, if there are any."""
    names = predictable(model)
    found = predict(model, structures, [n for n in names if n in (names[0], "forces")])
    return np.concatenate([values.ravel() for values in found.values()])


def test_the_page_is_up_to_date():
    assert capabilities.page() == capabilities.PAGE.read_text(encoding="utf-8")


@models()
def test_every_output_is_given_by_one_of_the_cases(cls):
    given = set()
    for case in (*CASES_OF[cls].values(), *others_with_its_heads(cls)):
        given |= set(predictable(case.make().fit(*case.data())))
    expected = set(capabilities.predictions(cls)) & set(cls.gives)
    if capabilities.is_wrapper(cls):
        expected &= given  # the others are those of other estimators
    assert expected <= given
    assert given <= set(cls.gives)


@models()
def test_every_label_is_learnt_in_one_of_the_cases(cls):
    learnt = set()
    for case in (*CASES_OF[cls].values(), *others_with_its_heads(cls)):
        structures, targets = case.data()
        model = case.make().fit(structures, targets)
        for label in set(targets.names) - learnt:
            other = case.make().fit(structures, scrambled(targets, label))
            if moved(model, other, structures):
                learnt.add(label)
    assert learnt <= set(cls.learns)
    if not capabilities.is_wrapper(cls):
        assert learnt == set(cls.learns)


def scrambled(targets, label):
    """Targets whose labels of one kind are changed by a tenth of their spread."""
    values = {name: getattr(targets, name) for name in targets.names}
    noise = np.random.default_rng(5).normal(size=values[label].shape)
    if noise.ndim == 3:
        noise = noise + noise.transpose(0, 2, 1)
    values[label] = values[label] + 0.1 * values[label].std() * noise
    return Targets(**values, offsets=targets.offsets)


def moved(model, other, structures):
    before, after = outputs(model, structures), outputs(other, structures)
    return np.abs(after - before).max() > 1e-5 * np.abs(before).max()


@cases(capabilities.takes_weights)
def test_a_structure_of_no_weight_is_not_learnt(name):
    case = CASES[name]
    structures, targets = case.data()
    weights = np.where(np.arange(len(structures)) % 3, 1.0, 0.0)
    try:
        weighted = case.make().fit(structures, targets, **fit_params(case, sample_weight=weights))
    except TypeError:
        assert capabilities.is_wrapper(class_of(case.make()))
        pytest.skip("the estimator takes no weights")
    changed = Targets(
        **{
            n: np.where(spread(weights, targets, n), values, 7.0 + values)
            for n, values in ((n, getattr(targets, n)) for n in targets.names)
        },
        offsets=targets.offsets,
    )
    other = case.make().fit(structures, changed, **fit_params(case, sample_weight=weights))
    expected = outputs(weighted, structures)
    tolerance = 1e-8 * np.abs(expected).max()
    np.testing.assert_allclose(outputs(other, structures), expected, atol=tolerance)
    assert moved(weighted, case.make().fit(structures, targets), structures)


def spread(weights, targets, name):
    """The weights in the shape of the labels of that name."""
    values = getattr(targets, name)
    n_atoms = np.diff(targets.offsets)
    weights = np.repeat(weights, n_atoms) if len(values) == n_atoms.sum() else weights
    return weights.reshape(-1, *[1] * (values.ndim - 1)) * np.ones(values.shape)


@cases(capabilities.noise_parameters)
def test_noises_by_configuration_are_those_by_structure(name):
    case = CASES[name]
    if name in HEADS:
        pytest.skip("labels that are no energies have weights of structures and no noises")
    parameters = capabilities.noise_parameters(class_of(case.make()))
    structures, targets = case.data()
    hot = np.arange(len(structures)) % 2 == 0
    prefix = f"{case.make().steps[-1][0]}__" if hasattr(case.make(), "steps") else ""
    start = case.make().get_params()
    values = {p: start[prefix + p] for p in parameters if not isinstance(start[prefix + p], dict)}
    values = {p: 1e-3 if value is None else value for p, value in values.items()}
    by_name = {prefix + p: {"hot": 10 * v, "cold": v} for p, v in values.items()}
    by_structure = {prefix + p: np.where(hot, 10 * v, v) for p, v in values.items()}
    names = fit_params(case, configurations=np.where(hot, "hot", "cold"))
    one = case.make().set_params(**by_name).fit(structures, targets, **names)
    other = case.make().set_params(**by_structure).fit(structures, targets)
    np.testing.assert_allclose(outputs(one, structures), outputs(other, structures), rtol=1e-9)
    plain = case.make().set_params(**{prefix + p: v for p, v in values.items()})
    assert moved(one, plain.fit(structures, targets), structures)


@models(lambda cls: hasattr(cls, "partial_fit") and not issubclass(cls, NeuralPotential))
def test_partial_fit_twice_is_a_fit_with_twice_the_weight(cls):
    for case in CASES_OF[cls].values():
        structures, targets = case.data()
        model = case.make()
        *before, last = [step for _, step in getattr(model, "steps", [("model", model)])]
        X = structures
        for transformer in before:
            X = transformer.fit_transform(X)
        twice = clone(last).partial_fit(X, targets).partial_fit(X, targets)
        weights = np.full(len(structures), 2.0)
        heavy = clone(last).partial_fit(X, targets, sample_weight=weights)
        expected = outputs(heavy, X)
        tolerance = 1e-6 * np.abs(expected).max()
        np.testing.assert_allclose(outputs(twice, X), expected, atol=tolerance)


@models(lambda cls: hasattr(cls, "hessian"))
def test_hessians_are_the_slopes_of_forces(cls):
    for case in CASES_OF[cls].values():
        structures, targets = case.data()
        model, one, step = case.make().fit(structures, targets), structures[2], 1e-4
        hessian = model.hessian(one)[0]
        slopes = np.zeros_like(hessian)
        for row in range(one.positions.size):
            shift = np.zeros(one.positions.size)
            shift[row] = step
            shift = shift.reshape(one.positions.shape)
            ends = [
                Structures(one.numbers, one.positions + sign * shift, None, one.cells, one.pbc)
                for sign in (1, -1)
            ]
            plus, minus = (predict(model, x, ["forces"])["forces"].ravel() for x in ends)
            slopes[row] = (minus - plus) / (2 * step)
        np.testing.assert_allclose(hessian, slopes, atol=1e-6 * np.abs(hessian).max())


@models(lambda cls: {"energy", "stress"} & {*cls.learns} == {"energy"})
def test_stresses_that_are_not_learnt_are_named(cls):
    case = next(iter(CASES_OF[cls].values()))
    structures, targets = case.data()
    if not structures.pbc.all():
        structures = in_boxes(structures)
    stress = np.zeros((len(structures), 3, 3))
    labelled = Targets(targets.energy, targets.forces, stress=stress, offsets=targets.offsets)
    with pytest.warns(UserWarning, match="does not learn from stress"):
        case.make().fit(structures, labelled)


def in_boxes(structures):
    """The structures as crystals of large cells."""
    n = len(structures)
    cells, pbc = np.tile(15.0 * np.eye(3), (n, 1, 1)), np.ones((n, 3), bool)
    return Structures(structures.numbers, structures.positions, structures.offsets, cells, pbc)


def test_the_parameters_of_fit_are_documented():
    for cls in CASES_OF:
        text = inspect.getdoc(cls.fit)
        for name in ("sample_weight", "configurations"):
            assert name not in inspect.signature(cls.fit).parameters or f"{name} :" in text
