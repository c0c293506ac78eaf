"""Relaxation, dynamics and phonons find what is known, and go on as if never interrupted."""

import sys

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io.trajectory import Trajectory, TrajectoryWriter
from pair_model import binding_pair_potential
from scipy.optimize import minimize_scalar

from skatom.base import BaseEstimator
from skatom.calculators import SkatomCalculator
from skatom.mechanics import barrier
from skatom.simulation import molecular_dynamics, phonons, relax

MODEL = binding_pair_potential()


class Uncertain(BaseEstimator):
    """A pair potential whose deviations grow with the distance of the first two atoms."""

    outputs_ = ("energy", "forces", "energy_std", "forces_std")

    def fit(self, X, y):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X, **returns):
        energy, forces = MODEL.predict(X, return_forces=True)
        atoms = X.to_ase()[0]
        distance = atoms.get_distance(0, 1)
        all_of_it = {
            "energy": energy, "return_forces": forces,
            "return_std": np.array([len(atoms) * distance]),
            "return_forces_std": np.full_like(forces, distance),
        }  # fmt: skip
        return tuple(all_of_it[key] for key in all_of_it if key == "energy" or returns.get(key))


class EnergiesOnly(Uncertain):
    outputs_ = ("energy", "forces", "energy_std")


def rattled_crystal():
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.set_cell(atoms.cell.array + [[0, 0.1, 0], [0, 0, 0.06], [0.04, 0, 0]], scale_atoms=True)
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.fixture(scope="module")
def lowest():
    """Energy of an atom, and lattice constant, of copper."""

    def energy(a):
        atoms = bulk("Cu", a=a)
        atoms.calc = EMT()
        return atoms.get_potential_energy()

    found = minimize_scalar(energy, bounds=(3.4, 3.8), method="bounded", options={"xatol": 1e-9})
    return found.fun, found.x


def interrupted_after(n_frames, monkeypatch):
    """Raise KeyboardInterrupt before a further frame is written."""
    write, count = TrajectoryWriter.write, [0]

    def limited(self, *args, **kwargs):
        count[0] += 1
        if count[0] > n_frames:
            raise KeyboardInterrupt
        return write(self, *args, **kwargs)

    monkeypatch.setattr("ase.io.trajectory.TrajectoryWriter.write", limited)


class TestRelaxation:
    @pytest.mark.parametrize("optimizer", ["bfgs", "fire", "lbfgs"])
    def test_of_a_rattled_cell_finds_the_minimum(self, lowest, optimizer):
        atoms = rattled_crystal()
        before = atoms.positions.copy()
        found = relax(EMT(), atoms, cell=True, fmax=1e-4, optimizer=optimizer)
        assert found.converged
        assert found.energies[-1] == pytest.approx(4 * lowest[0], abs=1e-8)
        assert found.atoms.get_volume() == pytest.approx(lowest[1] ** 3, rel=1e-5)
        assert len(found.energies) == len(found.largest_forces) == found.steps + 1
        assert found.largest_forces[-1] < 1e-4
        np.testing.assert_array_equal(atoms.positions, before)

    def test_under_pressure_has_that_pressure(self):
        found = relax(EMT(), rattled_crystal(), cell=True, fmax=1e-5, pressure=1.0)
        stress = found.atoms.get_stress(voigt=False)
        np.testing.assert_allclose(stress, -units.GPa * np.eye(3), atol=1e-6)

    def test_at_a_fixed_cell_keeps_it(self):
        found = relax(EMT(), rattled_crystal(), fmax=1e-4)
        np.testing.assert_array_equal(found.atoms.cell, rattled_crystal().cell)

    def test_holds_what_a_constraint_holds(self):
        atoms = rattled_crystal()
        atoms.set_constraint(FixAtoms([2]))
        found = relax(EMT(), atoms, fmax=1e-3)
        np.testing.assert_array_equal(found.atoms.positions[2], atoms.positions[2])
        assert found.converged

    def test_goes_on_from_the_last_step(self, tmp_path, monkeypatch):
        path, atoms = tmp_path / "r.traj", rattled_crystal()
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupted_after(4, patch)
            relax(EMT(), atoms, cell=True, fmax=1e-4, trajectory=path)
        assert len(Trajectory(path)) == 4
        found = relax(EMT(), atoms, cell=True, fmax=1e-4, trajectory=path, resume=True)
        expected = relax(EMT(), atoms, cell=True, fmax=1e-4)
        assert found.energies[-1] == pytest.approx(expected.energies[-1], abs=1e-9)
        np.testing.assert_allclose(found.energies[:4], expected.energies[:4], atol=1e-12)
        steps = [frame.info["step"] for frame in Trajectory(path)]
        assert steps == list(range(found.steps + 1))
        again = relax(EMT(), atoms, cell=True, fmax=1e-4, trajectory=path, resume=True)
        assert again.converged
        assert again.steps == found.steps

    def test_ends_after_so_many_steps(self, tmp_path):
        path = tmp_path / "r.traj"
        assert not relax(EMT(), rattled_crystal(), fmax=1e-6, max_steps=2).converged
        relax(EMT(), rattled_crystal(), fmax=1e-6, max_steps=2, trajectory=path)
        again = relax(
            EMT(), rattled_crystal(), fmax=1e-6, max_steps=2, trajectory=path, resume=True
        )
        assert (again.steps, again.converged) == (2, False)


