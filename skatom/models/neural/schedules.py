"""Learning rates in the course of a training."""

from __future__ import annotations

from math import cos, pi

# By how much a plateau divides the rate.
_FACTOR = 2.0


class Schedule:
    """The learning rate, from the first to the last one.

    Parameters
    ----------
    name : {"cosine", "exponential", "plateau"}
    first, last : float
    n_cycles : int
        How often "cosine" begins again.
    patience : int
        Checks without a smaller error after which "plateau" halves the rate.
    """

    def __init__(self, name, first, last, n_cycles, patience):
        self.name, self.first, self.last = name, first, min(last, first)
        self.n_cycles, self.patience = n_cycles, patience
        self.factor, self.best, self.waiting = 1.0, float("inf"), 0

    def rate(self, done):
        """The rate when a part of the training, from 0 to 1, is done."""
        if self.name == "plateau":
            return max(self.first * self.factor, self.last)
        if self.name == "exponential":
            return self.first * (self.last / self.first) ** done
        part = min(done * self.n_cycles, self.n_cycles) % 1.0 if done < 1 else 1.0
        return self.last + 0.5 * (self.first - self.last) * (1 + cos(pi * part))

    def watch(self, error):
        """Take note of the error that a check found."""
        if error < self.best:
            self.best, self.waiting = error, 0
        else:
            self.waiting += 1
        if self.waiting >= self.patience:
            self.factor, self.waiting = self.factor / _FACTOR, 0
