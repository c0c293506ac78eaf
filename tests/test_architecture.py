"""The package is as docs/architecture.md says: its table of modules, and its rules of imports."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "skatom").rglob("*.py"))


@cache
def nodes_of(path):
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def table():
    """The packages and modules of the table, in its order."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = text[text.index("| package or module |") :].split("\n\n")[0].splitlines()[2:]
    return [re.match(r"\| `(\w+)` \|", row)[1] for row in rows]


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports():
    """(module, imported module, name) of every import of skatom, whole or within a function."""
    for path in SOURCES:
        for node in nodes_of(path):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("skatom"):
                for alias in node.names:
                    target = tuple(node.module.split("."))
                    if len(target) == 1 and not alias.name.startswith("__"):
                        target += (alias.name,)
                    yield module_of(path), target, alias.name
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.startswith("skatom."):
                        yield module_of(path), tuple(alias.name.split(".")), None


@pytest.fixture(scope="module")
def all_imports():
    return list(imports())


def test_the_table_lists_every_package_and_module():
    assert sorted(table()) == sorted(
        {module_of(path)[1] for path in SOURCES if len(module_of(path)) > 1}
    )


def test_imports_point_up_the_table(all_imports):
    place = {name: row for row, name in enumerate(table())}
    # the package itself makes Structures and Targets importable, on first use
    wrong = [
        (".".join(module), ".".join(target))
        for module, target, _ in all_imports
        if len(module) > 1
        and len(target) > 1
        and target[1] in place
        and place[target[1]] > place[module[1]]
    ]
    assert not wrong


def test_modules_of_a_package_do_not_import_each_other_in_a_circle(all_imports):
    modules = {module_of(path) for path in SOURCES}
    graph = defaultdict(set)
    for module, target, name in all_imports:
        for found in (target + (name,), target):
            if found in modules:
                graph[module].add(found)
                break
    done, path = set(), []

    def visit(module):
        if module in path:
            circle = path[path.index(module) :] + [module]
            pytest.fail("circle of imports: " + " -> ".join(".".join(m) for m in circle))
        if module in done:
            return
        path.append(module)
        for other in graph[module] - {module}:
            visit(other)
        path.pop()
        done.add(module)

    for module in modules:
        visit(module)


def test_no_private_name_crosses_a_border_between_packages(all_imports):
    wrong = [
        (".".join(module), ".".join(target), name)
        for module, target, name in all_imports
        if module[1:2] != target[1:2]
        and (
            any(part.startswith("_") for part in target[2:])
            or (len(target) > 1 and (name or "").startswith("_"))
        )
    ]
    assert not wrong


def test_a_class_name_occurs_once():
    where = defaultdict(list)
    for path in SOURCES:
        for node in nodes_of(path):
            if isinstance(node, ast.ClassDef):
                where[node.name].append(str(path.relative_to(ROOT)))
    assert not {name: paths for name, paths in where.items() if len(paths) > 1}


def test_models_call_no_underscored_method_of_descriptors():
    """They ask features; the base of descriptors alone knows how its subclasses work."""
    private = re.compile(r"\bdescriptors?(?:_?\[\w+\])?\._(?!_)\w+")
    for path in (ROOT / "skatom" / "models").rglob("*.py"):
        assert not private.findall(path.read_text(encoding="utf-8")), path


def test_functions_stay_short():
    lengths = [
        node.end_lineno - node.lineno + 1
        for path in SOURCES
        for node in nodes_of(path)
        if isinstance(node, ast.FunctionDef)
    ]
    assert sorted(lengths)[len(lengths) // 2] <= 8