class TestDynamics:
    def test_at_constant_energy_conserves_it(self):
        """The error of velocity Verlet falls with the square of the time step."""
        options = {"temperature": 300.0, "interval": 1}
        copper = bulk("Cu", cubic=True)
        drifts = [
            molecular_dynamics(EMT(), copper, int(120 / dt), timestep=dt, **options).drift
            for dt in (4.0, 2.0)
        ]
        assert drifts[0] < 5e-4
        assert 3.0 < drifts[0] / drifts[1] < 5.0

    def test_begins_at_its_temperature_without_motion_of_the_whole(self):
        found = molecular_dynamics(EMT(), bulk("Cu", cubic=True), 1, temperature=700.0)
        assert found.temperatures[0] == pytest.approx(700.0)
        np.testing.assert_allclose(found.atoms.get_momenta().sum(axis=0), 0.0, atol=1e-9)
        cluster = Atoms("Ar4", [[0, 0, 0], [1.8, 0, 0], [0, 1.8, 0], [0, 0, 1.8]])
        found = molecular_dynamics(MODEL, cluster, 1, timestep=0.01, temperature=50.0)
        np.testing.assert_allclose(found.atoms.get_angular_momentum(), 0.0, atol=1e-6)
        assert np.isnan(found.volumes).all()

    def test_keeps_momenta_that_are_given(self):
        copper = bulk("Cu", cubic=True)
        copper.set_momenta(np.arange(12.0).reshape(4, 3))
        found = molecular_dynamics(EMT(), copper, 1)
        assert found.kinetic[0] == pytest.approx(copper.get_kinetic_energy())

    @pytest.mark.parametrize(
        ("ensemble", "options"),
        [("nve", {}), ("nvt", {"thermostat_time": 50.0}), ("npt", {"pressure": 1.0})],
    )
    def test_that_is_interrupted_has_the_same_frames(
        self, tmp_path, monkeypatch, ensemble, options
    ):
        if ensemble == "npt":
            pytest.importorskip("ase.md.langevinbaoab")
        atoms = rattled_crystal()
        options = {
            "ensemble": ensemble, "temperature": 150.0, "timestep": 2.0, "interval": 4,
            "barostat_time": 100.0, **options,
        }  # fmt: skip
        whole = molecular_dynamics(EMT(), atoms, 40, trajectory=tmp_path / "a.traj", **options)
        path = tmp_path / "b.traj"
        for n_frames in (4, 3):  # killed twice
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                interrupted_after(n_frames, patch)
                molecular_dynamics(EMT(), atoms, 40, trajectory=path, resume=True, **options)
        found = molecular_dynamics(EMT(), atoms, 40, trajectory=path, resume=True, **options)
        for name in ("times", "potential", "kinetic", "temperatures", "volumes", "pressures"):
            np.testing.assert_allclose(getattr(found, name), getattr(whole, name), atol=1e-10)
        frames = [list(Trajectory(tmp_path / f"{name}.traj")) for name in "ab"]
        assert [frame.info["step"] for frame in frames[1]] == list(range(0, 41, 4))
        for one, other in zip(*frames, strict=True):
            np.testing.assert_allclose(one.positions, other.positions, atol=1e-10)
            np.testing.assert_allclose(one.get_momenta(), other.get_momenta(), atol=1e-10)
            np.testing.assert_allclose(one.cell, other.cell, atol=1e-10)
            np.testing.assert_allclose(one.get_forces(), other.get_forces(), atol=1e-10)

    def test_goes_farther_with_more_steps(self, tmp_path):
        path, copper = tmp_path / "m.traj", bulk("Cu", cubic=True)
        options = {"temperature": 300.0, "interval": 5}
        molecular_dynamics(EMT(), copper, 10, trajectory=path, **options)
        found = molecular_dynamics(EMT(), copper, 20, trajectory=path, resume=True, **options)
        expected = molecular_dynamics(EMT(), copper, 20, **options)
        np.testing.assert_allclose(found.potential, expected.potential, atol=1e-12)
        nothing = molecular_dynamics(EMT(), copper, 20, trajectory=path, resume=True, **options)
        np.testing.assert_array_equal(nothing.potential, found.potential)

    def test_survives_a_tail_that_was_being_written(self, tmp_path):
        path, copper = tmp_path / "m.traj", bulk("Cu", cubic=True)
        molecular_dynamics(EMT(), copper, 20, temperature=300.0, trajectory=path)
        with path.open("ab") as file:
            file.write(b"half a frame" * 50)
        found = molecular_dynamics(
            EMT(), copper, 40, temperature=300.0, trajectory=path, resume=True
        )
        expected = molecular_dynamics(EMT(), copper, 40, temperature=300.0)
        np.testing.assert_allclose(found.potential, expected.potential, atol=1e-12)
        assert len(Trajectory(path)) == 5

    def test_of_other_settings_structures_or_models_does_not_go_on(self, tmp_path):
        path, copper = tmp_path / "m.traj", bulk("Cu", cubic=True)
        options = {"temperature": 300.0, "trajectory": path, "resume": True}
        molecular_dynamics(EMT(), copper, 10, **options)
        with pytest.raises(ValueError, match="begun with timestep=1.0, not 2.0: give the same"):
            molecular_dynamics(EMT(), copper, 20, timestep=2.0, **options)
        with pytest.raises(ValueError, match="began from another structure"):
            molecular_dynamics(EMT(), bulk("Cu", a=3.7, cubic=True), 20, **options)
        with pytest.raises(ValueError, match="made with another model: its last energy is"):
            molecular_dynamics(_Stiffer(), copper, 20, **options)
        path.write_bytes(path.read_bytes()[:300])
        with pytest.raises(ValueError, match="cannot be read as a trajectory"):
            molecular_dynamics(EMT(), copper, 20, **options)

    def test_begins_anew_after_a_kill_before_the_first_frame(self, tmp_path):
        for name, make in (("a", lambda p: p.touch()), ("b", lambda p: Trajectory(p, "w").close())):
            path = tmp_path / f"{name}.traj"
            make(path)
            found = molecular_dynamics(
                EMT(), bulk("Cu", cubic=True), 10, trajectory=path, resume=True
            )
            assert list(found.steps) == [0, 10]

    def test_of_langevin_has_the_temperature(self):
        found = molecular_dynamics(
            EMT(), bulk("Cu", cubic=True), 1200, timestep=4.0, ensemble="nvt", temperature=500.0,
            thermostat_time=20.0, interval=2,
        )  # fmt: skip
        # 12 degrees of freedom, and about 100 independent samples: 20 K
        assert found.temperatures[50:].mean() == pytest.approx(500.0, abs=60.0)

    def test_of_the_barostat_has_the_pressure(self):
        pytest.importorskip("ase.md.langevinbaoab")
        found = molecular_dynamics(
            EMT(), bulk("Cu", cubic=True), 600, timestep=4.0, ensemble="npt", temperature=300.0,
            pressure=10.0, thermostat_time=20.0, barostat_time=100.0, interval=2,
        )  # fmt: skip
        assert found.pressures[100:].mean() == pytest.approx(10.0, abs=1.5)
        assert found.volumes[100:].mean() < 0.97 * found.volumes[0]

    def test_of_the_barostat_needs_a_late_ase(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ase.md.langevinbaoab", None)
        with pytest.raises(ImportError, match="ensemble='npt' needs ase.md.langevinbaoab, which"):
            molecular_dynamics(EMT(), bulk("Cu"), 5, ensemble="npt", temperature=300.0)

    def test_that_explodes_is_stopped(self):
        close = Atoms("Ar2", [[0, 0, 0], [0.4, 0, 0]])
        with pytest.raises(ValueError, match="step 1: the temperature is .* time step of 50 fs"):
            molecular_dynamics(MODEL, close, 10, timestep=50.0)


class TestDeviations:
    def test_beyond_the_limit_are_a_warning(self):
        atoms = Atoms("Ar2", [[0, 0, 0], [1.6, 0, 0]])
        with pytest.warns(UserWarning, match="step .: the largest standard .* is 1.7.* eV/Å"):
            found = relax(Uncertain(), atoms, fmax=1e-3, max_std=1.7)
        assert found.largest_stds[0] == pytest.approx(1.6)
        assert found.largest_stds[-1] == pytest.approx(found.atoms.get_distance(0, 1))

    def test_of_energies_are_those_of_an_atom(self):
        atoms = Atoms("Ar2", [[0, 0, 0], [1.8, 0, 0]])
        with pytest.warns(UserWarning, match="step 0: .* is 1.8 eV an atom, above max_std=1"):
            found = molecular_dynamics(EnergiesOnly(), atoms, 2, timestep=0.1, max_std=1.0)
        np.testing.assert_allclose(found.largest_stds, 1.8, atol=0.01)

    def test_within_the_limit_are_not(self, recwarn):
        relax(Uncertain(), Atoms("Ar2", [[0, 0, 0], [1.8, 0, 0]]), max_std=5.0)
        assert not [w for w in recwarn if "deviation" in str(w.message)]

    def test_of_models_without_them_are_an_error(self):
        with pytest.raises(ValueError, match="max_std=1, but the model gives no standard dev"):
            relax(MODEL, Atoms("Ar2", [[0, 0, 0], [1.8, 0, 0]]), max_std=1.0)


class TestPhonons:
    def test_of_copper_are_those_of_the_dynamical_matrix(self):
        """Zone-boundary frequencies are frozen modes, whose curvature is known by differences."""
        primitive = bulk("Cu", a=3.59)
        found = phonons(EMT(), primitive, (4, 4, 4), path="GX", displacement=0.001)
        conventional = bulk("Cu", a=3.59, cubic=True) * (2, 1, 1)
        conventional.calc = EMT()
        # at X neighbouring planes along the axis move against each other
        signs = np.where(np.round(2 * conventional.positions[:, 0] / 3.59) % 2, -1.0, 1.0)
        moved, h = conventional.positions.copy(), 0.001
        forces = []
        for sign in (-1, 1):
            conventional.positions = moved
            conventional.positions[:, 0] += sign * h * signs
            forces.append(conventional.get_forces()[0, 0])
        curvature = abs(forces[0] - forces[1]) / (2 * h)
        omega = np.sqrt(curvature / primitive.get_masses()[0]) * units._hbar * units.J * 1e10
        omega *= np.sqrt(units._e / units._amu)
        assert found.frequencies[-1].max() == pytest.approx(
            omega / (units._hplanck * units.J * 1e12), rel=2e-3
        )
        np.testing.assert_allclose(found.frequencies[0], 0.0, atol=1e-3)
        assert np.trapezoid(found.dos, found.grid) == pytest.approx(3.0, rel=1e-3)
        mean = np.trapezoid(found.dos * found.grid, found.grid)
        assert found.zero_point_energy == pytest.approx(0.5 * mean * 4.135667e-3, rel=1e-2)
        assert [name for _, name in found.labels] == ["G", "X"]

    def test_of_a_supercell_that_is_not_given_reach_far_enough(self):
        found = phonons(EMT(), bulk("Cu", a=3.59, cubic=True), path="GX")
        assert found.supercell == (3, 3, 3)

    def test_that_are_interrupted_take_the_forces_that_are_there(self, tmp_path, monkeypatch):
        copper, forces = bulk("Cu", a=3.59), EMT.get_forces
        expected = phonons(EMT(), copper, (2, 2, 2), path="GX")
        calls = []

        def counted(self, *args, **kwargs):
            calls.append(self)
            if len(calls) == 5:
                raise KeyboardInterrupt
            return forces(self, *args, **kwargs)

        monkeypatch.setattr(EMT, "get_forces", counted)
        with pytest.raises(KeyboardInterrupt):
            phonons(EMT(), copper, (2, 2, 2), path="GX", folder=tmp_path / "f")
        found = phonons(EMT(), copper, (2, 2, 2), path="GX", folder=tmp_path / "f", resume=True)
        # each run looks at the structure; the supercell and two displacements were known
        assert len(calls) == 5 + 1 + 7 - 3
        np.testing.assert_allclose(found.frequencies[1:], expected.frequencies[1:], atol=1e-8)
        with pytest.raises(ValueError, match="was begun with other supercell: give the same"):
            phonons(EMT(), copper, (3, 2, 2), folder=tmp_path / "f", resume=True)
        with pytest.raises(ValueError, match="was made with another model: forces differ by"):
            phonons(_Shifted(), copper, (2, 2, 2), folder=tmp_path / "f", resume=True)

    def test_of_phonopy_are_those_of_ase(self, tmp_path):
        pytest.importorskip("phonopy")
        crystal = bulk("Cu", a=3.59)
        options = {"path": "XGL", "displacement": 0.002}
        expected = phonons(EMT(), crystal, (4, 4, 4), **options)
        options.update(engine="phonopy", folder=tmp_path / "f")
        found = phonons(EMT(), crystal, (4, 4, 4), **options)
        points = np.isin(found.distances, [place for place, _ in found.labels])
        assert points.sum() == 3
        np.testing.assert_allclose(
            found.frequencies[points], expected.frequencies[points], atol=1e-3
        )
        np.testing.assert_allclose(found.frequencies, expected.frequencies, atol=0.05)
        assert found.zero_point_energy == pytest.approx(expected.zero_point_energy, rel=1e-3)
        assert len(list((tmp_path / "f" / "forces").glob("*.npy"))) == 1  # of six
        again = phonons(_Counted(), crystal, (4, 4, 4), resume=True, **options)
        np.testing.assert_array_equal(again.dos, found.dos)
        assert _Counted.calls == 1

    def test_of_phonopy_need_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "phonopy", None)
        with pytest.raises(ImportError, match="needs the package phonopy: pip install phonopy"):
            phonons(EMT(), bulk("Cu", a=3.59), (2, 2, 2), engine="phonopy")

    def test_of_a_structure_that_is_not_relaxed_are_a_warning(self):
        atoms = rattled_crystal()
        with pytest.warns(UserWarning, match="largest force is .* relax the structure first"):
            phonons(EMT(), atoms, (1, 1, 1))


