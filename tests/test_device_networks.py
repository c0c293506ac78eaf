"""Networks of features that are trained on a device: the same numbers as on the CPU."""

import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from models_under_contract import OF_THE_ENERGY, SMALL_ACSF, crystals, labels_of
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from test_device_features import assert_close, no_silent_copies  # noqa: F401

from skatom import Structures, Targets
from skatom._device import Device
from skatom.attribution import relevance
from skatom.descriptors import ACSF, SOAP
from skatom.models import HDNNP, StructuredMLPRegressor
from skatom.models.neural import labelled_rows, training_checkpoint
from skatom.models.neural.descent import Progress

torch = pytest.importorskip("torch")

QUICK = {"hidden_layer_sizes": (6,), "max_iter": 6, "batch_size": 3, "random_state": 0}
DOUBLE = QUICK | {"dtype": "float64"}
EVERYTHING = {"return_forces": True, "return_stress": True}
POOLED = SOAP(3.5, n_max=2, l_max=1, pool="sum")
CASES = {
    "both solvers": (HDNNP(**DOUBLE), SMALL_ACSF),
    "left out": (HDNNP(solver="adam", early_stopping=True, activation="logistic", **DOUBLE),
                 SMALL_ACSF),
    "softplus": (HDNNP(solver="adam", activation="softplus", **DOUBLE), SMALL_ACSF),
    "single precision": (HDNNP(solver="adam", **QUICK), SMALL_ACSF),
    "shared network": (StructuredMLPRegressor(by_species=False, **QUICK), SMALL_ACSF),
    "momentum": (
        StructuredMLPRegressor(solver="sgd", activation="relu", learning_rate_init=1e-5, **QUICK),
        POOLED,
    ),
    "groups": (StructuredMLPRegressor(n_groups=4, solver="lbfgs", **QUICK), POOLED),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small operations gain nothing from threads, which busy machines make slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cells():
    structures = crystals(8)
    return structures, labels_of(structures, OF_THE_ENERGY)


def features(structures, descriptor=SMALL_ACSF):
    """The features on the CPU and on the device."""
    return [
        clone(descriptor).set_params(device=device).fit_transform(structures)
        for device in ("cpu", "torch")
    ]


@pytest.mark.filterwarnings("ignore:.*the loss still falls")
@pytest.mark.parametrize("name", CASES)
def test_training_and_predictions_are_those_of_the_cpu(name, cells):
    structures, y = cells
    model, descriptor = CASES[name]
    X, Z = features(structures, descriptor)
    one, other = clone(model).fit(X, y), clone(model).fit(Z, y)
    np.testing.assert_allclose(other.loss_curve_, one.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(other.validation_curve_, one.validation_curve_, rtol=1e-9)
    given = EVERYTHING | ({} if descriptor is POOLED else {"return_local_energies": True})
    expected = one.predict(X, **given)
    for trained, some in ((other, Z), (other, X), (one, Z)):
        for found, value in zip(trained.predict(some, **given), expected, strict=True):
            assert type(found) is np.ndarray
            assert_close(found, value)


def test_some_labels_of_some_structures(cells):
    """Forces of some, virials of others, and weights."""
    structures, y = cells
    forces, stress = y.forces.copy(), y.stress.copy()
    forces[: structures.offsets[3]], stress[5:] = np.nan, np.nan
    y = Targets(y.energy, forces, stress, offsets=structures.offsets)
    weights = np.array([1.0, 2, 0, 1, 1, 0.5, 1, 1])
    one, other = (
        HDNNP(**DOUBLE).fit(F, y, sample_weight=weights).predict(F, **EVERYTHING)
        for F in features(structures)
    )
    for found, expected in zip(other, one, strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize("labels", ["energy", "forces", "stress"])
def test_labels_of_one_kind(labels, cells):
    structures, y = cells
    y = Targets(**{labels: getattr(y, labels)}, offsets=structures.offsets)
    one, other = (HDNNP(**DOUBLE).fit(F, y).predict(F, **EVERYTHING) for F in features(structures))
    for found, expected in zip(other[labels != "energy" :], one[labels != "energy" :], strict=True):
        assert_close(found, expected)


def test_pieces_change_nothing(cells, monkeypatch):
    structures, y = cells
    _, Z = features(structures)
    model = HDNNP(solver="lbfgs", **DOUBLE)
    whole = clone(model).fit(Z, y).predict(Z, **EVERYTHING)
    monkeypatch.setattr(labelled_rows, "_BYTES", 1.0)
    for found, expected in zip(model.fit(Z, y).predict(Z, **EVERYTHING), whole, strict=True):
        assert_close(found, expected)


def test_an_iteration_brings_no_more_than_the_weights_to_the_host(cells, monkeypatch):
    structures, y = cells
    _, Z = features(structures)
    sizes, array = [], Device.array

    def noted(self, tensor):
        sizes.append(tensor.numel())
        return array(self, tensor)

    monkeypatch.setattr(Device, "array", noted)
    model, found = HDNNP(solver="adam", **QUICK | {"hidden_layer_sizes": (2,)}), []
    for n in (2, 6):
        sizes.clear()
        model.set_params(max_iter=n).fit(Z, y)
        found.append(sum(sizes))
    assert found[1] - found[0] <= 4 * model.n_weights_ < Z.values.numel()


def test_structures_batches_without_an_element_and_atoms_alone():
    given = [bulk("Cu", a=3.7), bulk("Al", a=4.1), bulk("Cu", a=3.5), Atoms("Al"), molecule("H2O")]
    structures = Structures.from_ase(given)
    forces = np.random.default_rng(0).normal(size=(len(structures.numbers), 3))
    y = Targets(np.arange(5.0), forces, offsets=structures.offsets)
    one, other = (
        HDNNP(ACSF(4.0, device=device), **DOUBLE | {"batch_size": 1})
        .fit(structures, y)
        .predict(structures, return_forces=True)
        for device in ("cpu", "torch")
    )
    for found, expected in zip(other, one, strict=True):
        assert_close(found, expected)


def test_a_file_has_no_tensors_and_goes_on_anywhere(cells):
    structures, y = cells
    X, Z = features(structures)
    settings = DOUBLE | {"warm_start": True, "solver": "adam"}
    model = HDNNP(**settings).fit(Z, y)
    data = pickle.dumps(model)
    assert b"torch" not in data
    assert all(type(part) is np.ndarray for n in model.networks_ for part in n.parts())
    expected = model.predict(Z)
    again = pickle.loads(data)
    assert_close(again.predict(X), expected)
    # and learns on, on either
    one, other = (pickle.loads(data).fit(F, y).predict(F) for F in (X, Z))
    assert_close(other, one)
    assert np.abs(one - expected).max() > 1e-6


def test_in_a_pipeline_and_its_relevances(cells):
    structures, y = cells
    one, other = (
        make_pipeline(clone(SMALL_ACSF).set_params(device=device), HDNNP(**DOUBLE)).fit(
            structures, y
        )
        for device in ("cpu", "torch")
    )
    assert_close(other.predict(structures), one.predict(structures))
    assert_close(relevance(other, structures).values, relevance(one, structures).values, 1e-7)


def test_an_interrupted_training_goes_on(cells, tmp_path, monkeypatch):
    structures, y = cells
    _, Z = features(structures)
    settings = DOUBLE | {"solver": "adam", "checkpoint": tmp_path / "file"}
    monkeypatch.setattr(training_checkpoint, "_SECONDS", 0.0)
    add = Progress.add

    def interrupted(progress, theta, loss):
        if len(progress.losses) == 3:
            raise KeyboardInterrupt
        return add(progress, theta, loss)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            HDNNP(**settings).fit(Z, y)
    resumed, whole = HDNNP(**settings).fit(Z, y), HDNNP(**settings).fit(Z, y)
    assert resumed.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(resumed.predict(Z), whole.predict(Z))


def test_charges_stay_on_the_host(cells):
    structures, y = cells
    X, Z = features(structures)
    message = "electrostatics=True of HDNNP is not on a device yet, and the features are on torch"
    with pytest.raises(ValueError, match=message):
        HDNNP(electrostatics=True, **QUICK).fit(Z, y)
    model = HDNNP(electrostatics=True, **QUICK).fit(X, y)
    with pytest.raises(ValueError, match=message):
        model.predict(Z)
    assert_close(model.predict(Z.to("cpu")), model.predict(X))


def test_a_species_that_was_not_seen(cells):
    strangers = Structures.from_ase([Atoms("NaCl", [(0, 0, 0), (0, 0, 2.4)])])
    seen = [*cells[0].to_ase(), *strangers.to_ase()]
    of_both = clone(SMALL_ACSF).set_params(device="torch").fit(seen)
    model = HDNNP(**QUICK).fit(of_both.transform(cells[0]), cells[1])
    with pytest.raises(ValueError, match="contains Na, which was not in the structures given"):
        model.predict(of_both.transform(strangers))


def test_what_does_not_fit_is_an_error(cells, monkeypatch):
    structures, y = cells
    _, Z = features(structures)

    def refuse(name):
        def check(self, n_bytes, what, remedy, max_memory=None):
            if name in what:
                raise MemoryError(f"{what}: {remedy}")

        monkeypatch.setattr(Device, "check_memory", check)

    refuse("derivatives of")
    with pytest.raises(MemoryError, match="features of 8 structures: take fewer structures or fea"):
        HDNNP(**QUICK).fit(Z, y)
    refuse("passage")
    with pytest.raises(MemoryError, match="passage of 12 rows through a network: take smaller"):
        HDNNP(**QUICK).fit(Z, y)


def test_a_loss_that_is_not_finite(cells):
    structures, y = cells
    wild = QUICK | {"activation": "softplus", "learning_rate_init": 1e45, "batch_size": 1}
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="not finite in the first"):
        HDNNP(**wild | {"hidden_layer_sizes": (6, 6, 6)}).fit(features(structures)[1], y)
