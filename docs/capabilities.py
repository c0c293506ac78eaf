"""The table of what each model can do: ``python docs/capabilities.py`` writes it into the guide.

Everything is read from the classes, whose claims `tests/test_capabilities.py` checks by fitting
them: ``gives``, ``learns``, the parameters of ``fit``, and the methods. ``--check`` writes nothing
and fails if the page is not up to date.
"""

import sys
from inspect import signature
from pathlib import Path

import skatom.models
from skatom.properties import LABELS

PAGE = Path(__file__).parent / "guide" / "capabilities.md"
BEGIN, END = "<!-- begin of the tables -->", "<!-- end of the tables -->"

PREDICTS = (
    "energy", "forces", "stress", "local_energies", "dipole", "polarizability", "dipole_norm",
    "charges", "energy_std", "forces_std", "stress_std", "dipole_std", "polarizability_std",
)  # fmt: skip
HEADS = {"polarizability": "polarisability", "local_energies": "local energies",
         "dipole_norm": "length of dipole"}  # fmt: skip


def models():
    """All public models, in alphabetical order."""
    public = (getattr(skatom.models, name) for name in skatom.models.__all__)
    return [cls for cls in public if hasattr(cls, "gives")]


def takes_weights(model):
    """Whether ``fit`` takes one weight for each structure."""
    return _in_fit(model, "sample_weight")


def noise_parameters(model):
    """Names of the noises and regularisations that may differ between configurations."""
    if not _in_fit(model, "configurations"):
        return ()
    kinds = getattr(model, "_parameter_constraints", {})
    return tuple(
        name for name, allowed in kinds.items()
        if name.startswith(("noise_", "alpha")) and dict in allowed
    )  # fmt: skip


def is_wrapper(model):
    """Whether the capabilities are those of the estimator that the model contains."""
    return not noise_parameters(model) and "estimator" in signature(model).parameters


def _in_fit(model, name):
    parameters = signature(model.fit).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def predictions(model):
    """{column: whether the model may predict it}."""
    return {name: name in model.gives for name in PREDICTS}


def learning(model):
    """{column: whether the model may learn from it, or has the method}."""
    through = is_wrapper(model)
    return {
        **{name: name in model.learns for name in LABELS},
        "weights of structures": takes_weights(model),
        "noises by structure or configuration": through and _in_fit(model, "configurations")
        or bool(noise_parameters(model)),
        "`partial_fit`": hasattr(model, "partial_fit"),
        "Hessian": hasattr(model, "hessian"),
    }  # fmt: skip


def table(cells):
    """A Markdown table of the models and a dict of cells of each."""
    rows = [(cls, cells(cls)) for cls in models()]
    heads = [_head(name) for name in rows[0][1]]
    lines = [["model", *heads], ["---", *[":-:"] * len(heads)]]
    for cls, row in rows:
        name = f"`{cls.__name__}`" + (" †" if is_wrapper(cls) else "")
        lines.append([name, *("●" if cell else "" for cell in row.values())])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _head(name):
    stem = name.removesuffix("_std")
    head = HEADS.get(stem, stem)
    return f"σ of {head}" if name != stem else head


def page():
    """The text of the page with its tables as they must be now."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    tables = f"## Predicts\n\n{table(predictions)}\n\n## Learns from\n\n{table(learning)}"
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


if __name__ == "__main__":
    if "--check" in sys.argv and page() != PAGE.read_text(encoding="utf-8"):
        sys.exit(f"{PAGE.name} is not up to date: run python docs/capabilities.py")
    PAGE.write_text(page(), encoding="utf-8")
