"""Sphinx extension: equations as MathML, which browsers render without a script or a network.

docutils converts LaTeX to MathML. A formula that it cannot convert is a warning of the build.
"""

import re
from html import escape

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


_SIZED = re.compile(r"\\(big|Big|bigg|Bigg)(?![a-zA-Z])\s*(\\[a-zA-Z]+|\\.|.)")
# \frac12 and \frac1N: docutils would take 12 for the numerator
_SHORT = re.compile(r"\\([td]?frac)\s*(\w)\s*(\w)")
_ENVIRONMENT = re.compile(r"\\begin\{(\w+)\}.*?\\end\{\1\}", flags=re.DOTALL)


def mathml(latex, as_block=False):
    """MathML of a formula; empty lines separate the lines of a block, as in Sphinx."""
    latex = _SHORT.sub(r"\\\1{\2}{\3}", latex)
    latex = _with_sides(latex).replace(r"\dots,", r"\ldots,").replace(r"\_", "_")
    if as_block:
        lines = [part.strip() for part in re.split(r"\n\s*\n", latex) if part.strip()]
        latex = r" \\ ".join(lines)
        if len(lines) > 1 or "&" in _ENVIRONMENT.sub("", latex):
            latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    return tex2mathml(latex, as_block=as_block)


def _with_sides(latex):
    r"""``\big(`` as ``\bigl(``: docutils wants to know which delimiters open and which close.

    Bars open and close in turn; a single one, as of a derivative at a point, keeps its usual size.
    """
    bars = [match for match in _SIZED.finditer(latex) if match[2] == "|"]

    def sided(match):
        size, delimiter = match.groups()
        if delimiter != "|":
            side = "r" if delimiter in (")", "]", r"\}", r"\rangle") else "l"
        elif len(bars) % 2:
            return delimiter
        else:
            side = "lr"[[bar.start() for bar in bars].index(match.start()) % 2]
        return f"\\{size}{side}{delimiter}"

    return _SIZED.sub(sided, latex)


def _convert(node, as_block):
    try:
        return mathml(node.astext(), as_block)
    except (MathError, AttributeError) as error:  # it has no error for some mistakes
        logger.warning("the formula %r is not MathML: %s", node.astext(), error, location=node)
        return f"<code>{escape(node.astext())}</code>"


def visit_math(translator, node):
    translator.body.append(_convert(node, as_block=False))
    raise nodes.SkipNode


def visit_displaymath(translator, node):
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    translator.body.append(_convert(node, as_block=True))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
