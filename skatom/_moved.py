"""Modules of version 0.1 in which model files look for their classes.

A file of 0.1 names them before its version, so they exist to raise an error that says what to do.
"""

import sys
from types import ModuleType

from skatom import __version__

_MODELS = (
    "_expansion",
    "_sparse_rows",
    "_tensor_expansion",
    "bagged_greedy_ols",
    "force_kernel_ridge",
    "greedy_ols",
    "kernel_order",
    "mapped_force_field",
    "nbody_gaussian_process",
    "repulsion",
    "sgdml",
    "sparse_gaussian_process",
    "tensor_kernel_ridge",
)


class _ModuleOfAnotherVersion(ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise ValueError(
            f"this {name} was saved by skatom 0.1 and cannot be read by {__version__}: install "
            "skatom==0.1.0, or fit the model again"
        )


def refuse_files_of_0_1():
    """Put the modules of 0.1 where unpickling looks for them."""
    for name in _MODELS:
        full = f"skatom.models.{name}"
        sys.modules[full] = _ModuleOfAnotherVersion(full)
