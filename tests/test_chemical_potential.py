"""The energy of a probe around molecules: predictions with one atom more, surfaces, pictures."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from models_under_contract import crystals, labels_of, waters
from sklearn.pipeline import make_pipeline

from skatom.attribution import (
    energy_by_atom,
    local_chemical_potential,
    molecular_plane,
    molecular_surface,
)
from skatom.descriptors import SOAP, InverseDistances
from skatom.models import ForceKernelRidge, SparseGaussianProcess
from skatom.plotting import ChemicalPotentialDisplay


@pytest.fixture(scope="module")
def gap():
    data = waters(8)
    model = make_pipeline(
        SOAP(cutoff=3.5, n_max=3, l_max=2), SparseGaussianProcess(n_sparse=8, random_state=0)
    )
    return model.fit(data, labels_of(data, ("energy", "forces")))


def points_around(structure, n=5, seed=0):
    steps = np.random.default_rng(seed).normal(size=(n, 3))
    steps *= 1.5 / np.linalg.norm(steps, axis=1)[:, None]
    return structure.positions[0] + steps


def turn(seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.linalg.det(q)


class TestProbe:
    def test_is_an_atom_that_is_added(self, gap):
        water = waters(1)
        points = points_around(water)
        found = local_chemical_potential(gap, water, points)
        whole = local_chemical_potential(gap, water, points, 1, kind="insertion")
        before = gap.predict(water)[0]
        for point, of_probe, of_all in zip(points, found, whole, strict=True):
            more = water.to_ase()[0] + Atoms("H", [point])
            assert energy_by_atom(gap, [more])[-1] == pytest.approx(of_probe, abs=1e-12)
            assert gap.predict([more])[0] - before == pytest.approx(of_all, abs=1e-12)

    def test_turns_with_the_molecule(self, gap):
        water, q = waters(1), turn()
        points = points_around(water)
        turned = water.moved(water.positions @ q.T + 3.0)
        found = local_chemical_potential(gap, turned, points @ q.T + 3.0, "O")
        np.testing.assert_allclose(
            found, local_chemical_potential(gap, water, points, "O"), rtol=0, atol=1e-10
        )

    def test_of_no_points(self, gap):
        assert local_chemical_potential(gap, waters(1), np.empty((0, 3))).shape == (0,)

    @pytest.mark.parametrize(
        "changes, message",
        [
            ({"kind": "energy"}, "kind='energy' must be 'probe' or 'insertion'"),
            ({"X": waters(2)}, "got 2 structures: give one"),
            ({"points": np.zeros(3)}, r"points of shape \(3,\) must be finite numbers"),
            ({"points": [[0, 0, np.nan]]}, "must be finite numbers"),
            ({"probe": "Xy"}, "probe='Xy' is no element"),
            ({"probe": 0}, "probe=0 is no element"),
            ({"probe": "N"}, "contains N, which was not in the structures given to fit"),
            ({"points": waters(1).positions[:1]}, "same place"),
        ],
    )
    def test_errors(self, gap, changes, message):
        arguments = {"X": waters(1), "points": np.ones((1, 3)), "probe": "H", "kind": "probe"}
        with pytest.raises(ValueError, match=message):
            local_chemical_potential(gap, **arguments | changes)

    def test_needs_energies_of_atoms(self):
        data = waters(8)
        model = make_pipeline(InverseDistances(), ForceKernelRidge())
        model.fit(data, labels_of(data, ("forces",)))
        with pytest.raises(ValueError, match="no energies of atoms: .* kind='insertion'"):
            local_chemical_potential(model, data[0], [[0, 0, 3.0]])


class TestSurface:
    def test_has_the_level(self):
        atoms = molecule("C6H6")
        surface = molecular_surface([atoms], level=3.0, spacing=0.3)
        squares = ((surface.points[:, None] - atoms.positions) ** 2).sum(axis=2)
        np.testing.assert_allclose((1 / squares).sum(axis=1), 3.0, rtol=1e-8)

    def test_is_closed_and_turned_outwards(self):
        """Volume by the theorem of Gauss, and every edge twice, once in each direction."""
        surface = molecular_surface([Atoms("O", [[1, 2, 3.0]])], level=0.25, spacing=0.12)
        corners = surface.points[surface.triangles] - [1, 2, 3.0]
        assert np.linalg.det(corners).sum() / 6 == pytest.approx(4 / 3 * np.pi * 8, rel=3e-3)
        edges = surface.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        assert len(np.unique(edges, axis=0)) == len(edges)
        assert {*map(tuple, edges)} == {*map(tuple, edges[:, ::-1])}

    def test_of_atoms_far_apart_are_two_spheres(self):
        surface = molecular_surface([Atoms("OO", [[0, 0, 0], [0, 0, 6.0]])], level=1.0)
        assert len(surface.triangles) == 2 * len(surface.points) - 8
        assert (surface.points[:, 2] < 1.1).sum() > 50 < (surface.points[:, 2] > 4.9).sum()

    @pytest.mark.parametrize(
        "changes, message",
        [
            ({"X": waters(2)}, "got 2 structures, 0 of them periodic"),
            ({"X": crystals(1)}, "got 1 structures, 1 of them periodic"),
            ({"level": 0.0}, "level=0.0 and spacing=0.15 must be positive numbers"),
            ({"spacing": np.inf}, "spacing=inf must be positive numbers"),
        ],
    )
    def test_errors(self, changes, message):
        with pytest.raises(ValueError, match=message):
            molecular_surface(**{"X": waters(1)} | changes)

    def test_plane(self):
        atoms = molecule("C6H6")
        atoms.rotate(40, [1, 2, 3])
        plane = molecular_plane([atoms], height=0.7, spacing=0.3)
        normal = np.linalg.svd(atoms.positions - atoms.positions.mean(axis=0))[2][2]
        heights = (plane.points - atoms.positions.mean(axis=0)) @ normal
        np.testing.assert_allclose(np.abs(heights), 0.7, atol=1e-10)
        assert plane.triangles.max() == len(plane.points) - 1

    def test_plane_has_holes_at_atoms(self):
        atoms = molecule("C6H6")
        plane = molecular_plane([atoms], spacing=0.2)
        distances = np.linalg.norm(plane.points[:, None] - atoms.positions, axis=2)
        assert 0.5 <= distances.min() < 0.6
        with pytest.raises(ValueError, match="spacing=-1 must be finite lengths"):
            molecular_plane([atoms], spacing=-1)


class TestDisplay:
    @pytest.mark.parametrize("height", [None, 0.6])
    def test_colours_are_those_of_the_energies(self, gap, height):
        display = ChemicalPotentialDisplay.from_estimator(
            gap, waters(1), probe=8, height=height, spacing=0.3
        )
        expected = local_chemical_potential(gap, waters(1), display.surface.points, "O")
        np.testing.assert_array_equal(display.values, expected)
        n_faces = len(display.surface.triangles)
        seen = len(display.faces_.get_paths())
        assert seen == n_faces if height else 0.3 * n_faces < seen < 0.7 * n_faces
        assert display.figure_.axes[-1].get_ylabel() == "energy of a probe of O (eV)"

    def test_shows_the_side_that_is_towards_the_eye(self):
        """The mean colours of the upper half, whose values are 1, not those of the lower, 0."""
        surface = molecular_surface([molecule("C6H6")], spacing=0.3)
        values = (surface.points[:, 2] > 0).astype(float)
        display = ChemicalPotentialDisplay([molecule("C6H6")], surface, values).plot()
        yellow = display.faces_.get_facecolors()[:, 0] > 0.4
        assert yellow.mean() > 0.8 or yellow.mean() < 0.2

    def test_errors(self):
        surface = molecular_surface(waters(1))
        with pytest.raises(ValueError, match="one finite value for each point"):
            ChemicalPotentialDisplay(waters(1), surface, np.zeros(9)).plot()
