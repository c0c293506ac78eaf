"""Learning on the fly: a model that asks its reference where it does not know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase.calculators.calculator import BaseCalculator, Calculator, all_changes

from skatom._typing import Estimator
from skatom.active._learner import Learner, Learns
from skatom.calculators import SkatomCalculator
from skatom.selection.novelty import Novelty


class LearningOnTheFly(Learns, Calculator):
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
    nothing is labelled twice. `skatom.simulation.molecular_dynamics` with ``resume=True`` goes on
    with the dynamics, too. What the fits say of the labels is said once, not after each label.

    Relaxations and paths of reactions need a potential that does not change while they run: take
    `AdaptiveSampling`, which stops them at the threshold and begins them again.

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

    # between frames, so that another model may have given the energy of the frame before
    learns = True
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
        self.threshold = threshold
        self.scores_, self.n_calls_ = [], 0
        self._learner = Learner(
            model, reference, measure, threshold=threshold, folder=folder, update=update,
            max_labels=max_labels,
        )  # fmt: skip
        self._learner.begin(initial)
        self._calculator = None

    def calculate(
        self,
        atoms: Any = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Judge the structure, label it if it is new, and predict; ASE calls this."""
        super().calculate(atoms, properties, system_changes)
        score = self._learner.score(self.atoms)
        self.n_calls_ += 1
        self.scores_.append(score)
        if score > self.threshold and not self._learner.knows(self.atoms):
            self._learner.add([self.atoms], score, self.n_calls_)
            self._learner.look_again(self.atoms)
            self._calculator = None
        if self._calculator is None:
            self._calculator = SkatomCalculator(self.model_)
        self._calculator.calculate(self.atoms, properties, all_changes)
        self.results = dict(self._calculator.results)

    def summary(self) -> str:
        """What has been labelled so far, in a sentence."""
        return self._learner.summary(f"{self.n_calls_} structures judged", self.scores_)
