"""Plots of simulations and of errors show what their results say."""

import matplotlib
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from skatom.mechanics import bulk_modulus
from skatom.plotting import (
    CalibrationDisplay,
    DynamicsDisplay,
    EquationOfStateDisplay,
    GroupErrorsDisplay,
    PhononDisplay,
    RelaxationDisplay,
)
from skatom.simulation import Dynamics, Phonons, Relaxation


@pytest.fixture(autouse=True)
def no_windows():
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")


def line(ax, number=0):
    return np.array(ax.lines[number].get_data())


def test_relaxations_end_at_zero():
    found = Relaxation(None, True, 2, np.array([3.0, 1.0, 0.5]), np.array([2.0, 1, 0.1]), [])
    energy, force = RelaxationDisplay(found).plot().axes_
    np.testing.assert_array_equal(line(energy), [[0, 1, 2], [2.5, 0.5, 0.0]])
    np.testing.assert_array_equal(line(force)[1], found.largest_forces)
    assert force.get_yscale() == "log"
    crystal = Relaxation(None, True, 2, np.array([3.0, 1.0, 0.5]), np.zeros(3), [])
    assert RelaxationDisplay(crystal).plot().axes_[1].get_yscale() == "linear"


@pytest.mark.parametrize(
    ("volumes", "n_axes"), [([20.0, 20.0], 2), ([20.0, 21.0], 3), ([np.nan, np.nan], 2)]
)
def test_dynamics_show_the_volume_where_it_changes(volumes, n_axes):
    found = Dynamics(
        bulk("Cu", cubic=True), np.array([0, 1]), np.array([0.0, 0.1]), np.array([-4.0, -3.0]),
        np.array([1.0, 0.5]), np.array([300.0, 150.0]), np.array(volumes), np.zeros(2), [],
    )  # fmt: skip
    axes = DynamicsDisplay(found).plot().axes_
    assert len(axes) == n_axes
    np.testing.assert_allclose(line(axes[0], 0)[1], [0.0, 0.25])  # of an atom
    np.testing.assert_allclose(line(axes[0], 1)[1], [0.0, 0.125])
    assert [ax.get_xlabel() for ax in axes] == n_axes * ["time (ps)"]


def test_phonons_join_the_names_of_points_at_one_place():
    labels = [(0.0, "G"), (1.0, "K"), (1.0, "U"), (2.0, "X")]
    found = Phonons(
        np.zeros((3, 2)), np.array([0.0, 1.0, 2.0]), labels, np.array([0.0, 1.0]),
        np.array([1.0, 2.0]), 0.0, (1, 1, 1),
    )  # fmt: skip
    bands, density = PhononDisplay(found).plot().axes_
    assert [text.get_text() for text in bands.get_xticklabels()] == ["Γ", "K|U", "X"]
    assert "THz" in bands.get_ylabel() and "THz" in density.get_xlabel()


def test_equations_of_state_pass_through_their_points():
    found = bulk_modulus(EMT(), bulk("Cu", a=3.6))
    ax = EquationOfStateDisplay(found).plot().ax_
    curve, points = line(ax, 0), line(ax, 1)
    np.testing.assert_allclose(points[1], found.energies - found.energy)
    assert abs(np.interp(points[0], *curve) - points[1]).max() < 1e-3
    assert f"K = {found.value:.4g} GPa" in ax.get_title()


def test_bars_are_of_the_largest_errors():
    names = [f"a group with a name of more than thirty letters {k}" for k in range(30)]
    ax = GroupErrorsDisplay(names, np.arange(30.0), "error (eV)", most=5).plot().ax_
    assert [bar.get_width() for bar in ax.patches] == [29, 28, 27, 26, 25]
    assert ax.get_xlabel() == "error (eV); 25 smaller ones not shown"
    assert all(len(text.get_text()) <= 32 for text in ax.get_yticklabels())


def test_calibration_bins_have_the_deviations_and_the_errors():
    deviations = np.repeat([0.1, 1.0], 100)
    errors = np.repeat([0.2, 0.5], 100)
    _, bins = CalibrationDisplay(errors, deviations, "force error", "eV/Å").plot().axes_
    predicted, actual = line(bins, 1)
    np.testing.assert_allclose(predicted[[0, -1]], [0.1, 1.0])
    np.testing.assert_allclose(actual[[0, -1]], [0.2, 0.5])
    assert bins.get_ylabel() == "RMS force error (eV/Å)"
    CalibrationDisplay(np.zeros(20), np.ones(20)).plot().figure_.canvas.draw()
