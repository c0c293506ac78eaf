"""Models: estimators from structures or features to energies and forces."""

from skatom._moved import refuse_files_of_0_1
from skatom.baseline.repulsion import PairRepulsion
from skatom.models.charges.latent_charge_ridge import LatentChargeRidge
from skatom.models.committee import Committee
from skatom.models.gated_experts import GatedExperts
from skatom.models.gdml.gdml import GDML
from skatom.models.gdml.sgdml import SGDML
from skatom.models.kernel_ridge.force_kernel_ridge import ForceKernelRidge
from skatom.models.linear.bagged_greedy_ols import BaggedGreedyOLS
from skatom.models.linear.greedy_ols import GreedyOLS
from skatom.models.linear.linear_potential import LinearPotential
from skatom.models.linear.moment_tensor_potential import MomentTensorPotential
from skatom.models.linear.mtp_file import write_mtp
from skatom.models.nbody.kernel_order import KernelOrderSelector
from skatom.models.nbody.mapped_force_field import MappedForceField
from skatom.models.nbody.nbody_gaussian_process import NBodyGaussianProcess
from skatom.models.neural.angular_filter_network import AngularFilterNetwork
from skatom.models.neural.dtnn import DTNN
from skatom.models.neural.hdnnp import HDNNP
from skatom.models.neural.message_passing_network import MessagePassingNetwork
from skatom.models.neural.painn import PaiNN
from skatom.models.neural.point_scattering_network import PointScatteringNetwork
from skatom.models.neural.schnet import SchNet
from skatom.models.neural.structured_mlp import StructuredMLPRegressor
from skatom.models.sparse.sparse_gaussian_process import SparseGaussianProcess
from skatom.models.tensor.tensor_kernel_ridge import TensorKernelRidge

__all__ = [
    "AngularFilterNetwork",
    "BaggedGreedyOLS",
    "Committee",
    "DTNN",
    "ForceKernelRidge",
    "GDML",
    "GatedExperts",
    "GreedyOLS",
    "HDNNP",
    "KernelOrderSelector",
    "LatentChargeRidge",
    "LinearPotential",
    "MappedForceField",
    "MessagePassingNetwork",
    "MomentTensorPotential",
    "NBodyGaussianProcess",
    "PaiNN",
    "PairRepulsion",
    "PointScatteringNetwork",
    "SGDML",
    "SchNet",
    "SparseGaussianProcess",
    "StructuredMLPRegressor",
    "TensorKernelRidge",
    "write_mtp",
]

refuse_files_of_0_1()
