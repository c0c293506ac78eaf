"""Documentation: the API reference and the page of parameters leave nothing out."""

import re
from collections import Counter
from importlib import import_module
from inspect import getdoc, signature
from pathlib import Path

import pytest

import skatom.models

DOCS = Path(__file__).parents[1] / "docs"
PACKAGES = (
    "baseline",
    "calculators",
    "datasets",
    "descriptors",
    "kernels",
    "kernels.fchl18",
    "kernels.nbody",
    "mechanics",
    "metrics",
    "model_selection",
    "models",
    "plotting",
    "selection",
    "solvers",
    "vibrations",
)
# Public names of modules without __all__.
FURTHER = {
    "skatom": ("Structures", "Targets"),
    "skatom.base": ("Predictor",),
    "skatom.descriptors.symmetry_functions": ("ani", "centered", "library", "shifted", "weighted"),
    "skatom.kernels.charges": ("equalized_charges",),
    "skatom.neighbors": ("NeighborList", "neighbor_list"),
    "skatom.parallel": ("map_jobs", "tree_reduce"),
    "skatom.symmetry": ("check_permutations", "find_permutations"),
}


def listed():
    """(module, name) of every entry of the API reference."""
    module = None
    for line in (DOCS / "api.rst").read_text(encoding="utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split()[-1]
        elif re.fullmatch(r"   \w+", line):
            yield module, line.strip()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_api_reference(package):
    names = {name for _, name in listed()}
    public = import_module(f"skatom.{package}").__all__
    assert set(public) <= names


def test_further_public_names_are_in_the_api_reference():
    wanted = {(module, name) for module, names in FURTHER.items() for name in names}
    assert wanted <= set(listed())


def documented(text):
    """Names in the sections of parameters and attributes of a docstring."""
    sections = r"^(?:Parameters|Attributes)\n-+\n(.*?)(?=^\w[^\n]*\n---|\Z)"
    body = "\n".join(re.findall(sections, text, flags=re.DOTALL | re.MULTILINE))
    lines = re.findall(r"^([\w*, ]+?)(?: :.*)?$", body, flags=re.MULTILINE)
    return {name.strip(" *") for line in lines for name in line.split(",")}


@pytest.mark.parametrize("module, name", list(listed()))
def test_entries_of_the_api_reference_exist_and_describe_their_parameters(module, name):
    thing = getattr(import_module(module), name)
    assert signature(thing).parameters.keys() <= documented(getdoc(thing))


def test_no_entry_of_the_api_reference_occurs_twice():
    assert max(Counter(listed()).values()) == 1


def test_parameters_that_models_share_are_on_the_page_of_parameters():
    models = [getattr(skatom.models, name) for name in skatom.models.__all__]
    counts = Counter(name for model in models for name in signature(model).parameters)
    shared = {name for name, count in counts.items() if count > 1}
    page = (DOCS / "guide" / "parameters.md").read_text(encoding="utf-8")
    first_columns = " ".join(re.findall(r"^\| (`.*?`) \|", page, flags=re.MULTILINE))
    assert shared <= set(re.findall(r"`(\w+)`", first_columns))
