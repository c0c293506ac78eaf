"""Files from which an interrupted training goes on."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from skatom._device import on_host
from skatom._files import written_whole

# Seconds between two files.
_SECONDS = 60.0


class TrainingCheckpoint:
    """The state of a training in a file, once a minute.

    Parameters
    ----------
    path : str, path or None
        None: no file is read or written.
    settings : dict
        Numbers and names on which the training depends; a file of others is refused.
    data : list of ndarray or Tensor
        What is learnt from.
    """

    def __init__(self, path, settings, data):
        self.path = None if path is None else Path(path)
        self.settings = json.dumps(settings, sort_keys=True, default=str)
        digest = hashlib.sha256()
        for part in data if path is not None else ():
            digest.update(np.ascontiguousarray(on_host(part)).tobytes())
        self.data, self.last = digest.hexdigest(), time.monotonic()

    @classmethod
    def of(cls, model, free, sizes, data):
        """That of a model, whose parameter ``checkpoint`` is the path.

        Parameters
        ----------
        model : estimator
        free : set of str
            Parameters that a training that goes on may change.
        sizes : dict
            What the training depends on beside the other parameters.
        data : list of ndarray
        """
        kept = {k: v for k, v in model.get_params(deep=False).items() if k not in free}
        return cls(model.checkpoint, {"model": type(model).__name__, **sizes, **kept}, data)

    def load(self):
        """The arrays of the file by name, None if there is no file.

        Raises
        ------
        ValueError
            If the file is none of these, or that of another training, or its folder does not exist.
        """
        if self.path is None:
            return None
        if not self.path.parent.is_dir():  # before a training that could not be kept
            raise ValueError(
                f"checkpoint={str(self.path)!r} is in {self.path.parent}, a folder that does not "
                "exist: create it, or name another file"
            )
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as file:
                state = dict(file)
            settings, data = str(state.pop("settings")), str(state.pop("data"))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise ValueError(
                f"{self.path} is not a checkpoint of a training: name another file, or remove it"
            ) from error
        if settings != self.settings:
            raise ValueError(
                f"{self.path} is the checkpoint of a training with {self._difference(settings)}: "
                "set it as it was, name another file, or remove it"
            )
        if data != self.data:
            raise ValueError(
                f"{self.path} is the checkpoint of a training with other structures or labels: "
                "name another file, or remove it"
            )
        return state

    def _difference(self, other):
        own, other = json.loads(self.settings), json.loads(other)
        # a network of another class differs in much, and says so
        name = next(k for k in ("model", *own, *other) if own.get(k) != other.get(k))
        return f"{name}={other.get(name)!r}, not {own.get(name)!r}"

    def save(self, state):
        """Write the arrays that ``state()`` gives, if the last file is older than a minute."""
        if self.path is None or time.monotonic() - self.last < _SECONDS:
            return
        with written_whole(self.path) as path, open(path, "wb") as file:
            np.savez(file, settings=self.settings, data=self.data, **state())
        self.last = time.monotonic()

    def remove(self):
        """Remove the file, after a training that is complete."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def random_state(random):
    """The state of a RandomState as arrays by name."""
    _, keys, *numbers = random.get_state()
    return {"random_keys": keys, "random_numbers": np.array(numbers, float)}


def restore_random(random, state):
    """Go on from what `random_state` gave."""
    position, has_gauss, gauss = state["random_numbers"]
    random.set_state(("MT19937", state["random_keys"], int(position), int(has_gauss), float(gauss)))
