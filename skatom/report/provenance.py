"""What a result depends on besides the data: parameters, versions, the machine."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import psutil
from sklearn.pipeline import Pipeline

from skatom import __version__
from skatom._prediction import unwrap

try:
    import resource
except ImportError:  # Windows
    resource = None

_PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "ase", "torch")
_LONGEST = 300


def settings(model):
    """All parameters of a model and what it is made of, by name, as text.

    Estimators among the parameters are named by their class, and their own parameters follow.
    """
    model = unwrap(model)
    found = {"model": _class_names(model)}
    for name, value in sorted(_parameters(model).items()):
        found[name] = _as_text(value)
    return found


def versions():
    """Versions of Python and of what skatom uses, and the machine."""
    found = {"skatom": __version__, "Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found["system"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    return found


def peak_memory():
    """Largest memory in GiB that this process has used so far."""
    if resource is None:
        return psutil.Process().memory_info().peak_wset / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)  # elsewhere it is in KiB


def _parameters(model):
    """Those of ``get_params``, without the list of a pipeline's steps, which repeats them."""
    parameters = model.get_params(deep=True) if hasattr(model, "get_params") else {}
    hidden = ("steps", "memory", "transform_input", "verbose")
    if isinstance(model, Pipeline):
        parameters = {name: value for name, value in parameters.items() if name not in hidden}
    return parameters


def _class_names(model):
    if isinstance(model, Pipeline):
        return " → ".join(type(step).__name__ for _, step in model.steps)
    return type(model).__name__


def _as_text(value):
    """Text of a parameter, without addresses in memory and of bounded length."""
    if hasattr(value, "get_params"):
        return type(value).__name__
    if isinstance(value, list | tuple) and any(hasattr(item, "get_params") for item in value):
        return f"[{', '.join(map(_as_text, value))}]"
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
