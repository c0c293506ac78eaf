"""Call a function of a benchmark and print what it returns, in JSON, as the last line.

Usage: ``python -m benchmarks.call MODULE:FUNCTION ARGUMENTS``, a list in JSON; `harness.own` makes
such commands.
"""

import importlib
import json
import sys

if __name__ == "__main__":
    module, name = sys.argv[1].split(":")
    function = getattr(importlib.import_module(module), name)
    print(json.dumps(function(*json.loads(sys.argv[2]))))
