"""Input scripts of LAMMPS: where a model must take over the forces."""

import re
from pathlib import Path

# Commands that need forces, and styles of fixes that may stand before there is a box.
_RUNS = {
    "dynamical_matrix", "hyper", "minimize", "neb", "prd", "rerun", "run", "tad", "temper",
    "third_order",
}  # fmt: skip
_EARLY_FIXES = {"property/atom", "cmap", "GPU", "OMP", "INTEL"}


def sections(path):
    """Cut an input script where a model must be attached.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    list of (str, str)
        For each part between two commands ``clear``: the text before the first fix or run, and the
        rest, which is empty if there is neither.

    Raises
    ------
    ValueError
        If a loop jumps over the place.
    """
    parts, begin = [], 0
    lines = _lines(Path(path))
    ends = [k for k, line in enumerate(lines) if _words(line)[:1] == ["clear"]]
    for end in [*ends, len(lines)]:
        parts.append(_cut(lines[begin:end], path))
        begin = end
    for k, (head, _) in enumerate(parts):
        _check_jumps(head, "".join(rest for part in parts[k:] for rest in part)[len(head) :], path)
    return parts


def _lines(path):
    """Whole commands, with those of included files that have a fix or a run."""
    found, whole, quoted = [], "", False
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        whole += line if line.endswith("\n") else f"{line}\n"
        quoted ^= line.count('"""') % 2 == 1
        if quoted or line.split("#")[0].rstrip().endswith("&"):
            continue
        words = _words(whole)
        if words[:1] == ["include"] and len(words) == 2 and Path(words[1]).is_file():
            inner = _lines(Path(words[1]))
            found += inner if any(map(_needs_forces, inner)) else [whole]
        else:
            found.append(whole)
        whole = ""
    return [*found, whole] if whole else found


def _words(line):
    return re.sub(r"&\s*\n", " ", line).split("#")[0].split()


def _needs_forces(line):
    words = _words(line)
    if not words:
        return False
    if words[0] == "if":
        return any(word.strip("\"'") in _RUNS | {"fix"} for word in words)
    if words[0] == "fix":
        return len(words) < 4 or words[3] not in _EARLY_FIXES
    return words[0] in _RUNS


def _cut(lines, path):
    first = next((k for k, line in enumerate(lines) if _needs_forces(line)), len(lines))
    return "".join(lines[:first]), "".join(lines[first:])


def _check_jumps(head, rest, path):
    labels = set(re.findall(r"^\s*label\s+(\S+)", head, re.M))
    jumps = re.findall(r"\bjump\s+\S+\s+(\S+?)[\"'\s]", rest)
    for label in jumps:
        if label in labels:
            raise ValueError(
                f"{path} jumps back to the label {label} before its first fix or run, where the "
                "model takes over: begin the loop after the first fix, or run the parts one by one"
            )
