"""Functions drawn from what a model holds for possible."""

import numpy as np
from sklearn.pipeline import Pipeline


def drawn_values(model, X, random):
    """Values (n,) at X of one function drawn from the posterior of a fitted model.

    Gaussian processes of scikit-learn draw the values of all points together; a linear model with
    the covariance ``sigma_`` of its coefficients, such as `BayesianRidge`, draws these.
    """
    last = model
    if isinstance(model, Pipeline):
        last = model.steps[-1][1]
        X = model[:-1].transform(X)
    if hasattr(last, "sample_y"):
        return last.sample_y(X, 1, random_state=random).reshape(len(X))
    if hasattr(last, "coef_") and hasattr(last, "sigma_"):
        return _of_linear(last, np.asarray(X), random)
    raise ValueError(
        f"{type(last).__name__} draws no functions: Thompson sampling needs a model with sample_y, "
        "such as GaussianProcessRegressor, or with the covariance sigma_ of its coefficients, such "
        "as BayesianRidge"
    )


def _of_linear(model, X, random):
    """The prediction with coefficients w + L z, where L Lᵀ is their covariance."""
    scales, directions = np.linalg.eigh(model.sigma_)
    noise = np.sqrt(np.maximum(scales, 0.0)) * random.normal(size=len(scales))
    shift = np.zeros(X.shape[1])
    shift[: len(noise)] = directions @ noise
    center = getattr(model, "X_offset_", 0.0)
    return model.predict(X) + (X - center) @ shift
