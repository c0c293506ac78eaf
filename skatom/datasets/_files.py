"""The plain files behind paths: patterns, archives, compressed files and marks of encodings."""

import bz2
import glob
import gzip
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

_OPEN = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_TAR = (".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz")
_DAMAGED = (OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, tarfile.TarError)
# Marks of encodings at the beginning of a file.
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def find_files(path):
    """The files that a path, a pattern or a list of these names, in sorted order for a pattern.

    Parameters
    ----------
    path : str, path-like, or iterable of these

    Returns
    -------
    list of Path

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    if isinstance(path, str | os.PathLike):
        return _matching(path)
    try:
        files = [file for item in path for file in _matching(item)]
    except TypeError:
        raise ValueError(
            f"{repr(path):.80} is no path: give the name of a file, a pattern, or a list of these"
        ) from None
    if not files:
        raise ValueError("got an empty list of files: give at least one")
    return files


def _matching(path):
    path = Path(path)
    if path.is_dir() and path.name != "states" and not (path / "metadata").exists():
        raise ValueError(  # the others are those of EON and the bundles of ASE
            f"{path} is a folder: name its files, for example by the pattern '{path / '*.xyz'}'"
        )
    if path.exists():
        return [path]
    found = sorted(glob.glob(str(path), recursive=True))
    if not found:
        pattern = " that matches" if glob.has_magic(str(path)) else ""
        raise FileNotFoundError(
            f"{path}: no such file{pattern}; the present folder is {Path.cwd()}"
        )
    return [Path(name) for name in found]


def plain_files(path):
    """The uncompressed files of a file or an archive, one after the other.

    A file is written to a temporary folder while it is in use, unless it is plain itself. ASE could
    read compressed files, but seeks in them: a hundred times slower for xz.

    Parameters
    ----------
    path : Path

    Yields
    ------
    name : str
        Name of the file within the archive, or "".
    plain : Path
        The file, whose suffix names the format.
    """
    name = path.name.lower()
    if name.endswith(".zip") or name.endswith(_TAR):
        yield from _members(path)
        return
    compressed = path.suffix in _OPEN
    if not compressed and _encoding(path) is None:
        yield "", path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = path
        if compressed:
            plain = Path(folder) / path.stem
            _copy(_OPEN[path.suffix], path, plain)
        yield "", _without_mark(plain, Path(folder))


def _members(path):
    """The files of a zip or tar archive, as those of `plain_files`, without hidden ones."""
    is_zip = path.suffix.lower() == ".zip"
    with _archive(path, is_zip) as archive, tempfile.TemporaryDirectory() as folder:
        for name, open_member in (_in_zip if is_zip else _in_tar)(archive):
            place = PurePosixPath(name)
            if place.name.startswith(".") or "__MACOSX" in place.parts:
                continue
            plain = Path(folder) / place.name
            _copy(lambda _, read=open_member: read(), name, plain)
            for inner, file in plain_files(plain):
                yield f"{name}/{inner}" if inner else name, file
            plain.unlink()


def _archive(path, is_zip):
    try:
        return zipfile.ZipFile(path) if is_zip else tarfile.open(path)  # noqa: SIM115
    except _DAMAGED as error:
        raise _cannot_be_unpacked(error) from error


def _in_zip(archive):
    for name in sorted(archive.namelist()):
        if not name.endswith("/"):
            yield name, lambda name=name: archive.open(name)


def _in_tar(archive):
    for member in archive:
        if member.isfile():
            yield member.name, lambda member=member: archive.extractfile(member)


def _copy(open_source, name, plain):
    try:
        with open_source(name) as source, plain.open("wb") as target:
            shutil.copyfileobj(source, target)
    except (*_DAMAGED, RuntimeError) as error:  # RuntimeError: a password is needed
        raise _cannot_be_unpacked(error) from error


def _cannot_be_unpacked(error):
    return ValueError(f"cannot be decompressed ({error}): fetch it again")


def _encoding(path):
    """The encoding that a mark at the beginning of the file names, or None."""
    if path.is_dir():
        return None
    with path.open("rb") as file:
        start = file.read(3)
    return next((code for mark, code in _MARKS.items() if start.startswith(mark)), None)


def _without_mark(path, folder):
    """The file, or a copy in UTF-8 without the mark of an encoding at its beginning."""
    encoding = _encoding(path)
    if encoding is None:
        return path
    copy = folder / "unmarked" / path.name
    copy.parent.mkdir()
    try:
        with path.open(encoding=encoding) as source, copy.open("w", encoding="utf-8") as target:
            shutil.copyfileobj(source, target)
    except UnicodeError:  # a binary file that happens to begin like this
        return path
    return copy
