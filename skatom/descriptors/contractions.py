"""Full contractions of moment tensors, and the products that evaluate all of them.

A contraction is a multigraph without loops: its nodes are moments, and a and b are joined by as
many edges as indices are contracted between them. Disconnected graphs are products of lower
contractions.
"""

from collections import defaultdict
from functools import cache, lru_cache
from itertools import combinations, permutations, product
from math import factorial, prod
from typing import NamedTuple

import numpy as np


class Basis(NamedTuple):
    """Parameters of the set of contractions; hashable, since it is the key of a cache."""

    level: int
    mu_level: int
    max_factors: int | None
    max_mu: int
    max_nu: int
    n_channels: int


class Moment(NamedTuple):
    """M_μν of one channel of species."""

    mu: int
    nu: int
    channel: int


class Graph(NamedTuple):
    """A connected contraction: the edges are the upper triangle of the multiplicities."""

    moments: tuple
    edges: tuple


class Program(NamedTuple):
    """All contractions as sums of products, each of two earlier numbers.

    The numbers begin with the components of the moments, (channel, μ, monomial of degree up to
    ν_max(μ)). Number n_components · n_channels + k is

        Σ_{s = starts[k]}^{starts[k+1] - 1} factors[s] · number[left[s]] · number[right[s]].
    """

    degrees: np.ndarray  # ν_max of each μ
    starts: np.ndarray
    left: np.ndarray
    right: np.ndarray
    factors: np.ndarray
    scalars: np.ndarray  # which numbers are the contractions


# Beyond this the table of products would take minutes and the features gigabytes.
_MAX_CONTRACTIONS = 50_000


@lru_cache(maxsize=32)
def contractions(basis):
    """All contractions up to a level, by level, each a tuple of its connected graphs."""
    parts = _connected_graphs(basis)
    levels = [_level(graph, basis) for graph in parts]
    found = []

    def extend(chosen, first, level, n_factors):
        for k in range(first, len(parts)):
            new_level, new_factors = level + levels[k], n_factors + len(parts[k].moments)
            if new_level > basis.level:
                break  # the parts are sorted by level
            if basis.max_factors is not None and new_factors > basis.max_factors:
                continue
            found.append((new_level, new_factors, (*chosen, k)))
            _check_number(found, basis)
            extend((*chosen, k), k, new_level, new_factors)

    extend((), 0, 0, 0)
    return tuple(tuple(parts[k] for k in chosen) for _, _, chosen in sorted(found))


def contraction_levels(basis):
    """Levels of all contractions, in their order."""
    return [sum(_level(graph, basis) for graph in parts) for parts in contractions(basis)]


def _check_number(found, basis):
    if len(found) > _MAX_CONTRACTIONS:
        raise ValueError(
            f"level={basis.level} with {basis.n_channels} channels of species has more than "
            f"{_MAX_CONTRACTIONS} contractions: reduce level or use species_compression"
        )


def _level(graph, basis):
    return sum(_moment_level(moment, basis) for moment in graph.moments)


def _moment_level(moment, basis):
    return 2 + basis.mu_level * moment.mu + moment.nu


def _connected_graphs(basis):
    """Connected contractions sorted by level: one of each class of isomorphic graphs."""
    types = [
        Moment(mu, nu, channel)
        for mu in range(min(basis.max_mu, basis.level) + 1)
        for nu in range(min(basis.max_nu, basis.level) + 1)
        for channel in range(basis.n_channels)
        if 2 + basis.mu_level * mu + nu <= basis.level
    ]
    graphs = [Graph((moment,), ()) for moment in types if moment.nu == 0]
    tensors = [moment for moment in types if moment.nu > 0]

    def extend(chosen, first, level):
        if len(chosen) > 1:
            graphs.extend(_graphs_of(chosen))
            _check_number(graphs, basis)
        if len(chosen) == basis.max_factors:
            return
        for k in range(first, len(tensors)):
            new = level + _moment_level(tensors[k], basis)
            if new <= basis.level:
                extend((*chosen, tensors[k]), k, new)

    extend((), 0, 0)
    return sorted(graphs, key=lambda graph: (_level(graph, basis), len(graph.moments), graph))


