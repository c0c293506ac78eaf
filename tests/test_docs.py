"""Documentation: the API reference and the page of parameters leave nothing out."""

import re
from collections import Counter
from importlib import import_module
from inspect import getdoc, signature
from pathlib import Path

import pytest

import skatom
import skatom.models
from skatom._docstrings import share_docstring

DOCS = Path(__file__).parents[1] / "docs"
PACKAGES = (
    "attribution",
    "baseline",
    "calculators",
    "datasets",
    "descriptors",
    "ipi",
    "kernels",
    "kernels.fchl18",
    "kernels.nbody",
    "lammps",
    "mechanics",
    "metrics",
    "model_selection",
    "models",
    "network_potentials",
    "plotting",
    "random_features",
    "recipes",
    "report",
    "selection",
    "simulation",
    "solvers",
    "stability",
    "torchsim",
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


def test_networks_describe_what_their_base_class_does_where_they_do_not_themselves():
    class Base:
        """What all share.

        Parameters
        ----------
        one, two : int, default=1, 2
            Both.
        three : float
            Not of all.

        Attributes
        ----------
        found_ : int
            It.

        Raises
        ------
        ValueError
            If it is wrong.

        Warns
        -----
        UserWarning
            If it is odd.
        """

    class Own(Base):
        """A class.

        Parameters
        ----------
        four : str
            Its own.

        Raises
        ------
        ValueError
            If it is one of those.

        See Also
        --------
        Base : The other.
        """

        def __init__(self, one, two, four):
            pass

    share_docstring(Own, Base)
    text = getdoc(Own)
    assert documented(text) == {"one", "two", "four", "found_"}
    assert text.index("one, two") < text.index("four : str") < text.index("If it is one of those.")
    assert text.count("ValueError") == 2 and text.count("------\nValueError") == 1
    assert text.index("If it is odd.") < text.index("See Also") and text.endswith("The other.")


def test_no_entry_of_the_api_reference_occurs_twice():
    assert max(Counter(listed()).values()) == 1


def test_parameters_that_models_share_are_on_the_page_of_parameters():
    models = [getattr(skatom.models, name) for name in skatom.models.__all__]
    counts = Counter(name for model in models for name in signature(model).parameters)
    shared = {name for name, count in counts.items() if count > 1}
    page = (DOCS / "guide" / "parameters.md").read_text(encoding="utf-8")
    first_columns = " ".join(re.findall(r"^\| (`.*?`) \|", page, flags=re.MULTILINE))
    assert shared <= set(re.findall(r"`(\w+)`", first_columns))


@pytest.fixture
def docs_scripts(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("error 0.145 eV", "error 0.146 eV\n", True),
        ("error 0.145 eV", "error 0.155 eV\n", False),
        ("[1.  2.5]", "[1.0 2.5]", True),
        ("R² = 0.99", "R = 0.99", False),
        ("2e-05", "1e-05", True),
        ("2e-05", "2e-04", False),
        ("1,234 steps", "1,234 steps in all", False),
        ("at ... in 3 steps", "at /tmp/x in 3 steps", True),
    ],
)
def test_outputs_on_pages_agree_but_for_rounding(docs_scripts, shown, printed, same):
    assert import_module("check_guide").agree(shown, printed) is same


def test_comments_that_show_the_output_replace_it(docs_scripts):
    says_itself = import_module("check_guide").says_itself
    assert says_itself("print(f.shape)  # (9, 3), eV/Å\n", "(9, 3)\n")
    assert not says_itself("print(f.shape)  # eV/Å\n", "(9, 3)\n")
    assert not says_itself("print(f.shape)  # (9, 3)\nprint(e)\n", "(9, 3)\n1.0\n")


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\Big( x \Big)", 'minsize="1.623em"'),
        (r"\big| x \big|", 'minsize="1.2em"'),
        (r"f \big|_{x = 0}", "<msub>"),
        ("a &= b\n\nc &= d", "<mtable"),
        (r"n = 0, \dots, m", "…"),
        (r"\tfrac12 N", "<mn>1</mn>\n    <mn>2</mn>"),
    ],
)
def test_equations_are_mathml(docs_scripts, latex, expected):
    pytest.importorskip("sphinx")
    assert expected in import_module("mathml").mathml(latex, as_block=True)


def test_the_citation_names_the_version():
    text = (DOCS.parent / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", text, flags=re.MULTILINE)[1] == skatom.__version__


def test_links_of_the_readme_work_on_other_pages():
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    root = r"https://github\.com/skatom/skatom/(?:blob|tree)/main/"
    assert links and all(re.match(root, link) for link in links)
    assert all((DOCS.parent / re.sub(root, "", link)).exists() for link in links)


def test_every_example_is_in_the_gallery():
    """Sphinx does not build the pages otherwise."""
    listed = (DOCS / "conf.py").read_text(encoding="utf-8")
    for path in (DOCS / "examples").glob("plot_*.py"):
        assert f'"{path.stem.removeprefix("plot_")}"' in listed, path.name
