"""Models: estimators from structures or features to energies and forces."""

from skatom.models.bagged_greedy_ols import BaggedGreedyOLS
from skatom.models.force_kernel_ridge import ForceKernelRidge
from skatom.models.greedy_ols import GreedyOLS
from skatom.models.kernel_order import KernelOrderSelector
from skatom.models.mapped_force_field import MappedForceField
from skatom.models.nbody_gaussian_process import NBodyGaussianProcess
from skatom.models.repulsion import PairRepulsion
from skatom.models.sgdml import GDML, SGDML
from skatom.models.sparse_gaussian_process import SparseGaussianProcess
from skatom.models.tensor_kernel_ridge import TensorKernelRidge

__all__ = [
    "BaggedGreedyOLS",
    "ForceKernelRidge",
    "GDML",
    "GreedyOLS",
    "KernelOrderSelector",
    "MappedForceField",
    "NBodyGaussianProcess",
    "PairRepulsion",
    "SGDML",
    "SparseGaussianProcess",
    "TensorKernelRidge",
]
