"""Models: estimators from structures or features to energies and forces."""

from skatom.models.force_kernel_ridge import ForceKernelRidge
from skatom.models.sgdml import GDML, SGDML

__all__ = ["GDML", "SGDML", "ForceKernelRidge"]
