"""Addresses of other projects' pages that the documentation links to, for builds without a network.

Sphinx reads the complete inventories if it can reach them, and these if not.
"""

import zlib

_NUMPY = "reference/generated/{}.html"
_SKLEARN = "modules/generated/{}.html"
# {project: {name: (role, page)}}
LINKS = {
    "python": {
        name: ("class", f"library/stdtypes.html#{name}")
        for name in ("dict", "list", "str", "tuple")
    }
    | {name: ("class", f"library/functions.html#{name}") for name in ("bool", "float", "int")},
    "numpy": {"numpy.ndarray": ("class", _NUMPY)}
    | {"numpy.random.RandomState": ("class", "reference/random/legacy.html#{}")},
    "scipy": {"scipy.sparse.linalg.LinearOperator": ("class", _NUMPY)},
    "sklearn": {
        f"sklearn.{name}": ("class", _SKLEARN)
        for name in (
            "linear_model.Ridge",
            "linear_model.OrthogonalMatchingPursuit",
            "model_selection.GridSearchCV",
            "pipeline.Pipeline",
        )
    },
    "ase": {"ase.Atoms": ("class", "ase/atoms.html#{}")},
    "joblib": {"joblib.Parallel": ("class", "generated/{}.html")},
    "skops": {"skops.io.dump": ("function", "modules/classes.html#{}")},
}


def write(folder):
    """Write an inventory for each project; returns {project: path}."""
    folder.mkdir(parents=True, exist_ok=True)
    return {project: str(_write(folder, project, links)) for project, links in LINKS.items()}


def _write(folder, project, links):
    lines = [
        f"{name} py:{role} 1 {page.format(name)} -" for name, (role, page) in sorted(links.items())
    ]
    head = [
        "# Sphinx inventory version 2",
        f"# Project: {project}",
        "# Version: ",
        "# The remainder of this file is compressed using zlib.",
    ]
    path = folder / f"{project}.inv"
    body = zlib.compress("".join(f"{line}\n" for line in lines).encode())
    path.write_bytes("".join(f"{line}\n" for line in head).encode() + body)
    return path
