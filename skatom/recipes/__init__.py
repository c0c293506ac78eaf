"""Models by name, with defaults for the data: what ``skatom train --model NAME`` fits."""

from __future__ import annotations

from typing import Any

from skatom._typing import Estimator, StructuresLike
from skatom.recipes.ace import ACE
from skatom.recipes.base import Recipe
from skatom.recipes.dtnn import DTNN_RECIPE
from skatom.recipes.facts import Facts
from skatom.recipes.fchl19 import FCHL19_RECIPE
from skatom.recipes.gap import GAP
from skatom.recipes.gdml import GDML_RECIPE, SGDML_RECIPE
from skatom.recipes.greedy import GREEDY
from skatom.recipes.hdnnp import HDNNP_RECIPE
from skatom.recipes.mpnn import MPNN
from skatom.recipes.mtp import MTP
from skatom.recipes.nbody import MAPPED_RECIPE, NBODY_RECIPE
from skatom.recipes.painn import PAINN
from skatom.recipes.schnet import SCHNET
from skatom.recipes.settings import nearest
from skatom.structures import as_structures

__all__ = ["make", "settings"]

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        SGDML_RECIPE, GDML_RECIPE, GAP, FCHL19_RECIPE, NBODY_RECIPE, MAPPED_RECIPE, GREEDY,
        MTP, ACE, HDNNP_RECIPE, SCHNET, DTNN_RECIPE, PAINN, MPNN,
    )
}  # fmt: skip


def find(name: str) -> Recipe:
    """The recipe of a name.

    Parameters
    ----------
    name : str
        Such as ``"gap"``.

    Returns
    -------
    Recipe

    Raises
    ------
    ValueError
        If there is none. The message has the nearest names.
    """
    if name not in RECIPES:
        raise ValueError(f"there is no model {name!r}: {nearest(name, RECIPES)}")
    return RECIPES[name]


def settings(name: str, X: StructuresLike, /, **given: Any) -> dict:
    """The settings of a recipe: its defaults for some structures, and what is given.

    Parameters
    ----------
    name : str
        Name of the recipe.
    X : Structures or list of ase.Atoms
        The structures to learn from, which tell species, density, and whether they are crystals.
    **given
        Settings in place of the defaults, as in `make`.

    Returns
    -------
    dict
        Values by dotted name.

    Raises
    ------
    ValueError
        If there is no such recipe or setting. The message has the nearest names.

    Examples
    --------
    >>> from skatom import recipes
    >>> from skatom.datasets import load_boron_nitride
    >>> found = recipes.settings("gap", load_boron_nitride().structures, soap__l_max=4)
    >>> found["soap.l_max"], found["soap.cutoff"], found["kernel.zeta"]
    (4, 4.2, 4)
    """
    return find(name).settings(Facts.of(as_structures(X)), given)


def make(
    name: str,
    X: StructuresLike,
    /,
    *,
    random_state: int = 0,
    verbose: int = 0,
    device: str = "cpu",
    **given: Any,
) -> Estimator:
    """The estimator of a recipe, not fitted; it takes structures.

    Parameters
    ----------
    name : str
        Name of the recipe: "sgdml", "gdml", "gap", "fchl19", "nbody", "mapped", "greedy",
        "mtp", "ace", "hdnnp", "schnet", "dtnn", "painn" or "mpnn".
    X : Structures or list of ase.Atoms
        The structures to learn from, on which defaults depend.
    random_state : int, default=0
        Seed of what is drawn at random.
    verbose : int, default=0
        1 shows progress bars.
    device : str, default="cpu"
        Where features or kernels are computed, if the model can choose.
    **given
        Settings in place of the defaults: ``soap__cutoff=5.5``, or a part,
        ``soap={"cutoff": 5.5}``.

    Returns
    -------
    estimator

    Raises
    ------
    ValueError
        If there is no such recipe or setting. The message has the nearest names.

    See Also
    --------
    settings : The settings with which it is made.

    Examples
    --------
    >>> from skatom import recipes
    >>> from skatom.datasets import load_boron_nitride
    >>> data = load_boron_nitride()
    >>> model = recipes.make("gap", data.structures[:20], n_sparse=50, soap__l_max=3)
    >>> model = model.fit(data.structures[:20], data.targets[:20])
    >>> model.predict(data.structures[20:22]).shape
    (2,)
    """
    recipe = find(name)
    chosen = recipe.settings(Facts.of(as_structures(X)), given)
    return recipe.make(chosen, random_state=random_state, verbose=verbose, device=device)
