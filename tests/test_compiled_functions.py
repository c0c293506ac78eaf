"""Compiled functions are kept on disk, whatever its state, and give the same bits everywhere."""

import operator
import os
import re
import subprocess
import sys
import time
from itertools import product

import numba
import numpy as np
import pytest
from numba.core.ir import Inst
from numba.core.registry import cpu_target
from numba.core.types.functions import BaseFunction

import skatom._numba
from skatom._numba import (
    add_product,
    callee,
    compilation_time,
    compiler,
    disk_cache,
    njit,
    operations,
    remembered,
    source_stamp,
)
from skatom._numba.compilation_time import ANNOUNCEMENT, Compilation
from skatom._numba.quick_passes import quick_passes
from skatom._progress import tqdm

INNER = """
from skatom._numba import njit

SCALE = 2.0

@njit(cache=True)
def inner(x):
    return SCALE * x
"""
OUTER = """
from skatom._numba import njit
from loops._cpu.inner import inner

@njit(cache=True)
def outer(x):
    return inner(x) + 1
"""
# prints the value, and how many functions were compiled and found
CALL = """
import sys
from loops._cpu.inner import inner
from loops._cpu.outer import outer
stats = [function.stats for function in (inner, outer)]
print(outer({argument}), sum(sum(s.cache_misses.values()) for s in stats),
      sum(sum(s.cache_hits.values()) for s in stats))
"""


@pytest.fixture
def loops(tmp_path):
    """A package with two compiled functions, one of which calls the other."""
    folder = tmp_path / "loops" / "_cpu"
    folder.mkdir(parents=True)
    for name, text in (("__init__", ""), ("inner", INNER), ("outer", OUTER)):
        (folder / f"{name}.py").write_text(text)
    (folder.parent / "__init__.py").touch()
    return folder


def start(folder, program, **environment):
    """A new process that can import skatom and what is in a folder."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | environment
    environment = {name: value for name, value in environment.items() if value is not None}
    return subprocess.Popen(
        [sys.executable, "-W", "always::RuntimeWarning", "-c", program],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process):
    """What a process printed."""
    out, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    return out.split(), error


def call(folder, argument="1.0", **environment):
    return finish(start(folder, CALL.format(argument=argument), **environment))


class TestFiles:
    @pytest.mark.thorough
    def test_serve_later_processes_until_a_source_changes(self, loops, tmp_path):
        cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        assert call(tmp_path, **cache)[0] == ["3.0", "2", "0"]
        assert call(tmp_path, **cache)[0] == ["3.0", "0", "1"]
        (loops / "inner.py").write_text(INNER.replace("2.0", "5.0"))  # of the same length
        assert call(tmp_path, **cache)[0] == ["6.0", "2", "0"]

    @pytest.mark.thorough
    def test_of_two_processes_at_once(self, loops, tmp_path):
        cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        arguments = ("1", "1.0")
        both = [start(tmp_path, CALL.format(argument=a), **cache) for a in arguments]
        assert [finish(process)[0][0] for process in both] == ["3.0", "3.0"]
        for argument in arguments:
            assert call(tmp_path, argument, **cache)[0] == ["3.0", "0", "1"]

    @pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
    def test_come_with_an_installation_that_cannot_be_written_to(self, loops, tmp_path):
        nowhere = {"NUMBA_CACHE_DIR": None, "HOME": "/proc/nope", "XDG_CACHE_HOME": "/proc/nope"}
        out, error = call(tmp_path, **nowhere)
        assert out == ["3.0", "2", "0"] and "Warning" not in error
        kept = sorted((loops / "__pycache__").iterdir())
        assert len(kept) == 2
        (loops / "__pycache__").chmod(0o500)
        assert call(tmp_path, **nowhere)[0] == ["3.0", "0", "1"]

    @pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
    def test_are_missed_on_a_full_disk_only_by_one_warning(self, loops, tmp_path):
        full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
        program = f"{full}\n{CALL.format(argument='1.0')}"
        out, error = finish(start(tmp_path, program, NUMBA_CACHE_DIR=str(tmp_path / "cache")))
        assert out == ["3.0", "2", "0"]
        assert error.count("RuntimeWarning") == 1 and "NUMBA_CACHE_DIR" in error
        assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]

    def test_are_missed_without_a_writable_folder_only_by_one_warning(self, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file" / "cache"))
        monkeypatch.setattr(disk_cache, "_warned", False)
        with pytest.warns(
            RuntimeWarning, match="set the environment variable NUMBA_CACHE_DIR"
        ) as w:
            assert add(1, 2) == 3
            assert add(1.0, 2) == 3.0
        assert len(w) == 1

    @pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "flipped"])
    def test_that_are_damaged_are_made_again(self, damage, tmp_path, monkeypatch):
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
        function = njit(cache=True)(add.py_func)
        assert function(1, 2) == 3
        (path,) = tmp_path.rglob("*.nbc")
        content = path.read_bytes()
        assert load(function) is not None
        middle = len(content) // 2
        path.write_bytes({
            "truncated": content[:middle],
            "empty": b"",
            "foreign": b"not what it seems",
            "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        }[damage])  # fmt: skip
        assert load(function) is None
        function._cache.save_overload(*next(iter(function.overloads.items())))
        assert load(function) is not None

    def test_can_be_deleted_and_left_alone(self, tmp_path, monkeypatch):
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
        function = njit(cache=True)(add.py_func)
        function._cache.disable()
        function(1, 2)
        assert not list(tmp_path.rglob("*.nbc"))
        function._cache.enable()
        function(1.0, 2)
        assert len(list(tmp_path.rglob("*.nbc"))) == 1
        function._cache.flush()
        assert not list(tmp_path.rglob("*.nbc"))


@njit(cache=True)
def add(a, b):
    return a + b


def load(function):
    (sig,) = function.overloads
    return function._cache.load_overload(sig, function.targetctx)


CUTOFF = """
from skatom._cpu import elementwise
from skatom._cpu.fastmath import FASTMATH
from skatom._numba import njit

