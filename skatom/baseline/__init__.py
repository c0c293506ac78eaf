"""The part of the energy that is known before anything is learnt."""

from skatom.baseline.atomic import AtomicBaseline, count_species
from skatom.baseline.repulsion import PairRepulsion

__all__ = ["AtomicBaseline", "PairRepulsion", "count_species"]
