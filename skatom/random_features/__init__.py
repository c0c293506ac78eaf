"""Random features: maps with derivatives between a descriptor and a linear model."""

from skatom.random_features.fourier import RandomFourierFeatures
from skatom.random_features.maps import Neurons, ProjectedFunctions, Waves
from skatom.random_features.molecule_features import (
    CoulombFeatures,
    ShallowSetFeatures,
    TripletFeatures,
)
from skatom.random_features.molecules import (
    CoulombSpectrum,
    MatrixMap,
    SetsOfRows,
    SortedCoulombMatrix,
    TripletFunctions,
)
from skatom.random_features.principal_components import PrincipalComponents
from skatom.random_features.projections import DenseProjection, HadamardProjection
from skatom.random_features.sampled_network import SampledNetworkFeatures

__all__ = [
    "CoulombFeatures",
    "CoulombSpectrum",
    "DenseProjection",
    "HadamardProjection",
    "MatrixMap",
    "Neurons",
    "PrincipalComponents",
    "ProjectedFunctions",
    "RandomFourierFeatures",
    "SampledNetworkFeatures",
    "SetsOfRows",
    "ShallowSetFeatures",
    "SortedCoulombMatrix",
    "TripletFeatures",
    "TripletFunctions",
    "Waves",
]
