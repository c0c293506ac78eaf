"""Learning on the fly: a model that asks its reference where it does not know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import BaseCalculator, Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from skatom._files import written_whole
from skatom._prediction import predictable
from skatom._typing import Estimator
from skatom._warnings import warn
from skatom.calculators import SkatomCalculator
from skatom.selection import PredictedDeviation
from skatom.selection.novelty import Novelty
from skatom.structures import Structures
from skatom.targets import Targets

_LABELS = "labels.traj"
_FAILED = "failed.traj"


class LearningOnTheFly(Calculator):
    r"""An ASE calculator that learns from a reference whenever a structure is new to its model.

    .. math::
        \text{score}(x) > \text{threshold} \;\Rightarrow\;
        \text{label } x \text{ by the reference, learn, then } F(x) = -\partial E / \partial R

    Each structure that a simulation comes to is judged before its forces are used. If it is newer
    than the threshold, the reference computes its energy and forces (and stress, if the cell is
    periodic in three directions and the reference has it), model and measure learn them, and the
    simulation goes on with the new model. So it never uses a force from beyond what the model
    knows.

    Every label is written to a folder at once, with the score and the number of the call. The same
    folder given again, after an interruption or a reference that failed, goes on with all labels;
    nothing is labelled twice.

    Relaxations and paths of reactions need a potential that does not change while they run: stop
    them at the threshold instead, by ``SkatomCalculator(model, uncertainty=…, stop_above=…)``.

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
        Structures with a larger score are labelled: a grade, or eV/Å of deviations.
    folder : path, default="on_the_fly"
        Folder of the labels.
    initial : list of ase.Atoms, default=()
        Structures to learn before the first; those without energy and forces are labelled.
    update : {"fit", "partial_fit"}, default="fit"
        How a label is learnt. "fit": model and measure are fitted to all labels. "partial_fit": the
        last step of the model and the measure learn the new one alone, which takes less time; what
        steps before it learnt from the first labels, such as scales of features, stays. A species
        that is not known needs a fit to all.
    max_labels : int, default=None
        An error, rather than more labels than this. None: any number.

    Attributes
    ----------
    model_ : estimator or Pipeline
        The fitted model.
    frames_ : list of ase.Atoms
        The labelled structures; ``info`` of each has the "score" for which it was labelled, and the
        number of the "call".
    n_calls_ : int
        Number of structures that were judged.
    scores_ : list of float
        Their scores.

    Raises
    ------
    RuntimeError
        If the reference fails, after the structure has been written to the folder; or if there
        would be more than ``max_labels`` labels.
    ValueError
        If the model predicts no forces, or no deviations for ``measure=None``.

    References
    ----------
    .. [1] G. Csányi, T. Albaret, M. C. Payne, A. De Vita, Phys. Rev. Lett. 93, 175503 (2004).
    .. [2] E. V. Podryabinkin, A. V. Shapeev, Comput. Mater. Sci. 140, 171 (2017).

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> import numpy as np
    >>> from ase import units
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from ase.md.verlet import VelocityVerlet
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.active import LearningOnTheFly
    >>> from skatom.descriptors import MomentTensor
    >>> from skatom.models import LinearPotential
    >>> from skatom.selection import MaxVol
    >>> copper = bulk("Cu", cubic=True)
    >>> tensors = MomentTensor(cutoff=4.5, level=8)
    >>> copper.calc = LearningOnTheFly(
    ...     make_pipeline(tensors, LinearPotential(alpha=1e-8)), EMT(),
    ...     MaxVol(tensors, rows="atom"), folder=mkdtemp(),
    ... )
    >>> copper.set_velocities(0.03 * np.random.default_rng(0).normal(size=(4, 3)))
    >>> _ = VelocityVerlet(copper, 5 * units.fs).run(50)
    >>> copper.calc.n_calls_, len(copper.calc.frames_) < 20
    (51, True)
    """

    implemented_properties = ("energy", "forces", "stress", "free_energy", "energies")

    def __init__(
        self,
        model: Estimator,
        reference: BaseCalculator,
        measure: Novelty | None = None,
        *,
        threshold: float = 2.0,
        folder: str | Path = "on_the_fly",
        initial: Sequence = (),
        update: str = "fit",
        max_labels: int | None = None,
    ) -> None:
        super().__init__()
        if update not in {"fit", "partial_fit"}:
            raise ValueError(f"update={update!r}: choose 'fit' or 'partial_fit'")
        self.model, self.reference = model, reference
        self.measure = PredictedDeviation(model) if measure is None else measure
        self.threshold, self.update, self.max_labels = threshold, update, max_labels
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.frames_, self.scores_, self.n_calls_ = [], [], 0
        self._too_low = False
        self.model_ = self.measure_ = self._calculator = None
        self._begin(initial)

    def calculate(
        self,
        atoms: Any = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Judge the structure, label it if it is new, and predict; ASE calls this."""
        super().calculate(atoms, properties, system_changes)
        score = self._score(self.atoms)
        self.n_calls_ += 1
        self.scores_.append(score)
        if score > self.threshold:
            self._check_number(score)
            self._learn([self._labelled(self.atoms, score)])
            self._compare(self._score(self.atoms))
        self._calculator.calculate(self.atoms, properties, all_changes)
        self.results = dict(self._calculator.results)

    def summary(self) -> str:
        """What has been labelled so far, in a sentence."""
        largest = max(self.scores_, default=0.0)
        text = f"{len(self.frames_)} labels, {self.n_calls_} structures judged"
        if self.n_calls_ and largest <= self.threshold:
            return (
                f"{text}; none was newer than threshold={self.threshold:g}, the largest score was "
                f"{largest:.3g}: a lower threshold would learn more"
            )
        return text

    def _begin(self, initial):
        """Learn the labels of the folder, or the first structures."""
        file = self.folder / _LABELS
        if file.exists():
            self._learn(read(file, ":"), new=False)
            return
        frames = [f if _is_labelled(f) else self._labelled(f, np.inf) for f in initial]
        if frames:
            self._learn(frames)

    def _score(self, atoms):
        if self.model_ is None:
            return np.inf
        return float(self.measure_.score(Structures.from_ase([atoms]))[0])

    def _labelled(self, atoms, score):
        """A copy of the structure with the results of the reference."""
        frame = atoms.copy()
        names = ["energy", "forces"]
        if atoms.pbc.all() and "stress" in self.reference.implemented_properties:
            names.append("stress")
        try:
            results = {name: self.reference.get_property(name, frame) for name in names}
        except Exception as error:
            with written_whole(self.folder / _FAILED) as path:
                write(path, frame)
            raise RuntimeError(
                f"the reference failed ({type(error).__name__}: {error}) for the structure in "
                f"{self.folder / _FAILED}; all labels are kept: mend it and begin again with the "
                "same folder"
            ) from error
        frame.info |= {"score": score, "call": self.n_calls_}
        frame.calc = SinglePointCalculator(frame, **results)
        return frame

    def _learn(self, frames, new=True):
        if new:
            with written_whole(self.folder / _LABELS) as path:
                write(path, [*self.frames_, *frames])
        before, self.frames_ = self.frames_, [*self.frames_, *frames]
        known = {z for frame in before for z in frame.numbers}
        seen = known.issuperset(z for frame in frames for z in frame.numbers)
        if self.update == "partial_fit" and before and seen:
            self._learn_more(frames)
        else:
            self._learn_all()
        given = predictable(self.model_)
        if "forces" not in given:
            raise ValueError(f"the model predicts {', '.join(given)}, but no forces")
        self._calculator = SkatomCalculator(self.model_)

    def _learn_all(self):
        structures, targets = _data(self.frames_)
        self.measure_ = clone(self.measure).fit(structures, targets)
        own = isinstance(self.measure, PredictedDeviation)
        self.model_ = self.measure_.model_ if own else clone(self.model).fit(structures, targets)

    def _learn_more(self, frames):
        structures, targets = _data(frames)
        pipeline = isinstance(self.model_, Pipeline)
        last = self.model_.steps[-1][1] if pipeline else self.model_
        if not hasattr(last, "partial_fit"):
            raise ValueError(f"{type(last).__name__} has no partial_fit: take update='fit'")
        features = self.model_[:-1].transform(structures) if pipeline else structures
        last.partial_fit(features, targets)
        if not isinstance(self.measure, PredictedDeviation):  # it looks at the model itself
            self.measure_.partial_fit(structures, targets)

    def _check_number(self, score):
        if self.max_labels is not None and len(self.frames_) >= self.max_labels:
            raise RuntimeError(
                f"a structure has the score {score:.3g}, above threshold={self.threshold:g}, and "
                f"max_labels={self.max_labels} are used up: raise one of them, or take a model that"
                " learns more from its labels"
            )

    def _compare(self, score):
        """Warn, once, if a structure is as new after it has been learnt."""
        if score > self.threshold and not self._too_low:
            self._too_low = True
            warn(
                f"a structure has the score {score:.3g} after it has been learnt, above "
                f"threshold={self.threshold:g}: with this model and measure every structure may be "
                "labelled; raise the threshold"
            )


def _is_labelled(frame):
    results = getattr(frame.calc, "results", {})
    return "energy" in results and "forces" in results


def _data(frames):
    return Structures.from_ase(frames), Targets.from_ase(frames)
