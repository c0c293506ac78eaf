"""Descent of a loss: stochastic, with momentum or adaptive steps, and quasi-Newton.

A loss is a callable ``loss(theta, some)`` that gives the loss of some structures and its slope,
where its data are; ``loss.place(theta)`` brings parameters there, and its length is the number of
structures. Stochastic steps are made there, those of the quasi-Newton method on the host.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy.optimize import minimize

from skatom._device import beside, namespace, on_host
from skatom._warnings import warn
from skatom.models.neural.training_checkpoint import random_state, restore_random
from skatom.parallel import serial_blas

# Steps are divided by this where the loss stalls, and descent ends after so many divisions.
_FACTOR, _DIVISIONS = 5.0, 3
# A loss that is this many times as large as the first one has diverged.
_DIVERGED = 100.0
# Decay of the means of the slopes and of their squares, and the smallest root of the latter.
_MEAN, _SQUARE, _SMALLEST = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Stopping:
    """When descent ends.

    Attributes
    ----------
    max_iter : int
        Iterations, each of which sees all data once.
    tol : float
        Improvements of the loss, relative to itself, that are smaller do not count.
    n_iter_no_change : int
        Iterations without improvement after which the step becomes smaller, or descent ends.
    max_time : float or None
        Seconds after which descent ends.
    """

    max_iter: int
    tol: float
    n_iter_no_change: int
    max_time: float | None = None


@dataclass
class Progress:
    """The course of a descent.

    Attributes
    ----------
    theta : ndarray of float
        The best parameters so far, on the host.
    losses, scores : list of float
        Losses of all iterations, and errors of the structures that are left out.
    converged : bool
        Whether the descent ended by itself, or its time was over.
    checkpoint : TrainingCheckpoint
        Takes all of it from time to time.
    resumed : dict of ndarray or None
        What an interrupted descent left there.
    parts : dict of ndarray
        Further arrays for the checkpoint.
    """

    theta: np.ndarray
    stopping: Stopping
    watch: object = None
    bar: object = None
    checkpoint: object = None
    resumed: dict | None = None
    parts: dict = field(default_factory=dict)
    losses: list = field(default_factory=list)
    scores: list = field(default_factory=list)
    best: float = np.inf
    converged: bool = False
    stalled: int = 0
    reference: float = np.inf
    begin: float = field(default_factory=time.perf_counter)

    def __post_init__(self):
        if self.resumed is None:
            return
        state = self.resumed
        self.theta = state["best_theta"]
        self.losses, self.scores = state["losses"].tolist(), state["scores"].tolist()
        self.best, self.reference, stalled, seconds = state["progress"]
        self.stalled, self.begin = int(stalled), self.begin - seconds
        if self.bar is not None:
            self.bar.update(len(self.losses))

    @property
    def seconds(self):
        """Time since the beginning."""
        return time.perf_counter() - self.begin

    def part_of_time(self, share):
        """How much of this share of the time is over, from 0 to 1; 0 if there is no limit."""
        limit = self.stopping.max_time
        return 0.0 if limit is None else min(1.0, self.seconds / (share * limit))

    def keep(self, state):
        """Offer what ``state()`` gives, and all of this, to the checkpoint."""
        if self.checkpoint is not None:
            self.checkpoint.save(lambda: state() | self._state() | self.parts)

    def _state(self):
        return {
            "best_theta": self.theta, "losses": np.array(self.losses),
            "scores": np.array(self.scores),
            "progress": np.array([self.best, self.reference, self.stalled, self.seconds]),
        }  # fmt: skip

    def add(self, theta, loss):
        """Take note of an iteration; returns whether the loss stalls."""
        self.losses.append(float(loss))
        watched = loss
        if self.watch is not None:
            self.scores.append(float(self.watch(theta)))
            watched = self.scores[-1]
        if watched < self.best:
            self.best, self.theta = watched, on_host(theta).copy()
        if watched < (1 - self.stopping.tol) * self.reference:
            self.reference, self.stalled = watched, 0
        else:
            self.stalled += 1
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{loss:.3g}", watched=f"{watched:.3g}", refresh=False)
            self.bar.update()
        return self.stalled >= self.stopping.n_iter_no_change or watched == 0


class Adam:
    """Steps along the mean slope, divided by the root of its mean square, where ``theta`` is."""

    def __init__(self, theta):
        zero = namespace(theta).zeros_like
        self.mean, self.square, self.time = zero(theta), zero(theta), 0

    def step(self, slope):
        self.time += 1
        self.mean += (1 - _MEAN) * (slope - self.mean)
        self.square += (1 - _SQUARE) * (slope * slope - self.square)
        mean = self.mean / (1 - _MEAN**self.time)
        root = namespace(slope).sqrt(self.square / (1 - _SQUARE**self.time))
        return mean / (root + _SMALLEST)

    def state(self):
        """All of it as arrays by name."""
        mean, square = map(on_host, (self.mean, self.square))
        return {"mean": mean, "square": square, "time": np.array(self.time)}

    def restore(self, state):
        """Go on from what `state` gave."""
        self.mean, self.square = (beside(state[name], self.mean) for name in ("mean", "square"))
        self.time = int(state["time"])


class Momentum:
    """Steps along a sum of slopes, of which the older ones fade."""

    def __init__(self, theta, momentum):
        self.sum, self.momentum = namespace(theta).zeros_like(theta), momentum

    def step(self, slope):
        self.sum = self.momentum * self.sum + slope
        return self.sum


def stochastic_descent(loss, progress, make_rule, batch_size, rate, random):
    """Descend along the slopes of batches of structures.

    Parameters
    ----------
    loss : callable
    progress : Progress
        Begins with the initial parameters, and has the best ones in the end.
    make_rule : callable
        Makes an `Adam` or `Momentum` for parameters.
    batch_size : int
    rate : float
        Length of a step.
    random : RandomState
    """
    theta, n, divisions = loss.place(progress.theta.copy()), len(loss), 0
    rule = make_rule(theta)
    first = None
    with serial_blas():
        while len(progress.losses) < progress.stopping.max_iter:
            order, total = random.permutation(n), 0.0
            for chosen in np.array_split(order, max(1, -(-n // batch_size))):
                value, slope = loss(theta, np.sort(chosen))
                value = float(value)
                first = value if first is None else first
                total += value * len(chosen) / n
                if not value <= _DIVERGED * first:  # NaN, too
                    break
                theta -= rate * rule.step(slope)
            if not value <= _DIVERGED * first:
                theta, rule = loss.place(progress.theta.copy()), make_rule(theta)
                divisions, rate = divisions + 1, rate / _FACTOR
                total = min(total, _DIVERGED * first)
            if progress.add(theta, total):
                divisions, rate, progress.stalled = divisions + 1, rate / _FACTOR, 0
            if divisions > _DIVISIONS or progress.best == 0:
                progress.converged = True
                return


def annealed_descent(loss, progress, batch_size, schedule, random, last):
    """Descend by `Adam` for some iterations, with steps that become shorter all the time.

    Parameters
    ----------
    loss, progress, batch_size, random
        As in `stochastic_descent`.
    schedule : Schedule
        The length of a step.
    last : int
        The number of iterations; they have the same share of all iterations and of the time.

    Returns
    -------
    bool
        Whether all losses were finite.
    """
    theta, n = loss.place(progress.theta.copy()), len(loss)
    rule, n_batches = Adam(theta), -(-n // batch_size)
    share = last / progress.stopping.max_iter
    if progress.resumed is not None:
        if "theta" not in progress.resumed:  # it had come to its end
            return True
        theta = loss.place(progress.resumed["theta"])
        rule.restore(progress.resumed)
        restore_random(random, progress.resumed)
    with serial_blas():
        for iteration in range(len(progress.losses), last):
            total, seen = 0.0, 0
            for k, chosen in enumerate(np.array_split(random.permutation(n), n_batches)):
                done = max((iteration + k / n_batches) / last, progress.part_of_time(share))
                if done == 1 and seen:
                    break
                value, slope = loss(theta, np.sort(chosen))
                total, seen = total + value * len(chosen), seen + len(chosen)
                theta = theta - schedule.rate(done) * rule.step(slope)
            total = float(total)  # the first time that a device must have done its work
            if not np.isfinite(total):
                _check_some(progress, iteration)
                progress.converged = True
                return False
            progress.add(theta, total / seen)
            progress.keep(partial(_state, theta, rule, random))
            if progress.part_of_time(share) == 1:
                break
    progress.converged = True
    return True


def _state(theta, rule, random):
    return {"theta": on_host(theta), **rule.state(), **random_state(random)}


def _check_some(progress, iteration):
    """The loss is not finite: warn, or raise a ValueError if it never was."""
    remedy = "lower learning_rate_init, or scale the features to unit variance"
    if not progress.losses:
        raise ValueError(f"the loss is not finite in the first iteration: {remedy}")
    warn(
        f"the loss is not finite in iteration {iteration + 1}: training ended, and the weights of "
        f"the smallest loss before were kept; {remedy}",
        RuntimeWarning,
    )


def quasi_newton(loss, progress):
    """Descend by L-BFGS, with the slopes of all structures, for the iterations that are left.

    One that was interrupted begins anew with the last weights, without what it knew of curvatures.
    """
    done, first = len(progress.losses), (progress.resumed or {}).get("last_theta", progress.theta)
    progress.reference, progress.stalled = np.inf, 0

    def on_the_host(theta):
        value, slope = loss(loss.place(theta))
        return float(value), on_host(slope)

    def note(intermediate_result):
        stalls = progress.add(intermediate_result.x, intermediate_result.fun)
        progress.keep(lambda: {"last_theta": intermediate_result.x})
        if stalls or progress.part_of_time(1.0) == 1:
            raise StopIteration

    with serial_blas():
        found = minimize(
            on_the_host, first, jac=True, method="L-BFGS-B", callback=note,
            options={"maxiter": progress.stopping.max_iter - done, "maxfun": np.inf, "ftol": 0,
                     "gtol": 0, "maxcor": 30, "maxls": 40},
        )  # fmt: skip
    n_iter = len(progress.losses)
    progress.converged = n_iter < progress.stopping.max_iter or progress.part_of_time(1.0) == 1
    if len(progress.losses) == done:
        progress.add(found.x, found.fun)
