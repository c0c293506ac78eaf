"""Run a benchmark: ``python -m benchmarks NAME [options]``; without a name, list them all.

A benchmark is a module in a folder of its subject, whose name does not begin with an underscore.
It has

- a docstring, whose first line stands in the list and which is the help;
- ``run(options)``, which measures and prints;
- ``add_arguments(parser)``, if it has options of its own;
- ``PEER``, if it can also run without its peer (``--alone``): the name of the peer's environment.

Every benchmark has ``--threads``. The limit is set before the module, and with it numpy and numba,
is imported.
"""

import argparse
import ast
import difflib
import importlib
import os
import sys

from benchmarks.harness import HERE, machine, thread_limits


def find():
    """{subject: {name of a benchmark: its docstring}}, both sorted."""
    found = {}
    for path in sorted(HERE.glob("[a-z]*/[a-z]*.py")):
        if path.parent.name != "peers":
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            found.setdefault(path.parent.name, {})[path.stem] = text
    return found


def listing(found):
    """The text that ``python -m benchmarks`` prints."""
    lines = ["python -m benchmarks NAME [options]; NAME --help says more of each\n"]
    for subject, names in found.items():
        lines.append(subject)
        lines += [f"  {name:22}{text.splitlines()[0]}" for name, text in names.items()]
    return "\n".join(lines)


def main(arguments):
    found = find()
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(listing(found))
        return
    name, *rest = arguments
    subjects = {name: subject for subject, names in found.items() for name in names}
    if name not in subjects:
        near = difflib.get_close_matches(name, subjects, 1)
        hint = f"do you mean {near[0]}? " if near else ""
        raise SystemExit(f"no benchmark {name}; {hint}`python -m benchmarks` lists them")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--threads", type=int, default=2, help="of every package (default: 2)")
    threads = common.parse_known_args(rest)[0].threads
    if threads < 1:
        raise SystemExit(f"--threads is {threads}, and must be 1 or more")
    os.environ.update(thread_limits(threads))
    module = importlib.import_module(f"benchmarks.{subjects[name]}.{name}")
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
        allow_abbrev=False,
    )
    if hasattr(module, "PEER"):
        parser.add_argument("--alone", action="store_true", help="do not measure the peers")
    if hasattr(module, "add_arguments"):
        module.add_arguments(parser)
    options = parser.parse_args(rest)
    print(f"{machine()}, {threads} threads", flush=True)
    module.run(options)


if __name__ == "__main__":
    main(sys.argv[1:])
