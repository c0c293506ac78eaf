"""``import skatom`` is quick: what it needs is loaded on first use."""

import subprocess
import sys

import skatom

LOADED = """
import sys
before = set(sys.modules)
import skatom
dir(skatom)
print(*{name.split(".")[0] for name in set(sys.modules) - before})
"""

NAMES = "import skatom; print(*(getattr(skatom, name).__name__ for name in skatom.__all__))"

# whether torch is installed or not: the finder sees who looks for it
WITHOUT_TORCH = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        assert name != "torch"

sys.meta_path.insert(0, Finder())
"""


def python(*arguments):
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_the_standard_library_at_most():
    assert set(python("-W", "error", "-c", LOADED).split()) - sys.stdlib_module_names == {"skatom"}


def test_every_public_name_loads_on_first_use_and_none_loads_torch():
    names = [name.split(".")[-1] for name in python("-c", WITHOUT_TORCH + NAMES).split()]
    assert names == skatom.__all__


WITHOUT_COMPILATION = """
import pkgutil
import skatom
from skatom._numba.compiler import SelfContainedCompiler
from skatom._numba.disk_cache import DiskCache

def refuse(*_):
    raise AssertionError("a function is compiled or looked for")

SelfContainedCompiler.compile_extra = DiskCache.load_overload = refuse
for module in pkgutil.walk_packages(skatom.__path__, "skatom."):
    if "_torch" not in module.name and module.name != "skatom.__main__":
        __import__(module.name)
"""


def test_imports_compile_nothing():
    python("-c", WITHOUT_COMPILATION)
