"""Kernel ridge regression of vectors and tensors."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from skatom.baseline import AtomicBaseline
from skatom.descriptors.lambda_soap import LambdaSOAP
from skatom.descriptors.spherical_tensors import (
    cartesian_from_spherical,
    spherical_from_cartesian,
)
from skatom.models._labels import check_labels
from skatom.models._regressor import StructureRegressor
from skatom.models.tensor.expansion import TensorExpansion
from skatom.structures import as_structures
from skatom.targets import Targets, as_targets

# the spherical components of each property
_ORDERS = {"dipole": (1,), "polarizability": (0, 2)}
# Relative difference between a polarisability and its transpose that counts as rounding.
_ASYMMETRY = 1e-4


class TensorKernelRidge(StructureRegressor):
    r"""Dipoles or polarisabilities of structures, from kernels that rotate with them.

    .. math::
        T^\lambda_\mu(A) = \sum_{B \mu'} K^\lambda_{\mu\mu'}(A, B)\, c_{B\mu'}, \qquad
        K^\lambda_{\mu\mu'}(A, B) = \sum_{j \in A,\, k \in B} \delta_{z_j z_k}\,
            F_\mu(X_j) \cdot F_{\mu'}(X_k)\; \big(p(X_j) \cdot p(X_k)\big)^{\zeta-1}

    with the covariants F of `LambdaSOAP`, the normalised power spectrum p of `SOAP`, and the
    species :math:`z_j` of the centres. Each spherical component λ of the tensor is learnt
    separately: a dipole has λ = 1; a polarisability has λ = 0, its trace, and λ = 2, its
    anisotropy. The coefficients solve :math:`(K + \alpha\bar K I)\,c = T`, where :math:`\bar K` is
    the mean of the diagonal of K. The prediction for a rotated structure is exactly the rotated
    prediction. Before the fit, one constant for each element is subtracted from the trace, as
    `AtomicBaseline` does for energies; components with λ > 0 have no constant.

    Parameters
    ----------
    target : {"dipole", "polarizability"}, default="dipole"
        The property to learn, in any unit; predictions have the same unit.
    descriptor : LambdaSOAP, default=None
        Parameters of the density. The model sets its ``lam`` and ``pool``. None: ``LambdaSOAP()``.
        With many species, ``species_compression`` saves most of the time.
    zeta : int, default=2
        Exponent ζ of the density overlap. 1: a linear model. 2: each atom's response depends on its
        surroundings. With 1 or 2, the cost of predictions does not depend on the size of the
        training set.
    alpha : float, default=1e-4
        Regularisation strength α, relative to the mean of the diagonal of the kernel matrix.
    max_memory : float, default=None
        Memory limit of the kernel matrix in GiB. None: the available memory.
    verbose : int, default=0
        1 shows progress bars.

    Attributes
    ----------
    expansions_ : dict of int to TensorExpansion
        The fitted expansion of each order λ.
    constants_ : AtomicBaseline
        Constants of the elements, for polarisabilities.
    outputs_ : tuple of str
        Name of the property that was learnt.

    Raises
    ------
    ValueError
        If labels are missing or not of the shape (n, 3) or (n, 3, 3), a polarisability is not
        symmetric, or a species was not in ``fit``.
    MemoryError
        If the kernel matrix would not fit in memory. It takes about (2λ + 1)² n² · 4 bytes.

    Notes
    -----
    The tensor of a structure is a sum over its atoms. The property must therefore be extensive and
    independent of the origin, unlike the dipole of a charged molecule.

    References
    ----------
    A. Grisafi, D. M. Wilkins, G. Csányi, M. Ceriotti, Phys. Rev. Lett. 120, 036002 (2018).
    D. M. Wilkins et al., Proc. Natl. Acad. Sci. 116, 3401 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import molecule
    >>> from skatom.models import TensorKernelRidge
    >>> rng = np.random.default_rng(0)
    >>> frames = [molecule("H2O") for _ in range(30)]
    >>> for atoms in frames:
    ...     atoms.rattle(0.05, rng=rng)
    ...     atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
    >>> dipoles = [[-0.8, 0.4, 0.4] @ atoms.positions for atoms in frames]  # point charges
    >>> model = TensorKernelRidge("dipole", alpha=1e-8).fit(frames[:20], dipoles[:20])
    >>> bool(np.abs(model.predict(frames[20:]) - dipoles[20:]).max() < 0.01)
    True
    """

    gives = ("dipole", "polarizability")
    learns = ("dipole", "polarizability")

    _parameter_constraints = {
        "target": [StrOptions(set(_ORDERS))],
        "descriptor": [LambdaSOAP, None],
        "zeta": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "max_memory": [None, Interval(Real, 0, None, closed="neither")],
        "verbose": ["verbose"],
    }

    def __init__(
        self, target="dipole", descriptor=None, zeta=2, alpha=1e-4, *, max_memory=None, verbose=0
    ):
        self.target = target
        self.descriptor = descriptor
        self.zeta = zeta
        self.alpha = alpha
        self.max_memory = max_memory
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Solve for the coefficients of every component.

        Parameters
        ----------
        X : Structures or list of ase.Atoms, n of them
        y : Targets, or array-like of float
            Dipoles (n, 3) or polarisabilities (n, 3, 3).

        Returns
        -------
        self
        """
        structures = as_structures(X)
        if isinstance(y, Targets):
            check_labels(y, (self.target,), type(self).__name__)
        tensors = self._tensors(y, structures)
        descriptor = LambdaSOAP() if self.descriptor is None else self.descriptor
        self.expansions_, self.outputs_, self.absolute_energies_ = {}, (self.target,), False
        for lam in _ORDERS[self.target]:
            components = spherical_from_cartesian(tensors, lam)
            if lam == 0:
                self.constants_ = AtomicBaseline().fit(structures, components[:, 0])
                components = components - self.constants_.predict(structures)[:, None]
            expansion = TensorExpansion(descriptor, lam, self.zeta)
            self.expansions_[lam] = expansion.fit(
                structures, components, self.alpha, self.max_memory, self.verbose
            )
        return self

    def _checked(self, X):
        return as_structures(X)

    def _evaluate(self, X, names):
        total = 0.0
        for lam, expansion in self.expansions_.items():
            components = expansion.components(X)
            if lam == 0:
                components += self.constants_.predict(X)[:, None]
            total = total + cartesian_from_spherical(components, lam)
        return {self.target: total}

    def score(self, X, y):
        r"""Coefficient of determination relative to an isotropic prediction; 1 is perfect.

        .. math:: R^2 = 1 - \frac{\sum_A |T_A - \hat T_A|^2}{\sum_A |T_A - \bar T|^2}

        where :math:`\bar T` is the mean over the structures and over all rotations: zero for
        dipoles, a multiple of the unit tensor for polarisabilities.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
        y : Targets or array-like, as in `fit`

        Returns
        -------
        float
        """
        structures = as_structures(X)
        tensors = self._tensors(y, structures)
        mean = 0.0
        if self.target == "polarizability":
            mean = np.trace(tensors, axis1=1, axis2=2).mean() / 3 * np.eye(3)
        errors = np.sum((tensors - self.predict(structures)) ** 2)
        return float(1 - errors / np.sum((tensors - mean) ** 2))

    def _tensors(self, y, structures):
        targets = y if isinstance(y, Targets) else Targets(**{self.target: y})
        tensors = as_targets(targets, structures).require(self.target)
        if self.target == "polarizability":
            _check_symmetric(tensors)
        return tensors

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _check_symmetric(tensors):
    difference = np.abs(tensors - tensors.transpose(0, 2, 1)).max(axis=(1, 2))
    wrong = np.flatnonzero(difference > _ASYMMETRY * np.abs(tensors).max(axis=(1, 2)))
    if len(wrong):
        raise ValueError(
            f"polarizability of structure {wrong[0]} differs from its transpose by "
            f"{difference[wrong[0]]:.3g}, and it should be symmetric: check the order of its "
            "elements, or give (a + a.transpose(0, 2, 1)) / 2"
        )
