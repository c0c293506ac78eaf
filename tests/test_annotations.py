"""The public surface is annotated, and the package says so to type checkers."""

import ast
from importlib import import_module, resources
from inspect import getattr_static, isclass, isfunction, signature, unwrap

import pytest
from test_docs import listed

PACKAGE = str(resources.files("skatom"))
_IMPLICIT = {"self", "cls"}
# its signature comes from the registry of properties
_MADE = {"predict"}


def callables(thing):
    """(name, function) of a public function, or of the public methods of a class of skatom."""
    if isfunction(thing):
        yield thing.__name__, unwrap(thing)
    elif isclass(thing):
        for name in dir(thing):
            method = getattr_static(thing, name)
            method = unwrap(getattr(method, "__func__", method)) if callable(method) else method
            public = not name.startswith("_") or name in ("__init__", "__call__")
            if public and isfunction(method) and method.__code__.co_filename != "<string>":
                yield name, method


def unannotated(function):
    form = signature(function)
    parameters = [p for p in form.parameters.values() if p.name not in _IMPLICIT]
    missing = [p.name for p in parameters if p.annotation is p.empty]
    return [*missing, "return"] if form.return_annotation is form.empty else missing


@pytest.mark.parametrize("module, name", list(listed()))
def test_every_public_callable_is_annotated(module, name):
    missing = {
        found: unannotated(function)
        for found, function in callables(getattr(import_module(module), name))
        if function.__code__.co_filename.startswith(PACKAGE) and found not in _MADE
    }
    assert not {found: names for found, names in missing.items() if names}


def test_the_package_is_marked_as_typed():
    assert (resources.files("skatom") / "py.typed").is_file()


def test_types_are_defined_without_imports_of_other_packages():
    source = (resources.files("skatom") / "_typing.py").read_text(encoding="utf-8")
    top = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [node.module for node in top] == ["typing"]
