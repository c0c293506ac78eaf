"""Which linear system a fit of GDML solves, and whether it fits in memory."""

from functools import partial

from skatom._device import resolve
from skatom.models.gdml.device_system import DeviceGDMLSystem, check_device_memory
from skatom.models.gdml.iterative_system import IterativeGDMLSystem, IterativeOptions, Plan
from skatom.models.gdml.system import GDMLSystem, check_kernel_memory


def solution_plan(model, n_frames):
    """The `Plan` of conjugate gradients, None for Cholesky; or a MemoryError.

    Parameters
    ----------
    model : GDML
    n_frames : int
    """
    device = resolve(model.device)
    _check_combinations(model)
    if model.solver != "cg":
        try:
            _check_matrix(model, n_frames, device)
            return None
        except MemoryError:
            direct = model.keep_factor or model.energy_constraint or model.alpha == 0
            if model.solver == "cholesky" or direct:
                raise
    return Plan.of(n_frames, len(model.numbers_), _options(model), device)


def _check_combinations(model):
    needs = [name for name in ("keep_factor", "energy_constraint") if getattr(model, name)]
    if model.solver == "cg" and needs:
        raise ValueError(
            f"{needs[0]}=True needs the factor of the kernel matrix, which solver='cg' does not "
            "make: use solver='cholesky'"
        )
    if model.solver == "cg" and model.alpha == 0:
        raise ValueError("solver='cg' needs a positive alpha: use 1e-10, or solver='cholesky'")


def _check_matrix(model, n_frames, device):
    arguments = n_frames, len(model.numbers_), model.max_memory
    if device is None:
        check_kernel_memory(*arguments, model.energy_constraint)
    else:
        check_device_memory(*arguments, device, model.energy_constraint)


def _options(model):
    return IterativeOptions(
        model.n_inducing, model.tol, model.max_iter, model.max_memory, model.random_state,
        model.checkpoint,
    )  # fmt: skip


def system_of(model, plan, *arguments):
    """The system of a plan of `solution_plan`; ``arguments`` are those of `GDMLSystem`."""
    make = GDMLSystem
    if resolve(model.device) is not None:
        make = partial(DeviceGDMLSystem, model.device)
    if plan is None:
        return make(*arguments, model.energy_constraint)
    return IterativeGDMLSystem(make, plan, _options(model), *arguments)
