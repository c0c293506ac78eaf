"""Selection of the order of a kernel for energies on a line whose order is known.

    python -m benchmarks kernel_orders [--full]

A central atom has four neighbours at random places x in [-3, 3] of a line. Its energy is a sum over
ordered chains of n - 1 different neighbours,

    E_n = Σ ε(x_1) ε(x_2 - x_1) … ε(x_(n-1) - x_(n-2)),   ε(d) = -exp(-(|d| - 1)²/2),

so its order is n. `KernelOrderSelector` compares the powers of `CartesianPairs`, of orders 2 to 5,
each with several length scales, by marginal likelihood. Few data favour a lower order than the true
one; enough data give the true one. After Glielmo et al., in Machine Learning Meets Quantum Physics,
Springer (2020), section 5.2.5; the number of neighbours, their range and the noise of 0.01 are not
given there.

With ``--full``, 1,000 environments too (some minutes).
"""

from itertools import permutations

import numpy as np

from benchmarks.harness import table

ORDERS = (2, 3, 4, 5)
SIGMAS = (0.4, 0.7, 1.0, 1.5, 2.2, 3.2)
NOISE = 0.01


def chain_energy(places, order):
    """E_n of neighbours at these places."""

    def bell(d):
        return -np.exp(-((abs(d) - 1) ** 2) / 2)

    return sum(
        np.prod([bell(b - a) for a, b in zip((0.0, *chain), chain, strict=False)])
        for chain in permutations(places, order - 1)
    )


def environments(n, order, seed):
    """Structures of a centre and its neighbours, and their energies."""
    from ase import Atoms

    from skatom import Structures

    places = np.random.default_rng(seed).uniform(-3, 3, (2 * n, 4))
    gaps = np.diff(np.sort(np.insert(places, 0, 0.0, axis=1)), axis=1).min(axis=1)
    places = places[gaps > 1e-2][:n]  # atoms at one place are an error
    images = [Atoms("CH4", np.outer((0.0, *x), (1.0, 0.0, 0.0))) for x in places]
    return Structures.from_ase(images), [chain_energy(x, order) for x in places]


def kernels():
    """All kernels, lower orders first: one of each order for each length scale."""
    from skatom.kernels import CartesianPairs, ManyBody, Polynomial

    class OfTheCentre(CartesianPairs):
        """The neighbourhoods of carbon atoms alone."""

        def rows(self, structures, what, atoms=None):
            rows = super().rows(structures, what, atoms)
            for key in [key for key in rows.parts if key[0] != 6]:
                del rows.parts[key]
            return rows

    return [
        ManyBody(OfTheCentre(sigma, cutoff=None), Polynomial(zeta=order - 1))
        for order in ORDERS
        for sigma in SIGMAS
    ]


def select(n, order, seed):
    """The order that is selected, and the largest log marginal likelihood of each order over N."""
    from skatom.models import KernelOrderSelector, NBodyGaussianProcess

    process = NBodyGaussianProcess(noise_energy=NOISE / np.sqrt(5), baseline=None)
    search = KernelOrderSelector(process, kernels()).fit(*environments(n, order, seed))
    likelihoods = search.log_marginal_likelihoods_.reshape(len(ORDERS), len(SIGMAS))
    return ORDERS[search.best_index_ // len(SIGMAS)], likelihoods.max(axis=1)


def add_arguments(parser):
    parser.add_argument("--full", action="store_true", help="1,000 environments, too")
    parser.add_argument("--repeats", type=int, default=10, help="of each number (default: 10)")


def run(options):
    numbers = [(10, options.repeats), (50, options.repeats), (200, max(1, options.repeats // 3))]
    if options.full:
        numbers.append((1000, 1))
    rows = []
    for order in ORDERS[:3]:
        for n, repeats in numbers:
            found = [select(n, order, seed) for seed in range(repeats)]
            chosen = [selected for selected, _ in found]
            counts = "  ".join(f"{o}: {chosen.count(o)}" for o in sorted(set(chosen)))
            means = np.mean([likelihoods for _, likelihoods in found], axis=0)
            rows.append([str(order), str(n), counts, *(f"{x:.2f}" for x in means)])
    table(
        "Selected order, and the log marginal likelihood of each order over N",
        ["true order", "N", "selected: times", *(f"order {o}" for o in ORDERS)], rows,
    )  # fmt: skip
