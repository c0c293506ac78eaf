"""Several descriptors of whole structures side by side."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import check_is_fitted

from skatom._typing import ArrayLike, StructuresLike
from skatom.descriptors.base import StructureDescriptor
from skatom.structures import as_structures


class DescriptorUnion(StructureDescriptor, _BaseComposition):
    r"""Several descriptors of whole structures side by side, with derivatives.

    .. math:: \mathbf x = w_1 \mathbf x_1 \oplus w_2 \mathbf x_2 \oplus \cdots

    What scikit-learn's ``FeatureUnion`` does for tables; that would end the derivatives. In
    searches, parameters are those of the descriptors by name, such as ``pairs__sigma``.

    Parameters
    ----------
    descriptors : list of tuple (str, descriptor)
        Names, and descriptors of whole structures. They are cloned before they are fitted.
    weights : dict of float, default=None
        Factors of the features by name; names that are left out have 1. They decide how much each
        descriptor counts in the distances of a kernel. None: 1 for all.

    Attributes
    ----------
    descriptors_ : list of tuple (str, descriptor)
        The fitted descriptors.

    Raises
    ------
    TypeError
        If one of them is not a descriptor of whole structures.
    ValueError
        If a name is not unique or contains two underscores, if a weight belongs to no descriptor or
        is not a positive number, if there are no descriptors, or one of them is not on the CPU.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import DescriptorUnion, ManyBodyTensor
    >>> both = DescriptorUnion(
    ...     [("pairs", ManyBodyTensor()), ("angles", ManyBodyTensor("angle"))], {"angles": 0.1}
    ... )
    >>> both.fit_transform([molecule("H2O"), molecule("H2")]).shape
    (2, 900)
    >>> both.set_params(pairs__sigma=0.05).fit([molecule("H2O")]).get_feature_names_out()[-1]
    'angles: O-O-O:180'
    """

    _parameter_constraints = {"descriptors": [list, tuple], "weights": [dict, None]}

    def __init__(
        self, descriptors: list[tuple[str, Any]], weights: dict[str, float] | None = None
    ) -> None:
        self.descriptors = descriptors
        self.weights = weights

    def get_params(self, deep: bool = True) -> dict:
        """Parameters, and those of the descriptors as ``name__parameter``.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include those of the descriptors.

        Returns
        -------
        dict
        """
        return self._get_params("descriptors", deep=deep)

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters, those of the descriptors as ``name__parameter``.

        Parameters
        ----------
        **parameters : object
            The parameters; ``name`` alone replaces a descriptor.

        Returns
        -------
        self
        """
        self._set_params("descriptors", **parameters)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: StructuresLike, y: Any = None) -> Self:
        """Fit all descriptors.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The structures.
        y : ignored

        Returns
        -------
        self
        """
        structures = as_structures(X)
        self._check_descriptors()
        self._check_weights()
        self.descriptors_ = [
            (name, clone(descriptor).fit(structures)) for name, descriptor in self.descriptors
        ]
        return self

    def _check_descriptors(self):
        if not self.descriptors:
            raise ValueError("descriptors=[] describes nothing: give a list of (name, descriptor)")
        self._validate_names([name for name, _ in self.descriptors])
        for name, descriptor in self.descriptors:
            if not isinstance(descriptor, StructureDescriptor):
                raise TypeError(
                    f"{name!r} is {type(descriptor).__name__}, which does not describe whole "
                    "structures: give descriptors such as ManyBodyTensor, CoulombMatrix"
                )
            if getattr(descriptor, "device", "cpu") != "cpu":
                raise ValueError(
                    f"{name!r} is on device={descriptor.device!r}, and descriptors side by side "
                    "are on the CPU: set device='cpu'"
                )

    def _check_weights(self):
        names = {name for name, _ in self.descriptors}
        for name, weight in (self.weights or {}).items():
            if name not in names:
                raise ValueError(
                    f"weights has {name!r}, which is no descriptor: the names are "
                    f"{', '.join(sorted(names))}"
                )
            if not 0 < weight < np.inf:
                raise ValueError(
                    f"the weight {weight} of {name!r} is not a positive number: give one such as "
                    "0.1, or leave the descriptor out"
                )

    @property
    def n_features_out_(self) -> Any:
        """Number of features."""
        check_is_fitted(self)
        return sum(descriptor.n_features_out_ for _, descriptor in self.descriptors_)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``pairs: C-H:1.2``."""
        check_is_fitted(self)
        names = [
            f"{name}: {feature}"
            for name, descriptor in self.descriptors_
            for feature in descriptor.get_feature_names_out()
        ]
        return np.array(names, object)

    def _parts(self):
        """The fitted descriptors, their columns and weights."""
        start = 0
        for name, descriptor in self.descriptors_:
            stop = start + descriptor.n_features_out_
            yield descriptor, slice(start, stop), (self.weights or {}).get(name, 1.0)
            start = stop

    def _check_structures(self, structures):
        for _, descriptor in self.descriptors_:
            descriptor._check_structures(structures)

    def _values(self, structures):
        parts = [weight * part._values(structures) for part, _, weight in self._parts()]
        return np.concatenate(parts, axis=1)

    def _pullback(self, structures, cotangent):
        found = [
            part._pullback(structures, weight * cotangent[:, columns])
            for part, columns, weight in self._parts()
        ]
        return tuple(sum(arrays) for arrays in zip(*found, strict=True))

    def _jacobian(self, structures, needed):
        found = []
        for part, columns, weight in self._parts():
            arrays = part._jacobian(structures, needed[columns])
            if arrays is None:
                return None
            found.append([weight * array for array in arrays])
        return tuple(np.concatenate(arrays, axis=-1) for arrays in zip(*found, strict=True))
