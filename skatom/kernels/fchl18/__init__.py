"""The FCHL18 kernel of environments as distributions over elements, distances and angles."""

from skatom.kernels.fchl18.environments import FCHL18Environments
from skatom.kernels.fchl18.kernel import FCHL18

__all__ = ["FCHL18", "FCHL18Environments"]
