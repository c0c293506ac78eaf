"""Ridge regression of the charges whose dipoles are known."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._device import check_is_array
from skatom._input_checks import structure_weights
from skatom._intervals import POSITIVE
from skatom._misuse import check_may_be_labels
from skatom._typing import Array, ArrayLike, RandomState, TargetsLike
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.origin import check_origin, origin_of
from skatom.elements import species_index
from skatom.kernels.dot_kernel import DotKernel
from skatom.models._labels import check_labels
from skatom.models._regressor import StructureRegressor
from skatom.models.charges.charge_expansion import ChargeBasis
from skatom.models.charges.charge_rows import (
    dipole_of_shared_charge,
    sums_of_atoms,
    weighted_rows,
)
from skatom.models.charges.left_out import solve_ridge
from skatom.properties import in_order
from skatom.targets import Targets, as_targets

# Charges whose sum is further from the given one than this, in e, belong to another total charge.
_OTHER_CHARGE = 0.5


class LatentChargeRidge(StructureRegressor):
    r"""Charges of atoms that are learnt from the dipoles of structures.

    .. math::
        \mu = \sum_i q_i\, (r_i - r_\mathrm{M}), \qquad
        q_i = \tilde q_i + \frac{1}{N} \Big( Q - \sum_j \tilde q_j \Big), \qquad
        \tilde q_i = w_{z_i} \cdot x_i + b_{z_i}

    with the features x of the atoms, the coefficients w and the constant b of each species, and the
    centre of mass :math:`r_\mathrm{M}`. No charges need be known: the model finds those whose
    dipoles are right [1]_. They always sum up to the total charge Q, as those of
    ``SchNet(target="dipole")`` do. With a ``kernel``,

    .. math:: \tilde q_i = \sum_m a_m\, k(x_i, z_m) + b_{z_i},

    summed over representative environments of the species of i, as in `SparseGaussianProcess`.

    The dipole is linear in the coefficients, so they have a closed form. They minimise

    .. math:: \sum_A |\mu(A) - \hat\mu(A)|^2 + \alpha \bar K |w|^2

    or with a kernel :math:`a^\top k(z, z)\, a` in place of :math:`|w|^2`, where :math:`\bar K` is
    the mean over structures and directions of the squares of what multiplies w. The best α is
    that of the least errors of structures that are left out one after the other, which follow from
    a single singular value decomposition.

    X are `AtomicFeatures`, so that the model is the last step of a Pipeline.

    Parameters
    ----------
    kernel : DotKernel, default=None
        Kernel k of the features, such as ``Cosine(2)`` or ``Gaussian(5.0)``; its scale does not
        matter. None: charges are linear in the features, as they are; `FeatureScaler` makes
        features of one scale.
    target : {"dipole", "charges"}, default="dipole"
        What is learnt: charges from dipoles, or charges from charges.
    total_charge : float, default=0.0
        The charge Q of each structure in e.
    alpha : float or "loo", default="loo"
        Regularisation strength α, the noise variance relative to the mean of the diagonal of the
        kernel matrix of all labels. "loo": the least errors of structures that are left out.
    n_sparse : int or dict, default=300
        Number of representative environments of each species, or a dict such as
        ``{"H": 300, "O": 800}``. Ignored without a kernel, like ``selection`` and ``n_candidates``.
    selection : {"fps", "cur", "random"} or array-like of int, default="fps"
        How representatives are selected: by farthest point sampling in the metric of the kernel, by
        CUR of the features, or at random; or the indices of their atoms, counted over all
        structures, such as ``selected_`` of the selectors in `skatom.selection`.
    n_candidates : int, default=5000
        Number of atoms of a species, drawn at random, among which representatives are selected.
    random_state : int, RandomState or None, default=None
        Seed of the candidates and of the first representative.

    Attributes
    ----------
    expansion_ : ChargeExpansion
        The charges as functions of the features.
    alpha_ : float
        The regularisation strength.
    loo_error_ : float
        Root mean square of the errors of left-out structures, of a component of the dipole or of a
        charge, to compare features and kernels.
    species_ : ndarray of int, shape (n_species,)
        Sorted atomic numbers seen in `fit`.
    n_features_in_ : int
        Number of features.
    outputs_ : tuple of str
        Names of the properties that the model predicts: dipoles and charges, or charges alone.
    absolute_energies_ : bool
        False: there are no energies.

    Raises
    ------
    TypeError
        If X are no `AtomicFeatures`.
    ValueError
        If labels are missing or of another shape, those of charges sum up to a number more than
        0.5 e from the total charge, all structures are single atoms, or a species was not in
        ``fit``. Smaller differences of the sums are shared by the atoms of a structure.
    MemoryError
        If the least squares do not fit in memory. They take three numbers for each coefficient and
        label.

    See Also
    --------
    TensorKernelRidge : Dipoles and polarisabilities without charges.
    skatom.models.SchNet : Networks with ``target="dipole"``.

    Notes
    -----
    The dipole of a charged structure depends on the origin, which is the centre of mass: labels
    must refer to it, too. Positions are taken as they are, so molecules in periodic cells must not
    be cut by a border.

    References
    ----------
    .. [1] M. Gastegger, J. Behler, P. Marquetand, Chem. Sci. 8, 6924 (2017).

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import SOAP
    >>> from skatom.models import LatentChargeRidge
    >>> data = load_ethanol()
    >>> structures, targets = data.structures[::5], data.targets[::5]
    >>> model = make_pipeline(SOAP(cutoff=4.0, n_max=4, l_max=3), LatentChargeRidge())
    >>> model = model.fit(structures[:200], targets[:200])
    >>> dipoles, charges = model.predict(structures[200:], return_charges=True)
    >>> bool(abs(dipoles - targets.dipole[200:]).mean() < 0.01)  # e·Å
    True
    >>> bool(abs(charges.reshape(-1, 9).sum(axis=1)).max() < 1e-12)
    True
    """

    gives = in_order({"dipole", "charges"})
    learns = ("dipole", "charges")

    _parameter_constraints = {
        "kernel": [DotKernel, None],
        "target": [StrOptions({"dipole", "charges"})],
        "total_charge": [Interval(Real, None, None, closed="neither")],
        "alpha": [POSITIVE, StrOptions({"loo"})],
        "n_sparse": [Interval(Integral, 1, None, closed="left"), dict],
        "selection": [StrOptions({"fps", "cur", "random"}), "array-like"],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        kernel: DotKernel | None = None,
        target: str = "dipole",
        *,
        total_charge: float = 0.0,
        alpha: float | str = "loo",
        n_sparse: int | dict = 300,
        selection: str | ArrayLike = "fps",
        n_candidates: int = 5000,
        random_state: RandomState = None,
    ) -> None:
        self.kernel = kernel
        self.target = target
        self.total_charge = total_charge
        self.alpha = alpha
        self.n_sparse = n_sparse
        self.selection = selection
        self.n_candidates = n_candidates
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: AtomicFeatures, y: TargetsLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Solve for the coefficients of the charges.

        Parameters
        ----------
        X : AtomicFeatures of n structures
        y : Targets, or array-like of float
            Dipoles (n, 3) in e·Å, or charges (n_atoms,) in e.
        sample_weight : array-like of float, shape (n,), default=None
            Weights of the structures, by which their noise variance is divided; structures of
            weight 0 are ignored.

        Returns
        -------
        self
        """
        X = _atomic_features(X)
        if len(X) == 0:
            raise ValueError("got no structures: pass at least one")
        targets = self._targets(y, X.structures)
        used = targets.labelled(self.target)
        weights = structure_weights(sample_weight, len(X))
        used &= weights > 0
        if not used.any():
            raise ValueError("all labelled structures have the weight 0: give positive weights")
        X, targets, weights = X[used], targets[used], weights[used]
        labels = self._labels(X, targets)
        basis = ChargeBasis(
            X, np.repeat(weights, X.n_atoms), self.kernel, self.n_sparse, self.selection,
            self.n_candidates, check_random_state(self.random_state),
        )  # fmt: skip
        sizes = X.n_atoms if self.target == "charges" else np.full(len(X), 3)
        weights = np.repeat(weights, sizes)
        rows = weighted_rows(basis, X, self.target, np.sqrt(weights))
        if not np.any(rows):
            raise ValueError(
                "every structure is a single atom, whose charge is total_charge: give molecules"
            )
        found = solve_ridge(
            rows, np.sqrt(weights) * labels, sizes, float(weights.sum()), self.alpha
        )
        vars(self).update(
            expansion_=basis.expansion(found.coefficients, float(self.total_charge)),
            alpha_=found.alpha,
            loo_error_=found.loo_error,
            species_=basis.species,
            n_features_in_=X.n_features,
            _origin=origin_of(X),
            outputs_=self.gives if self.target == "dipole" else ("charges",),
            absolute_energies_=False,
        )
        return self

    def dipole_gradients(self, X: AtomicFeatures) -> Array:
        r"""Derivatives of the dipoles with respect to the positions: atomic polar tensors.

        .. math:: P_{a,\alpha\beta} = \frac{\partial \mu_\alpha}{\partial R_{a\beta}}

        Their products with velocities are the rate of the dipole, and with normal modes the slopes
        of infrared intensities.

        Parameters
        ----------
        X : AtomicFeatures of n structures, of n_atoms atoms in all

        Returns
        -------
        ndarray of float, shape (n_atoms, 3, 3)
            The derivatives in e: components of the dipole along the second axis, of positions along
            the last.
        """
        check_is_fitted(self)
        return self.expansion_.dipole_gradients(self._checked(X))

    def _targets(self, y, structures):
        if isinstance(y, Targets):
            check_labels(y, (self.target,), type(self).__name__)
            return as_targets(y, structures)
        if self.target == "dipole":
            check_may_be_labels(y, n_atoms=-1)  # dipoles have the shape of forces
        return as_targets(Targets(**{self.target: y}, offsets=structures.offsets), structures)

    def _labels(self, X, targets):
        """The labels that charges with a sum of zero have to explain, as a vector."""
        total, labels = float(self.total_charge), targets.require(self.target)
        if self.target == "dipole":
            return (labels - dipole_of_shared_charge(X.structures, total)).ravel()
        sums = sums_of_atoms(labels, X.offsets)
        wrong = np.flatnonzero(np.abs(sums - total) > _OTHER_CHARGE)
        if len(wrong):
            raise ValueError(
                f"the charges of structure {wrong[0]} of those that are learnt sum up to "
                f"{sums[wrong[0]]:.3g} e, but total_charge={total}: give the charge of these "
                "structures, and learn those of another charge by another model"
            )
        return labels - np.repeat(sums / X.n_atoms, X.n_atoms)

    def _checked(self, X):
        X = _atomic_features(X)
        species_index(X.structures, self.species_)
        if X.n_features != self.n_features_in_:
            raise ValueError(
                f"X has {X.n_features} features, but fit saw {self.n_features_in_}: use the "
                "descriptor of the fit"
            )
        check_origin(self, X)
        return X

    def _evaluate(self, X, names):
        charges = self.expansion_.charges(X)
        found = {"charges": charges}
        if "dipole" in names:
            found["dipole"] = self.expansion_.dipoles(X, charges)
        return {name: found[name] for name in names}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _atomic_features(X):
    if not isinstance(X, AtomicFeatures):
        raise TypeError(
            f"got {type(X).__name__}, but need AtomicFeatures: put a descriptor in front, "
            "make_pipeline(SOAP(), LatentChargeRidge())"
        )
    check_is_array(X, "LatentChargeRidge", "networks with target='dipole' are")
    return X