class _Stiffer(EMT):
    def get_potential_energy(self, *args, **kwargs):
        return super().get_potential_energy(*args, **kwargs) + 1.0


class _Counted(EMT):
    calls = 0

    def get_forces(self, *args, **kwargs):
        _Counted.calls += 1
        return super().get_forces(*args, **kwargs)


class _Shifted(EMT):
    def get_forces(self, *args, **kwargs):
        return super().get_forces(*args, **kwargs) + 0.001


class TestBands:
    def test_that_are_interrupted_go_on_from_the_last_whole_band(self, tmp_path, monkeypatch):
        base = 1.1 * np.array([[1, 0, 0], [-0.5, 0.75**0.5, 0], [-0.5, -(0.75**0.5), 0]])
        ends = [Atoms("Ar4", [*base, [0, 0, z]]) for z in (-1.4, 1.4)]
        path = tmp_path / "band.traj"
        expected = barrier(MODEL, *ends, n_images=5, fmax=0.01)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupted_after(23, patch)
            barrier(MODEL, *ends, n_images=5, fmax=0.01, trajectory=path)
        found = barrier(MODEL, *ends, n_images=5, fmax=0.01, trajectory=path, resume=True)
        assert found.converged
        assert found.forward == pytest.approx(expected.forward, abs=1e-4)
        frames = list(Trajectory(path))
        assert len(frames) % 5 == 0
        assert [frame.info["step"] for frame in frames[15:25]] == 5 * [3] + 5 * [4]
        last = [frame.get_potential_energy() for frame in frames[-5:]]
        np.testing.assert_allclose(last, found.energies, atol=1e-12)
        n = len(frames)
        again = barrier(MODEL, *ends, n_images=5, fmax=0.01, trajectory=path, resume=True)
        assert again.forward == pytest.approx(found.forward, abs=1e-12)
        assert len(Trajectory(path)) == n
        with pytest.raises(ValueError, match="begun with n_images=5, not 7"):
            barrier(MODEL, *ends, trajectory=path, resume=True)

    def test_of_a_shared_calculator_have_the_energies_of_their_images(self, tmp_path):
        ends = [Atoms("Ar3", [[0, 0, 0], [1.8, 0, 0], [x, 1.5, 0]]) for x in (0.2, 1.6)]
        shared = SkatomCalculator(MODEL)
        found = barrier(shared, *ends, n_images=3, trajectory=tmp_path / "b.traj")
        last = list(Trajectory(tmp_path / "b.traj"))[-3:]
        np.testing.assert_allclose(
            [frame.get_potential_energy() for frame in last], found.energies, atol=1e-12
        )


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda a: relax(MODEL, a, optimizer="newton"), "choose from bfgs, fire, lbfgs"),
        (lambda a: relax(MODEL, Atoms("Ar2"), cell=True), "leave cell out"),
        (lambda a: relax(MODEL, a, pressure=1.0), "pressure=1 GPa acts on the cell: set cell"),
        (lambda a: relax(MODEL, a, trajectory="a.xyz"), "name ends in .traj, which keeps momenta"),
        (lambda a: relax(MODEL, a, trajectory="no/a.traj"), "there is no folder no"),
        (lambda a: molecular_dynamics(MODEL, a, 5, ensemble="nph"), "choose from nve, nvt, npt"),
        (lambda a: molecular_dynamics(MODEL, a, 5, ensemble="nvt"), "needs a temperature in K"),
        (lambda a: molecular_dynamics(MODEL, a, 5, temperature=-1), "-1 K must not be negative"),
        (lambda a: molecular_dynamics(MODEL, a, 5, timestep=0), "timestep=0 fs must be positive"),
        (lambda a: molecular_dynamics(MODEL, a, 5, pressure=1), "take ensemble='npt'"),
        (
            lambda a: molecular_dynamics(MODEL, Atoms("Ar"), 5, ensemble="npt", temperature=1),
            "periodic in three directions",
        ),
        (lambda a: molecular_dynamics(MODEL, a, 0), "steps=0 and interval=10 must be 1 or more"),
        (lambda a: phonons(MODEL, Atoms("Ar")), "phonons need a structure that is periodic"),
        (lambda a: phonons(MODEL, a, (2, 0, 2)), r"\(2, 0, 2\) must be three integers"),
        (lambda a: phonons(MODEL, a, displacement=0.0), "displacement=0 Å must be positive"),
        (lambda a: phonons(MODEL, a, engine="vasp"), "engine='vasp': choose from ase, phonopy"),
        (lambda a: phonons(MODEL, a, path="GQQ"), "path='GQQ' cannot be read .* give points out"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(run, message):
    with pytest.raises(ValueError, match=message):
        run(bulk("Ar", a=2.45))
