"""Atomisation energies of QM7 with descriptors of whole molecules, in five folds.

    python -m benchmarks qm7                                   all descriptors
    python -m benchmarks qm7 --only "sorted, Laplacian"        one of them
    python -m benchmarks qm7 --molecules 1000                  some of the molecules

Kernel ridge regression of energies less their mean, or less those of the elements. In each fold the
width of the kernel, the regularisation and what is subtracted are those with the smallest mean
absolute error of three inner folds of the training part. The kernel of random orders is the average
over all pairs of orders of two molecules, so that its matrix has one row for each molecule.
"""

import time
from functools import cache

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.model_selection import KFold

from benchmarks.descriptors.global_descriptors import qm7
from benchmarks.harness import peak_gib, table
from skatom.baseline import AtomicBaseline
from skatom.parallel import split_rows

REFERENCES = {  # label: published MAE in kcal/mol
    "eigenvalues, Gaussian": 9.9,
    "eigenvalues, Laplacian": None,
    "sorted, Laplacian": 4.3,
    "random orders, Laplacian": 3.1,
    "bag of bonds, Laplacian": 1.5,
    "many-body sums, Gaussian": 0.8,
    "many-body tensors, Gaussian": None,
}
# Widths are this number of halvings from the largest, which is a multiple of the median distance.
HALVINGS, LARGEST = 6, 32.0
ALPHAS = [1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-11]


def molecules(n):
    """Structures and atomisation energies in kcal/mol of some molecules in random order."""
    structures, energies = qm7()
    chosen = np.random.default_rng(0).permutation(len(energies))[:n]
    return structures[chosen], energies[chosen]


def features(label, structures):
    """The rows of all molecules, and how many parts a row has."""
    from skatom.descriptors import BagOfBonds, CoulombMatrix, ManyBodyExpansion

    name = label.split(",")[0]
    if name == "random orders":
        random = CoulombMatrix("random", n_realizations=10, unit="bohr", random_state=0)
        return random.fit_transform(structures).values, 10
    descriptor = {
        "eigenvalues": CoulombMatrix("eigenvalues", unit="bohr"),
        "sorted": CoulombMatrix(unit="bohr"),
        "bag of bonds": BagOfBonds(unit="bohr"),
        "many-body sums": ManyBodyExpansion(),
        "many-body tensors": tensors(),
    }[name]
    values = descriptor.fit_transform(structures).values
    if name == "many-body sums":
        spread = values.std(axis=0)
        values = values[:, spread > 0] / spread[spread > 0]
    return values, 1


def tensors():
    """Pairs and angles, with settings that had the smallest error of 500 molecules after 1,500."""
    from skatom.descriptors import DescriptorUnion, ManyBodyTensor

    pairs = ManyBodyTensor(grid=(0.0, 1.2, 120), sigma=0.02, weighting="exp", decay=1.6)
    angles = ManyBodyTensor("angle", grid=(0, 180, 60), sigma=12.0, weighting="exp", decay=1.5)
    return DescriptorUnion([("pairs", pairs), ("angles", angles)], {"angles": 2e4})


