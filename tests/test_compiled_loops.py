"""What all compiled loops keep to, read from their source: see "Compiled loops" in architecture."""

import ast
from functools import cache
from pathlib import Path

import pytest

import skatom

PACKAGE = Path(skatom.__file__).parent
LOOPS = sorted(PACKAGE.glob("**/_cpu/**/*.py"))
FILES = [*PACKAGE.glob("**/*.py"), *Path(__file__).parent.glob("*.py")]
FOLDER = "_cpu"  # without its name, a file elsewhere imports no compiled loop


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def module_of(path):
    """As in an import."""
    if PACKAGE not in path.parents:
        return path.stem
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def decorator(node):
    """``njit`` or ``callee`` of a compiled function and its options, or two empty strings."""
    for call in getattr(node, "decorator_list", []):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in {"njit", "callee"}:
            return ast.unparse(call.func), ast.unparse(call)
    return "", ""


@cache
def compiled(kind):
    """{module: names of its compiled functions of one kind}"""
    return {
        module_of(path): {node.name for node in tree_of(path).body if decorator(node)[0] == kind}
        for path in LOOPS
    }


@cache
def compiled_alone():
    """Names of all compiled functions that are not part of those that call them."""
    return {
        node.name
        for path in LOOPS
        for node in tree_of(path).body
        if decorator(node)[0] and "inline" not in decorator(node)[1]
    }


def callees_in(tree, module):
    """Callees of a module, and how they are called there: by a name, or as part of a module."""
    known = compiled("callee")
    seen = set(known.get(module, ()))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name
                if alias.name in known.get(node.module, ()):
                    seen.add(name)
                inner = known.get(f"{node.module}.{alias.name}", ())
                seen |= {f"{name}.{function}" for function in inner}
    return seen


def calls_of_python(tree):
    """What is called outside of compiled functions."""
    for node in tree.body:
        if not decorator(node)[0]:
            yield from (name_of(n.func) for n in ast.walk(node) if isinstance(n, ast.Call))


def name_of(function):
    """A name, or a part of a module: ``a.b``."""
    if isinstance(function, ast.Attribute):
        return f"{name_of(function.value)}.{function.attr}"
    return getattr(function, "id", "")


def test_there_are_compiled_loops():
    assert sum(map(len, compiled("njit").values())) > 60
    assert sum(map(len, compiled("callee").values())) > 100


def test_python_calls_no_callee():
    # it would end with a segmentation fault
    for path in FILES:
        if path not in LOOPS and FOLDER not in path.read_text(encoding="utf-8"):
            continue
        tree = tree_of(path)
        callees = callees_in(tree, module_of(path))
        found = callees & set(calls_of_python(tree)) if callees else None
        assert not found, f"{path}: {sorted(found)}"


def test_calls_of_callees_are_seen():
    tree = ast.parse(
        "from skatom.descriptors._cpu import soap\n"
        "from skatom.descriptors._cpu.density import mix\n"
        "mix(1)\nsoap.features(2)\nsoap.values(3)"
    )
    called = callees_in(tree, "tests") & set(calls_of_python(tree))
    assert called == {"mix", "soap.features"}


@pytest.mark.parametrize("path", LOOPS, ids=module_of)
def test_compiled_functions_get_no_literals(path):
    # numba compiles one more function for each bool or whole number that stands in a call
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in compiled_alone():
            literals = [argument.value for argument in node.args if hasattr(argument, "value")]
            assert not [x for x in literals if type(x) in {bool, int}], ast.unparse(node)


def innermost_loops(function):
    for loop in ast.walk(function):
        if isinstance(loop, ast.For):
            inside = [node for line in loop.body for node in ast.walk(line)]
            if not any(isinstance(node, ast.For | ast.While) for node in inside):
                yield inside


def sums_beside_stores(inside):
    """Names that a loop adds numbers to while it writes to an array."""
    added, stores, own = set(), False, set()
    for node in inside:
        if isinstance(node, ast.Assign):
            stores |= any(isinstance(target, ast.Subscript) for target in node.targets)
            names = (name for target in node.targets for name in ast.walk(target))
            own |= {name.id for name in names if isinstance(name, ast.Name)}
        elif isinstance(node, ast.AugAssign):
            stores |= isinstance(node.target, ast.Subscript)
            counts = isinstance(node.value, ast.Constant | ast.IfExp)
            if isinstance(node.target, ast.Name) and isinstance(node.op, ast.Add | ast.Sub):
                added |= set() if counts else {node.target.id}
    return added - own if stores else set()


# It writes to places that an index names, so that nothing of it is done several at a time.
NOT_VECTORISED = {"_fill_some_columns"}


@pytest.mark.parametrize("path", LOOPS, ids=module_of)
def test_sums_that_may_be_reordered_are_not_made_beside_stores(path):
    # Whether the compiler adds several numbers at a time would depend on where the arrays are in
    # memory: if one begins just behind the other, it takes the loop for those that overlap.
    for node in tree_of(path).body:
        if "fastmath" in decorator(node)[1] and node.name not in NOT_VECTORISED:
            for inside in innermost_loops(node):
                assert not sums_beside_stores(inside), f"{node.name}, line {inside[0].lineno}"


def test_sums_beside_stores_are_seen():
    loop = "for i in range(n):\n x = a[i]\n total += x\n b[i] = x"
    (inside,) = innermost_loops(ast.parse(loop))
    assert sums_beside_stores(inside) == {"total"}
    (inside,) = innermost_loops(ast.parse(loop.replace("b[i] = x", "k += 1")))
    assert sums_beside_stores(inside) == set()
