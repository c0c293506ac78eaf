"""Choosing the frames to train on and to test on, and the parameters of a model."""

from skatom.model_selection.active_split import ActiveSplit
from skatom.model_selection.energy_strata import EnergyStratifiedSplit, energy_stratified_sample
from skatom.model_selection.noise_search import NoiseSearchCV
from skatom.model_selection.shared_search import SharedGridSearchCV
from skatom.model_selection.splitters import (
    BlockKFold,
    StratifiedPathKFold,
    composition_strata,
)

__all__ = [
    "ActiveSplit",
    "BlockKFold",
    "EnergyStratifiedSplit",
    "NoiseSearchCV",
    "SharedGridSearchCV",
    "StratifiedPathKFold",
    "composition_strata",
    "energy_stratified_sample",
]
