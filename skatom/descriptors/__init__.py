"""Descriptors: transformers from structures to features."""

from skatom.descriptors.acsf import ACSF
from skatom.descriptors.atomic_derivatives import PairJacobian
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.averaged_soap import AveragedSOAP
from skatom.descriptors.bag_of_bonds import BagOfBonds
from skatom.descriptors.cartesian import CartesianCoordinates
from skatom.descriptors.chebyshev import ChebyshevFunctions
from skatom.descriptors.cluster_expansion import AtomicClusterExpansion
from skatom.descriptors.composition import CompositionDescriptors, elemental_properties
from skatom.descriptors.coulomb_matrix import CoulombMatrix
from skatom.descriptors.crystal_matrices import EwaldMatrix, ExtendedCoulombMatrix, SineMatrix
from skatom.descriptors.descriptor_union import DescriptorUnion
from skatom.descriptors.fchl19 import FCHL19
from skatom.descriptors.inverse_distances import InverseDistances
from skatom.descriptors.lambda_soap import LambdaSOAP
from skatom.descriptors.many_body_expansion import ManyBodyExpansion
from skatom.descriptors.many_body_tensor import ManyBodyTensor
from skatom.descriptors.maps import FeatureMap, Linear, Scale, Select
from skatom.descriptors.moment_tensor import MomentTensor
from skatom.descriptors.pair_distances import PairDistances
from skatom.descriptors.pair_kernel_matrix import PairKernelMatrix
from skatom.descriptors.point_scattering import PointScattering
from skatom.descriptors.prototypes import PrototypeEncoder
from skatom.descriptors.radial_distribution import (
    PartialRadialDistribution,
    ValleOganovFingerprint,
)
from skatom.descriptors.scaling import FeatureScaler, FeatureSelector
from skatom.descriptors.soap import SOAP
from skatom.descriptors.spherical_tensors import (
    cartesian_from_spherical,
    spherical_from_cartesian,
    wigner_d,
)
from skatom.descriptors.structure_derivatives import StructureJacobian
from skatom.descriptors.structure_features import StructureFeatures
from skatom.descriptors.tensor_features import TensorFeatures
from skatom.descriptors.thermometer import Thermometer, ThermometerEncoder
from skatom.descriptors.triples import GeneralizedCoulombMatrix, TripleAngles
from skatom.descriptors.wavelet_scattering import WaveletScattering

__all__ = [
    "ACSF",
    "FCHL19",
    "SOAP",
    "AtomicClusterExpansion",
    "AtomicFeatures",
    "AveragedSOAP",
    "BagOfBonds",
    "CartesianCoordinates",
    "ChebyshevFunctions",
    "CompositionDescriptors",
    "CoulombMatrix",
    "DescriptorUnion",
    "EwaldMatrix",
    "ExtendedCoulombMatrix",
    "FeatureMap",
    "FeatureScaler",
    "FeatureSelector",
    "GeneralizedCoulombMatrix",
    "InverseDistances",
    "LambdaSOAP",
    "Linear",
    "ManyBodyExpansion",
    "ManyBodyTensor",
    "MomentTensor",
    "PairDistances",
    "PairJacobian",
    "PairKernelMatrix",
    "PartialRadialDistribution",
    "PointScattering",
    "PrototypeEncoder",
    "Scale",
    "Select",
    "SineMatrix",
    "StructureFeatures",
    "StructureJacobian",
    "TensorFeatures",
    "Thermometer",
    "ThermometerEncoder",
    "TripleAngles",
    "ValleOganovFingerprint",
    "WaveletScattering",
    "cartesian_from_spherical",
    "elemental_properties",
    "spherical_from_cartesian",
    "wigner_d",
]
