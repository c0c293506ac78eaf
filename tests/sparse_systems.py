"""Systems and dense references for the tests of sparse Gaussian processes."""

from types import SimpleNamespace

import numpy as np
from ase import Atoms
from ase.build import molecule
from derivatives import slopes_of_displacements, slopes_of_strains

from skatom import Structures, Targets
from skatom.descriptors import SOAP
from skatom.kernels import Cosine, Gaussian, Polynomial
from skatom.models import PairRepulsion
from skatom.models.sparse.tangents import strain_tangents
from skatom.models.sparse.variance import functionals
from skatom.parallel import threads_over_blas

SMALL = SOAP(cutoff=3.5, n_max=3, l_max=2)
PAIRS = SOAP(cutoff=3.0, n_max=4, nu=1, normalize=False)
ONE = [(SMALL, Cosine(zeta=2), 12)]
# a pair potential, a kernel with a radial part, and environments that are compared as they are
SEVERAL = [
    (PAIRS, 4.0 * Polynomial(zeta=1), 3),
    (SOAP(cutoff=3.5, n_max=3, l_max=2, normalize=False), 0.2 * Gaussian(sigma=1.5), 8),
    (SMALL, Cosine(zeta=3), 8),
]
# without l = 0, where the modulus of a field has a kink wherever the field changes its sign
SMOOTH = {"orbitals": [(2, 1)], "scales": (0,), "beta": 0.4, "channels": ("total",)}


def salt(n, seed=0):
    """Skewed cells of four atoms, smaller than the cutoff, with labels of a pair potential."""
    rng = np.random.default_rng(seed)
    cell = np.array([[3.1, 0.2, 0.0], [0.4, 2.9, 0.3], [-0.2, 0.5, 4.6]])
    corner = np.array([[0, 0, 0], [0.5, 0.5, 0.25], [0.1, 0.5, 0.6], [0.5, 0.1, 0.8]])
    images = []
    for _ in range(n):
        strained = cell @ (np.eye(3) + rng.normal(scale=0.03, size=(3, 3)))
        atoms = Atoms("LiFLiF", corner @ strained, cell=strained, pbc=True)
        atoms.positions += rng.normal(scale=0.1, size=(4, 3))
        images.append(atoms)
    return Structures.from_ase(images)


def labels(structures):
    """Energies, forces and stresses of a repulsion between nuclei, with offsets of elements."""
    energy, gradient, virial = PairRepulsion(cutoff=3.4, inner=0.1).differentiate(structures)
    volumes = np.linalg.det(structures.cells)[:, None, None]
    offset = np.add.reduceat(-3.0 * structures.numbers, structures.offsets[:-1])
    stress = virial / volumes if structures.pbc.all() else None
    return Targets(energy + offset, -gradient, stress, offsets=structures.offsets)


def rattled_water(n):
    """Distorted water molecules, with labels of a repulsion."""
    rng = np.random.default_rng(3)
    images = [molecule("H2O") for _ in range(n)]
    for atoms in images:
        atoms.positions += rng.normal(scale=0.05, size=(3, 3))
    structures = Structures.from_ase(images)
    energy, gradient, _ = PairRepulsion(cutoff=2.0, inner=0.1).differentiate(structures)
    return structures, Targets(energy, -gradient, offsets=structures.offsets)


def distorted_molecules():
    structures = Structures.from_ase([molecule("CH3OH"), molecule("H2O"), molecule("CH4")])
    structures.positions[:] += 0.1 * np.random.default_rng(0).normal(size=(14, 3))
    return structures


def with_isolated_atoms(crystals):
    """The crystals, an atom of each element alone in a box, and these atoms."""
    structures, targets = crystals
    atoms = [Atoms("Li"), Atoms("F", cell=12 * np.eye(3), pbc=True)]
    everything = Structures.from_ase([*structures.to_ase(), *atoms])
    more = Targets(
        np.append(targets.energy, [-7.0, -30.0]),
        np.concatenate([targets.forces, np.zeros((2, 3))]),
        np.concatenate([targets.stress, np.full((2, 3, 3), np.nan)]),
        offsets=everything.offsets,
    )
    return everything, more, atoms


def check_slopes(model, structures):
    """Forces and stress of any model are derivatives of its energy."""

    def energies(moved):
        return SimpleNamespace(values=model.predict(moved)[:, None])

    watched, one = SimpleNamespace(structures=structures), np.ones((len(structures), 1))
    slopes = slopes_of_displacements(watched, one, energies)
    forces = model.predict(structures, return_forces=True)[1]
    np.testing.assert_allclose(forces, -slopes, atol=1e-6 * np.abs(slopes).max())
    if structures.pbc.all():
        strains = slopes_of_strains(watched, one, energies)
        virial = (
            model.predict(structures, return_stress=True)[1] * structures.volumes()[:, None, None]
        )
        np.testing.assert_allclose(virial, strains, atol=1e-6 * np.abs(strains).max())