def _graphs_of(moments):
    """The connected graphs whose nodes are these sorted moments."""
    ranks = [moment.nu for moment in moments]
    n = len(ranks)
    if sum(ranks) % 2 or 2 * max(ranks) > sum(ranks) or sum(ranks) < 2 * (n - 1):
        return []
    pairs = list(combinations(range(n), 2))
    index = {pair: k for k, pair in enumerate(pairs)}
    swaps = [
        [index[min(p[a], p[b]), max(p[a], p[b])] for a, b in pairs]
        for p in permutations(range(n))
        if all(moments[p[a]] == moments[a] for a in range(n))
    ]
    found = {}

    def fill(edges, rest):
        k = len(edges)
        if k == len(pairs):
            if not any(rest):
                key = min(tuple(edges[j] for j in swap) for swap in swaps)
                if key not in found and _connected(key, pairs, n):
                    found[key] = Graph(moments, key)
            return
        a, b = pairs[k]
        low = rest[a] if b == n - 1 else 0  # the last edge of a takes all remaining indices
        for m in range(low, min(rest[a], rest[b]) + 1):
            left = list(rest)
            left[a] -= m
            left[b] -= m
            fill((*edges, m), left)

    fill((), ranks)
    return list(found.values())


def _connected(edges, pairs, n):
    reached = {0}
    for _ in range(n):
        for m, (a, b) in zip(edges, pairs, strict=True):
            if m and (a in reached or b in reached):
                reached |= {a, b}
    return len(reached) == n


