"""The course of a training: what was found on the way, the best weights, and when it ends."""

from __future__ import annotations

import numpy as np

_COLUMNS = ("iteration", "step", "learning_rate", "loss", "validation_loss")


class Course:
    """Checks of a training, one after the other.

    Parameters
    ----------
    validated : bool
        Whether the error of structures that are left out decides which weights are the best. If
        not, the last ones are.
    n_iter_no_change : int or None
        Iterations without a smaller error after which training ends.

    Attributes
    ----------
    history : dict of list
        Figures of the checks by name.
    best : dict
        ``weights``, the ``iteration`` after which they were found, and their ``error``.
    """

    def __init__(self, validated, n_iter_no_change):
        self.validated, self.n_iter_no_change = validated, n_iter_no_change
        names = _COLUMNS if validated else _COLUMNS[:-1]
        self.history = {name: [] for name in names}
        self.best = {"weights": None, "iteration": 0, "error": np.inf}

    def add(self, figures, weights):
        """Take note of a check; returns whether training goes on.

        Parameters
        ----------
        figures : dict of float
            By the names of the history.
        weights : callable
            Gives the weights as an array.
        """
        for name, values in self.history.items():
            values.append(figures[name])
        error = figures["validation_loss" if self.validated else "loss"]
        better = error < self.best["error"]
        if better:
            self.best |= {"iteration": figures["iteration"], "error": error}
        if better or not self.validated:
            self.best["weights"] = weights()
        waited = figures["iteration"] - self.best["iteration"]
        return self.n_iter_no_change is None or waited < self.n_iter_no_change

    @property
    def kept_iteration(self):
        """The iteration after which the weights that are kept were found."""
        return self.best["iteration"] if self.validated else self.history["iteration"][-1]

    def state(self):
        """All of it as a dict of arrays."""
        history = {f"history_{name}": np.array(values) for name, values in self.history.items()}
        return history | {f"best_{name}": np.asarray(value) for name, value in self.best.items()}

    def restore(self, state):
        """Go on from what `state` gave."""
        self.history = {name: state[f"history_{name}"].tolist() for name in self.history}
        self.best = {
            "weights": state["best_weights"], "iteration": int(state["best_iteration"]),
            "error": float(state["best_error"]),
        }  # fmt: skip