def slopes_of(local, structures):
    """dE/dR and dE/dε by differences of Σ_i local(structures).values."""
    watched = SimpleNamespace(
        structures=structures,
        numbers=structures.numbers,
        descriptor=SimpleNamespace(transform=local),
    )
    one = np.ones((len(structures.numbers), 1))
    return slopes_of_displacements(watched, one), slopes_of_strains(watched, one)


def dense_energy_kernel(one, other, kernel):
    """Σ_ij k(x_i, x_j) of all pairs of structures, over atoms of the same species."""
    same = one.numbers[:, None] == other.numbers
    values = np.where(same, kernel(one.values, other.values), 0.0)
    return np.add.reduceat(
        np.add.reduceat(values, one.offsets[:-1], axis=0), other.offsets[:-1], axis=1
    )


def derivative_functionals(model, features, make):
    """Priors and rows of all derivatives of a batch."""
    n = len(features[0]) if make is strain_tangents else len(features[0].numbers)
    features = [of_term.with_neighbors() for of_term in features]
    with threads_over_blas() as pool:
        return functionals(model.blocks_, features, make, slice(0, n), pool)


def dense_deviations(model, features, s):
    """Standard deviations of the forces and the virial of a structure, by dense Jacobians."""
    prior, rows = 0.0, []
    for block in model.blocks_:
        of_term = features[block.term][s]
        jacobian = dense_jacobian(of_term)
        mine = of_term.numbers == block.number
        x, slopes = of_term.values[mine], jacobian[:, mine]
        if not mine.any():
            rows.append(np.zeros((len(jacobian), len(block.vectors))))
            continue
        hessian = second_derivatives(block.kernel, x, x)
        prior = prior + np.einsum("aif,ijfg,ajg->a", slopes, hessian, slopes)
        profile = block.kernel.profile(
            x @ block.vectors.T, (x**2).sum(axis=1)[:, None], (block.vectors**2).sum(axis=1)
        )
        shape = (len(x), len(block.vectors))
        s_, u = (np.broadcast_to(a, shape)[:, :, None] for a in (profile.s, profile.u))
        gradient = s_ * block.vectors + 2 * u * x[:, None]
        rows.append(np.einsum("aif,imf->am", slopes, gradient))
    rows = np.concatenate(rows, axis=1)
    variance = prior + np.sum(np.linalg.solve(model.solver_.triangle.T, rows.T) ** 2, axis=0)
    for block, factor in zip(model.blocks_, model.prior_factors_, strict=True):
        variance -= np.sum(np.linalg.solve(factor, rows[:, block.columns].T) ** 2, axis=0)
    return np.sqrt(variance[:-6]), np.sqrt(variance[-6:])


def dense_jacobian(features):
    """Derivatives (3 n_atoms + 6, n_atoms, n_features) for displacements and strains."""
    jacobian, (n, width) = features.jacobian(slice(None)), features.values.shape
    moved, strained = np.zeros((n, 3, n, width)), np.zeros((3, 3, n, width))
    pairs = jacobian.pairs
    for i, j, vector, slope in zip(
        pairs.centers, pairs.indices, pairs.vectors, jacobian.values, strict=True
    ):
        moved[j, :, i] += slope
        moved[i, :, i] -= slope
        strained[:, :, i] += 0.5 * (
            vector[:, None, None] * slope + slope[:, None] * vector[:, None]
        )
    strains = np.stack(
        [strained[a, b] for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
    )
    return np.concatenate([moved.reshape(3 * n, n, width), strains])


def second_derivatives(kernel, x, y):
    """∂²k/∂x∂y, (n, m, n_features, n_features), by the formula of `DotKernel`."""
    p = kernel.profile(x @ y.T, (x**2).sum(axis=1)[:, None], (y**2).sum(axis=1))
    s, ss, su, sv, uv = (
        np.broadcast_to(a, (len(x), len(y)))[:, :, None, None]
        for a in (p.s, p.ss, p.su, p.sv, p.uv)
    )
    x, y = x[:, None, :], y[None, :, :]
    outer = {
        "xx": x[..., :, None] * x[..., None, :], "yy": y[..., :, None] * y[..., None, :],
        "xy": x[..., :, None] * y[..., None, :], "yx": y[..., :, None] * x[..., None, :],
    }  # fmt: skip
    return (
        s * np.eye(x.shape[-1]) + ss * outer["yx"] + 2 * su * outer["xx"] + 2 * sv * outer["yy"]
        + 4 * uv * outer["xy"]
    )  # fmt: skip
