"""Run the Python code of the guide, page by page: ``python docs/check_guide.py [PAGE ...]``."""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")
GUIDE = Path(__file__).parent / "guide"


def run(page):
    """Run all blocks of a page in one namespace; line numbers in errors are those of the page."""
    text = page.read_text(encoding="utf-8")
    namespace = {"__name__": "__main__"}
    for block in re.finditer(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        above = text[: block.start(1)].count("\n")
        exec(compile("\n" * above + block[1], page, "exec"), namespace)


if __name__ == "__main__":
    pages = [GUIDE / f"{name}.md" for name in sys.argv[1:]] or sorted(GUIDE.glob("*.md"))
    for page in pages:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            run(page)
        print(f"== {page.stem}: {time.perf_counter() - begin:.1f} s", flush=True)
