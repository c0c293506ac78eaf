"""Elements of a page: tables, figures, sections. All text is escaped here."""

import base64
import io
import math
from html import escape

from matplotlib.figure import Figure

from skatom.report._assets import SCRIPT, STYLE

# Rows of a table that are seen at once; the others unfold.
_ROWS = 30


def page(title, body):
    """A page without anything to be fetched."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def section(title, *parts):
    """A heading with what is below it; nothing if nothing is."""
    content = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>" if content else ""


def paragraph(text, kind=""):
    """A paragraph of plain text, of the class ``note``, ``warning`` or none."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(head, rows):
    """A table; numbers are on the right, with four digits, and long tables unfold."""
    if not rows:
        return ""
    numeric = [
        all(_is_number(row[k]) or row[k] == "" for row in rows)
        and any(_is_number(row[k]) for row in rows)
        for k in range(len(head))
    ]
    shown = _table(head, rows[:_ROWS], numeric)
    if len(rows) <= _ROWS:
        return shown
    rest = _table(head, rows[_ROWS:], numeric)
    return f"{shown}<details><summary>{len(rows) - _ROWS} more rows</summary>{rest}</details>"


def folded(summary, content):
    """Content that unfolds."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>" if content else ""


def figure(draw, size, alt, n_columns=1):
    """An image of what a function draws on axes of a new figure of some size in inches."""
    drawing = Figure(figsize=size, dpi=150, layout="constrained")
    draw(drawing.subplots(1, n_columns))
    with io.BytesIO() as stream:
        drawing.savefig(stream, format="png")
        data = base64.b64encode(stream.getvalue()).decode("ascii")
    wide = ' class="wide-figure"' if size[0] > 6 else ""
    return f'<img{wide} alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def figures(images):
    """Images beside each other."""
    return f'<div class="figures">{"".join(images)}</div>' if images else ""


def _table(head, rows, numeric):
    kinds = [' class="n"' if n else "" for n in numeric]
    titles = "".join(f"<th{k}>{escape(str(h))}</th>" for k, h in zip(kinds, head, strict=True))
    lines = (
        "".join(f"<td{k}>{_cell(x)}</td>" for k, x in zip(kinds, row, strict=True)) for row in rows
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def _is_number(x):
    return isinstance(x, int | float) and not isinstance(x, bool)


def _cell(x):
    if isinstance(x, float):
        return "–" if math.isnan(x) else f"{x:.4g}".replace("-", "−")
    return escape(str(x))
