"""Stamps of the sources of compiled functions, which tell whether what is on disk is theirs.

A function is compiled with copies of its callees and with the constants that it uses, so the stamp
covers all modules of compiled loops that its module imports, whole, and in turn theirs. By a rule
of this package compiled loops take functions and constants only from folders named ``_cpu``.
"""

import hashlib
import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

_IMPORT = re.compile(rb"^from (\S+) import (\([^)]*\)|.*)|^import (\S+)", re.MULTILINE)


class SourceFile(NamedTuple):
    """The source of a module: state of the file, hash, names of imported modules of loops."""

    state: tuple
    digest: bytes
    loops: list


_sources = {}


def remember_source(module):
    """Read the source of a module now, at its import: the file may change before a compilation.

    Parameters
    ----------
    module : str
        Name of a module that is being imported.
    """
    try:
        file = sys.modules[module].__file__
        state = os.stat(file)
        state = (state.st_mtime_ns, state.st_size)
        if module in _sources and _sources[module].state == state:
            return
        text = Path(file).read_bytes()
    except (KeyError, AttributeError, TypeError, OSError):  # frozen, or within an archive
        return
    _sources[module] = SourceFile(state, hashlib.sha256(text).digest(), list(_imported_loops(text)))
    for name in _sources[module].loops:
        remember_source(name)


def _imported_loops(source):
    """Names of the imported modules in a source that are below a folder ``_cpu``."""
    for package, names, module in _IMPORT.findall(source):
        package = (package or module).decode()
        found = [package]
        found += [f"{package}.{name}" for name in re.findall(r"\w+", names.decode())]
        yield from (name for name in found if "_cpu" in name.split(".") and name in sys.modules)


def source_stamp(module):
    """Hash of the sources of a module and of the modules of compiled loops that it depends on.

    Parameters
    ----------
    module : str
        Name of a module whose source is remembered.

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        If there is no file of a source.
    """
    seen, waiting = {}, [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            if name not in _sources:
                raise OSError(f"the source of {name} is not a file")
            seen[name] = _sources[name].digest
            waiting += _sources[name].loops
    return hashlib.sha256(_compiler_stamp() + b"".join(sorted(seen.values()))).digest()


@cache
def _compiler_stamp():
    """Hash of the sources that say how functions are compiled."""
    names = ("blas.py", "compiler.py")
    sources = [Path(__file__).with_name(name).read_bytes() for name in names]
    return hashlib.sha256(b"".join(sources)).digest()
