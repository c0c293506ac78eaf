"""``skatom predict``."""

from skatom.cli.formats import check_format, check_is_another, format_of, write_structures
from skatom.cli.frames import read_file
from skatom.cli.report import warn


def predict(arguments):
    """Write structures with what a model predicts of them."""
    from skatom import Targets
    from skatom._persistence import load_model
    from skatom._prediction import comparable, predict, predictable
    from skatom.properties import LABELS

    out = arguments.out
    file_format = format_of(out)
    check_is_another(out, arguments.data)
    model = load_model(arguments.model)
    structures = read_file(arguments).structures
    periodic = structures.pbc.all()
    given = [name for name in predictable(model) if name in LABELS]
    names = [name for name in given if periodic or name != "stress"]
    check_format(out, file_format, structures[:2], names)
    if "energy" in names and "energy" not in comparable(model):
        warn("the model learnt no energies: the zero of those that it predicts has no meaning")
    targets = Targets(**predict(model, structures, names), offsets=structures.offsets)
    write_structures(out, structures.to_ase(targets), file_format)
    print(f"Saved     {out}: {len(structures)} structures with {', '.join(names)}")
