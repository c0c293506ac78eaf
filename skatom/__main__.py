"""``python -m skatom``."""

import sys

from skatom.cli import main

if __name__ == "__main__":
    sys.exit(main())
