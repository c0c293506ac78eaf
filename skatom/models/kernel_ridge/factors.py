"""The linear systems of a kernel ridge regression, and their factors."""

from skatom._progress import tqdm
from skatom.kernels import FCHL18, StructureKernel
from skatom.models.kernel_ridge.derivative_system import CholeskySystem
from skatom.models.kernel_ridge.iterative_system import IterativeSystem
from skatom.models.kernel_ridge.operator_system import (
    FeatureOperators,
    OperatorFactor,
    StructureOperators,
)
from skatom.models.kernel_ridge.structure_system import StructureSystem


def derivative_system(model, kernel, X, labels):
    """The system of ``basis="derivatives"`` that fits in memory, or a MemoryError.

    Parameters
    ----------
    model : ForceKernelRidge
        Its ``solver`` and ``max_memory``.
    kernel : DotKernel, StructureKernel or FCHL18
    X : AtomicFeatures or StructureFeatures, for FCHL18 Structures
    labels : RidgeLabels

    Returns
    -------
    CholeskySystem, IterativeSystem or StructureSystem
    """
    if isinstance(kernel, FCHL18):
        return StructureSystem(kernel, X, labels, model.max_memory)
    if model.solver != "cg":
        try:
            return CholeskySystem(kernel, X, labels, model.max_memory)
        except MemoryError:
            if model.solver == "cholesky" or isinstance(kernel, StructureKernel):
                raise
    return IterativeSystem(kernel, X, labels, model.max_memory)


def operator_factor(model, kernel, X, labels):
    """The `OperatorFactor` of ``basis="operators"``; parameters as in `derivative_system`."""
    if isinstance(kernel, FCHL18):
        operators = StructureOperators(kernel, X)
    else:
        derived = labels.labelled["forces"] | labels.labelled["virial"]
        operators = FeatureOperators(kernel, X, derived.any())
    return OperatorFactor(
        operators, X, labels, model.max_memory,
        lambda batches: tqdm(batches, desc="rows", disable=not model.verbose, leave=False),
    )  # fmt: skip


def factor_again(model, kernel, X, labels):
    """The factor of a fit, which has variances; parameters as in `derivative_system`."""
    if model.basis == "operators":
        return operator_factor(model, kernel, X, labels)
    make = StructureSystem if isinstance(kernel, FCHL18) else CholeskySystem
    system = make(kernel, X, labels, model.max_memory)
    system.factor(model.verbose)
    return system
