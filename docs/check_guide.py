"""Run the Python code of the guide, page by page, and compare what it prints with the pages.

    python docs/check_guide.py [PAGE ...]           fails where a page shows another output
    python docs/check_guide.py --write [PAGE ...]   writes the outputs into the pages

A block that prints is followed by a block of text with its output. Text must be equal, but for
white space and ``...``, which stands for anything; numbers may differ by 2 % or 2 in the last
digit, since the last bits of a fit depend on the processor. A comment at the end of a line that
prints may show its output, too.
"""

import io
import os
import re
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")
GUIDE = Path(__file__).parent / "guide"
_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?P<output>\n```text\n(?P<text>.*?)^```\n)?",
    flags=re.DOTALL | re.MULTILINE,
)
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d*)?(?:e[-+]?\d+)?")
_TOLERANCE = 0.02


def run(page):
    """Run all blocks of a page in one namespace; line numbers in errors are those of the page.

    Yields
    ------
    block : re.Match
        A block, and what stands below it.
    printed : str
        What it printed.
    """
    text = page.read_text(encoding="utf-8")
    namespace = {"__name__": "__main__"}
    for block in _BLOCK.finditer(text):
        above = text[: block.start("code")].count("\n")
        with redirect_stdout(io.StringIO()) as stream:
            exec(compile("\n" * above + block["code"], page, "exec"), namespace)
        yield block, stream.getvalue()


def says_itself(code, printed):
    """Whether comments at the ends of the lines that print begin with what is printed."""
    comments = re.findall(r"print\(.*  # (.*)$", code, flags=re.MULTILINE)
    lines = printed.splitlines()
    return len(comments) == len(lines) and all(
        agree(comment[: len(line)], line) for comment, line in zip(comments, lines, strict=True)
    )


def agree(shown, printed):
    """Whether an output is the one shown, but for rounding."""
    numbers = [_NUMBER.findall(text) for text in (shown, printed)]
    if "..." in shown:
        pattern = ".*".join(re.escape(part) for part in _words(shown).split("..."))
        return re.fullmatch(pattern, _words(printed)) is not None
    return (
        _words(shown) == _words(printed)
        and len(numbers[0]) == len(numbers[1])
        and all(map(_close, *numbers))
    )


def _words(text):
    return re.sub(r"[\s\[\]]+", "", _NUMBER.sub("0", text))


def _close(shown, printed):
    a, b = (float(text.replace(",", "")) for text in (shown, printed))
    mantissa, _, exponent = shown.partition("e")
    last = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(a - b) <= max(_TOLERANCE * abs(a), 2.001 * last)


def check(page):
    """Sentences about the blocks of a page whose output is not the one shown."""
    for block, printed in run(page):
        line = 1 + block.string[: block.start("code")].count("\n")
        if block["text"] is None:
            if printed and not says_itself(block["code"], printed):
                yield f"{page.name}, line {line}: the page does not show the output\n{printed}"
        elif not agree(block["text"], printed):
            yield f"{page.name}, line {line}: the code prints\n{printed}not\n{block['text']}"


def write(page):
    """Write the outputs that are absent or not up to date into a page."""
    text, found = page.read_text(encoding="utf-8"), list(run(page))
    for block, printed in reversed(found):
        if block["text"] is None:
            absent = printed and not says_itself(block["code"], printed)
        else:
            absent = not agree(block["text"], printed)
        if absent:
            end = block.end("code") + len("```\n")
            text = f"{text[:end]}\n```text\n{printed}```\n{text[block.end() :]}"
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    names = [name for name in sys.argv[1:] if name != "--write"]
    pages = [GUIDE / f"{name}.md" for name in names] or sorted(GUIDE.glob("*.md"))
    wrong = []
    for page in pages:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            wrong += [write(page)] if "--write" in sys.argv else check(page)
        print(f"== {page.stem}: {time.perf_counter() - begin:.1f} s", flush=True)
    sys.exit("\n".join(filter(None, wrong)) or None)
