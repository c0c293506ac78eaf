"""scikit-learn's own checks, whole, of everything that takes a plain array."""

import warnings

import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Lasso, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from skatom.decomposition import RelevantDimension
from skatom.descriptors import FeatureScaler, FeatureSelector, ThermometerEncoder
from skatom.gaussian_process import KernelSearch
from skatom.kernels import Gaussian, Laplacian
from skatom.models import (
    BaggedGreedyOLS,
    Committee,
    ForceKernelRidge,
    GreedyOLS,
    LinearPotential,
    StructuredMLPRegressor,
)
from skatom.random_features import (
    PrincipalComponents,
    RandomFourierFeatures,
    SampledNetworkFeatures,
)
from skatom.selection import CUR, FarthestPointSampling

ESTIMATORS = [
    BaggedGreedyOLS(n_estimators=4, random_state=0),
    CUR(),
    CUR(method="random", n_components=3),
    Committee(ForceKernelRidge(Gaussian(1.0), alpha=1e-4), n_models=2),
    Committee(GreedyOLS(), n_models=2, resampling="bootstrap"),
    Committee(RandomForestRegressor(n_estimators=2, max_depth=3), n_models=2, resampling=None),
    Committee(Ridge(), n_models=3),
    FarthestPointSampling(),
    FeatureScaler(),
    FeatureScaler("standard", out_of_range="ignore"),
    FeatureSelector(),
    FeatureSelector(method="correlation"),
    ForceKernelRidge(Gaussian(1.0), alpha=1e-4),
    ForceKernelRidge(Laplacian(2.0), alpha=1e-4),
    GreedyOLS(),
    GreedyOLS(method="gram-schmidt", max_features="sqrt", random_state=0),
    GreedyOLS(n_terms=1, fit_intercept="candidate"),
    KernelSearch(("RBF",), max_level=0, n_restarts=0, alpha=1e-2),
    KernelSearch(
        ("LIN", "RBF"), max_level=1, n_restarts=0, alpha=1e-2, selection="random", random_state=0
    ),
    LinearPotential(),
    LinearPotential(alpha=1e-3, fit_intercept=False),
    LinearPotential(alpha="cv", cv=2),
    LinearPotential(solver=Lasso(0.1)),
    PrincipalComponents(1),
    RelevantDimension(),
    RelevantDimension(method="loo", center=False),
    RandomFourierFeatures(n_features=20, random_state=0),
    RandomFourierFeatures(Laplacian(), 70, method="hadamard", random_state=0),
    SampledNetworkFeatures(20, random_state=0),
    SampledNetworkFeatures(20, sampler="differences", random_state=0),
    StructuredMLPRegressor((5,), tol=0.01, random_state=0),
    StructuredMLPRegressor((5,), solver="lbfgs", tol=0.01, random_state=0),
    StructuredMLPRegressor((5,), "relu", solver="sgd", max_iter=50, early_stopping=True),
    ThermometerEncoder(),
]


def expected_failures(estimator):
    """Descent ends before the optimum, and its batches depend on the number of samples."""
    if not isinstance(estimator, StructuredMLPRegressor):
        return {}
    return {"check_sample_weight_equivalence_on_dense_data": "the loss alone is equal"}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_scikit_learn_conventions(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few data: too few terms, out of range
        check(estimator)
