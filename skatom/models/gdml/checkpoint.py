"""Files from which an interrupted fit goes on."""

import hashlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from skatom._files import written_whole


class Checkpoint:
    """The last solution of conjugate gradients, in a file.

    Parameters
    ----------
    path : str or path
    *identity : array-like
        What the solution depends on; a file of other input is refused.
    """

    def __init__(self, path, *identity):
        self.path = Path(path)
        digest = hashlib.sha256()
        for part in identity:
            digest.update(np.ascontiguousarray(part).tobytes())
        self.identity = digest.hexdigest()

    def load(self):
        """The coefficients (M, 3 N) of the file, None if there is no file.

        Raises
        ------
        ValueError
            If the file is none of these, or that of another fit.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as file:
                identity, coefficients = str(file["identity"]), file["coefficients"]
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise ValueError(
                f"{self.path} is not a checkpoint of a fit: name another file, or remove it"
            ) from error
        if identity != self.identity:
            raise ValueError(
                f"{self.path} is the checkpoint of a fit to other frames or labels, or with other "
                "parameters: name another file, or remove it"
            )
        return coefficients

    def save(self, coefficients):
        """Write the coefficients; the file is the old or the new one whatever happens."""
        with written_whole(self.path) as path, open(path, "wb") as file:
            np.savez(file, identity=self.identity, coefficients=coefficients)

    def remove(self):
        """Remove the file, after a fit that is complete."""
        self.path.unlink(missing_ok=True)
