"""The vectors by which networks of graphs tell elements from each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skatom._prediction import last_step, unwrap
from skatom._typing import Array, Estimator


@dataclass(frozen=True)
class SpeciesEmbedding:
    r"""The vectors :math:`x^{(0)} = a_Z` with which the features of atoms begin.

    `species_embedding` returns it.

    Parameters
    ----------
    species : ndarray of int, shape (n_species,)
        Atomic numbers.
    vectors : ndarray of float, shape (n_species, n_features)
        The vector of each element.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.attribution import SpeciesEmbedding
    >>> found = SpeciesEmbedding(np.array([1, 6]), np.array([[0.0, 0.0], [3.0, 4.0]]))
    >>> places, shares = found.principal_components(1)
    >>> abs(places).round(6).tolist(), shares.round(6).tolist()
    ([[2.5], [2.5]], [1.0])
    """

    species: Array
    vectors: Array

    def principal_components(self, n_components: int = 2) -> tuple[Array, Array]:
        """Places of the elements along the directions in which their vectors differ the most.

        Parameters
        ----------
        n_components : int, default=2
            Number of components.

        Returns
        -------
        places : ndarray of float, shape (n_species, n_components)
            Relative to their mean; in each component the largest one is positive.
        shares : ndarray of float, shape (n_components,)
            Share of the variance that each component has.

        Raises
        ------
        ValueError
            If there are not as many components, or all vectors are equal.
        """
        most = min(self.vectors.shape)
        if not 1 <= n_components <= most:
            raise ValueError(
                f"n_components={n_components} must be from 1 to {most}, the smaller one of "
                f"{len(self.species)} elements and {self.vectors.shape[1]} features"
            )
        centered = self.vectors - self.vectors.mean(axis=0)
        u, s, _ = np.linalg.svd(centered, full_matrices=False)
        if not s[0] > 0:
            raise ValueError(
                f"the vectors of {len(self.species)} elements are equal, so they have no principal "
                "components: fit the model to structures of several elements"
            )
        places = u[:, :n_components] * s[:n_components]
        largest = places[np.abs(places).argmax(axis=0), np.arange(n_components)]
        places = places * np.where(largest < 0, -1.0, 1.0)
        return places, s[:n_components] ** 2 / (s**2).sum()


def species_embedding(model: Estimator) -> SpeciesEmbedding:
    r"""The vectors of the elements that a network of graphs has learnt.

    Elements that behave alike in the training structures get similar vectors [1]_. Their lengths
    and directions alone mean nothing: compare elements of one model with each other.

    Parameters
    ----------
    model : fitted estimator or search
        `SchNet`, `DTNN`, `PaiNN` or `MessagePassingNetwork`.

    Returns
    -------
    SpeciesEmbedding

    Raises
    ------
    ValueError
        If the model has no vectors of elements.

    See Also
    --------
    skatom.plotting.EmbeddingDisplay : A picture of their principal components.

    References
    ----------
    .. [1] K. T. Schütt, H. E. Sauceda, P.-J. Kindermans, A. Tkatchenko, K.-R. Müller, J. Chem.
       Phys. 148, 241722 (2018).

    Examples
    --------
    >>> from skatom.attribution import species_embedding
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import SchNet
    >>> data = load_ethanol()
    >>> model = SchNet(n_features=8, n_interactions=1, max_iter=1, random_state=0)
    >>> model = model.fit(data.structures[::100], data.targets[::100])
    >>> found = species_embedding(model)
    >>> found.species, found.vectors.shape
    (array([1, 6, 8]), (3, 8))
    """
    last = last_step(unwrap(model))
    check_is_fitted(last)
    weights = getattr(getattr(last, "network_", None), "weights", {})
    if "embedding" not in weights:
        raise ValueError(
            f"{type(last).__name__} has no vectors of elements: use SchNet, DTNN, PaiNN or "
            "MessagePassingNetwork"
        )
    species = last.species_
    # further rows are those of what is known of atoms beside their elements
    return SpeciesEmbedding(species, weights["embedding"][: len(species)].astype(float))