cosine = elementwise.cutoff_values

@njit(cache=True, fastmath=FASTMATH)
def cutoff_values(kind, cutoff, r, f):
    cosine(kind, cutoff, r, f)
"""
# calls one function twice, so that it is not inlined
TWICE = """
from loops._cpu.cutoff import cutoff_values
from skatom._cpu.fastmath import FASTMATH
from skatom._numba import njit

@njit(cache=True, fastmath=FASTMATH)
def twice(r, rows):
    cutoff_values(0, 5.0, r, rows[0, :len(r)])
    cutoff_values(0, 3.0, r, rows[1, :len(r)])
"""
# two callees of one function call a third one, and functions of numba
PARTS = """
from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit

@callee(cache=True, fastmath=FASTMATH)
def shared(x, y):
    return 0.1 * x + y**3 / 7 + max(x, y)

@callee(cache=True, fastmath=FASTMATH)
def one(x, out):
    for i in range(1, len(x)):
        out[i] += shared(x[i], x[i - 1]) * 0.3

@callee(cache=True, fastmath=FASTMATH)
def two(x, out):
    for i in range(1, len(x)):
        out[i] -= shared(x[i - 1], 0.2) / (1 + x[i] ** 2)

@njit(cache=True)
def entry(x, out):
    one(x, out)
    two(x, out)
"""
# prints the result, and which functions were compiled
PARTS_OF = """
import numpy as np
from loops._cpu import parts
x = np.linspace(0.1, 6, 1001)
out = np.zeros(1001)
parts.entry(x, out)
print(out.tobytes().hex())
for name in ("shared", "one", "two", "entry"):
    if sum(getattr(parts, name).stats.cache_misses.values()):
        print(name)
"""
VALUES = """
import numpy as np
from loops._cpu.twice import cutoff_values, twice
r = np.linspace(0.1, 6, 1001)
rows = np.zeros((2, 2000))
{before}
twice(r, rows)
cutoff_values(0, 5.0, r, np.empty(1001))
print(rows.tobytes().hex())
"""
FEATURES = """
from ase.build import bulk, molecule
from skatom.descriptors import {descriptor}
X = [molecule("CH4"), molecule("CO"), molecule("H2O"), molecule("C6H6")]
features = {descriptor}(n_jobs={n_jobs}).fit_transform(X)
for array in (features.values, *features.pullback(features.values**2)):
    print(array.tobytes().hex())
