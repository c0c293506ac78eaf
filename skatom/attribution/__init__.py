"""Which features, atoms and pairs of atoms a prediction comes from."""

from skatom.attribution.attribution import Attribution
from skatom.attribution.explanations import energy_by_atom, relevance, sensitivity

__all__ = ["Attribution", "energy_by_atom", "relevance", "sensitivity"]