class Kernels:
    """Kernel matrices of widths that are a power of two apart, made when they are first needed.

    A Laplacian kernel of half the width is the square of the former and a Gaussian one its fourth
    power, so that distances are computed once for all widths.
    """

    def __init__(self, label, x, parts):
        from skatom.kernels import Gaussian, Laplacian

        self.kind, self.power = (Gaussian, 4) if label.endswith("Gaussian") else (Laplacian, 2)
        self.x, self.parts, self.made = x, parts, {}
        few = x[:500, : x.shape[1] // parts]
        values = self.kind(1e4)(few)[np.triu_indices(len(few), 1)]
        distances = -np.log(values) if self.kind is Laplacian else np.sqrt(-2 * np.log(values))
        self.widths = LARGEST * 1e4 * float(np.median(distances)) * 0.5 ** np.arange(HALVINGS)

    def __getitem__(self, k):
        if k not in self.made:
            if self.parts > 1:
                self.made = dict(enumerate(self.averages()))
            elif k - 1 in self.made:
                self.made[k] = self.made[k - 1] ** self.power
            else:
                self.made[k] = self.kind(self.widths[k])(self.x)
        return self.made[k]

    def averages(self):
        """The matrices of `AverageOverParts` of all widths, (HALVINGS, n, n), block by block."""
        n, largest = len(self.x), self.kind(self.widths[0])
        out = np.empty((HALVINGS, n, n))
        pieces = split_rows(n, max(1, 480 // self.parts))
        parts = [self.x[rows].reshape(-1, self.x.shape[1] // self.parts) for rows in pieces]
        for number, rows in enumerate(pieces):
            for columns, y in zip(pieces[: number + 1], parts, strict=False):
                values = largest(parts[number], y)
                for matrix in out:
                    pairs = values.reshape(-1, self.parts, len(y) // self.parts, self.parts)
                    matrix[rows, columns] = pairs.mean(axis=(1, 3))
                    matrix[columns, rows] = matrix[rows, columns].T
                    values = values**self.power
        return out


def predicted(kernel, y, train, test, alpha):
    """Predictions of kernel ridge regression, a column for each of y; infinite if it fails."""
    matrix = kernel[np.ix_(train, train)]
    matrix.flat[:: len(matrix) + 1] += alpha
    try:
        factor = cho_factor(matrix, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        return np.full((len(test), y.shape[1]), np.inf)
    return kernel[np.ix_(test, train)] @ cho_solve(factor, y[train])


def searched(kernels, y, train):
    """Places of width and regularisation, and the column, of the smallest error of inner folds.

    The best place of the whole grid on a third of the samples is the first guess; from there the
    search goes to the best neighbour until none is better.
    """

    def errors(place, samples):
        found = []
        for inner, outer in KFold(3, shuffle=True, random_state=1).split(samples):
            inner, outer = samples[inner], samples[outer]
            values = predicted(kernels[place[0]], y, inner, outer, ALPHAS[place[1]])
            found.append(np.abs(values - y[outer]).mean(axis=0))
        return np.mean(found, axis=0)

    grid = [(k, a) for k in range(HALVINGS) for a in range(len(ALPHAS))]
    best = min(grid, key=lambda place: errors(place, train[::3]).min())
    score = cache(lambda place: errors(place, train).min())
    while True:
        k, a = place = best
        near = {(k - 1, a), (k + 1, a), (k, a - 1), (k, a + 1)} & set(grid)
        best = min([place, *sorted(near)], key=score)
        if best == place:
            return place, int(errors(place, train).argmin())


def row(label, structures, energies):
    """The line of the table of one descriptor."""
    begin = time.perf_counter()
    x, parts = features(label, structures)
    kernels, found = Kernels(label, x, parts), []
    for train, test in KFold(5, shuffle=True, random_state=0).split(energies):
        of_elements = AtomicBaseline().fit(structures[train], energies[train]).predict(structures)
        y = np.stack([energies - energies[train].mean(), energies - of_elements], axis=1)
        place, column = searched(kernels, y, train)
        values = predicted(kernels[place[0]], y, train, test, ALPHAS[place[1]])
        found.append(np.abs(values - y[test])[:, column].mean())
        chosen = f"width {kernels.widths[place[0]]:.3g}, alpha {ALPHAS[place[1]]:.0e}"
        chosen += f", less {['the mean', 'elements'][column]}"
        print(f"{label}: {found[-1]:.3f} with {chosen}", flush=True)
    published = REFERENCES[label] or "–"
    seconds = f"{time.perf_counter() - begin:.0f}"
    return [label, f"{np.mean(found):.2f}", f"{np.std(found):.2f}", str(published), seconds]


def add_arguments(parser):
    parser.add_argument("--only", choices=list(REFERENCES), help="one row of the table")
    parser.add_argument("--molecules", type=int, metavar="N", help="this many molecules")


def run(options):
    structures, energies = molecules(options.molecules)
    labels = [options.only] if options.only else REFERENCES
    rows = [row(label, structures, energies) for label in labels]
    header = ["model", "MAE", "spread", "published", "seconds"]
    table(f"{len(energies)} molecules of QM7 in five folds, MAE in kcal/mol", header, rows)
    print(f"peak memory {peak_gib():.1f} GiB")
