"""Warnings at the line of the user."""

import os
import sys
import warnings
from functools import cache
from importlib.util import find_spec

# Packages whose lines may be between the user's and that of a warning.
_PACKAGES = "skatom", "sklearn", "joblib", "ase"


def warn(message, category=UserWarning):
    """Warn at the innermost line that is neither skatom's nor of a package that calls skatom.

    The wrappers, pipelines and searches around a fit differ in number, so that no ``stacklevel``
    names the line of the user.

    Parameters
    ----------
    message : str
    category : type, default=UserWarning
    """
    frame, level = sys._getframe(1), 2
    while frame is not None and frame.f_code.co_filename.startswith(_sources()):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


@cache
def _sources():
    """How the paths of the sources of these packages begin."""
    folders = (find_spec(name).submodule_search_locations[0] for name in _PACKAGES)
    return *(os.path.join(folder, "") for folder in folders), find_spec("contextlib").origin
