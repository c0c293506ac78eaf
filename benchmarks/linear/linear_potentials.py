"""Linear potentials of moment tensors: errors on mlearn; fit and prediction beside motep.

    python -m benchmarks linear_potentials Ni Cu     elements of mlearn; all six by default
    python -m benchmarks linear_potentials --speed   fit and prediction beside motep alone

For each element the training part alone chooses the level and the weight of the energies, by five
folds: the least product of the errors of energies and forces. Rows are made once; a fold, a weight
or a regularisation costs a factorisation of triangles.

motep gets the same contractions and radial functions as skatom, so that both have the same model:
their energies and forces are compared first. Both fit energies and forces of silicon by linear
least squares.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
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
from skatom.descriptors.contractions import Basis, compile_program, n_monomials
from skatom.models import LinearPotential
from skatom.models.linear.design import Design
from skatom.models.linear.label_sums import LabelSums, sums_of_structures
from skatom.models.linear.ridge import RidgeProblem, squared_errors

# cutoff in Å, and MAE of energies (meV/atom) and forces (eV/Å): the better of moment tensor
# potentials (Zuo et al., J. Phys. Chem. A 124, 731 (2020)) and linear ACE
_PUBLISHED = {
    "Ni": (5.5, 0.34, 0.01), "Cu": (5.5, 0.23, 0.01), "Li": (6.5, 0.17, 0.01),
    "Mo": (5.2, 2.60, 0.09), "Si": (5.5, 2.21, 0.06), "Ge": (5.5, 1.79, 0.05),
}  # fmt: skip
_NOISES = {"noise_energy": 1e-3, "noise_forces": 0.03}
_FACTORS, _ALPHAS = (0.3, 1.0, 3.0), (1e-13, 1e-11, 1e-9, 1e-7)
_PEER = "motep"
_SPEED_LEVEL, _SPEED_CUTOFF, _SPEED_FRAMES = 12, 5.0, 60


def add_arguments(parser):
    parser.add_argument("names", nargs="*", default=list(_PUBLISHED))
    parser.add_argument("--levels", type=int, nargs="+", default=[16, 18, 20])
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
        cutoff, *published = _PUBLISHED[name]
        train, test = (_element(name, part) for part in ("train", "test"))
        begin = time.perf_counter()
        tried = [_folds(*train, cutoff, level) for level in levels]
        score, level, factor = min(tried)
        noises = _NOISES | {"noise_energy": factor * _NOISES["noise_energy"]}
        descriptor = _moments(cutoff, level)
        model = LinearPotential(**noises).fit(descriptor.fit_transform(train[0]), train[1])
        searched = time.perf_counter() - begin
        energy, forces = model.predict(descriptor.transform(test[0]), return_forces=True)
        errors = 1e3 * np.abs(energy - test[1].energy) / test[0].n_atoms
        rows.append([
            name, str(level), f"{factor:g}", f"{errors.mean():.2f} ± {_standard_error(errors):.2f}",
            f"{published[0]:.2f}", f"{np.abs(forces - test[1].forces).mean():.4f}",
            f"{published[1]:.2f}", f"{searched:.0f}",
        ])  # fmt: skip
        print(*rows[-1], flush=True)
    table(
        "mlearn: MAE of the test part, energies in meV/atom with standard errors, forces in eV/Å",
        ["data", "level", "factor", "energy", "published", "forces", "published", "seconds"],
        rows,
    )


def _element(name, part):
    data = read(DATA / "mlearn" / f"mlearn_{name}_{part}.xyz.xz")
    y = data.targets
    return data.structures, Targets(energy=y.energy, forces=y.forces, offsets=y.offsets)


def _moments(cutoff, level):
    return MomentTensor(cutoff=cutoff, level=level, mu_level=2, max_mu=10, by_center=False)


def _standard_error(errors):
    return errors.std(ddof=1) / np.sqrt(len(errors))


def _folds(X, y, cutoff, level, n_folds=5):
    """The least product of errors, with the level and the factor of the energies' noise."""
    features = _moments(cutoff, level).fit_transform(X)
    design = Design(X.species, False, True, features.n_features)
    labels, weights = (
        LinearPotential(1e-9, **_NOISES).fit(features[:2], y[:2]).labels_of(features, y)
    )
    folds = [test for _, test in KFold(n_folds, shuffle=True, random_state=0).split(X)]
    parts = [sums_of_structures(design, features[f], labels[f], weights[f]) for f in folds]
    del features
    found = []
    for k in range(n_folds):
        rest = LabelSums(design.n_columns)
        for j in range(n_folds):
            rest = rest.merge(parts[j]) if j != k else rest
        found.append(
            _errors(RidgeProblem(rest.reduced(), 1, np.ones(design.n_columns - 1)), parts[k])
        )
    product = np.sum(found, axis=0).prod(axis=-1).min(axis=1)
    best = int(np.argmin(product))
    return float(product[best]), level, _FACTORS[best]


