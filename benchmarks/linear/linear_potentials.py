"""Linear potentials of moment tensors: errors on mlearn; fit and prediction beside motep.

    python -m benchmarks linear_potentials Ni Cu     elements of mlearn; all six by default
    python -m benchmarks linear_potentials --speed   fit and prediction beside motep alone

For each element the training part alone chooses the settings, by five folds: first the cutoff and
the noise of the energies at a low level, then the level and the regularisation. What is left out is
judged by the product of the mean absolute error of energies per atom and the squared error of
forces. Rows are made once for a cutoff, at the highest level: a level is a part of their columns.
The search has normal equations, and the model that is judged a QR factorisation.

motep gets the same contractions and radial functions as skatom, so that both have the same model:
their energies and forces are compared first. Both fit energies and forces of silicon by linear
least squares.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.model_selection import KFold

from benchmarks.harness import (
    DATA,
    compare,
    own,
    peer_of,
    peer_script,
    ratios_header,
    repeated_within,
    run_process,
    table,
)
from skatom import Targets
from skatom.datasets import read
from skatom.descriptors import MomentTensor
from skatom.descriptors.contractions import Basis, compile_program
from skatom.models import LinearPotential, write_mtp
from skatom.solvers import NormalEquations

# cutoff in Å, and MAE of energies (meV/atom) and forces (eV/Å): the better of moment tensor
# potentials (Zuo et al., J. Phys. Chem. A 124, 731 (2020)) and linear ACE
_PUBLISHED = {
    "Ni": (5.5, 0.34, 0.01), "Cu": (5.5, 0.23, 0.01), "Li": (6.5, 0.17, 0.01),
    "Mo": (5.2, 2.60, 0.09), "Si": (5.5, 2.21, 0.06), "Ge": (5.5, 1.79, 0.05),
}  # fmt: skip
_NOISES = {"noise_energy": 1e-3, "noise_forces": 0.03}
_CUTOFFS, _SCAN_LEVEL = (0.9, 1.0, 1.1), 16
_FACTORS, _ALPHAS = (0.3, 1.0, 3.0, 10.0), tuple(np.logspace(-12, -6, 7))
_ALPHA = 1e-8  # a regularisation of which a fit has normal equations
_PEER = "motep"
_SPEED_LEVEL, _SPEED_CUTOFF, _SPEED_FRAMES = 12, 5.0, 60


def add_arguments(parser):
    parser.add_argument("names", nargs="*", default=list(_PUBLISHED))
    parser.add_argument("--levels", type=int, nargs="+", default=[16, 18, 20, 22])
    parser.add_argument("--speed", action="store_true", help="compare with motep alone")
    parser.add_argument("--alone", action="store_true", help="without motep")


def run(options):
    if not options.speed:
        accuracy(options.names, options.levels)
    speed(options)


# --- errors -------------------------------------------------------------------------------------


def accuracy(names, levels):
    rows = []
    for name in names:
        rows.append(_element_errors(name, levels))
        print(*rows[-1], flush=True)
    table(
        "mlearn: MAE of the test part, energies in meV/atom with standard errors, forces in eV/Å",
        ["data", "cutoff", "level", "noise", "alpha", "energy", "published", "forces",
         "published", "seconds"],
        rows,
    )  # fmt: skip


def _element_errors(name, levels):
    cutoff, *published = _PUBLISHED[name]
    train, test = (_element(name, part) for part in ("train", "test"))
    begin = time.perf_counter()
    cutoff, noise = _scanned(*train, cutoff)
    folds = Folds.of(*train, cutoff, max(levels), noise)
    _, level, alpha = min(folds.best_of_level(level) for level in levels)
    descriptor, model = _descriptor(cutoff, level), LinearPotential(alpha, **_noises(noise))
    model.fit(descriptor.fit_transform(train[0]), train[1])
    seconds = time.perf_counter() - begin
    energy, forces = model.predict(descriptor.transform(test[0]), return_forces=True)
    errors = 1e3 * np.abs(energy - test[1].energy) / test[0].n_atoms
    return [
        name, f"{cutoff:g}", str(level), f"{noise:g}", f"{alpha:g}",
        f"{errors.mean():.2f} ± {_standard_error(errors):.2f}", f"{published[0]:.2f}",
        f"{np.abs(forces - test[1].forces).mean():.4f}", f"{published[1]:.2f}", f"{seconds:.0f}",
    ]  # fmt: skip


def _scanned(X, y, cutoff):
    """The cutoff and the noise of energies that are best at a low level."""
    found = []
    for scale in _CUTOFFS:
        near = round(scale * cutoff, 1)
        folds = Folds.of(X, y, near, _SCAN_LEVEL, _NOISES["noise_energy"])
        scores = [folds.best_of_level(_SCAN_LEVEL, factor)[0] for factor in _FACTORS]
        best = int(np.argmin(scores))
        found.append((scores[best], near, _FACTORS[best] * _NOISES["noise_energy"]))
    return min(found)[1:]


def _descriptor(cutoff, level):
    return MomentTensor(cutoff=cutoff, level=level, mu_level=2, max_mu=10, by_center=False)


def _noises(noise_energy):
    return _NOISES | {"noise_energy": noise_energy}


def _element(name, part):
    data = read(DATA / "mlearn" / f"mlearn_{name}_{part}.xyz.xz")
    y = data.targets
    return data.structures, Targets(energy=y.energy, forces=y.forces, offsets=y.offsets)


def _standard_error(errors):
    return errors.std(ddof=1) / np.sqrt(len(errors))


@dataclass
class Folds:
    """Sums of squares of five parts of the data, each of which tests what the others learnt.

    A part has, for energies and forces, the products of its weighted columns and labels, of which
    those of other noises and of fewer columns are made; and its energy rows and energies per atom.
    """

    grams: list
    energies: list
    levels: np.ndarray

    @classmethod
    def of(cls, X, y, cutoff, level, noise):
        descriptor = _descriptor(cutoff, level)
        features, linear = descriptor.fit_transform(X), LinearPotential(_ALPHA, **_noises(noise))
        grams, energies = [], []
        for _, part in KFold(5, shuffle=True, random_state=0).split(X):
            sums = linear.fit(features[part], y[part]).sums_
            grams.append({kind: _gram(sums.parts[kind]) for kind in ("energy", "forces")})
            n_atoms = X.n_atoms[part]
            rows = np.column_stack([n_atoms, features[part].pool("sum").values, y.energy[part]])
            energies.append(rows / n_atoms[:, None])
        return cls(grams, energies, descriptor.feature_degrees())

    def best_of_level(self, level, factor=1.0):
        """The least product of errors, the level and the regularisation."""
        columns = np.concatenate([[0], 1 + np.flatnonzero(self.levels <= level), [-1]])
        whole = [
            gram["energy"][np.ix_(columns, columns)] / factor**2
            + gram["forces"][np.ix_(columns, columns)]
            for gram in self.grams
        ]
        errors = np.zeros((len(_ALPHAS), 2))
        for k, (gram, held) in enumerate(zip(self.grams, self.energies, strict=True)):
            rest = sum(part for j, part in enumerate(whole) if j != k)
            forces, rows = gram["forces"][np.ix_(columns, columns)], held[:, columns]
            for a, w in enumerate(_solutions(rest, _ALPHAS)):
                errors[a] += np.abs(rows @ w).sum(), w @ forces @ w
        products = errors.prod(axis=1)
        return products.min(), level, _ALPHAS[int(np.argmin(products))]


def _gram(part):
    """Products of columns and labels, of rows, a triangle or normal equations."""
    if isinstance(part, NormalEquations):
        return np.block([
            [part.gram, part.products[:, None]], [part.products, np.array(part.total)]
        ])  # fmt: skip
    rows = np.column_stack(part if isinstance(part, tuple) else (part.triangle, part.projections))
    products = rows.T @ rows
    if not isinstance(part, tuple):
        products[-1, -1] += part.residuals[0]
    return products


def _solutions(gram, alphas):
    """Coefficients of the constant and the scaled features, with −1 for the label at the end."""
    constant = gram[0, 1:-1]
    lengths = np.sqrt(np.diagonal(gram)[1:-1] - constant**2 / gram[0, 0])
    lengths = np.concatenate([[np.sqrt(gram[0, 0])], np.maximum(lengths, 1e-8 * lengths.max())])
    scaled = gram[:-1, :-1] / np.outer(lengths, lengths)
    for alpha in alphas:
        penalty = np.full(len(scaled), alpha)
        penalty[0] = 1e-15
        factor = cho_factor(scaled + np.diag(penalty), overwrite_a=True)
        yield np.append(cho_solve(factor, gram[:-1, -1] / lengths) / lengths, -1.0)


# --- speed --------------------------------------------------------------------------------------


def speed(options):
    peer, script = peer_of(options, _PEER), peer_script("motep_potential.py")
    with tempfile.TemporaryDirectory() as folder:
        structures, model = Path(folder) / "silicon.xyz", Path(folder) / "silicon.mtp"
        X, y = _element("Si", "train")
        X, y = X[:_SPEED_FRAMES], y[:_SPEED_FRAMES]
        _write_images(structures, X, y)
        descriptor, potential = _speed_model(X, y)
        write_mtp(potential, model)
        if peer:
            _agreement(
                run_process((peer, script, "print", structures, model), 1), X, potential, descriptor
            )
        ratios_header()
        for task in ("fit", "predict"):
            commands = {"skatom": own(seconds_of, task)}
            if peer:
                commands[_PEER] = (peer, script, task, structures, model)
            best = compare(f"{task}, {len(X.numbers)} atoms", commands, 2, options.threads)
            print(f"{1e6 * best['skatom'] / len(X.numbers):61.1f} µs an atom")


def _speed_model(X, y):
    """A moment tensor potential with given radial functions, of the level of the comparison."""
    degrees = compile_program(Basis(_SPEED_LEVEL, 4, 4, 5, 10, 1)).degrees
    radial = np.eye(len(degrees), 8)[:, None, None, :]
    radial = radial + 0.1 * np.random.default_rng(0).normal(size=radial.shape)
    descriptor = MomentTensor(
        cutoff=_SPEED_CUTOFF, level=_SPEED_LEVEL, by_center=False, r_min=2.0,
        radial_coefficients=radial,
    )  # fmt: skip
    features = descriptor.fit_transform(X)
    return descriptor, LinearPotential(1e-12).fit(features, y)


def seconds_of(task):
    """Seconds of each fit, features included, or of each prediction of energies and forces."""
    X, y = _element("Si", "train")
    X, y = X[:_SPEED_FRAMES], y[:_SPEED_FRAMES]
    descriptor, potential = _speed_model(X, y)

    def run():
        if task == "fit":
            potential.fit(descriptor.fit_transform(X), y)
        else:
            potential.predict(descriptor.transform(X), return_forces=True)

    return repeated_within(run, seconds=20, fewest=2, most=10)


def _write_images(path, X, y):
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    images = X.to_ase()
    for s, atoms in enumerate(images):
        own_atoms = slice(*X.offsets[s : s + 2])
        atoms.calc = SinglePointCalculator(
            atoms, energy=y.energy[s], forces=y.forces[own_atoms], stress=np.zeros(6)
        )
    write(path, images)


def _agreement(theirs, X, potential, descriptor):
    energy, forces = potential.predict(descriptor.transform(X), return_forces=True)
    differences = (
        np.abs(energy - theirs[0]).max(), np.abs(forces - np.concatenate(theirs[1])).max()
    )  # fmt: skip
    print("differences from motep: energies {:.1e} eV, forces {:.1e} eV/Å".format(*differences))