def einstein_indices(parts):
    """The letters of each moment of a contraction, for its name: ``["ab", "a", "b"]``."""
    letters = iter("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    indices = []
    for graph in parts:
        mine = [""] * len(graph.moments)
        pairs = combinations(range(len(mine)), 2)
        for m, (a, b) in zip(graph.edges, pairs, strict=True):
            shared = "".join(next(letters) for _ in range(m))
            mine[a] += shared
            mine[b] += shared
        indices.extend(mine)
    return indices


# --- from graphs to products --------------------------------------------------------------------


def n_monomials(degree):
    """Monomials in x, y, z of degree up to ``degree``."""
    return (degree + 1) * (degree + 2) * (degree + 3) // 6


def monomial_index(exponents):
    """Place of x^a y^b z^c among all monomials: by degree, then by b + c, then by c."""
    a, b, c = exponents
    return n_monomials(a + b + c - 1) + (b + c) * (b + c + 1) // 2 + c


def basic_moments(degrees, n_channels):
    """Function and exponents (a, b, c) of each component of the moments, in their order.

    Functions are numbered by channel, then by μ.
    """
    one = [(mu, *e) for mu, degree in enumerate(degrees)
           for rank in range(degree + 1) for e, _ in _exponents(rank)]  # fmt: skip
    return np.concatenate(
        [np.array(one) + [channel * len(degrees), 0, 0, 0] for channel in range(n_channels)]
    )


@cache
def _exponents(rank):
    """All (a, b, c) with a + b + c = rank, and how many orders of indices each stands for."""
    return [
        ((rank - s, s - c, c), factorial(rank) // prod(map(factorial, (rank - s, s - c, c))))
        for s in range(rank + 1)
        for c in range(s + 1)
    ]


@lru_cache(maxsize=8)
def compile_program(basis):
    """The `Program` of all contractions of a basis, in their order."""
    found = contractions(basis)
    moments = [m for parts in found for graph in parts for m in graph.moments]
    degrees = [
        max(m.nu for m in moments if m.mu == mu) for mu in range(max(m.mu for m in moments) + 1)
    ]
    compiler = _Compiler(degrees, basis.n_channels)
    scalars, products = [], {}
    for parts in found:
        scalar = compiler.graph(parts[-1])
        if len(parts) > 1:
            scalar = compiler.number({tuple(sorted((products[parts[:-1]], scalar))): 1})
        products[parts] = scalar
        scalars.append(scalar)
    return compiler.program(scalars)


def program_of(descriptor):
    """The `Program` of a fitted `MomentTensor`."""
    return compile_program(descriptor._basis())


class _Compiler:
    """Writes contractions as sums of products of two numbers, and shares common subexpressions.

    The nodes of a graph are split in two groups, and these again. With the edges within a group
    contracted, a group is a tensor that is symmetric in the open indices of each of its nodes:

        T_AB[p] = Σ_{e} Π_edges(α! / e!) T_A[p_A + Σ e] T_B[p_B + Σ e],

    where e runs over the exponents (a, b, c), a + b + c = α, of every edge from A to B and p are
    the exponents of the open indices of every node.
    """

    def __init__(self, degrees, n_channels):
        self.degrees = np.array(degrees)
        self.offsets = np.cumsum([0, *map(n_monomials, degrees)])
        self.n_moments = int(self.offsets[-1]) * n_channels
        self.sums = []
        self.number_of_sum = {}
        self.elements = {}

    def number(self, terms):
        """The number of a sum ``{(left, right): factor}``, a known one if there is one."""
        key = frozenset(terms.items())
        if key not in self.number_of_sum:
            self.number_of_sum[key] = self.n_moments + len(self.sums)
            self.sums.append(terms)
        return self.number_of_sum[key]

    def graph(self, graph):
        pairs = combinations(range(len(graph.moments)), 2)
        edges = {pair: m for m, pair in zip(graph.edges, pairs, strict=True) if m}
        return self.element(graph.moments, edges, ((0, 0, 0),) * len(graph.moments))

    def element(self, moments, edges, open_exponents):
        """The number T[p] of a group of nodes with the edges within it."""
        if len(moments) == 1:
            mu, _, channel = moments[0]
            place = int(self.offsets[mu]) + monomial_index(open_exponents[0])
            return channel * int(self.offsets[-1]) + place
        key = (moments, tuple(edges.items()), open_exponents)
        if key not in self.elements:
            self.elements[key] = self.number(self._terms(moments, edges, open_exponents))
        return self.elements[key]

    def _terms(self, moments, edges, open_exponents):
        one, two = _split(len(moments), edges)
        cross = [pair for pair in edges if (pair[0] in one) != (pair[1] in one)]
        terms = defaultdict(int)
        for choice in product(*(_exponents(edges[pair]) for pair in cross)):
            exponents = [list(p) for p in open_exponents]
            for pair, (e, _) in zip(cross, choice, strict=True):
                for node in pair:
                    for axis in range(3):
                        exponents[node][axis] += e[axis]
            sides = sorted(
                self.element(
                    tuple(moments[a] for a in group),
                    _edges_within(edges, group),
                    tuple(tuple(exponents[a]) for a in group),
                )
                for group in (one, two)
            )
            terms[tuple(sides)] += prod(orders for _, orders in choice)
        return dict(terms)

    def program(self, scalars):
        terms = [(*pair, factor) for sum_ in self.sums for pair, factor in sorted(sum_.items())]
        left, right, factors = zip(*terms, strict=True) if terms else ((), (), ())
        return Program(
            self.degrees,
            np.concatenate([[0], np.cumsum([len(sum_) for sum_ in self.sums])]).astype(np.int64),
            np.array(left, np.int64),
            np.array(right, np.int64),
            np.array(factors, float),
            np.array(scalars, np.int64),
        )


def _edges_within(edges, group):
    place = {a: k for k, a in enumerate(group)}
    return {(place[a], place[b]): m for (a, b), m in edges.items() if a in place and b in place}


def _split(n, edges):
    """Split the nodes into two groups of nearly equal size, with the fewest combinations across."""

    def cost(group):
        across = (m for (a, b), m in edges.items() if (a in group) != (b in group))
        return prod(len(_exponents(m)) for m in across)

    one = min(
        (group for group in combinations(range(n), n // 2) if 2 * len(group) < n or 0 in group),
        key=cost,
    )
    return one, tuple(a for a in range(n) if a not in one)
