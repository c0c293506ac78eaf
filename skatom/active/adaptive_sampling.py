"""Adaptive sampling: many simulations that stop where they are new, until none does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from ase.calculators.calculator import BaseCalculator
from ase.io import read, write

from skatom._files import written_whole
from skatom._typing import Estimator
from skatom.active._learner import Learner, Learns
from skatom.calculators import ExtrapolationError, SkatomCalculator
from skatom.parallel import map_jobs
from skatom.selection.novelty import Novelty

_CANDIDATES = "candidates.traj"


class AdaptiveSampling(Learns):
    r"""Learns from several simulations, which stop where the model does not know, until none does.

    .. math::
        S = \{ x_r : \text{score}(x_r) > \text{threshold} \}, \qquad
        \text{label } \operatorname{select}(S, n), \quad \text{learn, until } S = \emptyset

    In each round every simulation runs with the same model and stops at the first structure
    :math:`x_r` that is newer than the threshold. A batch of these structures, new to what is known
    and to each other, is labelled by a reference and learnt, and all simulations begin again. So a
    potential never changes within a simulation, which may be a relaxation, a search of a transition
    state, or dynamics at another temperature, with other seeds or of other molecules [1]_ [2]_.

    The structures that are to be labelled and every label are written to a folder at once. The same
    folder given again, after an interruption or a reference that failed, goes on with them; nothing
    is labelled twice.

    Parameters
    ----------
    model : estimator or Pipeline
        A model of energies and forces that takes structures.
    reference : ASE calculator
        What computes labels.
    measure : measure of `skatom.selection`, default=None
        How new structures are, such as ``MaxVol(SOAP(), rows="atom")``. None: the model's own
        standard deviations of forces.
    threshold : float, default=2.0
        Simulations stop at structures with a larger score: a grade, or eV/Å of deviations.
    n_labels : int, default=10
        The most structures that are labelled in a round.
    folder : path, default="adaptive_sampling"
        Folder of the labels.
    initial : list of ase.Atoms, default=()
        Structures to learn before the first; those without energy and forces are labelled.
    update : {"fit", "partial_fit"}, default="fit"
        How labels are learnt, as in `LearningOnTheFly`.
    max_labels : int, default=None
        An error, rather than more labels than this. None: any number.
    n_jobs : int, default=None
        Number of joblib jobs that share the simulations. The result does not depend on it.

    Attributes
    ----------
    model_ : estimator or Pipeline
        The fitted model.
    measure_ : measure
        The fitted measure.
    frames_ : list of ase.Atoms
        The labelled structures; ``info`` of each has the "score" for which it was labelled, and the
        "call", the number of the round.
    n_stopped_ : list of int
        How many simulations were stopped, by round.
    results_ : list
        What the simulations of the last round returned; None of those that were stopped.

    Raises
    ------
    RuntimeError
        If the reference fails, after the structure has been written to the folder; if there would
        be more than ``max_labels`` labels; if simulations are stopped at structures that are
        labelled already; or if they are still stopped after the last round.
    ValueError
        If there is nothing to learn from before the first simulation, or the model predicts no
        forces.

    See Also
    --------
    LearningOnTheFly : One simulation, which goes on after each label.
    find_minima : Relaxations of many structures.

    References
    ----------
    .. [1] M. Gastegger, J. Behler, P. Marquetand, Chem. Sci. 8, 6924 (2017).
    .. [2] E. V. Podryabinkin, E. V. Tikhonov, A. V. Shapeev, A. R. Oganov, Phys. Rev. B 99, 064114
       (2019).

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.active import AdaptiveSampling
    >>> from skatom.descriptors import MomentTensor
    >>> from skatom.models import LinearPotential
    >>> from skatom.selection import MaxVol
    >>> from skatom.simulation import molecular_dynamics
    >>> def dynamics(temperature):
    ...     return lambda calculator: molecular_dynamics(
    ...         calculator, bulk("Cu", cubic=True), 10, timestep=5.0, temperature=temperature
    ...     ).drift
    >>> tensors = MomentTensor(cutoff=4.5, level=8)
    >>> sampling = AdaptiveSampling(
    ...     make_pipeline(tensors, LinearPotential(alpha=1e-8)), EMT(),
    ...     MaxVol(tensors, rows="atom"), folder=mkdtemp(), initial=[bulk("Cu", cubic=True)],
    ... )
    >>> sampling = sampling.run([dynamics(300), dynamics(600)])
    >>> sampling.n_stopped_[0], sampling.n_stopped_[-1], len(sampling.frames_) < 20
    (2, 0, True)
    """

    def __init__(
        self,
        model: Estimator,
        reference: BaseCalculator,
        measure: Novelty | None = None,
        *,
        threshold: float = 2.0,
        n_labels: int = 10,
        folder: str | Path = "adaptive_sampling",
        initial: Sequence = (),
        update: str = "fit",
        max_labels: int | None = None,
        n_jobs: int | None = None,
    ) -> None:
        if n_labels < 1:
            raise ValueError(f"n_labels={n_labels}: label at least 1 structure in a round")
        self.threshold, self.n_labels, self.n_jobs = threshold, n_labels, n_jobs
        self.n_stopped_, self.results_ = [], []
        self._pending = Path(folder) / _CANDIDATES
        self._learner = Learner(
            model, reference, measure, threshold=threshold, folder=folder, update=update,
            max_labels=max_labels,
        )  # fmt: skip
        self._learner.begin(initial)
        if self.model_ is None and not self._pending.exists():
            raise ValueError(
                "there is no label to begin with: give some structures as initial, or the folder "
                "of an earlier run"
            )

    def run(self, simulations: Sequence[Callable], *, max_rounds: int = 50) -> Self:
        """Run simulations, label and learn until none of them is stopped.

        Parameters
        ----------
        simulations : list of callables
            Each is called with an ASE calculator, which stops it by an error, and returns anything.
            With processes (``n_jobs``) they and what they return must be picklable.
        max_rounds : int, default=50
            The most rounds.

        Returns
        -------
        self
        """
        if not len(simulations):
            raise ValueError("there are no simulations: give a list of functions of a calculator")
        self._label(self._candidates())
        for _ in range(max_rounds):
            attempt = _Attempt(self.model_, self.measure_, self.threshold)
            ends = list(map_jobs(attempt, simulations, self.n_jobs))
            stops = [end for end in ends if isinstance(end, ExtrapolationError)]
            self.results_ = [None if isinstance(e, ExtrapolationError) else e for e in ends]
            self.n_stopped_.append(len(stops))
            if not stops:
                return self
            batch = self._chosen(self._unlabelled(stops))
            with written_whole(self._pending) as path:
                write(path, batch)
            self._label(batch)
        raise RuntimeError(
            f"after {max_rounds} rounds {len(stops)} of {len(simulations)} simulations are still "
            f"stopped at threshold={self.threshold:g}; all labels are kept: run again, or raise "
            "the threshold, n_labels or max_rounds"
        )

    def summary(self) -> str:
        """What has been labelled so far, in a sentence."""
        text = f"{len(self.frames_)} labels, {len(self.n_stopped_)} rounds"
        if self.n_stopped_ and not any(self.n_stopped_):
            return (
                f"{text}; no simulation was stopped at threshold={self.threshold:g}: a lower "
                "threshold would learn more"
            )
        return f"{text}; simulations stopped in each: {', '.join(map(str, self.n_stopped_))}"

    def _unlabelled(self, stops):
        new = [stop for stop in stops if not self._learner.knows(stop.atoms)]
        if not new:
            raise RuntimeError(
                f"simulations are stopped at structures that are labelled already, with scores up "
                f"to {max(stop.score for stop in stops):.3g} above threshold={self.threshold:g}: "
                "raise the threshold"
            )
        return new

    def _chosen(self, stops):
        """Structures that are new to each other, with their scores, as frames."""
        pool = [stop.atoms for stop in stops]
        with warnings.catch_warnings():  # those that are not new to the others need no label
            warnings.filterwarnings("ignore", "only .* of the pool are new")
            chosen = self.measure_.select(pool, min(self.n_labels, len(pool)))
        if not len(chosen):
            chosen = [int(np.argmax([stop.score for stop in stops]))]
        for k in chosen:
            pool[k].info["score"] = stops[k].score
        return [pool[k] for k in chosen]

    def _candidates(self):
        """Structures of an earlier run that still have no label."""
        return read(self._pending, ":") if self._pending.exists() else []

    def _label(self, batch):
        new = [atoms for atoms in batch if not self._learner.knows(atoms)]
        scores = [atoms.info["score"] for atoms in new]
        self._learner.add(new, scores, len(self.n_stopped_))
        self._pending.unlink(missing_ok=True)
        if new:
            self._learner.look_again(new[0])


class _Attempt:
    """Runs a simulation with a model that it may have to leave; returns its result or the error."""

    def __init__(self, model, measure, threshold):
        self.model, self.measure, self.threshold = model, measure, threshold

    def __call__(self, simulation):
        calculator = SkatomCalculator(
            self.model, uncertainty=self.measure, stop_above=self.threshold
        )
        try:
            return simulation(calculator)
        except ExtrapolationError as error:
            return error
