"""Sphinx settings: ``sphinx-build -b html docs docs/_build``."""

import os
import re
import sys
from pathlib import Path

# the extension of equations, and the addresses of other projects
sys.path.insert(0, str(Path(__file__).parent))
# One figure style and no windows, also in the processes that run the gallery.
os.environ.setdefault("MPLBACKEND", "agg")

import inventories
from sphinx_gallery.sorting import ExplicitOrder

import skatom

HERE = Path(__file__).parent

project = "skatom"
author = "The skatom developers"
copyright = "The skatom developers"
version = release = skatom.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "mathml",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
html_math_renderer = "mathml"
exclude_patterns = ["_build", "examples"]
templates_path = ["_templates"]
# `name` in a docstring is a link where the name is known, and code where it is not
default_role = "autolink"

html_theme = "furo"
html_title = f"skatom {release}"
html_static_path = []
html_theme_options = {"source_repository": "", "top_of_page_buttons": []}

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
# types of parameters and attributes are links; other words in their lines are not
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {
    "ndarray": "numpy.ndarray",
    "RandomState": "numpy.random.RandomState",
    "Pipeline": "sklearn.pipeline.Pipeline",
    "ase.Atoms": "ase.Atoms",
}

PAGES = {
    "python": "https://docs.python.org/3",
    "numpy": "https://numpy.org/doc/stable",
    "scipy": "https://docs.scipy.org/doc/scipy",
    "sklearn": "https://scikit-learn.org/stable",
    "ase": "https://ase-lib.org",
    "joblib": "https://joblib.readthedocs.io/en/stable",
    "skops": "https://skops.readthedocs.io/en/stable",
}
LOCAL = inventories.write(HERE / "_build" / "inventories")
intersphinx_mapping = {name: (url, (None, LOCAL[name])) for name, url in PAGES.items()}
intersphinx_timeout = 5


def own_names():
    """{name: full name} of every entry of the API reference."""
    module, names = None, {}
    for line in (HERE / "api.rst").read_text(encoding="utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split()[-1]
        elif re.fullmatch(r"   [A-Z]\w+", line):
            names[line.strip()] = f"{module}.{line.strip()}"
    return names


numpydoc_xref_aliases |= own_names()

# From the first force field to sparse linear models. A new example is added to this list.
EXAMPLES = [
    "ethanol",
    "learning_curve",
    "search_sigma",
    "noise",
    "block_folds",
    "calculator",
    "long_dynamics",
    "torsion",
    "vibrations",
    "infrared_spectrum",
    "path_integrals",
    "symmetry",
    "environments",
    "coulomb_to_soap",
    "kernel_learning_curves",
    "network_potentials",
    "relevance",
    "chemical_potential",
    "alchemical_path",
    "silicon",
    "silicon_on_the_fly",
    "phase_diagram",
    "uncertainty",
    "active_selection",
    "search_pool",
    "tensors",
    "polaron",
    "heisenberg",
    "greedy_path",
    "chosen_features",
]
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "within_subsection_order": ExplicitOrder([f"plot_{name}.py" for name in EXAMPLES]),
    # displays and artists at the end of a cell are not printed; diagrams of estimators are
    "capture_repr": ("_repr_html_",),
    "doc_module": ("skatom",),
    "backreferences_dir": None,
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 1,
    "plot_gallery": "True",
    "abort_on_example_error": True,
}
