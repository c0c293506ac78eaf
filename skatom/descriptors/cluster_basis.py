"""Which products of projections are features of a cluster expansion, and how to evaluate them.

A projection A_clmn has the degree n + w l. The products of one to four projections that do not
change under rotations and reflections are, by recursive coupling with the invariant tensors w of
three harmonics,

    A_n    Σ_m A_m B_m    Σ_M (A B)_lM C_lM    Σ_M (A B)_LM (C D)_LM,
    (A B)_LM = Σ_mm' w_{l m, l' m', L M} A_lm B_l'm'

For four different projections every L gives one. Those of equal projections depend on each other,
and as many are kept as are independent.
"""

from bisect import bisect_left
from functools import cache, lru_cache
from itertools import permutations, product
from typing import NamedTuple

import numpy as np

from skatom.descriptors.coupling import real_coupling


class ClusterBasis(NamedTuple):
    """Parameters of the set of products; hashable, since it is the key of a cache."""

    degrees: tuple  # the largest degree of products of one, two, … projections
    l_weight: float
    n_channels: int
    # For each number of factors from two on, the neighbours of each channel that an atom has at
    # most, a tuple for each species of the centre: k projections of fewer than k neighbours are
    # functions of these that lower products have. A product is left out if it has more of a channel
    # for every species. None: all are kept.
    most: tuple | None = None
    # Channels after these, of single projections alone; 0: single projections are of all channels.
    n_single: int = 0
    # Which sphere the factors see, for each number of them from two on; (): all see the same.
    spheres: tuple = ()


class Projection(NamedTuple):
    """A_clmn of all m."""

    degree: float
    l: int
    n: int
    channel: int


class CoupledProduct(NamedTuple):
    """A feature: its projections, and the L to which each two of four are coupled."""

    factors: tuple
    L: int


class Products(NamedTuple):
    """All features as sums of products, each of two earlier numbers.

    The numbers begin with the projections of each channel: for each sphere s (l, m, n) with
    n = 0 … n_radial[s, l] - 1, then those of single projections, n = 0 … n_pair - 1. Number
    n_components · n_channels + k is

        Σ_{s = starts[k]}^{starts[k+1] - 1} factors[s] · number[left[s]] · number[right[s]].
    """

    n_radial: np.ndarray
    n_pair: int
    starts: np.ndarray
    left: np.ndarray
    right: np.ndarray
    factors: np.ndarray
    scalars: np.ndarray  # which numbers are the features


# Beyond this the table of products would take minutes and the features gigabytes.
_MAX_TERMS = 50_000
# Couplings are equal to rounding or differ.
_SAME = 1e-8


@lru_cache(maxsize=32)
def terms(basis):
    """All features, by the number of factors."""
    n_all, degree = basis.n_channels + basis.n_single, int(basis.degrees[0])
    singles = product(range(n_all)[-basis.n_single or 0 :], range(1, degree + 1))
    found = [CoupledProduct((Projection(float(n), 0, n, c),), 0) for c, n in singles]
    for order, degree in enumerate(basis.degrees[1:], 2):
        most = basis.most and basis.most[order - 2]
        made = _multisets(_projections(basis, degree - (order - 1)), order, degree, most)
        for factors in made:
            found += [CoupledProduct(factors, L) for L in _couplings(factors)]
            if len(found) > _MAX_TERMS:
                raise ValueError(
                    f"degrees={list(basis.degrees)} of {basis.n_channels} channels of species give "
                    f"more than {_MAX_TERMS} features: reduce degrees, or use species_compression"
                )
    return found


def _projections(basis, degree):
    """All projections up to a degree, by degree."""
    found = [
        Projection(n + basis.l_weight * l, l, n, c)
        for n in range(1, int(degree) + 1)
        for l in range(int((degree - n) / basis.l_weight + _SAME) + 1)
        for c in range(basis.n_channels)
    ]
    return sorted(found)


def belong(basis, terms, n_species):
    """Whether the centres of each species have enough neighbours for terms: (n_species, n)."""
    told = np.ones((n_species, len(terms)), bool)
    for column, term in enumerate(terms):
        order = len(term.factors)
        if order > 1:  # single projections see farther
            told[:, column] = [_fits(term.factors, most) for most in basis.most[order - 2]]
    return told


def _fits(factors, most):
    """Whether no channel has more factors than neighbours."""
    channels = [p.channel for p in factors]
    return all(channels.count(c) <= most[c] for c in channels)


def _multisets(projections, order, degree, most):
    """Sorted tuples of projections that couple to invariants, of degrees up to ``degree`` in all.

    Each l is at most the sum of the others, and the sum of all is even. ``most`` is that of this
    number of factors.
    """
    degrees = [p.degree for p in projections]
    places = {}  # of the projections of each l
    for k, p in enumerate(projections):
        places.setdefault(p.l, []).append(k)

    def extend(chosen, first, left):
        rest = order - len(chosen)
        last = bisect_left(degrees, left / rest + _SAME)
        if rest > 1:
            for k in range(first, last):
                longer = (*chosen, projections[k])
                if not chosen or fits(longer):
                    yield from extend(longer, k, left - degrees[k])
            return
        ls = [p.l for p in chosen]
        for l in range(max(sum(ls) % 2, 2 * max(ls) - sum(ls)), sum(ls) + 1, 2):
            found = places.get(l, [])
            for k in found[bisect_left(found, first) : bisect_left(found, last)]:
                longer = (*chosen, projections[k])
                if fits(longer):
                    yield longer

    def fits(factors):
        return most is None or any(_fits(factors, m) for m in most)

    return extend((), 0, degree)


