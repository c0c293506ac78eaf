"""Docstrings of classes whose base class describes what they share."""

from __future__ import annotations

import re
from inspect import cleandoc, signature

# Sections that a class adds to those of its base class, in numpydoc's order.
_SHARED = ("Parameters", "Attributes", "Raises", "Warns")
_HEADING = re.compile(r"^(\w[\w ]*)\n-+\n", re.MULTILINE)


def share_docstring(cls, base):
    """Give a class the entries of its base class's docstring that its own does not have.

    Parameters of the base class are taken if the class has them, and all are in the order of its
    signature; attributes follow those of the class, as do errors and warnings.
    """
    if cls.__doc__ is None or base.__doc__ is None:  # python -OO
        return
    own, shared = _sections(cls.__doc__), _sections(base.__doc__)
    order = list(signature(cls.__init__).parameters)
    parameters = _with_missing(own.get("Parameters", ""), shared["Parameters"], order)
    own["Parameters"] = sorted(parameters, key=lambda entry: order.index(_names(entry)[0]))
    own["Attributes"] = _with_missing(own.get("Attributes", ""), shared["Attributes"])
    for name in ("Raises", "Warns"):
        own[name] = _entries(own.get(name, "")) + _entries(shared[name])
    first = own.pop("")
    names = [*_SHARED, *(name for name in own if name not in _SHARED)]
    bodies = (own[name] if isinstance(own[name], str) else "\n".join(own[name]) for name in names)
    parts = (f"{k}\n{'-' * len(k)}\n{body}" for k, body in zip(names, bodies, strict=True))
    cls.__doc__ = "\n\n".join(part.strip() for part in (first, *parts)) + "\n"


def _sections(doc):
    """The text of each section by its heading; what comes before the first one is ''."""
    first, *parts = _HEADING.split(cleandoc(doc))
    return {"": first, **dict(zip(parts[::2], parts[1::2], strict=True))}


def _entries(body):
    """Entries of a section: a line, and what is indented below it."""
    return [entry.rstrip() for entry in re.split(r"^(?=\S)", body, flags=re.MULTILINE) if entry]


def _names(entry):
    """The names that an entry describes."""
    return [name.strip() for name in entry.partition("\n")[0].partition(" : ")[0].split(",")]


def _with_missing(own, shared, known=None):
    """Entries of a section, and those of the shared one that have other names, of known ones."""
    own = _entries(own)
    seen = {name for entry in own for name in _names(entry)}
    return own + [
        entry for entry in _entries(shared)
        if seen.isdisjoint(names := _names(entry)) and (known is None or {*names} <= {*known})
    ]  # fmt: skip
