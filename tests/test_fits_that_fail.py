"""A fit that fails or is interrupted, wherever that is, leaves the estimator as it was."""

import copy
import sys

import joblib
import numpy as np
import pytest
from models_under_contract import CASES, waters
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

import skatom
from skatom import Targets
from skatom.baseline import AtomicBaseline, PairRepulsion
from skatom.descriptors import (
    ACSF,
    FCHL19,
    SOAP,
    AtomicClusterExpansion,
    AveragedSOAP,
    BagOfBonds,
    ChebyshevFunctions,
    CompositionDescriptors,
    CoulombMatrix,
    DescriptorUnion,
    FeatureScaler,
    FeatureSelector,
    GeneralizedCoulombMatrix,
    InverseDistances,
    LambdaSOAP,
    ManyBodyExpansion,
    ManyBodyTensor,
    MomentTensor,
    PartialRadialDistribution,
    PointScattering,
    PrototypeEncoder,
    WaveletScattering,
)
from skatom.kernels import Gaussian, KernelMatrix
from skatom.selection import CUR, FarthestPointSampling
from skatom.stability import PhaseDiagram

PACKAGE = skatom.__path__[0]
THREADS = ("_threads.py", "_jobs.py")


class Interrupt:
    """Raise an error at the k-th call of a function of the package in this thread."""

    def __init__(self, at, error=KeyboardInterrupt):
        self.at, self.error, self.calls = at, error, 0

    def __call__(self, frame, event, argument):
        # An error raised here skips the clean-up of the frame that begins, as a signal does not:
        # so not where the number of BLAS threads of the whole process is set and reset.
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(PACKAGE) and not path.endswith(THREADS):
            self.calls += 1
            if self.calls == self.at:
                raise self.error

    def __enter__(self):
        sys.setprofile(self)
        return self

    def __exit__(self, *error):
        sys.setprofile(None)


def stages(fit, n):
    """Numbers of calls after which to interrupt: the first ones, and some of all."""
    fit()  # compiles, which takes four times as long where calls are counted
    with Interrupt(None) as counter:
        fit()
    return sorted({2, 3, *np.linspace(4, counter.calls, n, dtype=int)})


def state(estimator):
    """What an estimator contains, nested objects and arrays included."""
    return joblib.hash({name: value for name, value in sorted(vars(estimator).items())})


def _model(name):
    """A model without the steps before it, and two sets of data for it."""
    case = CASES[name]
    X, y = case.data()
    model = case.make()
    if isinstance(model, Pipeline):
        X = model[:-1].fit_transform(X)
        model = model[-1]
    return model, (X[:5], y[:5]), (X[4:10], y[4:10])


def _of_structures(estimator):
    structures = waters(6)
    y = Targets(energy=np.arange(6.0) + 3.0)
    return estimator, (structures[:3], y[:3]), (structures[2:], y[2:])


def _of_features(estimator, descriptor=None):
    features = (descriptor or FCHL19(cutoff=3.0, n_r2=4, n_r3=3)).fit_transform(waters(6))
    return estimator, (features[:3], None), (features[2:], None)