def _errors(problem, held):
    """Squared errors (n_factors, n_alphas, 2) of energies and forces of a fold."""
    return np.array([
        [
            [squared_errors(held.parts[kind], w) for kind in ("energy", "forces")]
            for alpha in _ALPHAS
            for w in [problem.solve(problem.posterior(alpha, [factor, 1.0]))]
        ]
        for factor in _FACTORS
    ])  # fmt: skip


# --- speed --------------------------------------------------------------------------------------


def speed(options):
    peer, script = peer_of(options, _PEER), peer_script("motep_potential.py")
    with tempfile.TemporaryDirectory() as folder:
        structures, model = Path(folder) / "silicon.xyz", Path(folder) / "model.json"
        X, y = _element("Si", "train")
        X, y = X[:_SPEED_FRAMES], y[:_SPEED_FRAMES]
        _write_images(structures, X, y)
        descriptor, potential = _speed_model(X, y)
        _write_model(model, descriptor, potential)
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


def _write_model(path, descriptor, potential):
    """The model in the arrays of MLIP's potentials: sums of products of earlier numbers."""
    basis = Basis(_SPEED_LEVEL, 4, 4, 5, 10, 1)
    program = compile_program(basis)
    basics = [
        [mu, n - s, s - c, c]
        for mu, degree in enumerate(program.degrees)
        for n in range(degree + 1)
        for s in range(n + 1)
        for c in range(s + 1)
    ]
    assert len(basics) == sum(map(n_monomials, program.degrees))
    times = [
        [int(program.left[t]), int(program.right[t]), int(program.factors[t]), len(basics) + k]
        for k in range(len(program.starts) - 1)
        for t in range(program.starts[k], program.starts[k + 1])
    ]
    radial = np.asarray(descriptor.radial_coefficients).transpose(1, 2, 0, 3)
    path.write_text(json.dumps({
        "species": [14], "scaling": 1.0,
        "radial_basis": {
            "type": "RBChebyshev", "min": descriptor.r_min, "max": descriptor.cutoff, "size": 8
        },
        "radial_funcs_count": len(program.degrees), "radial_coeffs": radial.tolist(),
        "alpha_moments_count": len(basics) + len(program.starts) - 1,
        "alpha_index_basic_count": len(basics), "alpha_index_basic": basics,
        "alpha_index_times_count": len(times), "alpha_index_times": times,
        "alpha_scalar_moments": len(program.scalars),
        "alpha_moment_mapping": program.scalars.tolist(),
        "species_coeffs": potential.intercept_.tolist(),
        "moment_coeffs": potential.coef_.ravel().tolist(),
    }), encoding="utf-8")  # fmt: skip


def _agreement(theirs, X, potential, descriptor):
    energy, forces = potential.predict(descriptor.transform(X), return_forces=True)
    differences = (
        np.abs(energy - theirs[0]).max(), np.abs(forces - np.concatenate(theirs[1])).max()
    )  # fmt: skip
    print("differences from motep: energies {:.1e} eV, forces {:.1e} eV/Å".format(*differences))
