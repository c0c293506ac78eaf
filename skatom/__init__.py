"""scikit-learn estimators for atomistic machine learning.

Submodules load when they are first used, so ``import skatom`` is quick and compiles nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skatom.structures import Structures as Structures
    from skatom.targets import Targets as Targets

__version__ = "0.2.0"

_MODULE_OF = {
    "Structures": "structures",
    "Targets": "targets",
    "load_model": "_persistence",
    "save_model": "_persistence",
}
_SUBMODULES = (
    "active",
    "baseline",
    "calculators",
    "datasets",
    "descriptors",
    "kernels",
    "mechanics",
    "metrics",
    "model_selection",
    "models",
    "neighbors",
    "plotting",
    "report",
    "selection",
    "simulation",
    "solvers",
    "stability",
    "symmetry",
    "vibrations",
)

__all__ = sorted([*_MODULE_OF, *_SUBMODULES])


def __getattr__(name):
    if name in _MODULE_OF:
        return getattr(import_module(f"skatom.{_MODULE_OF[name]}"), name)
    if name in _SUBMODULES:
        return import_module(f"skatom.{name}")
    raise AttributeError(f"module 'skatom' has no attribute {name!r}")


def __dir__():
    return [*__all__, "__version__"]
