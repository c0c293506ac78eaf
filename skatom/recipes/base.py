"""What a recipe is: a name, settings with defaults that depend on the data, and a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from skatom.recipes.settings import flat, merged, nested, parameters_of


@dataclass(frozen=True)
class Cost:
    """What a fit costs.

    Attributes
    ----------
    memory : float
        Bytes of the largest matrices.
    flops : float
        Operations of dense linear algebra.
    work : float
        What the other time is proportional to, in any unit.
    columns : int or None
        Columns of a factorisation that jobs can share, None if there is none.
    """

    memory: float
    flops: float
    work: float
    columns: int | None = None


@dataclass(frozen=True)
class Recipe:
    """A model by name, with its settings.

    Attributes
    ----------
    name : str
    summary : str
        One line for lists.
    parts : dict of str to type
        The classes whose parameters can be set, by the name of their part; "" is the model.
    defaults : callable
        ``defaults(facts, given)`` returns the settings by dotted name. ``given`` are those that
        the user chose, for defaults that follow them.
    build : callable
        ``build(settings, **run)`` returns the estimator; ``settings`` are nested, ``run`` has
        ``random_state``, ``verbose`` and ``device``.
    cost : callable
        ``cost(settings, structures, targets)`` returns a `Cost`.
    short : dict
        Largest values of settings in fits that tell the pace of longer ones by their cost, such as
        a few iterations of a training.
    probe : dict
        Settings that replace those of the run in the short fits that measure the time.
    stages : callable
        ``stages(facts, settings)`` returns a list of dicts of lists: values that a search combines,
        one dict after the other.
    probe_frames : int
        Number of structures of the short fit.
    trial_atoms : int
        Number of atoms of the structures from which a search learns, about.
    has_device : bool
        Whether features or kernels can be computed on another device than the CPU.
    representatives : str or None
        The setting that is the number of representatives of a `SparseGaussianProcess`, whose
        noises are tried on rows made once; None for other models.
    noises : tuple of str
        Settings that are noises, in the order energy, forces, virial; they may be dicts by
        configuration.
    one_molecule : bool
        Whether all structures must have the same atoms.
    """

    name: str
    summary: str
    parts: dict
    defaults: Callable
    build: Callable
    cost: Callable
    stages: Callable
    short: dict = field(default_factory=dict)
    probe: dict = field(default_factory=dict)
    probe_frames: int = 12
    trial_atoms: int = 3000
    noises: tuple = ()
    one_molecule: bool = False
    has_device: bool = False
    representatives: str | None = None

    def settings(self, facts, given=None):
        """All settings by dotted name: the defaults for the data, and what was given."""
        given = self.checked(given or {}, facts)
        return merged(self.defaults(facts, given), given)

    def checked(self, given, facts):
        """Given settings by dotted name, or an error if there is no such setting."""
        names = self.names(facts)
        sections = {name.rpartition(".")[0] for name in names} - {""}
        return flat(given, names | sections - set(self.parts), sections & set(self.parts))

    def names(self, facts):
        """The names of all settings."""
        return parameters_of(self.parts) | set(self.defaults(facts, {}))

    def make(self, settings, random_state=0, verbose=0, device="cpu"):
        """The estimator for settings by dotted name."""
        if device != "cpu" and not self.has_device:
            raise ValueError(f"{self.name} runs on the CPU alone: leave device={device!r} out")
        return self.build(
            nested(settings), random_state=random_state, verbose=verbose, device=device
        )