def _couplings(factors):
    """The L of a product of sorted projections that give independent features."""
    ls = [p.l for p in factors]
    if len(ls) < 4:
        return [ls[2] if len(ls) == 3 else 0]
    equal = tuple(factors.index(p) for p in factors)
    return _independent(tuple(ls), equal)


@cache
def _independent(ls, equal):
    """The L of four projections, of which those with the same number in ``equal`` are the same."""
    low, high = max(abs(ls[0] - ls[1]), abs(ls[2] - ls[3])), min(ls[0] + ls[1], ls[2] + ls[3])
    if len(set(equal)) == 4:
        return list(range(low, high + 1))
    swaps = [s for s in permutations(range(4)) if all(equal[s[k]] == equal[k] for k in range(4))]
    chosen, basis = [], []
    for L in range(low, high + 1):
        tensor = np.einsum("abM,cdM->abcd", real_coupling(*ls[:2], L), real_coupling(*ls[2:], L))
        rest = sum(tensor.transpose(s) for s in swaps).ravel() / len(swaps)
        for _ in range(2):
            for other in basis:
                rest = rest - (other @ rest) * other
        if (length := np.linalg.norm(rest)) > _SAME:
            chosen.append(L)
            basis.append(rest / length)
    return chosen


@lru_cache(maxsize=8)
def products(basis):
    """The `Products` of all features of a basis, in their order."""
    found = terms(basis)
    spheres = basis.spheres or (0,) * (len(basis.degrees) - 1)
    l_max = max((p.l for term in found for p in term.factors), default=0)
    n_radial = np.zeros((max(spheres, default=0) + 1, l_max + 1), int)
    n_radial[:, 0] = 1
    for term in found:
        if (order := len(term.factors)) > 1:
            for p in term.factors:
                row = n_radial[spheres[order - 2]]
                row[p.l] = max(row[p.l], p.n)
    n_channels = basis.n_channels + basis.n_single
    writer = _Writer(n_radial, int(basis.degrees[0]), n_channels, spheres)
    return writer.products([writer.scalar(term) for term in found])


class _Writer:
    """Writes features as sums of products of two numbers, and shares what they have in common."""

    def __init__(self, n_radial, n_pair, n_channels, spheres):
        self.n_radial, self.n_pair, self.spheres = n_radial, n_pair, spheres
        widths = ((2 * np.arange(n_radial.shape[1]) + 1) * n_radial).ravel()
        self.n_near = int(widths.sum())
        self.offsets = (np.cumsum(widths) - widths).reshape(n_radial.shape)
        self.n_components = self.n_near + n_pair
        self.n_projections = self.n_components * n_channels
        self.sums = []
        self.coupled = {}

    def place(self, p, m, sphere):
        """The number of A_clmn, m counted from -l."""
        start = p.channel * self.n_components + int(self.offsets[sphere, p.l])
        return start + m * int(self.n_radial[sphere, p.l]) + p.n - 1

    def places(self, p, sphere):
        """The numbers A_clmn of all m."""
        return [self.place(p, m, sphere) for m in range(2 * p.l + 1)]

    def number(self, terms):
        """The number of a new sum of ``(left, right, factor)``."""
        self.sums.append(terms)
        return self.n_projections + len(self.sums) - 1

    def scalar(self, term):
        factors = term.factors
        if len(factors) == 1:
            p = factors[0]
            return p.channel * self.n_components + self.n_near + p.n - 1
        sphere = self.spheres[len(factors) - 2]
        if len(factors) == 2:
            sides = [self.places(p, sphere) for p in factors]
        elif len(factors) == 3:
            last = factors[2]
            sides = self.pair(*factors[:2], last.l, sphere), self.places(last, sphere)
        else:
            sides = [self.pair(*two, term.L, sphere) for two in (factors[:2], factors[2:])]
        return self.number([(a, b, 1.0) for a, b in zip(*sides, strict=True)])

    def pair(self, a, b, L, sphere):
        """The numbers (A B)_LM, by M."""
        key = a, b, L, sphere
        if key not in self.coupled:
            tensor = real_coupling(a.l, b.l, L)
            self.coupled[key] = [
                self.number(
                    [
                        (self.place(a, m, sphere), self.place(b, k, sphere), float(tensor[m, k, M]))
                        for m, k in product(range(2 * a.l + 1), range(2 * b.l + 1))
                        if abs(tensor[m, k, M]) > _SAME
                    ]
                )
                for M in range(2 * L + 1)
            ]
        return self.coupled[key]

    def products(self, scalars):
        """The arrays of all sums."""
        rows = [row for terms in self.sums for row in terms]
        left, right, factors = zip(*rows, strict=True) if rows else ((), (), ())
        return Products(
            self.n_radial, self.n_pair,
            np.concatenate([[0], np.cumsum([len(terms) for terms in self.sums])]).astype(np.int64),
            np.array(left, np.int64), np.array(right, np.int64), np.array(factors, float),
            np.array(scalars, np.int64),
        )  # fmt: skip
