"""A model, a measure of novelty and their labels, in a folder that survives whatever happens."""

import os
import re
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.io.trajectory import Trajectory
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from skatom._files import written_whole
from skatom._prediction import predictable
from skatom._results import check_results, same_physics
from skatom._warnings import warn
from skatom.selection import PredictedDeviation
from skatom.structures import Structures
from skatom.targets import Targets

_LABELS = "labels.traj"
_FAILED = "failed.traj"
# Numbers, and lists of them, by which warnings of the same kind differ.
_NUMBERS = re.compile(r"[-+\d.]+(e[-+]?\d+)?( \([^)]*\))?((,| and) [-+\d.]+( \([^)]*\))?)*")


class Learner:
    """Has structures labelled by a reference, keeps the labels, and learns them.

    Parameters
    ----------
    model, reference, measure, folder, initial, update, max_labels
        As in `LearningOnTheFly`.
    threshold : float
        For messages.

    Attributes
    ----------
    frames : list of ase.Atoms
        The labelled structures, as in the folder.
    model, measure : fitted estimators, or None before the first label
    """

    def __init__(self, model, reference, measure, *, threshold, folder, update, max_labels):
        if update not in {"fit", "partial_fit"}:
            raise ValueError(f"update={update!r}: choose 'fit' or 'partial_fit'")
        self._model, self._reference = model, reference
        self._measure = PredictedDeviation(model) if measure is None else measure
        self._threshold, self._update, self._max_labels = threshold, update, max_labels
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._told, self._too_low = set(), False
        self.frames, self.model, self.measure = [], None, None

    def begin(self, initial):
        """Learn the labels of the folder, and those of the first structures that it lacks."""
        file = self._folder / _LABELS
        if file.exists() and file.stat().st_size:  # else killed before the first label
            self.frames = read(file, ":")
        self.add([frame for frame in initial if not self.knows(frame)], np.inf, 0)
        if self.frames and self.model is None:
            self._fit_all()

    def knows(self, atoms):
        """Whether this very structure has a label."""
        return any(same_physics(atoms, frame) for frame in self.frames)

    def score(self, atoms):
        """How new a structure is."""
        if self.model is None:
            return np.inf
        return float(self.measure.score(Structures.from_ase([atoms]))[0])

    def add(self, structures, scores, call):
        """Label structures, each of which is written to the folder at once, and learn them."""
        n_before = len(self.frames)
        for atoms, score in zip(structures, np.broadcast_to(scores, len(structures)), strict=True):
            frame = self._labelled(atoms, float(score))
            frame.info |= {"score": float(score), "call": call}
            self._append(frame)
        if len(self.frames) > n_before:
            self._learn(n_before)

    def look_again(self, atoms):
        """Warn, once, if a structure is as new after it has been learnt."""
        if self._too_low:
            return
        score = self.score(atoms)
        if score > self._threshold:
            self._too_low = True
            warn(
                f"a structure has the score {score:.3g} after it has been learnt, above "
                f"threshold={self._threshold:g}: with this model and measure every structure may "
                "be labelled; raise the threshold"
            )

    def summary(self, judged, scores):
        """What has been labelled, in a sentence that says if no score reached the threshold."""
        text = f"{len(self.frames)} labels, {judged}"
        largest = max(scores, default=np.inf)
        if largest <= self._threshold:
            return (
                f"{text}; none was newer than threshold={self._threshold:g}, the largest score was "
                f"{largest:.3g}: a lower threshold would learn more"
            )
        return text

    def _append(self, frame):
        """Write a label behind the others, which stay whole whatever ends the writing."""
        with (self._folder / _LABELS).open("ab") as file:
            with Trajectory(self._folder / _LABELS, "a") as writer:
                writer.write(frame)
            os.fsync(file.fileno())
        self.frames.append(frame)

    def _labelled(self, atoms, score):
        """A copy of the structure with the results of the reference, or with those it has."""
        frame, names = atoms.copy(), ["energy", "forces"]
        known = getattr(atoms.calc, "results", {})
        if known.keys() >= {*names}:
            check_results(atoms, len(self.frames))
            if atoms.pbc.all() and "stress" in known:
                names.append("stress")
            results = {name: known[name] for name in names}
            frame.calc = SinglePointCalculator(frame, **results)
            return frame
        self._check_number(score)
        if atoms.pbc.all() and "stress" in self._reference.implemented_properties:
            names.append("stress")
        try:
            results = {name: self._reference.get_property(name, frame) for name in names}
        except Exception as error:
            with written_whole(self._folder / _FAILED) as path:
                write(path, frame)
            raise RuntimeError(
                f"the reference failed ({type(error).__name__}: {error}) for the structure in "
                f"{self._folder / _FAILED}; all labels are kept: mend it and begin again with the "
                "same folder"
            ) from error
        frame.calc = SinglePointCalculator(frame, **results)
        return frame

    def _check_number(self, score):
        if self._max_labels is not None and len(self.frames) >= self._max_labels:
            raise RuntimeError(
                f"a structure has the score {score:.3g}, above threshold={self._threshold:g}, and "
                f"max_labels={self._max_labels} are used up: raise one of them, or take a model "
                "that learns more from its labels"
            )

    def _learn(self, n_before):
        """Learn the frames from number ``n_before`` on."""
        known = {z for frame in self.frames[:n_before] for z in frame.numbers}
        seen = known.issuperset(z for frame in self.frames[n_before:] for z in frame.numbers)
        if self._update == "partial_fit" and self.model is not None and seen:
            with _each_kind_once(self._told):
                self._fit_more(self.frames[n_before:])
        else:
            self._fit_all()

    def _fit_all(self):
        structures, targets = _data(self.frames)
        with _each_kind_once(self._told):
            self.measure = clone(self._measure).fit(structures, targets)
            own = isinstance(self._measure, PredictedDeviation)
            self.model = self.measure.model_ if own else clone(self._model).fit(structures, targets)
        given = predictable(self.model)
        if "forces" not in given:
            raise ValueError(f"the model predicts {', '.join(given)}, but no forces")

    def _fit_more(self, frames):
        structures, targets = _data(frames)
        pipeline = isinstance(self.model, Pipeline)
        last = self.model.steps[-1][1] if pipeline else self.model
        if not hasattr(last, "partial_fit"):
            raise ValueError(f"{type(last).__name__} has no partial_fit: take update='fit'")
        features = self.model[:-1].transform(structures) if pipeline else structures
        last.partial_fit(features, targets)
        if not isinstance(self._measure, PredictedDeviation):  # it looks at the model itself
            self.measure.partial_fit(structures, targets)


class Learns:
    """Adds what a `Learner`, the attribute ``_learner``, has learnt."""

    @property
    def frames_(self):
        """The labelled structures."""
        return self._learner.frames

    @property
    def model_(self):
        """The fitted model; None before the first label."""
        return self._learner.model

    @property
    def measure_(self):
        """The fitted measure; None before the first label."""
        return self._learner.measure


@contextmanager
def _each_kind_once(told):
    """Let through what warnings of the fits within say for the first time, but for numbers.

    A fit after each label would say the same of the labels again and again.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for each in caught:
        name, colon, text = str(each.message).partition(": ")
        if not name.isidentifier():
            name, colon, text = "", "", str(each.message)
        parts = text.split("; ") if name else [text]  # a diagnosis has several sentences
        new = [part for part in parts if _NUMBERS.sub("#", part) not in told]
        told |= {_NUMBERS.sub("#", part) for part in new}
        if new:
            warn(f"{name}{colon}{'; '.join(new)}", each.category)


def _data(frames):
    return Structures.from_ase(frames), Targets.from_ase(frames)
