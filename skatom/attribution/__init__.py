"""Which features, atoms and pairs of atoms a prediction comes from, and what a model sees."""

from skatom.attribution.alchemy import alchemical_path
from skatom.attribution.attribution import Attribution
from skatom.attribution.bond_sensitivity import bond_sensitivity
from skatom.attribution.chemical_potential import local_chemical_potential
from skatom.attribution.curvature import hessian_condition
from skatom.attribution.embedding import SpeciesEmbedding, species_embedding
from skatom.attribution.explanations import energy_by_atom, relevance, sensitivity
from skatom.attribution.rings import RankedRings, ring_energies
from skatom.attribution.surfaces import TriangulatedSurface, molecular_plane, molecular_surface

__all__ = [
    "Attribution",
    "RankedRings",
    "SpeciesEmbedding",
    "TriangulatedSurface",
    "alchemical_path",
    "bond_sensitivity",
    "energy_by_atom",
    "hessian_condition",
    "local_chemical_potential",
    "molecular_plane",
    "molecular_surface",
    "relevance",
    "ring_energies",
    "sensitivity",
    "species_embedding",
]
