"""SOAP of the density averaged over the atoms of a structure."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.utils.validation import check_is_fitted

from skatom._cpu.pairs import collect, collect_jacobian
from skatom._typing import Array, StructuresLike
from skatom.descriptors._cpu import averaged_soap as _cpu
from skatom.descriptors.base import StructureDescriptor
from skatom.descriptors.soap import SOAP
from skatom.memory import check_memory
from skatom.parallel import run_in_threads
from skatom.structures import as_structures, groups_by_size

# Numbers of the density coefficients of atoms that are held at once.
_COEFFICIENTS = 2**22


class AveragedSOAP(StructureDescriptor):
    r"""Invariants of the neighbour density averaged over the atoms of a structure.

    .. math::
        \bar c_{\alpha nlm} = \frac{1}{N} \sum_i c_{\alpha nlm}(i), \qquad
        p_{\alpha n, \alpha' n', l} = \sqrt{\tfrac{8\pi^2}{2l+1}}
            \sum_m \bar c_{\alpha nlm}\, \bar c_{\alpha' n'lm}

    This is the inner average. The outer one, ``SOAP(pool="mean")``, averages the invariants of the
    atoms; both agree where all atoms have the same environment. The inner average keeps the angles
    between the environments of different atoms. With the kernel ``Cosine(zeta)`` it is a
    normalised kernel of structures.

    Parameters
    ----------
    soap : SOAP, default=None
        The expansion of the density and the kind of invariants; ``soap.normalize`` applies to the
        features of structures. None: ``SOAP()``.

    Attributes
    ----------
    soap_ : SOAP
        The fitted SOAP.

    Raises
    ------
    ValueError
        If ``soap`` pools its features or has another device than "cpu", or a structure has species
        not seen in `fit`.
    MemoryError
        If the features would not fit in memory.

    References
    ----------
    S. De, A. P. Bartók, G. Csányi, M. Ceriotti, Phys. Chem. Chem. Phys. 18, 13754 (2016).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import SOAP, AveragedSOAP
    >>> from skatom.kernels import Cosine
    >>> molecules = [molecule("CH4"), molecule("C2H6"), molecule("H2O")]
    >>> features = AveragedSOAP(SOAP(n_max=4, l_max=3)).fit_transform(molecules)
    >>> Cosine(zeta=2)(features)[0].round(2)
    array([1.  , 0.82, 0.34])
    """

    _parameter_constraints = {"soap": [SOAP, None]}

    def __init__(self, soap: SOAP | None = None) -> None:
        self.soap = soap

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: StructuresLike, y: Any = None) -> Self:
        """Learn the species.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The structures.
        y : ignored

        Returns
        -------
        self
        """
        soap = SOAP() if self.soap is None else clone(self.soap)
        if soap.pool is not None or soap.device != "cpu":
            raise ValueError(
                f"soap has pool={soap.pool!r} and device={soap.device!r}, but its density is "
                "averaged here, by compiled loops: use pool=None and device='cpu'"
            )
        self.soap_ = soap.fit(X)
        return self

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the features, those of `SOAP`.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        return self.soap_.get_feature_names_out()

    @property
    def n_features_out_(self) -> Any:
        """Number of features."""
        check_is_fitted(self)
        return self.soap_.n_features_out_

    def _check_structures(self, structures):
        self.soap_._species_index(structures)  # raises for species not seen in fit
        check_memory(
            8.0 * len(structures) * self.n_features_out_,
            f"the array of {len(structures)} x {self.n_features_out_} features",
            "transform fewer structures at a time, or reduce n_max or l_max of soap",
        )

    def _values(self, structures):
        out = np.empty((len(structures), self.n_features_out_))
        for batch, part in self._batches(structures):
            _cpu.invariants(part.averages(), part.density, out[batch])
        return out

    def _pullback(self, structures, cotangent):
        # W: loops would be compiled again for arrays that cannot be written to
        cotangent = np.require(cotangent, float, ["C", "W"])
        found = [part.pullback(cotangent[batch]) for batch, part in self._batches(structures)] or [
            (np.empty((0, 3)), np.empty((0, 3, 3)))
        ]
        return tuple(np.concatenate(same) for same in zip(*found, strict=True))

    def _jacobian(self, structures, needed):
        gradients = np.zeros((len(structures.numbers), 3, len(needed)))
        strains = np.zeros((len(structures), 3, 3, len(needed)))
        for s in range(len(structures)):
            atoms = slice(*structures.offsets[s : s + 2])
            of_one = _Expanded(self.soap_, structures[s]).jacobian(np.eye(len(needed))[needed])
            gradients[atoms][..., needed], strains[s][..., needed] = of_one
        return gradients, strains

    def _batches(self, structures):
        """Slices of structures, and their neighbours, whose coefficients are small enough."""
        density = self.soap_._compiled()
        per_atom = (density.l_max + 1) ** 2 * len(density.mixing) * density.n_max
        for batch in groups_by_size(structures.offsets, max(1, _COEFFICIENTS // per_atom)):
            yield batch, _Expanded(self.soap_, structures[batch])


class _Expanded:
    """The neighbours of some structures, and what the averages of their density depend on."""

    def __init__(self, soap, structures):
        self.structures = as_structures(structures)
        self.pairs = soap._neighbors(self.structures)
        self.centers = soap._species_index(self.structures)
        self.species = self.centers[self.pairs.indices]
        self.density = soap._compiled()

    def averages(self):
        """c̄ of every structure, (n, n_lm, n_channels)."""
        density, offsets = self.density, self.structures.offsets
        n_channels = len(density.mixing) * density.n_max
        shape = len(self.centers), (density.l_max + 1) ** 2, n_channels
        check_memory(
            8.0 * np.prod(shape),
            f"the density coefficients of {len(self.centers)} atoms",
            "transform fewer atoms at a time, or reduce n_max or l_max of soap",
        )
        c = np.empty(shape)
        run_in_threads(
            _cpu.coefficients, len(c), self.pairs.offsets, self.pairs.vectors, self.centers,
            self.species, density, c,
        )  # fmt: skip
        return np.add.reduceat(c, offsets[:-1]) / self.structures.n_atoms[:, None, None]

    def pullback(self, cotangent):
        """dE/dR and dE/dε of all structures for dE/dp (n, n_features)."""
        n_atoms, pairs = self.structures.n_atoms, self.pairs
        dc = self._cotangents(cotangent, n_atoms[:, None, None, None])
        owners = np.repeat(np.arange(len(n_atoms)), n_atoms)
        out = np.empty((len(pairs), 3))
        run_in_threads(
            _cpu.pair_gradients, len(owners), pairs.offsets, pairs.vectors, self.species,
            self.density, owners, dc, out,
        )  # fmt: skip
        return collect(pairs.offsets, pairs.indices, pairs.vectors, out, self.structures.offsets)

    def jacobian(self, cotangents):
        """dE/dR (n_atoms, 3, m) and dE/dε (3, 3, m) of one structure for m cotangents."""
        pairs, m = self.pairs, len(cotangents)
        dc = self._cotangents(cotangents, len(self.centers))
        check_memory(
            24.0 * len(pairs) * m,
            f"the Jacobian of {len(pairs)} pairs and {m} features",
            "reduce n_max or l_max of soap",
        )
        gradients, strain = np.zeros((len(self.centers), 3, m)), np.zeros((3, 3, m))
        out = np.empty((len(pairs), 3, m))
        run_in_threads(
            _cpu.pair_jacobian, len(self.centers), pairs.offsets, pairs.vectors, self.species,
            self.density, dc, out,
        )  # fmt: skip
        collect_jacobian(
            pairs.centers, pairs.indices, pairs.vectors, out, 1.0, np.zeros(len(pairs), np.int64),
            gradients, strain,
        )  # fmt: skip
        return gradients, strain

    def _cotangents(self, cotangent, n_atoms):
        """dE/dc of every atom, by species, for each row of cotangents."""
        density, c = self.density, self.averages()
        shape = density.mixing.shape[1], c.shape[1], density.n_max
        dc = np.empty((len(cotangent), *shape))
        _cpu.cotangents(c, density, cotangent, dc)
        return dc / n_atoms