"""


def arrays(words):
    return [np.frombuffer(bytes.fromhex(word)) for word in words]


class TestBits:
    @pytest.mark.thorough
    def test_depend_neither_on_the_cache_nor_on_what_was_called_before(self, loops, tmp_path):
        (loops / "cutoff.py").write_text(CUTOFF)
        (loops / "twice.py").write_text(TWICE)
        cache = tmp_path / "cache"

        def values(before="", **environment):
            process = start(
                tmp_path, VALUES.format(before=before), NUMBA_CACHE_DIR=str(cache), **environment
            )
            return finish(process)[0]

        def delete(function):
            paths = list(cache.rglob(f"*.{function}-*.nbc"))
            assert paths
            for path in paths:
                path.unlink()

        fresh = values()
        assert values() == fresh
        assert values("cutoff_values(0, 5.0, r, np.empty(1001))") == fresh
        delete("twice")
        assert values("cutoff_values(0, 5.0, r, np.empty(1001))") == fresh
        delete("cutoff_values")
        assert values() == fresh
        (other,), (same,) = arrays(values(NUMBA_CPU_NAME="generic")), arrays(fresh)
        if os.environ.get("NUMBA_CPU_NAME") != "generic":
            assert not np.array_equal(other, same)  # other instructions
        np.testing.assert_allclose(other, same, rtol=0, atol=1e-13 * np.linalg.norm(same))

    @pytest.mark.parametrize(
        ("deleted", "compiled"),
        [
            (["entry"], ["entry"]),
            (["entry", "shared"], ["entry"]),
            (["entry", "two", "shared"], ["shared", "two", "entry"]),
        ],
    )
    @pytest.mark.thorough
    def test_do_not_depend_on_the_callees_on_disk(self, deleted, compiled, loops, tmp_path):
        (loops / "parts.py").write_text(PARTS)
        cache = tmp_path / "cache"

        def results():
            return finish(start(tmp_path, PARTS_OF, NUMBA_CACHE_DIR=str(cache)))[0]

        fresh, *names = results()
        assert names == ["shared", "one", "two", "entry"]
        for name in deleted:
            (path,) = cache.rglob(f"parts.{name}-*.nbc")
            path.unlink()
        assert results() == [fresh, *compiled]

    def test_do_not_depend_on_the_order_of_sets(self, loops, tmp_path):
        """A callee has one name, or callers would have copies of those on disk and of others."""
        (loops / "parts.py").write_text(PARTS)
        program = """
