"""Fitted models in TorchSim."""

import doctest
import inspect

import numpy as np
import pytest
from ase import units
from sklearn.pipeline import make_pipeline
from sparse_systems import labels, salt

import skatom.torchsim
from skatom.datasets import load_ethanol
from skatom.descriptors import SOAP, LambdaSOAP
from skatom.kernels import Cosine
from skatom.models import SGDML, SparseGaussianProcess, TensorKernelRidge
from skatom.torchsim import TorchSimModel


def test_without_torchsim_the_error_has_the_remedy(monkeypatch):
    monkeypatch.setattr(skatom.torchsim, "ModelInterface", object)
    with pytest.raises(ImportError, match="is not installed: pip install torch-sim-atomistic"):
        TorchSimModel(None)


torch_sim = pytest.importorskip("torch_sim", reason="TorchSim is not installed")
torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:SparseGaussianProcess. the model reproduces")


@pytest.fixture(scope="module")
def ethanol():
    data = load_ethanol()
    return SGDML(random_state=0).fit(data.structures[:100], data.targets[:100]), data.structures


@pytest.fixture(scope="module", params=["cpu", "torch"])
def crystal(request):
    structures = salt(8)
    soap = SOAP(cutoff=3.5, n_max=3, l_max=2, device=request.param)
    return make_pipeline(soap, SparseGaussianProcess(Cosine(zeta=2), n_sparse=12)).fit(
        structures, labels(structures)
    )


def state_of(structures):
    return torch_sim.initialize_state(structures.to_ase(), torch.device("cpu"), torch.float64)


def test_a_batch_has_the_energies_forces_and_stresses_of_predict(crystal):
    structures = salt(5, seed=5)
    found = TorchSimModel(crystal)(state_of(structures))
    expected = crystal.predict(structures, return_forces=True, return_stress=True)
    for name, values in zip(("energy", "forces", "stress"), expected, strict=True):
        assert isinstance(found[name], torch.Tensor) and found[name].dtype == torch.float64
        np.testing.assert_allclose(found[name].numpy(), values, rtol=1e-10, atol=1e-10)


def test_systems_of_several_sizes_and_a_state_as_a_dict(crystal):
    images = salt(3, seed=7).to_ase()
    images[1] = images[1].repeat((2, 1, 1))
    state = torch_sim.initialize_state(images, torch.device("cpu"), torch.float32)
    model = TorchSimModel(crystal)
    found = model(state)
    assert found["energy"].dtype == torch.float32 and found["forces"].shape == (16, 3)
    expected = crystal.predict(images, return_forces=True)
    np.testing.assert_allclose(found["energy"].numpy(), expected[0], rtol=1e-4)
    np.testing.assert_allclose(found["forces"].numpy(), expected[1], atol=1e-3)
    names = ("positions", "cell", "atomic_numbers", "system_idx", "pbc")
    same = model({name: getattr(state, name) for name in names})
    assert torch.equal(same["forces"], found["forces"])


def test_the_stress_of_molecules_is_no_number(ethanol):
    model, structures = ethanol
    wrapped = TorchSimModel(model)
    assert wrapped.compute_stress
    found = wrapped(state_of(structures[:2]))
    assert found["stress"].shape == (2, 3, 3) and found["stress"].isnan().all()
    parts = torch_sim.static(structures[:2].to_ase(), wrapped)
    np.testing.assert_allclose(
        [float(part["potential_energy"]) for part in parts], model.predict(structures[:2])
    )


def test_the_example_of_the_docstring_runs():
    source = inspect.getdoc(TorchSimModel).replace("# doctest: +SKIP", "")
    example = doctest.DocTestParser().get_doctest(source, {}, "TorchSimModel", None, None)
    assert doctest.DocTestRunner().run(example) == (0, len(example.examples))


