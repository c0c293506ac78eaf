"""Model files: joblib's for one's own, skops' for those that travel."""

from __future__ import annotations

import os
import pickle
import zipfile
from importlib import import_module
from pathlib import Path

import joblib
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skatom._files import blank_seal, check_seal, last_bytes, write_seal, written_whole
from skatom._prediction import unwrap
from skatom._typing import Estimator, PathLike

# First bytes of a pickle, and of the compressed ones that joblib.dump(compress=...) writes.
_PICKLES = (b"\x80", b"\x78", b"\x1f\x8b", b"BZ", b"\xfd7zXZ", b"\x5d\x00", b"\x04\x22\x4d\x18")
# What models consist of, and scorers and splitters of searches.
_MODULES = ("skatom.", "sklearn.metrics.", "sklearn.model_selection.")
_ZIP = b"PK\x03\x04"
# The end of a zip archive without comment: signature, 16 bytes of counts, length of the comment.
_ZIP_END, _END_SIZE = b"PK\x05\x06", 22


def check_model_path(path):
    """Raise an error if a model could not be saved there, before any long computation begins.

    Raises
    ------
    ValueError
        If the suffix is that of no format, or the folder does not exist or is not writable.
    ImportError
        If skops is needed and not installed.
    """
    path = Path(path)
    _check_suffix(path)
    if path.suffix == ".skops":
        _import_skops()
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the name of a file in it")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path}: the folder {path.parent} does not exist or is not writable")


def save_model(model: Estimator, path: str | PathLike) -> None:
    """Save a fitted model, whole or not at all, with a checksum.

    The file is written beside ``path`` and takes its place at the end. If it cannot be written, if
    the disk is full or the process is interrupted, a model that was at ``path`` is as it was.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        Any model whose ``predict`` takes structures.
    path : str or path
        File to write. Its suffix names the format, ``.joblib`` or ``.skops``. `joblib.load` and
        `skops.io.load` can read it, too; they ignore the checksum.

    Raises
    ------
    ValueError
        If the model is not fitted, the suffix is that of no format, the folder does not exist, or
        the format cannot hold what the model contains.
    OSError
        If the file cannot be written.

    See Also
    --------
    load_model : Read the file.

    Examples
    --------
    >>> import skatom
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import GDML
    >>> data = load_ethanol()
    >>> model = GDML().fit(data.structures[:20], data.targets[:20])
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     skatom.save_model(model, f"{folder}/ethanol.joblib")
    ...     again = skatom.load_model(f"{folder}/ethanol.joblib")
    >>> bool((again.predict(data.structures[20:]) == model.predict(data.structures[20:])).all())
    True
    """
    check_model_path(path)
    _check_model(model, "what is to be saved")
    write, _, _ = _FORMATS[Path(path).suffix]
    with written_whole(path) as beside:
        try:
            write(model, beside)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(
                f"{path}: a {beside.suffix} file cannot hold this model: {error}"
            ) from error


def load_model(path: str | PathLike) -> Estimator:
    """Read a fitted model that `save_model`, joblib or skops wrote.

    A file of `save_model` is first compared with its checksum: nothing of a damaged file is loaded.
    A joblib file can run any code when it is read, so read only those of people whom you trust; a
    skops file with types that are not skatom's is refused.

    Parameters
    ----------
    path : str or path
        File, ending in ``.joblib`` or ``.skops``.

    Returns
    -------
    fitted estimator, Pipeline or search

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, was written by another version, holds something else than a fitted
        model, or is a skops file with types that are not skatom's.

    See Also
    --------
    save_model : Write the file, with an example.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model file")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the name of a model file in it")
    _check_suffix(path)
    _, check, read = _FORMATS[path.suffix]
    if path.suffix == ".skops":
        _import_skops()
    try:
        check(path)
        model = read(path)
    except PermissionError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        detail = str(error) or type(error).__name__
        raise ValueError(f"{path} cannot be read as a model: {detail}") from error
    _check_model(model, path)
    return model


def _check_suffix(path):
    if path.suffix not in _FORMATS:
        raise ValueError(f"{path}: a model file's name ends in {' or '.join(_FORMATS)}")


def _check_model(model, name):
    """An error if an object is no fitted model."""
    if not hasattr(unwrap(model), "predict"):
        raise ValueError(f"{name} holds no model but an object of type {type(model).__name__}")
    try:
        check_is_fitted(unwrap(model))
    except NotFittedError as error:
        raise ValueError(
            f"{name} holds a {type(unwrap(model)).__name__} that is not fitted yet: fit it, then "
            "save it"
        ) from error


def _dump_joblib(model, path):
    joblib.dump(model, path)
    write_seal(path)  # what follows the end of a pickle is not read


def _check_joblib(path):
    _check_start(path, _PICKLES, "a joblib file")
    if check_seal(path):
        return
    with open(path, "rb") as file:
        compressed = file.read(1) != _PICKLES[0]
    if not compressed and last_bytes(path, 1) != pickle.STOP:
        raise ValueError("its end is missing or damaged: copy it again")


def _dump_skops(model, path):
    _import_skops().dump(model, path)
    _, strangers = _types(path)
    if strangers:  # skops writes what it would not read
        raise TypeError(f"it contains {', '.join(strangers)}, which no model of skatom needs")
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = blank_seal()
    write_seal(path, over=True)


def _check_skops(path):
    _check_start(path, (_ZIP,), "a skops file")
    if check_seal(path):
        return
    end = last_bytes(path, _END_SIZE)
    if not (end.startswith(_ZIP_END) and end.endswith(b"\0\0")):
        raise ValueError("its end is missing or damaged: copy it again")


def _check_start(path, known, what):
    with open(path, "rb") as file:
        start = file.read(8)
    if not start:
        raise ValueError("it is empty")
    if not start.startswith(known):
        raise ValueError(f"it begins with {start!r}, as {what} does not")


def _load_skops(path):
    """Load with what models of skatom consist of trusted, besides what skops trusts of itself."""
    with zipfile.ZipFile(path) as archive:
        if "schema.json" not in archive.namelist():
            raise ValueError("it is a zip archive, but has no schema.json of skops")
    unknown, strangers = _types(path)
    if strangers:
        raise ValueError(
            f"it contains {', '.join(strangers)}, which no model of skatom needs: it is not safe "
            "to load"
        )
    return _import_skops().load(path, trusted=unknown)


def _types(path):
    """Types in a skops file that skops does not know, and those that belong to no model."""
    unknown = _import_skops().get_untrusted_types(file=path)
    return unknown, [name for name in unknown if not _belongs_to_a_model(name)]


def _belongs_to_a_model(name):
    """Whether a type is a class of skatom, or one that searches need: scorers and splitters."""
    module, _, attribute = name.rpartition(".")
    if not f"{module}.".startswith(_MODULES):
        return False
    found = getattr(import_module(module), attribute, None)
    # what a module has imported from elsewhere is not its own
    if not f"{getattr(found, '__module__', '')}.".startswith(_MODULES):
        return False
    return isinstance(found, type) or f"{module}.".startswith("skatom.metrics.")


def _import_skops():
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(".skops files need skops: pip install skops") from error
    return skops.io


# suffix -> (write, check before reading, read)
_FORMATS = {
    ".joblib": (_dump_joblib, _check_joblib, joblib.load),
    ".skops": (_dump_skops, _check_skops, _load_skops),
}
