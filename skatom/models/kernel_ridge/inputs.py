"""What kernel ridge regression takes: features, structures or arrays, and kernels of them."""

from numbers import Real

import numpy as np

from skatom._device import check_is_array
from skatom._warnings import warn
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.features import Features
from skatom.kernels import FCHL18, DotKernel, StructureKernel
from skatom.models._labels import check_array_labels
from skatom.structures import Structures, as_structures, is_atoms
from skatom.targets import Targets


def is_array(X, kernel):
    """Whether X is a table of numbers to this kernel, without structures and derivatives."""
    if isinstance(X, AtomicFeatures):
        return False
    return not (isinstance(X, Features) and isinstance(kernel, DotKernel | StructureKernel))


def check_array(kernel, X, y, alpha):
    """Raise an error if X, its labels or their regularisation are not those of plain arrays."""
    if isinstance(X, Structures) or is_atoms(X):
        raise TypeError(
            "X are structures, which this kernel does not compare: put a descriptor in front, "
            "for example make_pipeline(FCHL19(), ForceKernelRidge())"
        )
    labels = [y.labelled(name) for name in ("forces", "stress") if isinstance(y, Targets)]
    if isinstance(X, Features) and np.any(labels):
        kernel.check_derivatives(2)
    check_array_labels(X, y, "ForceKernelRidge")
    if not isinstance(alpha, Real):
        raise ValueError(
            "alpha must be a number where X is a plain array: structures have configurations, "
            "rows of an array have none"
        )


def check_kernel(kernel, X, solver):
    """Raise a ValueError if the model cannot use this kernel for features."""
    if isinstance(kernel, StructureKernel):
        if not kernel.has_blocks:
            raise ValueError(
                f"{kernel} is not a sum over atoms of a DotKernel: use match='sum' or 'average' "
                "with Gaussian, Matern, Cosine or Polynomial, or KernelMatrix in front of "
                "scikit-learn's KernelRidge"
            )
        if not isinstance(X, AtomicFeatures):
            raise ValueError(
                f"StructureKernel compares AtomicFeatures, but X is a {type(X).__name__}: leave "
                "out pool in the descriptor, or use a kernel of features such as Cosine"
            )
        check_is_array(X, "ForceKernelRidge with StructureKernel", "that with Gaussian is")
        if solver == "cg":
            raise ValueError(
                "solver='cg' is for kernels that are sums over atoms, and StructureKernel is a "
                "function of them: use solver='cholesky' or basis='operators'"
            )
    elif not isinstance(kernel, DotKernel):
        raise ValueError(
            "the kernel of features must be a DotKernel, such as Gaussian, Matern or Cosine, or a "
            f"StructureKernel: {kernel} is none"
        )


def learnable(kernel, basis, targets):
    """Names of the labels that a model with this kernel learns from."""
    of_the_energy = ("energy", "forces", "stress")
    if not isinstance(kernel, FCHL18):
        return of_the_energy
    if basis == "derivatives":
        if targets.labelled("dipole").any():
            warn(
                "basis='derivatives' does not learn from dipole: these labels are not used, and "
                "are with basis='operators'",
                UserWarning,
            )
        return of_the_energy
    if kernel.scope == "global":
        raise ValueError(
            "basis='operators' expands the energy in kernels of atoms, which FCHL18 with "
            "scope='global' does not have: use basis='derivatives'"
        )
    return (*of_the_energy, "dipole")


def check_structures_solver(solver):
    """Raise a ValueError if a solver cannot be used for a kernel of structures."""
    if solver == "cg":
        raise ValueError(
            "solver='cg' is for kernels of features, and FCHL18 compares structures: use "
            "solver='cholesky' or basis='operators'"
        )


def checked_structures(X):
    """X as Structures, or a ValueError if it is features."""
    if isinstance(X, Features):
        raise ValueError("FCHL18 compares structures: give them without a descriptor in front")
    return as_structures(X)


def check_features_type(X, name):
    """Raise a ValueError if X is of another type than the features of the fit."""
    if type(X).__name__ != name:
        raise ValueError(
            f"X is a {type(X).__name__}, but the model was fitted to {name}: give features of the "
            "same descriptor"
        )