def final(model, images, timestep=0.1):
    """The end of 8 fs at constant energy, and the total energies of all steps, (steps, n)."""
    wrapped = TorchSimModel(model)
    state = torch_sim.initialize_state(images, wrapped.device, wrapped.dtype)
    kT, dt = torch.tensor(300 * units.kB), torch.tensor(timestep * units.fs)
    begin, step = torch_sim.nve(wrapped, dt=dt, kT=kT)
    # momenta of each system that do not depend on those beside it
    rng = [np.random.default_rng(round(1e6 * abs(atoms.positions).sum())) for atoms in images]
    state.momenta = torch.tensor(
        np.concatenate(
            [
                np.sqrt(atoms.get_masses() * float(kT))[:, None] * own.normal(size=(len(atoms), 3))
                for atoms, own in zip(images, rng, strict=True)
            ]
        )
    )
    state, totals = begin(state), []
    for _ in range(round(8 / timestep)):
        state = step(state)
        kinetic = (state.momenta**2).sum(1) / state.masses / 2
        totals.append(
            state.energy + torch.zeros_like(state.energy).index_add(0, state.system_idx, kinetic)
        )
    return state, torch.stack(totals).numpy()


@pytest.mark.parametrize("what", ["molecules", "cells"])
def test_dynamics_of_twenty_systems_conserve_energy_and_equal_single_runs(what, request):
    if what == "molecules":
        model, structures = request.getfixturevalue("ethanol")
        images = structures[100:120].to_ase()
    else:
        structures = salt(8)
        model = make_pipeline(
            SOAP(cutoff=3.5, n_max=3, l_max=2), SparseGaussianProcess(n_sparse=12)
        ).fit(structures, labels(structures))
        images = salt(20, seed=9).to_ase()
    state, totals = final(model, images)
    n_atoms = len(images[0])
    moved = state.positions.numpy() - np.concatenate([atoms.positions for atoms in images])
    assert abs(moved).max() > 0.02
    drifts = np.ptp(totals, axis=0)
    assert drifts.max() < 1e-4 * n_atoms
    # of a conserved energy the integrator's error remains, of second order in the step
    longer = np.ptp(final(model, images, 0.2)[1], axis=0)
    assert 3.5 < np.median(longer / drifts) < 4.5
    for k in (0, 13, 19):
        alone, total = final(model, images[k : k + 1])
        together = state.positions[k * n_atoms : (k + 1) * n_atoms]
        np.testing.assert_allclose(together.numpy(), alone.positions.numpy(), atol=1e-10)
        np.testing.assert_allclose(totals[:, k], total[:, 0], rtol=1e-10)


def test_runners_take_the_model(ethanol):
    model, structures = ethanol
    images = structures[100:103].to_ase()
    converged = torch_sim.generate_force_convergence_fn(0.05, include_cell_forces=False)
    relaxed = torch_sim.optimize(
        images, TorchSimModel(model), optimizer=torch_sim.optimizers.fire, max_steps=300,
        convergence_fn=converged, autobatcher=False,
    )  # fmt: skip
    forces = model.predict(torch_sim.io.state_to_atoms(relaxed), return_forces=True)[1]
    assert np.linalg.norm(forces, axis=1).max() < 0.05


def test_the_device_is_that_of_the_parameters_of_the_model(crystal, ethanol, monkeypatch):
    assert TorchSimModel(crystal).device == torch.device("cpu")
    asked = []

    class Card:
        is_card, name = True, "cuda:0"

    monkeypatch.setattr("skatom.torchsim.resolve", lambda name: asked.append(name) or Card())
    assert TorchSimModel(crystal).device == torch.device("cuda:0")
    assert asked == [crystal[0].device]
    terms = SparseGaussianProcess(terms=[(SOAP(device="auto"), Cosine(), 4)])
    terms.outputs_ = ("energy", "forces")
    assert TorchSimModel(terms).device == torch.device("cuda:0")
    assert asked[-1] == "auto"


def test_a_model_without_energies_is_an_error_with_the_remedy():
    data = load_ethanol()
    dipoles = make_pipeline(LambdaSOAP(n_max=2, l_max=1), TensorKernelRidge("dipole"))
    dipoles.fit(data.structures[:5], data.targets[:5])
    with pytest.raises(ValueError, match="TensorKernelRidge predicts dipole.* energy and forces, "):
        TorchSimModel(dipoles)


def test_atoms_that_are_not_sorted_by_system_are_an_error_with_the_remedy(ethanol):
    state = state_of(ethanol[1][:2])
    state.system_idx = 1 - state.system_idx
    with pytest.raises(ValueError, match="atom 9 is of system 0 and the one before of 1: sort"):
        TorchSimModel(ethanol[0])(state)
