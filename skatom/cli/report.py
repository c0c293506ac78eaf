"""What the commands print."""

import sys
import tempfile
import textwrap
from pathlib import Path

_MOST_PERMUTATIONS = 23


def warn(message):
    """Print a warning as one line, above progress bars."""
    text, bars = f"skatom: warning: {one_line(message)}", sys.modules.get("tqdm")
    if bars is None:
        print(text, file=sys.stderr)
    else:
        bars.tqdm.write(text, file=sys.stderr)


def one_line(error):
    """The message of an error as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def describe(name, data):
    """Print what a file has."""
    from ase.symbols import Symbols

    formula = Symbols(data.structures[:1].numbers).formula.format("hill")
    print(f"Data      {name}: {len(data.structures)} frames, the first of {formula}")
    print(f"          with {', '.join(data.targets.names)}")


def print_errors(model, data, test, what):
    """Print a table of the errors of a model."""
    from skatom.metrics import evaluate

    print_figures(evaluate(model, data.structures[test], data.targets[test]), len(test), what)


def print_figures(figures, n_frames, what):
    """Print a table of errors."""
    from skatom.metrics.figures import LABELS_OF_FIGURES

    print(f"\nErrors on {n_frames} {what}")
    for name, (label, unit, factor, other, other_factor) in LABELS_OF_FIGURES.items():
        if name in figures:
            second = f"{figures[name] * other_factor:12.4g} {other}" if other else ""
            print(f"  {label:24}{figures[name] * factor:10.4g} {unit:8}{second}".rstrip())
    print()


def describe_symmetry(model):
    """The permutations found, as cycles such as (H6 H7 H8)."""
    from ase.data import chemical_symbols

    labels = [f"{chemical_symbols[z]}{a}" for a, z in enumerate(model.numbers_)]
    cycles = ["".join(_cycles(permutation, labels)) for permutation in model.permutations_[1:]]
    if not cycles:
        print("Symmetry  no permutation of like atoms but the identity")
        return
    print(f"Symmetry  {len(model.permutations_)} permutations of like atoms, counted from 0:")
    text = ", ".join(["identity", *cycles[:_MOST_PERMUTATIONS]])
    text += ", …" if len(cycles) > _MOST_PERMUTATIONS else ""
    print(textwrap.indent(textwrap.fill(text, 80, break_on_hyphens=False), 10 * " "))


def _cycles(permutation, labels):
    left = set(range(len(labels)))
    while left:
        atom, cycle = min(left), []
        while atom in left:
            left.remove(atom)
            cycle.append(labels[atom])
            atom = int(permutation[atom])
        if len(cycle) > 1:
            yield f"({' '.join(cycle)})"


def save(model, path):
    """Save a model, and say so; if there is no room for it, save it among temporary files."""
    from skatom._persistence import save_model

    try:
        save_model(model, path)
    except OSError as error:  # the fit may have taken hours
        elsewhere = Path(tempfile.mkdtemp(prefix="skatom-")) / Path(path).name
        save_model(model, elsewhere)
        raise OSError(f"{error}; the model is in {elsewhere}") from error
    print(f"Saved     {path}: the model, {Path(path).stat().st_size / 1e6:.2f} MB")
