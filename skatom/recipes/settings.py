"""Settings of recipes by dotted names: checked, merged, nested."""

from __future__ import annotations

import ast
from difflib import get_close_matches
from inspect import signature

# Parameters of the parts that belong to the run, or that the recipe sets itself.
_NOT_SETTINGS = {"terms", "kernel", "estimator", "verbose", "n_jobs", "pool", "device", "self"}
_WORDS = {"none": None, "null": None, "true": True, "false": False}


def nearest(name, names):
    """The end of a message: the nearest of the names, or all of them.

    Parameters
    ----------
    name : str
        What was given.
    names : iterable of str
        What there is.

    Returns
    -------
    str
    """
    names = sorted(names)
    close = get_close_matches(name, names, n=3, cutoff=0.6)
    last = name.rpartition(".")[2]
    if not close or last == name:  # the section may be wrong or missing
        ends = {other.rpartition(".")[2] for other in close} or {last}
        alike = [n for n in names if n.rpartition(".")[2] in ends and n not in close]
        close = [*close, *alike][:3]
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}"


def value_of(text):
    """The value that a text on the command line means: a number, a word or a list."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def parameters_of(parts):
    """Dotted names of all parameters of the parts of a recipe.

    Parameters
    ----------
    parts : dict of str to type
        Classes by the name of their part; "" is the model, whose parameters have no prefix.

    Returns
    -------
    set of str
    """
    return {
        f"{part}.{name}" if part else name
        for part, of_class in parts.items()
        for name in signature(of_class.__init__).parameters
        if name not in _NOT_SETTINGS
    }


def flat(nested, names, sections, prefix=""):
    """Dotted names of nested settings; what is no section is a value, also if it is a dict.

    Parameters
    ----------
    nested : dict
        Such as ``{"soap": {"cutoff": 5.0}, "noise_energy": {"liquid": 0.01}}``; dotted names and
        those with ``__`` may be used, too.
    names : set of str
        All settings.
    sections : set of str
        All names that have settings below them.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If there is no such setting. The message has the nearest ones.
    """
    found = {}
    for key, value in nested.items():
        name = prefix + str(key).replace("__", ".")
        if isinstance(value, dict) and name in sections:
            found |= flat(value, names, sections, name + ".")
        elif name in names:
            found[name] = value
        else:
            raise ValueError(f"there is no setting {name!r}: {nearest(name, names)}")
    return found


def merged(defaults, given):
    """Defaults with what was given in their place; a part that is given whole replaces its own."""
    kept = {
        name: value
        for name, value in defaults.items()
        if not any(name.startswith(f"{other}.") for other in given)
    }
    for name, value in given.items():
        if isinstance(value, dict) and any(other.startswith(f"{name}.") for other in defaults):
            kept |= {f"{name}.{inner}": x for inner, x in value.items()}
        else:
            kept[name] = value
    return kept


def nested(settings):
    """Settings by section: ``{"soap": {"cutoff": 5.0}}`` of ``{"soap.cutoff": 5.0}``."""
    found = {}
    for name, value in settings.items():
        *sections, last = name.split(".")
        inner = found
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    return found


def text_of(settings):
    """Settings as options of the command line, ``soap.cutoff=5 zeta=4``."""
    return " ".join(f"{name}={_text(value)}" for name, value in settings.items())


def _text(value):
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_text(v)}" for k, v in value.items()) + "}"
    return str(value)
