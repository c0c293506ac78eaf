"""Files that are written whole or not at all, and checksums of their contents."""

import errno
import hashlib
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_CHUNK = 2**20
_MARK = b"\nskatom sha256 "
# The mark, the digest in hexadecimal digits, and a character from which no flipped bit makes the
# "." that ends a pickle.
_SEAL = len(_MARK) + 2 * hashlib.sha256().digest_size + 1
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "the file is larger than the limit of the process or the disk",
}


@contextmanager
def written_whole(path):
    """Give a path beside ``path`` to write to, which takes its place when all is on the disk.

    Whatever ends the writing before, a full disk, an interrupt or a lost machine, a file that was
    at ``path`` is as it was. The path to write to has the same name, in a folder of its own, since
    formats are told by names.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    target = Path(os.path.realpath(path))  # a symbolic link goes on pointing to the file
    try:
        with TemporaryDirectory(prefix=".skatom-", dir=target.parent) as folder:
            beside = Path(folder) / target.name
            yield beside
            _flush(beside)
            if target.exists():
                shutil.copymode(target, beside)
            os.replace(beside, target)
        if os.name == "posix":  # elsewhere folders cannot be opened
            _flush(target.parent)
    except OSError as error:
        raise OSError(
            f"{path} could not be written: {reason_of(error)}; a file that was there before is as "
            "it was"
        ) from error


def reason_of(error):
    """Why a file could not be written, in words."""
    return _FULL.get(error.errno) or error.strerror or str(error)


def _flush(path):
    """Have the operating system write a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def blank_seal():
    """Bytes of the length of a seal, for formats that must know the length of what follows."""
    return bytes(_SEAL)


def write_seal(path, over=False):
    """End a file with the SHA-256 of all that is before: after its end, or over its last bytes."""
    length = path.stat().st_size - (_SEAL if over else 0)
    seal = _MARK + _digest(path, length) + b"\n"
    with open(path, "r+b") as file:
        file.seek(length)
        file.write(seal)


def check_seal(path):
    """Whether a file ends with a seal; a ValueError if its contents are not those sealed."""
    length = path.stat().st_size - _SEAL
    seal = last_bytes(path, _SEAL)
    if length < 0 or not (seal.startswith(_MARK) and seal.endswith(b"\n")):
        return False
    if seal[len(_MARK) : -1] != _digest(path, length):
        raise ValueError("its contents do not match its checksum: it was damaged, copy it again")
    return True


def last_bytes(path, n):
    """The last n bytes of a file, or all."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - n))
        return file.read(n)


def _digest(path, length):
    """SHA-256 of the first bytes of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while length and (chunk := file.read(min(length, _CHUNK))):
            digest.update(chunk)
            length -= len(chunk)
    return digest.hexdigest().encode()
