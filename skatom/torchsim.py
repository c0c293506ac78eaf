"""A fitted model as the model of TorchSim, which simulates many systems together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator as AnyEstimator

from skatom._device import resolve
from skatom._prediction import last_step, predict, predictable, unwrap
from skatom._typing import Estimator
from skatom.structures import Structures

try:
    from torch_sim.models.interface import ModelInterface
except ImportError:
    ModelInterface = object

__all__ = ["TorchSimModel"]


class TorchSimModel(ModelInterface):
    r"""The energies, forces and stresses of a fitted model, for all systems of a state at once.

    .. math::

        F_i = -\frac{\partial \hat E}{\partial R_i}, \qquad
        \sigma = \frac{1}{V} \frac{\partial \hat E}{\partial \varepsilon}

    Integrators and optimisers of TorchSim call it with a state of one or many systems. Each call is
    one prediction for all of them, on the device that the parameters of the model name. Results are
    tensors where the state is.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        Any model that predicts energies and forces.

    Attributes
    ----------
    device : torch.device
        Where TorchSim keeps its states: the card if ``device="cuda"`` or "auto" is a parameter of
        the model and resolves to it, else the CPU.
    dtype : torch.dtype
        float64.
    compute_forces : bool
        True.
    compute_stress : bool
        Whether the model predicts stresses. They are NaN for states that are not periodic.
    memory_scales_with : str
        "n_atoms_x_density".

    Raises
    ------
    ImportError
        If TorchSim is not installed.
    ValueError
        If the model does not predict energies and forces, or the atoms of a state are not sorted
        by system.

    Examples
    --------
    >>> import torch_sim  # doctest: +SKIP
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import SGDML
    >>> from skatom.torchsim import TorchSimModel
    >>> data = load_ethanol()
    >>> model = SGDML(random_state=0).fit(data.structures[:50], data.targets[:50])
    >>> images = data.structures[50:70].to_ase()
    >>> end = torch_sim.integrate(  # doctest: +SKIP
    ...     images, TorchSimModel(model), integrator=torch_sim.nve, n_steps=2, timestep=0.0005,
    ...     temperature=300.0,
    ... )
    >>> end.energy.shape, end.forces.shape  # doctest: +SKIP
    (torch.Size([20]), torch.Size([180, 3]))
    """

    def __init__(self, model: Estimator) -> None:
        if ModelInterface is object:
            raise ImportError(
                "TorchSimModel needs TorchSim, which is not installed: "
                "pip install torch-sim-atomistic"
            )
        import torch

        super().__init__()
        given = predictable(model)
        missing = [name for name in ("energy", "forces") if name not in given]
        if missing:
            raise ValueError(
                f"{type(last_step(model)).__name__} predicts {', '.join(given)}, but TorchSim "
                f"needs {' and '.join(missing)}, too: use a model that gives energies and forces"
            )
        self.model = unwrap(model)
        self._device = torch.device(_device_name(self.model))
        self._dtype = torch.float64
        self._compute_forces = True
        self._compute_stress = "stress" in given

    def forward(self, state: Any, **options: Any) -> dict[str, Any]:
        """Predict for all systems of a state.

        Parameters
        ----------
        state : torch_sim.SimState, or dict of its tensors
            Å. Lattice vectors are columns, as TorchSim keeps them.
        **options
            Ignored.

        Returns
        -------
        dict of str to Tensor
            "energy" (n,) in eV, "forces" (n_atoms, 3) in eV/Å and, of models that predict it,
            "stress" (n, 3, 3) in eV/Å³, in the type and on the device of the positions.
        """
        import torch

        fields = state if isinstance(state, Mapping) else vars(state)
        structures = _structures(fields)
        has_stress = self._compute_stress and structures.pbc.all()
        names = ("energy", "forces", "stress") if has_stress else ("energy", "forces")
        found = predict(self.model, structures, names)
        if self._compute_stress and not has_stress:
            found["stress"] = np.full((len(structures), 3, 3), np.nan)
        like = fields["positions"]
        return {
            name: torch.as_tensor(found[name], dtype=like.dtype, device=like.device)
            for name in ("energy", "forces", "stress")
            if name in found
        }


def _structures(fields):
    """The systems of a state, from its tensors by name."""
    cells = _array(fields["cell"], float).reshape(-1, 3, 3).swapaxes(1, 2)
    n, numbers = len(cells), _array(fields["atomic_numbers"], np.int64)
    system = fields.get("system_idx")
    system = np.zeros(len(numbers), np.int64) if system is None else _array(system, np.int64)
    if (np.diff(system) < 0).any():
        atom = int(np.argmax(np.diff(system) < 0)) + 1
        raise ValueError(
            f"atom {atom} is of system {system[atom]} and the one before of {system[atom - 1]}: "
            "sort the atoms of the state by system"
        )
    return Structures(
        numbers, _array(fields["positions"], float), np.searchsorted(system, np.arange(n + 1)),
        cells, np.broadcast_to(_array(fields["pbc"], bool), (n, 3)),
    )  # fmt: skip


def _array(tensor, dtype):
    """A tensor, number or bool as an array."""
    on_host = tensor.detach().cpu() if hasattr(tensor, "detach") else tensor
    return np.asarray(on_host, dtype=dtype)


def _device_name(model):
    """torch's name of the device of the first part of a model that is on a card, or "cpu"."""
    for device in filter(None, map(resolve, _devices(model))):
        if device.is_card:
            return device.name
    return "cpu"


def _devices(part):
    """The parameters ``device`` of an estimator and of all that it is made of."""
    if isinstance(part, AnyEstimator):
        parameters = part.get_params(deep=False)
        if isinstance(parameters.get("device"), str):
            yield parameters["device"]
        part = list(parameters.values())
    if isinstance(part, list | tuple):
        for item in part:
            yield from _devices(item)
