"""λ-SOAP: features of atomic environments that rotate like tensors."""

from collections.abc import Sequence
from functools import lru_cache
from numbers import Integral

import numpy as np
from ase.data import chemical_symbols
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom.descriptors._cpu import lambda_soap as _cpu
from skatom.descriptors.atomic_features import pool_atoms
from skatom.descriptors.base import AtomicDescriptor
from skatom.descriptors.coupling import real_coupling
from skatom.descriptors.soap import SOAP
from skatom.structures import as_structures, select

_EXPANSION = (
    "cutoff", "n_max", "l_max", "sigma", "radial_basis", "cutoff_width", "radial_scaling",
    "species_compression", "central_weight",
)  # fmt: skip


class LambdaSOAP(AtomicDescriptor, auto_wrap_output_keys=None):
    _loops = _cpu
    _parameter_constraints = {
        **AtomicDescriptor._parameter_constraints,
        **{name: SOAP._parameter_constraints[name] for name in (*_EXPANSION, "normalize")},
        "lam": [Interval(Integral, 0, None, closed="left")],
        "parity": [StrOptions({"even", "odd", "both"})],
    }
    _size_parameters = SOAP._size_parameters

    def __init__(
        self,
        lam=1,
        cutoff=5.0,
        n_max=8,
        l_max=6,
        sigma=0.5,
        *,
        parity="even",
        radial_basis="bessel",
        cutoff_width=0.5,
        radial_scaling=None,
        species_compression=None,
        central_weight=1.0,
        normalize=True,
        pool=None,
        n_jobs=None,
        verbose=0,
    ):
        self.lam = lam
        self.cutoff = cutoff
        self.n_max = n_max
        self.l_max = l_max
        self.sigma = sigma
        self.parity = parity
        self.radial_basis = radial_basis
        self.cutoff_width = cutoff_width
        self.radial_scaling = radial_scaling
        self.species_compression = species_compression
        self.central_weight = central_weight
        self.normalize = normalize
        self.pool = pool
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _prepare(self, structures):
        self.soap_ = SOAP(**{name: getattr(self, name) for name in _EXPANSION}).fit(structures)

    def _compiled(self):
        pairs, couplings = coupling_table(self.l_max, self.lam, self.parity)
        return _cpu.CovariantDensity(
            self.soap_._compiled(), pairs, couplings, bool(self.normalize)
        )

    def _n_features(self):
        return (2 * self.lam + 1) * sum(
            len(self._products(l, l2)[0]) for l, l2 in l_pairs(self.l_max, self.lam, self.parity)
        )

    def _products(self, l, l2):
        channels = len(self.soap_.mixing_) * self.n_max
        if l != l2:
            return np.divmod(np.arange(channels**2), channels)
        return np.triu_indices(channels, self.lam % 2)

    def transform(self, X):
        check_is_fitted(self)
        structures = as_structures(X)
        self._species_index(structures)
        values = self._batched_values(structures)
        return values.reshape(len(values), 2 * self.lam + 1, -1)


def l_pairs(l_max, lam, parity):
    """(l, l'), l <= l', that couple to λ; ``parity`` says whether l + l' + λ is even or odd."""
    return [
        (l, l2)
        for l in range(l_max + 1)
        for l2 in range(l, min(l + lam, l_max) + 1)
        if l + l2 >= lam
        and (parity == "both" or (l + l2 + lam) % 2 == (parity == "odd"))
    ]


@lru_cache(maxsize=16)
def coupling_table(l_max, lam, parity):
    pairs = l_pairs(l_max, lam, parity)
    size = 2 * l_max + 1
    couplings = np.zeros((len(pairs), 2 * lam + 1, size, size))
    for table, (l, l2) in zip(couplings, pairs, strict=True):
        tensor = np.moveaxis(real_coupling(l, l2, lam), 2, 0)
        table[:, : 2 * l + 1, : 2 * l2 + 1] = (-1) ** l2 * np.sqrt(16 * np.pi**2) * tensor
    return np.array(pairs), couplings
