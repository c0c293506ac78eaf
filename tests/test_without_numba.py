"""A node without numba imports everything, and works with torch where that is possible."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import skatom

BLOCK = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "numba":
            raise ImportError("no numba")
sys.meta_path.insert(0, Finder())
"""

WORK = """
import numpy as np
from skatom import Structures, Targets
from skatom.descriptors import AtomicClusterExpansion
from skatom.models import SGDML, LinearPotential
from skatom.parallel import run_in_threads
import skatom.cli, skatom.plotting, skatom.vibrations, skatom.calculators

rng = np.random.default_rng(0)
positions = [[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]] + rng.normal(size=(30, 3, 3)) * 0.1
X = Structures.from_frames([8, 1, 1], positions)
arms = positions[:, :, None] - positions[:, None]
lengths = np.sqrt((arms**2).sum(-1)) + np.eye(3)
forces = -(2 * (lengths - 1)[..., None] * arms / lengths[..., None]).sum(2)
model = SGDML(sigma=3.0, device="torch").fit(X[:20], Targets(forces=forces[:20].reshape(-1, 3),
    offsets=X[:20].offsets))
energy, found = model.predict(X[20:], return_forces=True)
assert abs(found - forces[20:].reshape(-1, 3)).max() < 0.1 * abs(forces).max()
assert model.hessian(X[:2]).shape == (2, 9, 9)
expansion = AtomicClusterExpansion(3.0, (6, 4, 4), device="torch").fit(X)
features, y = expansion.transform(X), Targets(forces=forces.reshape(-1, 3), offsets=X.offsets)
linear = LinearPotential(1e-8).fit(features[:20], y[:20])
found = linear.predict(features[20:], return_forces=True)[1]
assert abs(found - y[20:].forces).max() < 0.1 * abs(forces).max()
try:
    model.set_params(device="cpu").predict(X)
except ImportError as error:
    print(error)
"""


def test_models_on_a_device_of_torch():
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "-c", BLOCK + WORK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "is a compiled loop, which needs numba: pip install numba" in done.stdout


NUMBERS = """
import numpy as np
from skatom import Structures, Targets
from skatom.descriptors import FCHL19
from skatom.models import SGDML

rng = np.random.default_rng(0)
positions = [[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]] + rng.normal(size=(6, 3, 3)) * 0.1
X = Structures.from_frames([8, 1, 1], positions)
y = Targets(forces=rng.normal(size=(12, 3)), offsets=X[:4].offsets)
features = FCHL19(n_r2=6, n_r3=4).fit_transform(X)
gradient, virial = features.pullback(features.values)
energy, forces = SGDML(sigma=3.0).fit(X[:4], y).predict(X[4:], return_forces=True)
numbers = [np.ravel(array) for array in (features.values, gradient, virial, energy, forces)]
"""
PRINTED = """
for array in numbers:
    print(array.tobytes().hex())
"""


def test_python_gives_the_numbers_of_compiled_loops():
    """``NUMBA_DISABLE_JIT`` is for debuggers and measurements of coverage."""
    here = {}
    exec(NUMBERS, here)
    done = subprocess.run(
        [sys.executable, "-c", NUMBERS + PRINTED], capture_output=True, text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    there = [np.frombuffer(bytes.fromhex(word)) for word in done.stdout.split()]
    tolerances = (1e-13, 1e-13, 1e-13, 1e-10, 1e-10)
    for compiled, interpreted, tolerance in zip(here["numbers"], there, tolerances, strict=True):
        error = np.linalg.norm(compiled - interpreted)
        assert error <= tolerance * np.linalg.norm(compiled)


def test_modules_take_numba_from_one_place():
    root = Path(skatom.__file__).parent
    imported = re.compile(r"^\s*(?:import|from) numba\b", re.MULTILINE)
    paths = [p for p in root.rglob("*.py") if imported.search(p.read_text(encoding="utf-8"))]
    assert {path.parent.name for path in paths} == {"_numba"}, paths
