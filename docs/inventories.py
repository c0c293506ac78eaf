"""Addresses of other projects' pages that the documentation links to, for builds without a network.

Sphinx reads the complete inventories if it can reach them, and these if not.
"""

import zlib

_GENERATED = "reference/generated/{}.html"
_SKLEARN = "modules/generated/{}.html"
_GLOSSARY = "glossary.html#term-{}"
# {project: {name: (role, page)}}
LINKS = {
    "python": {
        **{
            name: ("py:class", "library/stdtypes.html#{}")
            for name in ("dict", "list", "str", "tuple")
        },
        **{name: ("py:class", "library/functions.html#{}") for name in ("bool", "float", "int")},
        **{name: ("py:data", "library/constants.html#{}") for name in ("None", "True", "False")},
        "bltin-boolean-values": ("std:label", "library/stdtypes.html#{}"),
        "callable": ("py:function", "library/functions.html#{}"),
        **{name: ("std:term", _GLOSSARY) for name in ("iterable", "sequence")},
    },
    "numpy": {
        "numpy.ndarray": ("py:class", _GENERATED),
        "numpy.random.RandomState": ("py:class", "reference/random/legacy.html#{}"),
        "array_like": ("std:term", _GLOSSARY),
    },
    "scipy": {"scipy.sparse.linalg.LinearOperator": ("py:class", _GENERATED)},
    "sklearn": {
        **{
            f"sklearn.{name}": ("py:class", _SKLEARN)
            for name in (
                "linear_model.OrthogonalMatchingPursuit",
                "linear_model.Ridge",
                "model_selection.GridSearchCV",
                "pipeline.Pipeline",
            )
        },
        "meta-estimator": ("std:term", _GLOSSARY),
    },
    "ase": {"ase.Atoms": ("py:class", "ase/atoms.html#{}")},
    "joblib": {"joblib.Parallel": ("py:class", "generated/{}.html")},
    "skops": {"skops.io.dump": ("py:function", "modules/classes.html#{}")},
}


def write(folder):
    """Write an inventory for each project; returns {project: path}."""
    folder.mkdir(parents=True, exist_ok=True)
    return {project: str(_write(folder, project, links)) for project, links in LINKS.items()}


def _write(folder, project, links):
    lines = [
        f"{name} {role} 1 {page.format(name)} -" for name, (role, page) in sorted(links.items())
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