SMALL = {"cutoff": 3.0, "n_max": 2, "l_max": 2}
OTHERS = {
    "soap": lambda: _of_structures(
        SOAP(**SMALL, radial_basis="optimal", n_primitives=6, species_compression=1,
             species_similarity="data")
    ),
    "averaged": lambda: _of_structures(AveragedSOAP(SOAP(**SMALL))),
    "lambda-soap": lambda: _of_structures(LambdaSOAP(**SMALL)),
    "acsf": lambda: _of_structures(ACSF(cutoff=3.0)),
    "fchl19": lambda: _of_structures(FCHL19(cutoff=3.0, n_r2=4, n_r3=3)),
    "chebyshev": lambda: _of_structures(ChebyshevFunctions(cutoff=3.0)),
    "expansion": lambda: _of_structures(AtomicClusterExpansion(cutoff=3.0, degrees=(3, 3, 4))),
    "moments": lambda: _of_structures(MomentTensor(cutoff=3.0, level=6)),
    "points": lambda: _of_structures(PointScattering([(3, 1)], (0,), 1)),
    "distances": lambda: _of_structures(InverseDistances()),
    "matrix": lambda: _of_structures(CoulombMatrix("random", n_realizations=2, random_state=0)),
    "bonds": lambda: _of_structures(BagOfBonds()),
    "bodies": lambda: _of_structures(ManyBodyExpansion(2, 1)),
    "tensor": lambda: _of_structures(ManyBodyTensor()),
    "union": lambda: _of_structures(
        DescriptorUnion([("bonds", BagOfBonds()), ("angles", ManyBodyTensor("angle"))])
    ),
    "triples": lambda: _of_structures(GeneralizedCoulombMatrix()),
    "radial": lambda: _of_structures(PartialRadialDistribution(sigma=0.1)),
    "composition": lambda: _of_structures(CompositionDescriptors()),
    "prototype": lambda: _of_structures(PrototypeEncoder()),
    "diagram": lambda: _of_structures(PhaseDiagram(0.0)),
    "scattering": lambda: _of_structures(
        WaveletScattering(orbitals=[(2, 1)], scales=(0,), beta=0.4, channels=("total",),
                          padding=3.0, grid_spacing=0.5)
    ),
    "scaler": lambda: _of_features(FeatureScaler()),
    "selector": lambda: _of_features(FeatureSelector(n_select=3)),
    "farthest": lambda: _of_features(FarthestPointSampling(n_select=3, random_state=0)),
    "cur": lambda: _of_features(CUR(n_select=3)),
    "kernel-matrix": lambda: _of_features(KernelMatrix(Gaussian(2.0))),
    "atoms": lambda: _of_structures(AtomicBaseline()),
    "repulsion": lambda: _of_structures(PairRepulsion()),
}  # fmt: skip
EVERYTHING = {**{name: (lambda name=name: _model(name)) for name in CASES}, **OTHERS}
FAMILIES = {  # those whose interrupted fit may leave what it has learnt
    name for name in EVERYTHING if name.startswith("sparse")
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.thorough
def test_leaves_a_fitted_estimator_as_it_was(name, error):
    if error is KeyboardInterrupt and name in FAMILIES:
        pytest.skip("keeps what it has learnt, see below")
    estimator, first, second = EVERYTHING[name]()
    fitted = copy.deepcopy(estimator).fit(*first)
    before, raised, another = state(fitted), 0, copy.deepcopy(fitted)
    for at in stages(lambda: another.fit(*second), 8):
        try:
            with Interrupt(at, error):
                fitted.fit(*second)
        except error:
            raised += 1
        else:  # threads share the work differently each time
            fitted = copy.deepcopy(estimator).fit(*first)
        assert state(fitted) == before, at
    assert raised


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", EVERYTHING)
def test_leaves_a_new_estimator_new(name):
    estimator, first, _ = EVERYTHING[name]()
    before, raised = state(estimator), 0
    for at in stages(lambda: copy.deepcopy(estimator).fit(*first), 2):
        new = copy.deepcopy(estimator)
        try:
            with Interrupt(at):
                new.fit(*first)
        except KeyboardInterrupt:
            raised += 1
            if hasattr(new, "coef_"):  # it was interrupted when all was learnt, by the diagnosis
                assert new.n_structures_seen_ == len(first[0])
                continue
            with pytest.raises(NotFittedError):
                check_is_fitted(new)
            if name not in FAMILIES:
                assert state(new) == before, at
    assert raised


class TestSparseGaussianProcess:
    """Its interrupted fit is continued by partial_fit, without a structure twice or left out."""

    @pytest.fixture
    def data(self, monkeypatch):
        monkeypatch.setattr("skatom.models.sparse.fitting._BATCH_ATOMS", 8)
        model, _, _ = _model("sparse")
        case = CASES["sparse"]
        X, y = case.data()
        return model.set_params(random_state=0), case.make()[0].fit_transform(X), y

    def resumed(self, model, X, y):
        done = model.n_structures_seen_
        return model if hasattr(model, "coef_") else model.partial_fit(X[done:], y[done:])

    def test_continued_after_any_interrupt(self, data):
        model, X, y = data
        whole = clone(model).fit(X, y)
        earlier = clone(model).fit(X[:3], y[:3])  # of another fit, which must leave no trace
        seen = set()
        for at in stages(lambda: copy.deepcopy(earlier).fit(X, y), 40):
            again = copy.deepcopy(earlier)
            try:
                with Interrupt(at):
                    again.fit(X, y)
            except KeyboardInterrupt:
                if not hasattr(again, "coef_"):
                    with pytest.raises(NotFittedError):
                        again.predict(X)
                seen.add(again.n_structures_seen_)
                self.resumed(again, X, y)
            assert again.n_structures_seen_ == len(X)
            assert again._n_labels == whole._n_labels
            np.testing.assert_allclose(again.predict(X), whole.predict(X), rtol=1e-9)
            np.testing.assert_allclose(
                again.log_marginal_likelihood_, whole.log_marginal_likelihood_, rtol=1e-9
            )
        assert len(seen) > 2

    def test_more_data_are_learnt_whole_or_not_at_all(self, data):
        model, X, y = data
        fitted = clone(model).fit(X[:4], y[:4])
        before = state(fitted)
        for error in (KeyboardInterrupt, MemoryError):
            for at in stages(lambda: copy.deepcopy(fitted).partial_fit(X[4:], y[4:]), 15):
                again = copy.deepcopy(fitted)
                try:
                    with Interrupt(at, error):
                        again.partial_fit(X[4:], y[4:])
                except error:
                    assert state(again) == before

    def test_an_interrupted_continuation_is_continued(self, data):
        model, X, y = data
        whole, raised = clone(model).fit(X, y), 0
        for at in stages(lambda: clone(model).fit(X, y), 6)[3:-1]:
            again = clone(model)
            for _ in range(9):
                try:
                    with Interrupt(at):
                        if hasattr(again, "n_structures_seen_"):
                            self.resumed(again, X, y)
                        else:
                            again.fit(X, y)
                    break
                except KeyboardInterrupt:
                    raised += 1
            else:
                self.resumed(again, X, y)
            np.testing.assert_allclose(again.predict(X), whole.predict(X), rtol=1e-9)
        assert raised
