"""
Why forces are learnt as derivatives
====================================

Differentiation amplifies noise, integration damps it. And forces that are learnt component by
component are not the derivatives of anything.
"""

# %%
# A sine wave is known at a few points with noise. One Gaussian process learns the values and is
# differentiated, another learns the slopes and is integrated; both have the same squared
# exponential kernel, and the covariances with slopes are its derivatives.
import matplotlib.pyplot as plt
import numpy as np

NOISE, LENGTH, WAVE = 0.1, 0.5, 3.0


def covariance(x, y, d_x, d_y):
    """The kernel, differentiated with respect to its arguments or not."""
    u = (x[:, None] - y) / LENGTH
    kernel = np.exp(-0.5 * u**2)
    if d_x and d_y:
        return (1 - u**2) / LENGTH**2 * kernel
    return (d_y - d_x) * u / LENGTH * kernel if d_x or d_y else kernel


def learn(x, labels, of_slopes, grid):
    """Values and slopes on a grid, from noisy values or slopes at x."""
    gram = covariance(x, x, of_slopes, of_slopes) + NOISE**2 * np.eye(len(x))
    weights = np.linalg.solve(gram, labels)
    return [covariance(grid, x, d, of_slopes) @ weights for d in (False, True)]


grid = np.linspace(0, 2 * np.pi, 200)
true = np.sin(WAVE * grid), WAVE * np.cos(WAVE * grid)


def errors(n_points, n_draws=30):
    """Errors of values, relative to their mean, and of slopes, for both ways of learning."""
    rng, x = np.random.default_rng(0), np.linspace(0, 2 * np.pi, n_points)
    found = np.zeros((2, 2))
    for _ in range(n_draws):
        noise = NOISE * rng.normal(size=n_points)
        for way, clean in enumerate((np.sin(WAVE * x), WAVE * np.cos(WAVE * x))):
            predicted = learn(x, clean + noise, bool(way), grid)
            for quantity in range(2):
                difference = predicted[quantity] - true[quantity]
                if quantity == 0:
                    difference -= difference.mean()
                found[way, quantity] += np.mean(difference**2) / n_draws
    return np.sqrt(found)


sizes = np.array([15, 20, 30, 50, 100, 200])
curves = np.array([errors(n) for n in sizes])
figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.4), layout="constrained")
for quantity, (ax, name) in enumerate(zip(axes, ("values", "slopes"), strict=True)):
    for way, label in enumerate(("learnt from values", "learnt from slopes")):
        ax.loglog(sizes, curves[:, way, quantity], "o-", label=label)
    ax.axhline(NOISE, color="0.5", lw=0.8)
    ax.set_xticks(sizes, sizes)
    ax.set_xticks([], minor=True)
    ax.set(xlabel="points", title=f"error of {name}")
axes[0].legend()
plt.show()

# %%
# The noise of the labels is the same everywhere, the grey line. Learnt from values, slopes have
# larger errors than their labels would have, even with 200 points: a wave of frequency ω in the
# error of the values is ω times as large in that of the slopes. Learnt from slopes, the same factor
# works in the other direction, and from 20 points on both errors are smaller than the noise.
ratio = curves[:, 0] / curves[:, 1]
for size, (of_values, of_slopes) in zip(sizes, ratio, strict=True):
    print(
        f"{size:4} points: learnt from values, errors are {of_values:.1f} (values) and "
        f"{of_slopes:.1f} (slopes) times as large"
    )

# %%
# For a molecule, forces can be learnt in the same way as a derivative (`GDML`), or as 3N
# independent numbers. The latter is one line of scikit-learn, but forces turn with the molecule,
# which these numbers do not know: all frames are first turned onto the first one. Their length
# scale is given, near the best one for each number of frames. The marginal likelihood of few frames
# is largest for a length of zero, with which nothing is learnt.
from scipy.spatial.transform import Rotation
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom.datasets import load_ethanol
from skatom.descriptors import InverseDistances
from skatom.models import GDML


def aligned(data):
    """The frames, turned onto the first one, with their forces."""
    positions = data.structures.positions.reshape(-1, 9, 3)
    forces = data.targets.forces.reshape(-1, 9, 3)
    positions = positions - positions.mean(axis=1, keepdims=True)
    turns = [
        Rotation.align_vectors(positions[0], frame)[0].as_matrix()
        for frame in positions
    ]
    positions, forces = (
        np.einsum("nxy,nay->nax", turns, vectors) for vectors in (positions, forces)
    )
    images = data.structures.to_ase()
    for atoms, place in zip(images, positions, strict=True):
        atoms.positions = place
    return Structures.from_ase(images), Targets(data.targets.energy, forces)


structures, targets = aligned(load_ethanol())
test, test_forces = structures[5::50], targets[5::50].forces


def naive_of(X, y):
    model = make_pipeline(
        InverseDistances(),
        GaussianProcessRegressor(
            Matern(0.5, nu=2.5), alpha=1e-8, normalize_y=True, optimizer=None
        ),
    )
    return model.fit(X, y.forces.reshape(len(X), -1))


def forces_of(model, X):
    """Forces (n_atoms, 3) of either model."""
    if isinstance(model, GDML):
        return model.predict(X, return_forces=True)[1]
    return model.predict(X).reshape(-1, 3)


def curl(model, structure, step=1e-3):
    """Share of the antisymmetric part in the derivatives of the forces, by differences."""
    size = structure.positions.size
    moves = step * np.concatenate([np.eye(size), -np.eye(size)]).reshape(
        -1, size // 3, 3
    )
    moved = Structures(
        np.tile(structure.numbers, len(moves)),
        (structure.positions + moves).reshape(-1, 3),
        size // 3 * np.arange(len(moves) + 1),
    )
    plus, minus = forces_of(model, moved).reshape(2, size, size)
    slopes = (plus - minus) / (2 * step)
    return np.linalg.norm(slopes - slopes.T) / np.linalg.norm(slopes + slopes.T)


sizes, rows = [25, 50, 100, 200], []
for size in sizes:
    train = slice(0, 2500, 2500 // size)
    fitted = [
        naive_of(structures[train], targets[train]),
        GDML().fit(structures[train], targets[train]),
    ]
    rows.append(
        [np.sqrt(np.mean((forces_of(m, test) - test_forces) ** 2)) for m in fitted]
    )
    print(f"{size:4} frames: RMSE {rows[-1][0]:.3f} and {rows[-1][1]:.3f} eV/Å")
figure, ax = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
for way, label in enumerate(("3N independent processes", "derivative of one energy")):
    ax.loglog(sizes, np.array(rows)[:, way], "o-", label=label)
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.set(xlabel="training frames", ylabel="force RMSE (eV/Å)")
ax.legend()
plt.show()

# %%
# The derivatives of forces that come from an energy are symmetric: without this, a molecule gains
# energy on a closed path. The independent processes do not know it, nor what a rotation does: from
# a turned frame they predict the forces of the frame before it was turned.
turned = test.to_ase()
for atoms in turned:
    atoms.rotate(90, "x", center="COM")
turned_forces = test_forces @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
for name, model in zip(("independent", "GDML"), fitted, strict=True):
    error = np.sqrt(np.mean((forces_of(model, turned) - turned_forces) ** 2))
    print(
        f"{name:12} antisymmetric share {curl(model, test[0]):.1e}, RMSE of turned frames "
        f"{error:.3f} eV/Å"
    )
