"""Plots of errors of models, of features that a sparse model chose, and of simulations."""

from skatom.plotting.calibration import CalibrationDisplay
from skatom.plotting.chemical_potential import ChemicalPotentialDisplay
from skatom.plotting.embedding import EmbeddingDisplay
from skatom.plotting.greedy import ChosenFeaturesDisplay, GreedyPathDisplay
from skatom.plotting.groups import GroupErrorsDisplay
from skatom.plotting.learning_curve import LearningCurveDisplay
from skatom.plotting.mechanics import EquationOfStateDisplay, ReactionPathDisplay
from skatom.plotting.parity import ParityDisplay
from skatom.plotting.phase_diagram import PhaseDiagramDisplay
from skatom.plotting.relevance import RelevanceDisplay
from skatom.plotting.relevant_dimension import RelevantDimensionDisplay
from skatom.plotting.rings import RankedRingsDisplay
from skatom.plotting.search import SearchDisplay
from skatom.plotting.simulation import DynamicsDisplay, PhononDisplay, RelaxationDisplay
from skatom.plotting.spectrum import SpectrumDisplay
from skatom.plotting.training import TrainingDisplay

__all__ = [
    "CalibrationDisplay",
    "ChemicalPotentialDisplay",
    "ChosenFeaturesDisplay",
    "DynamicsDisplay",
    "EmbeddingDisplay",
    "EquationOfStateDisplay",
    "GreedyPathDisplay",
    "GroupErrorsDisplay",
    "LearningCurveDisplay",
    "ParityDisplay",
    "PhaseDiagramDisplay",
    "PhononDisplay",
    "RankedRingsDisplay",
    "ReactionPathDisplay",
    "RelaxationDisplay",
    "RelevanceDisplay",
    "RelevantDimensionDisplay",
    "SearchDisplay",
    "SpectrumDisplay",
    "TrainingDisplay",
]
