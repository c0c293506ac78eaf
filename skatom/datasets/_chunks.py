"""Chunks of a file, which are read where and when they are needed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from skatom.datasets._formats import format_of
from skatom.datasets._read import read


@dataclass(frozen=True)
class FileChunk:
    """Consecutive frames of a file of extended XYZ, as a few numbers.

    Attributes
    ----------
    path : Path
        The file.
    first, last : int
        The frames first, …, last − 1.
    begin, end : int
        Their bytes.
    keys : dict or str, or None
        Fields to read, see `read`.
    """

    path: Path
    first: int
    last: int
    begin: int
    end: int
    keys: dict | str | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return self.last - self.first

    def __str__(self):
        return f"{self.path}, frames {self.first} to {self.last - 1}"

    def read(self, info: Any = ()) -> Any:
        """Read the frames.

        Parameters
        ----------
        info : list of str, default=()
            Further fields of structures to read.

        Returns
        -------
        data : `sklearn.utils.Bunch`
            See `skatom.datasets.read`.

        Raises
        ------
        ValueError
            If a frame is damaged, or the file has changed.
        """
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "part.xyz"
            with self.path.open("rb") as file:
                file.seek(self.begin)
                part.write_bytes(file.read(self.end - self.begin))
            try:
                data = read(part, self.keys, info=info)
            except ValueError as error:
                raise ValueError(f"{self}: {str(error).removeprefix(f'{part}: ')}") from error
        if len(data.structures) != len(self):
            raise ValueError(
                f"{self}: there are {len(data.structures)} frames, the file has changed: make its "
                "chunks again"
            )
        return data


def chunks(path: Any, keys: dict | str | None = None, *, n_frames: int = 500) -> list:
    """Divide a file of extended XYZ into chunks that workers read themselves.

    The file is read once, to find where its frames begin; it stays where it is.

    Parameters
    ----------
    path : str or path-like
        The file, not compressed.
    keys : dict or str, default=None
        Fields to read, see `read`.
    n_frames : int, default=500
        Number of frames of a chunk, for some seconds of work.

    Returns
    -------
    list of FileChunk
        In the order of the file. The length of one is its number of frames.

    Raises
    ------
    ValueError
        If the file is of another format or is not complete, or ``n_frames`` is not positive.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ase.io import write
    >>> from skatom.datasets import chunks, load_boron_nitride
    >>> data = load_boron_nitride()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "bn.xyz"
    ...     write(path, data.structures[:5].to_ase())
    ...     parts = chunks(path, n_frames=2)
    ...     print([len(part) for part in parts], parts[1].read().structures)
    [2, 2, 1] Structures(2 structures, 128 atoms, species B N)
    """
    path = Path(path).absolute()
    if n_frames < 1:
        raise ValueError(f"n_frames={n_frames}: give at least one frame for a chunk")
    if (kind := format_of(path)) != "extxyz":
        raise ValueError(
            f"{path} is of the format {kind}, and chunks are made of extended XYZ that is not "
            "compressed: convert it, or read it as a whole with skatom.datasets.read"
        )
    edges = _edges(path)
    firsts = range(0, len(edges) - 1, n_frames)
    lasts = [min(first + n_frames, len(edges) - 1) for first in firsts]
    return [
        FileChunk(path, first, last, edges[first], edges[last], keys)
        for first, last in zip(firsts, lasts, strict=True)
    ]


def _edges(path):
    """Where the frames begin, and where the last ends, in bytes."""
    edges, place = [], 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                if not line.strip().isdigit():
                    raise ValueError(
                        f"{path}: structure {len(edges)} begins with {line[:40]!r}, but must with "
                        "its number of atoms: repair the file"
                    )
                n_lines = int(line) + 1
                frame = [len(row) for row in islice(file, n_lines)]
                if len(frame) < n_lines:
                    raise ValueError(
                        f"{path}: structure {len(edges)} is not complete: the file is truncated"
                    )
                edges.append(place)
                place += sum(frame)
            place += len(line)
    return [*edges, place]
