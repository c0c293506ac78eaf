"""Sphinx settings: ``sphinx-build -b html docs docs/_build``."""

import os
import sys
from pathlib import Path

# the extension of equations
sys.path.insert(0, str(Path(__file__).parent))
# One figure style and no windows, also in the processes that run the gallery.
os.environ.setdefault("MPLBACKEND", "agg")

from sphinx_gallery.sorting import ExplicitOrder

import skatom

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
numpydoc_xref_param_type = False

intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "scipy": ("https://docs.scipy.org/doc/scipy", None),
    "sklearn": ("https://scikit-learn.org/stable", None),
    "ase": ("https://ase-lib.org", None),
    "joblib": ("https://joblib.readthedocs.io/en/stable", None),
    "skops": ("https://skops.readthedocs.io/en/stable", None),
}
intersphinx_timeout = 5

# From the first force field to sparse linear models. A new example is added to this list.
EXAMPLES = [
    "ethanol",
    "learning_curve",
    "search_sigma",
    "noise",
    "block_folds",
    "calculator",
    "torsion",
    "vibrations",
    "symmetry",
    "environments",
    "kernel_learning_curves",
    "silicon",
    "uncertainty",
    "tensors",
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
