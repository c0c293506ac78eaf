"""Types in the signatures of the public classes and functions.

They are names only: nothing is imported to define them, so annotations cost no time. Type checkers
see the classes behind them.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike as _PathLike

    import matplotlib.axes
    import numpy as np
    import numpy.typing as npt
    from ase import Atoms

    from skatom import Structures, Targets

# what numpy.asarray takes; numbers and tensors of torch included
ArrayLike: TypeAlias = "npt.ArrayLike"
Array: TypeAlias = "npt.NDArray[Any]"
# Structures, or a list of ase.Atoms or of Structures
StructuresLike: TypeAlias = "Structures | Sequence[Atoms] | Sequence[Structures]"
# structures, or the features that a descriptor makes of them
FeaturesLike: TypeAlias = Any
# Targets, or an array of energies
TargetsLike: TypeAlias = "Targets | ArrayLike"
# "elements", "isolated", energies of the elements, an estimator, several of these, or None
BaselineLike: TypeAlias = "str | dict[Any, float] | Any | None"
# an estimator of scikit-learn or skatom, a Pipeline or a search
Estimator: TypeAlias = Any
RandomState: TypeAlias = "int | np.random.RandomState | None"
Axes: TypeAlias = "matplotlib.axes.Axes"
PathLike: TypeAlias = "_PathLike[str]"
