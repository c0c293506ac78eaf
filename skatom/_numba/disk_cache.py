"""Compiled functions on disk, which are a convenience: no state of the disk is an error.

Compared with numba's own cache, the files of a function depend on the sources of its callees, too;
a damaged file, a full disk and a lack of writable folders are no errors; and each signature has a
file of its own, without an index that two processes could write at once.
"""

import hashlib
import os
import pickle
import sys
from multiprocessing import parent_process
from pathlib import Path
from uuid import uuid4

import numba
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from skatom._numba.compiler import restore
from skatom._numba.source_stamp import remember_source, source_stamp
from skatom._warnings import warn

_DIGEST_SIZE = hashlib.sha256().digest_size


class DiskCache:
    """Compiled versions of a function on disk, with the methods that numba's dispatchers call.

    A file is a digest of the stamp of the sources and of what follows: a pickle of the signature
    and of numba's compile result. So a file of other sources is taken no more than one that is not
    complete. The name of a file depends on the signature, the processor, and the versions of Python
    and numba. Files are read from every folder in question, for an installation may come with
    compiled functions that its users cannot change, and written to the first that allows it.

    Parameters
    ----------
    py_func : function
        The function before compilation.
    """

    def __init__(self, py_func):
        self._py_func = py_func
        self._enabled = True
        remember_source(py_func.__module__)

    @property
    def cache_path(self):
        """The first folder in question."""
        return str(_folders(self._py_func.__code__.co_filename)[0])

    def enable(self):
        """Use the files."""
        self._enabled = True

    def disable(self):
        """Neither read nor write files."""
        self._enabled = False

    def flush(self):
        """Delete the files of all signatures."""
        for folder in self._folders():
            for path in folder.glob(f"{self._prefix()}-*.nbc"):
                path.unlink(missing_ok=True)

    def load_overload(self, sig, target_context):
        """The compile result of a signature, or None."""
        if not self._enabled:
            return None
        name = self._file_name(sig, target_context.codegen())
        for folder in self._folders():
            try:
                found, result = pickle.loads(self._verified((folder / name).read_bytes()))
                if found == sig:
                    target_context.refresh()
                    return restore(target_context, *result)
            except Exception:  # whatever is on disk: the function will be compiled
                continue
        return None

    def save_overload(self, sig, data):
        """Write the compile result of a signature, or warn that it cannot be kept."""
        if not self._enabled:
            return
        try:
            self._save(self._file_name(sig, data.codegen), sig, data)
        except Exception as error:
            _warn_once(error)

    def _save(self, name, sig, result):
        if result.library.has_dynamic_globals:
            raise ValueError(f"{self._py_func.__qualname__} has addresses of this process")
        body = dumps((sig, result._reduce()))
        content = self._digest(body) + body
        failure = None
        for folder in self._folders():
            try:
                _write(folder, name, content)
                return
            except OSError as error:
                failure = failure or error
        raise failure

    def _digest(self, body):
        return hashlib.sha256(source_stamp(self._py_func.__module__) + body).digest()

    def _verified(self, content):
        """What follows the digest; an error unless the digest is right."""
        digest, body = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
        if digest != self._digest(body):
            raise ValueError("other sources, or not complete")
        return body

    def _prefix(self):
        file = Path(self._py_func.__code__.co_filename)
        return f"{file.stem}.{self._py_func.__qualname__}"

    def _file_name(self, sig, codegen):
        versions = (sys.version_info[:2], getattr(sys, "abiflags", ""), numba.__version__)
        key = repr((*versions, codegen.magic_tuple(), str(sig)))
        return f"{self._prefix()}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.nbc"

    def _folders(self):
        return _folders(self._py_func.__code__.co_filename)


def _folders(file):
    """Folders for compiled functions of a source file, in the order in which they are tried."""
    parent = Path(file).absolute().parent
    # the hash keeps installations apart
    name = f"{parent.name}_{hashlib.sha256(str(parent).encode()).hexdigest()[:16]}"
    if numba.config.CACHE_DIR:
        return [Path(numba.config.CACHE_DIR) / name]
    return [
        parent / "__pycache__",
        Path(AppDirs(appname="numba", appauthor=False).user_cache_dir) / name,
    ]


def _write(folder, name, content):
    """Write a file that other processes see whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{name}.{uuid4().hex[:16]}"
    try:
        draft.write_bytes(content)
        os.replace(draft, folder / name)
    finally:
        draft.unlink(missing_ok=True)


_warned = False


def _warn_once(error):
    """Warn in the first process that compiled functions cannot be kept."""
    global _warned
    if not _warned and parent_process() is None:
        _warned = True
        warn(
            f"compiled functions of skatom cannot be kept on disk ({error}), so that each process "
            "compiles them again: set the environment variable NUMBA_CACHE_DIR to a folder that "
            "can be written to",
            RuntimeWarning,
        )