from loops._cpu.parts import shared
shared.compile("float64(float64, float64)")
print(*(result.fndesc.mangled_name for result in shared.overloads.values()))
"""
        one, two = (
            finish(start(tmp_path, program, NUMBA_CACHE_DIR=str(tmp_path / seed),
                         PYTHONHASHSEED=seed))[0]
            for seed in "12"
        )  # fmt: skip
        assert one == two

    @pytest.mark.slow
    @pytest.mark.parametrize("descriptor", ["ACSF", "FCHL19", "SOAP"])
    def test_of_features_depend_on_the_processor_alone(self, descriptor, tmp_path):
        def features(n_jobs=1, cache=tmp_path, threads="2", **environment):
            return finish(start(
                tmp_path, FEATURES.format(descriptor=descriptor, n_jobs=n_jobs),
                NUMBA_CACHE_DIR=str(cache), NUMBA_NUM_THREADS=threads, **environment,
            ))[0]  # fmt: skip

        fresh = features()
        for path in sorted(tmp_path.rglob("*.nbc"))[::2]:
            path.unlink()
        for threads, n_jobs in product("12", (1, 2)):  # the first finds half of its functions
            assert features(n_jobs, threads=threads) == fresh
        other = features(NUMBA_CPU_NAME="generic")
        for one, two in zip(arrays(other), arrays(fresh), strict=True):
            assert np.linalg.norm(one - two) < 1e-13 * np.linalg.norm(two)


@callee
def own_argument(x):
    return x, 1


@callee
def new_array(n):
    return np.empty(n)[0]


@callee(allocates=True)
def counted(x):
    return x[1:], np.zeros(2)


@callee
def many_lines(x):
    for a in range(len(x)):
        for b in range(len(x)):
            for c in range(len(x)):
                x[a] += 0.01 * x[b] * x[c] - 0.02 * x[c] * x[0] + 0.03 * x[c] * x[1]
                x[b] += 0.01 * x[c] * x[a] - 0.02 * x[a] * x[0] + 0.03 * x[a] * x[1]
    return x[0] + x[1] + x[2]


@callee
def own_element(x, i):
    return x[i] + 1.0


@njit
def long_and_short(x):
    y = np.empty(3)
    for i in range(3):
        y[i] = own_element(x, i)
    return many_lines(y)


class TestCallees:
    """Callees do not count references to arrays unless they say that they make or return some."""

    def test_that_return_arrays_say_so(self):
        @njit
        def call(x):
            return own_argument(x)[1]

        with pytest.raises(TypeError, match="own_argument returns .* declare allocates=True"):
            call(np.ones(3))

    def test_that_make_arrays_say_so(self):
        @njit
        def call(n):
            return new_array(n)

        with pytest.raises(numba.core.errors.TypingError, match="empty"):
            call(3)

    def test_that_say_so_give_arrays_that_live_on(self):
        @njit
        def call(x):
            part, zeros = counted(x)
            return part, zeros

        x = np.arange(4.0)
        before = sys.getrefcount(x)
        part, zeros = call(x)
        assert part.base is not None and sys.getrefcount(x) > before
        x[1] = 7.0
        assert part[0] == 7.0 and not zeros.any()
        del part
        assert sys.getrefcount(x) == before

    def test_that_are_long_are_called(self, monkeypatch):
        """LLVM would make one function of all that an entry needs, which takes longer."""
        monkeypatch.setattr(compiler, "_MOST_INLINED", 200)
        value = long_and_short(np.ones(3))
        assert value == pytest.approx(many_lines.py_func(np.full(3, 2.0)), rel=1e-13)
        (result,) = long_and_short.overloads.values()
        text = result.library.get_llvm_str()
        assert re.search(r"call .*many_lines", text)
        assert not re.search(r"call .*own_element", text)


@njit
def multiply(a, b, transposed, factor, out, column, n):
    add_product(len(a), n, a.shape[1], a, b, transposed, factor, out[0, column:], out.shape[1])


class TestProducts:
    @pytest.mark.parametrize("transposed", [False, True])
    @pytest.mark.parametrize("factor", [0.0, 1.0])
    def test_are_those_of_numpy_and_change_nothing_beside_them(self, transposed, factor):
        rng = np.random.default_rng(0)
        for m, n, k in ((4, 3, 5), (1, 3, 1), (4, 1, 2), (2, 3, 0)):
            a, b = rng.normal(size=(m, k)), rng.normal(size=(n, k) if transposed else (k, n))
            out = rng.normal(size=(m, n + 3))
            expected = out.copy()
            expected[:, 2 : n + 2] *= factor
            expected[:, 2 : n + 2] += a @ (b.T if transposed else b)
            multiply(a, b, transposed, factor, out, 2, n)
            np.testing.assert_allclose(out, expected, rtol=0, atol=1e-14)

    def test_of_arrays_that_are_not_contiguous_are_errors(self):
        square = np.ones((3, 3))
        with pytest.raises(numba.core.errors.TypingError, match="takes contiguous arrays"):
            multiply(square.T, square, False, 0.0, square, 0, 3)


class TestOperations:
    def test_have_the_types_of_numba(self):
        """Of each remembered operation and arguments, numba finds the same signature again."""

        @njit
        def mixed(x, i):
            total = 0.0
            for k in range(len(x)):
                total += x[k] * i + x[k] / 3 - (i // 2) % 5 + (k < i)
            return total + i

        x = np.linspace(0.1, 2.0, 9)
        assert mixed(x, 5) == mixed.py_func(x, 5)
        context = cpu_target.typing_context
        known = operations._known
        assert len(known) > 5
        for (rules, arguments), signature in known.items():
            assert context.resolve_function_type(rules, arguments, {}) == signature

    def test_that_are_added_later_are_found(self):
        class Length(numba.types.Type):
            def __init__(self):
                super().__init__(name="Length")

        context = cpu_target.typing_context
        arguments = (Length(), numba.types.float64)
        with quick_passes(), pytest.raises(numba.core.errors.TypingError):
            context.resolve_function_type(operator.add, arguments, {})

        @numba.extending.type_callable(operator.add)
        def type_add(context):
            def typer(a, b):
                return numba.types.float64 if isinstance(a, Length) else None

            return typer

        context.refresh()
        with quick_passes():
            found = context.resolve_function_type(operator.add, arguments, {})
        assert found.return_type == numba.types.float64


class TestQuickPasses:
    def test_are_for_this_package_alone(self):
        @njit
        def wrong(x):
            return x.nothing

        def parts():
            replaced = [getattr(owner, name) for owner, name, _ in remembered.REPLACED]
            return [BaseFunction.get_call_type, Inst._rec_list_vars, *replaced]

        before = parts()
        with pytest.raises(numba.core.errors.TypingError):
            wrong(np.ones(2))
        assert parts() == before

    def test_find_the_variables_that_numba_finds(self):
        def everything(x, *more):
            total = [0.0, x[0]]
            for i, y in enumerate(x[1:]):
                total[0] += y if y > i else -(y**2)
            return max(*total, *more), {"a": total[1]}

        instructions = [
            i for block in numba.core.compiler.run_frontend(everything).blocks.values()
            for i in block.body
        ]  # fmt: skip
        expected = [[v.name for v in i.list_vars()] for i in instructions]
        with quick_passes():
            assert [[v.name for v in i.list_vars()] for i in instructions] == expected
        assert len(instructions) > 20

    def test_fuse_expressions_of_arrays(self):
        @njit
        def expression(x, y):
            return 2.0 * x - y

        @njit
        def elements(x, y):
            return 2.0 * x[0] - y[0]

        x, y = np.arange(4.0), np.ones(4)
        np.testing.assert_array_equal(expression(x, y), 2.0 * x - y)
        assert elements(x, y) == -1.0
        (result,) = expression.overloads.values()
        assert "arrayexpr" in str(result.type_annotation)


class TestRemembered:
    def test_sizes_of_types_are_those_of_llvm(self):
        context = cpu_target.target_context
        items = numba.float64, numba.float64[:, ::1], numba.types.UniTuple(numba.int32, 3)
        types = [context.get_value_type(item) for item in items]
        expected = [kind.get_abi_size(context.target_data) for kind in types]
        with quick_passes():
            for _ in range(2):
                assert [context.get_abi_sizeof(kind) for kind in types] == expected
        assert expected[0] == 8

    def test_declarations_that_come_later_are_taken_in(self):
        class Mass(numba.types.Type):
            def __init__(self):
                super().__init__(name="Mass")

        context, arguments = cpu_target.target_context, (Mass(), numba.types.float64)
        with quick_passes():
            context.refresh()
            with pytest.raises(numba.core.errors.TypingError):
                context.typing_context.resolve_function_type(operator.mul, arguments, {})

            @numba.extending.type_callable(operator.mul)
            def type_mul(context):
                def typer(a, b):
                    return numba.types.float64 if isinstance(a, Mass) else None

                return typer

            context.refresh()
            found = context.typing_context.resolve_function_type(operator.mul, arguments, {})
        assert found.return_type == numba.types.float64

    def test_events_are_announced_but_not_each_call_of_llvm(self):
        @njit
        def one_more(x):
            return x + 1

        one_more(1)  # numba compiles what counts references before the first function
        record = numba.core.event.install_recorder
        with record("numba:llvm_lock") as calls, record("numba:run_pass") as passes:
            one_more(1.0)
        assert len(passes.buffer) > 20
        assert len(calls.buffer) < 200


class TestSources:
    def test_of_compiled_loops_are_covered_with_all_that_they_import(self):
        """The rule on which stamps rest: functions and constants come from folders ``_cpu``."""
        root = os.path.dirname(skatom.__file__)
        found = 0
        for folder, _, files in os.walk(root):
            for path in (os.path.join(folder, name) for name in files if name.endswith(".py")):
                with open(path, encoding="utf-8") as file:
                    text = file.read()
                imported = re.search(r"import .*\bnjit\b", text)
                if not imported or folder == os.path.dirname(skatom._numba.__file__):
                    continue
                found += 1
                assert "_cpu" in folder.split(os.sep), path
                for module in re.findall(r"^\s*(?:from|import) (skatom\S*)", text, re.MULTILINE):
                    allowed = ("skatom._numba", "skatom._scratch", "skatom.parallel")
                    assert "_cpu" in module.split(".") or module in allowed, (path, module)
        assert found > 20

    def test_change_the_stamp_of_all_that_use_them(self, loops, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(source_stamp, "_sources", {})
        for name in ("loops._cpu.outer", "loops._cpu.inner", "loops._cpu", "loops"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        import loops._cpu.outer  # noqa: F401

        names = ["loops._cpu.inner", "loops._cpu.outer"]
        before = [source_stamp.source_stamp(name) for name in names]
        assert before[0] != before[1]
        (loops_file := tmp_path / "loops" / "_cpu" / "inner.py").write_text(INNER + "\nNEW = 1")
        assert [source_stamp.source_stamp(name) for name in names] == before  # as imported
        source_stamp.remember_source(names[0])
        after = [source_stamp.source_stamp(name) for name in names]
        assert after[0] != before[0] and after[1] != before[1]
        loops_file.unlink()
        source_stamp.remember_source(names[1])
        assert [source_stamp.source_stamp(name) for name in names] == after

    def test_that_are_not_files_are_an_error(self):
        source_stamp.remember_source("sys")
        with pytest.raises(OSError, match="the source of sys is not a file"):
            source_stamp.source_stamp("sys")


class TestAnnouncement:
    def test_comes_once_and_after_a_while(self, capsys):
        compilation = Compilation(patience=0.2)
        with compilation:
            pass
        assert capsys.readouterr().err == ""
        for _ in range(2):
            with compilation:
                time.sleep(0.15)
                with compilation:
                    time.sleep(0.15)
        assert capsys.readouterr().err == f"{ANNOUNCEMENT}\n"

    def test_adds_up_many_short_compilations(self, capsys):
        compilation = Compilation(patience=0.3)
        for _ in range(10):
            with compilation:
                time.sleep(0.05)
        assert capsys.readouterr().err == f"{ANNOUNCEMENT}\n"
        assert 0.5 <= compilation.seconds < 5

    def test_is_left_to_the_first_process(self, capsys, monkeypatch):
        monkeypatch.setattr(compilation_time, "parent_process", lambda: "a process")
        with Compilation(patience=0.01):
            time.sleep(0.1)
        assert capsys.readouterr().err == ""

    def test_clock_runs_on_after_an_error(self):
        compilation = Compilation()
        with pytest.raises(KeyboardInterrupt), compilation:
            raise KeyboardInterrupt
        seconds = compilation.seconds
        time.sleep(0.01)
        assert compilation.seconds == seconds

    def test_is_kept_out_of_progress_bars(self, capsys):
        start = time.time()
        with tqdm(total=10) as bar:
            with compilation_time.compilation:
                time.sleep(0.3)
            time.sleep(0.1)
            bar.update()
            assert 0.1 <= bar.format_dict["elapsed"] <= time.time() - start - 0.3
        assert "1/10" in capsys.readouterr().err


def test_bars_are_drawn_seldom_where_nobody_watches(capsys, monkeypatch):
    def drawn():
        with tqdm(total=40) as bar:
            for k in range(40):
                time.sleep(0.01)
                bar.set_postfix(loss=k, refresh=False)
                bar.update()
        return capsys.readouterr().err

    assert drawn().count("/40") == 2  # the first and the last
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert drawn().count("/40") > 2
