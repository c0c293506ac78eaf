"""Model files: joblib's for one's own, skops' for those that travel."""

import os
from importlib import import_module
from pathlib import Path

import joblib
from sklearn.utils.validation import check_is_fitted

from skatom._prediction import unwrap


def check_model_path(path):
    """Raise an error if a model could not be saved there, before any long computation begins."""
    path = Path(path)
    if path.suffix not in _FORMATS:
        raise ValueError(f"{path}: a model file's name ends in {' or '.join(_FORMATS)}")
    if path.suffix == ".skops":
        _import_skops()
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path}: the folder {path.parent} does not exist or is not writable")


def save_model(model, path):
    """Write a fitted model in the format that the suffix names."""
    check_model_path(path)
    _FORMATS[Path(path).suffix][0](model, path)


def load_model(path):
    """Read a fitted model.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, was written by another version, holds something else than a fitted
        model, or is a skops file with types that are not skatom's.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model file")
    if path.suffix not in _FORMATS:
        raise ValueError(f"{path}: a model file's name ends in {' or '.join(_FORMATS)}")
    try:
        model = _FORMATS[path.suffix][1](path)
    except ImportError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        detail = str(error) or type(error).__name__
        raise ValueError(f"{path} cannot be read as a model: {detail}") from error
    if not hasattr(unwrap(model), "predict"):
        raise ValueError(f"{path} holds no model but an object of type {type(model).__name__}")
    check_is_fitted(unwrap(model))
    return model


def _dump_skops(model, path):
    _import_skops().dump(model, path)


def _load_skops(path):
    """Load with the classes of skatom trusted, besides what skops trusts of itself."""
    io = _import_skops()
    unknown = io.get_untrusted_types(file=path)
    strangers = [name for name in unknown if not _is_class_of_skatom(name)]
    if strangers:
        raise ValueError(
            f"it contains {', '.join(strangers)}, which no model of skatom needs: it is not safe "
            "to load"
        )
    return io.load(path, trusted=unknown)


def _is_class_of_skatom(name):
    module, _, attribute = name.rpartition(".")
    if module.split(".")[0] != "skatom":
        return False
    return isinstance(getattr(import_module(module), attribute, None), type)


def _import_skops():
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(".skops files need skops: pip install skops") from error
    return skops.io


# suffix -> (save, load)
_FORMATS = {".joblib": (joblib.dump, joblib.load), ".skops": (_dump_skops, _load_skops)}
