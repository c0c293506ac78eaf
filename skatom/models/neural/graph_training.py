"""The training of a network of graphs, from its first weights to the best ones."""

from __future__ import annotations

import time

import numpy as np

from skatom._progress import tqdm
from skatom._warnings import warn
from skatom.models.neural.course import Course
from skatom.models.neural.packing import BatchLayout, packed
from skatom.models.neural.schedules import Schedule
from skatom.models.neural.training_checkpoint import random_state, restore_random

# The loss is looked at, and structures that are left out are predicted, every so many steps.
_STEPS = 50
# What a training step keeps, relative to a prediction, measured.
_OF_PREDICTION = 1.7


class GraphTraining:
    """A training, which may be interrupted and go on.

    Parameters
    ----------
    settings : NeuralPotential
        Whose parameters say how.
    steps : TrainingSteps
    data : LabelledGraphs
    parts : tuple of ndarray
        The structures to learn from, and those that are left out.
    network : tuple
        Number of species, cutoff, type of the floats and `Device`.
    random : RandomState
    checkpoint : TrainingCheckpoint
    """

    def __init__(self, settings, steps, data, parts, network, random, checkpoint):
        self.settings, self.steps, self.data, self.random = settings, steps, data, random
        self.learnt, self.left_out = parts
        self.n_species, self.cutoff, self.dtype, self.device = network
        self.checkpoint = checkpoint
        s = settings
        self.n_batches = -(-len(self.learnt) // s.batch_size)
        self.schedule = Schedule(
            s.schedule, s.learning_rate_init, s.learning_rate_min, s.n_cycles, s.patience
        )
        self.course = Course(len(self.left_out) > 0, s.n_iter_no_change)
        self.iteration, self.seconds = 0, 0.0

    def run(self):
        """Train until the end, and return the `Course`."""
        self._restore(self.checkpoint.load())
        self._validation = self._batches_left_out()
        every = max(1, round(_STEPS / self.n_batches))
        s, name = self.settings, type(self.settings).__name__
        self._begin = time.perf_counter() - self.seconds
        bar = tqdm(total=s.max_iter, initial=self.iteration, disable=not s.verbose, desc=name)
        with bar:
            while self.iteration < s.max_iter and not self._is_late():
                self._iterate()
                bar.update()
                last = self.iteration == s.max_iter or self._is_late()
                if (self.iteration % every == 0 or last) and not self._checked(bar):
                    break
        self.checkpoint.remove()
        return self.course

    def once(self, state):
        """One iteration, with steps of the first length.

        Parameters
        ----------
        state : dict of ndarray, or None
            What the last call returned.

        Returns
        -------
        weights : ndarray
        state : dict of ndarray
        """
        if state is not None:
            self.steps.restore(state)
            restore_random(self.random, state)
        self._begin = time.perf_counter()
        self.schedule = Schedule("plateau", self.schedule.first, self.schedule.first, 1, 1)
        self._iterate()
        if not np.isfinite(self.steps.mean_loss()):
            name = type(self.settings).__name__
            raise ValueError(f"{name}: the loss is not finite: {self._remedy}")
        return self.steps.weights(), self.steps.state() | random_state(self.random)

    def _is_late(self):
        limit = self.settings.max_time
        self.seconds = time.perf_counter() - self._begin
        return limit is not None and self.seconds >= limit

    def _iterate(self):
        """One step for each batch of all structures in a random order."""
        order = self.random.permutation(self.learnt)
        for k, chosen in enumerate(np.array_split(order, self.n_batches)):
            graphs, labels = self.data.batch(np.sort(chosen))
            layout = self._layout(graphs)
            arrays = packed(graphs, layout, self.cutoff, labels)
            self.steps.step(arrays, layout, self.schedule.rate(self._done(k)))
            if self._is_late():
                break
        self.iteration += 1

    def _done(self, k):
        """The part of the training that is done after k batches of this iteration."""
        done = (self.iteration + k / self.n_batches) / self.settings.max_iter
        if self.settings.max_time is not None:
            done = max(done, min(1.0, self.seconds / self.settings.max_time))
        return done

    def _layout(self, graphs):
        return BatchLayout.of(
            graphs, max(len(graphs), self.settings.batch_size if self.device.is_card else 0),
            self.n_species, labels=self.data.names, on_card=self.device.is_card, dtype=self.dtype,
        )  # fmt: skip

    def _batches_left_out(self):
        """Buffers and layouts of what is left out; each weighs as much as it has structures."""
        found, n = [], len(self.left_out)
        for chosen in np.array_split(self.left_out, -(-n // self.settings.batch_size)) if n else ():
            graphs, labels = self.data.batch(chosen)
            for name in labels:
                if name.endswith("weight"):
                    labels[name] *= len(chosen) / n
            layout = self._layout(graphs)
            found.append((packed(graphs, layout, self.cutoff, labels), layout))
        return found

    def _checked(self, bar):
        """Look at the loss and note what was found; whether training goes on."""
        figures = {
            "iteration": self.iteration, "step": self.iteration * self.n_batches,
            "learning_rate": self.schedule.rate(self._done(0)), "loss": self.steps.mean_loss(),
        }  # fmt: skip
        if self._validation:
            figures["validation_loss"] = self.steps.validation_loss(self._validation)
        watched = figures.get("validation_loss", figures["loss"])
        if not np.isfinite([figures["loss"], watched]).all():
            self._stop(figures)
            return False
        self.schedule.watch(watched)
        goes_on = self.course.add(figures, self.steps.weights)
        bar.set_postfix(loss=f"{figures['loss']:.3g}", watched=f"{watched:.3g}", refresh=False)
        if goes_on:
            self.checkpoint.save(self._state)
        return goes_on

    def _stop(self, figures):
        """The loss is not finite: keep the last weights that were good."""
        name, remedy = type(self.settings).__name__, self._remedy
        if self.course.best["weights"] is None:
            raise ValueError(
                f"{name}: the loss is not finite within the first {figures['step']} steps: {remedy}"
            )
        warn(
            f"{name}: the loss is not finite at step {figures['step']}: training ended, and the "
            f"weights of iteration {self.course.kept_iteration} were kept; {remedy}",
            RuntimeWarning,
        )

    @property
    def _remedy(self):
        rate = self.settings.learning_rate_init
        return f"lower learning_rate_init={rate:g}, or set max_gradient_norm"

    def _state(self):
        """All from which the training can go on, as arrays."""
        s = self.schedule
        return {
            **self.steps.state(), **self.course.state(), **random_state(self.random),
            "schedule": np.array([s.factor, s.best, s.waiting]),
            "progress": np.array([self.iteration, self.seconds]),
            "learnt": self.learnt, "left_out": self.left_out,
        }  # fmt: skip

    def _restore(self, state):
        if state is None:
            return
        self.steps.restore(state)
        self.course.restore(state)
        restore_random(self.random, state)
        self.schedule.factor, self.schedule.best, waiting = state["schedule"]
        self.schedule.waiting = int(waiting)
        self.iteration, self.seconds = int(state["progress"][0]), float(state["progress"][1])
        self.learnt, self.left_out = state["learnt"], state["left_out"]


def parted(n, fraction, random):
    """The structures to learn from, and those that are left out to judge the weights."""
    if fraction == 0:
        return np.arange(n), np.arange(0)
    n_out = max(1, round(fraction * n))
    if n_out >= n:
        raise ValueError(
            f"validation_fraction={fraction:g} leaves out {n_out} of {n} structures, and none to "
            "learn from: give more, or validation_fraction=0"
        )
    order = random.permutation(n)
    return np.sort(order[n_out:]), np.sort(order[:n_out])


def check_training_memory(settings, data, architecture, device, dtype):
    """Raise a MemoryError if a batch of the largest structures does not fit in memory."""
    edges = np.sort(data.graphs.n_edges)[-settings.batch_size :].sum()
    numbers = np.sort(architecture.numbers(data.graphs))[-settings.batch_size :].sum()
    device.check_memory(
        np.dtype(dtype).itemsize * _OF_PREDICTION * numbers,
        f"a training step on {edges} pairs of neighbours",
        f"lower batch_size={settings.batch_size}, or the cutoff",
    )
