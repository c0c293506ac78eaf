"""Errors of a model on labelled frames, printed and, if asked for, written as reports."""

import sys
import warnings
from contextlib import contextmanager

from skatom.cli.report import one_line, print_errors, print_figures

_CONFIGURATION = "config_type"


def add_report_options(parser):
    """The options of reports."""
    parser.add_argument(
        "--report",
        nargs="+",
        default=[],
        metavar="FILE",
        help="also write the errors, with plots and settings: a page for a browser (.html), or its "
        "numbers (.json, .csv)",
    )
    parser.add_argument(
        "--group-by",
        metavar="KEY",
        help=f"field of DATA, text of each frame, to list errors by in reports [{_CONFIGURATION}, "
        "if DATA has it]",
    )


def check_reports(arguments):
    """Raise an error, before the work, if a report could not be written."""
    if arguments.report:
        from skatom.report.model_report import check_report_path

        for path in arguments.report:
            check_report_path(path)
    elif arguments.group_by is not None:
        raise ValueError("--group-by is for reports: give --report FILE.html, too")


@contextmanager
def recorded_warnings():
    """Collect the texts of warnings, which are shown all the same."""
    said, show = [], warnings.showwarning

    def keep(message, *args, **kwargs):
        if one_line(message) not in said:
            said.append(one_line(message))
        show(message, *args, **kwargs)

    warnings.showwarning = keep
    try:
        yield said
    finally:
        warnings.showwarning = show


def judge(arguments, model, data, chosen, what, said=(), seconds=None, learning_curve=None):
    """Print the errors of a model on the chosen frames, and write reports.

    Parameters
    ----------
    arguments : Namespace
        Those of a command with `add_report_options`.
    model : fitted estimator
    data : Bunch
        What `read_labelled` gives.
    chosen : ndarray of int
        Frames of ``data``.
    what : str
        What the frames are, such as "held-out frames".
    said : sequence of str
        Warnings to repeat in the report.
    seconds : dict of str to float
        Times of what was done before.
    learning_curve : LearningCurveDisplay
        A learning curve, for the report.
    """
    if not arguments.report:
        print_errors(model, data, chosen, what)
        return
    import matplotlib

    matplotlib.use("Agg")  # files are written, no window opened
    from skatom.report import ModelReport

    report = ModelReport(
        model,
        data.structures[chosen],
        data.targets[chosen],
        configurations=_configurations(arguments, data, chosen),
        title=f"Errors on {len(chosen)} {what} of {arguments.data}",
        about={"command": f"skatom {' '.join(sys.argv[1:])}", "data": data.DESCR.splitlines()[0]},
        sources=data.sources,
        warnings=said,
        seconds=seconds,
        learning_curve=learning_curve,
        frames=data.frames[chosen],
    )
    print_figures(report.errors, len(chosen), what)
    for path in arguments.report:
        report.save(path)
        print(f"Saved     {path}: the report")


def _configurations(arguments, data, chosen):
    """The group of each chosen frame, or None if DATA has none."""
    from skatom.datasets import iter_atoms

    key = arguments.group_by or _CONFIGURATION
    options = {"index": arguments.index or ":", "species": arguments.species}
    found, fields = [], {}
    for atoms in iter_atoms(arguments.data, **options):
        fields.update(dict.fromkeys(atoms.info))
        found.append(str(atoms.info.get(key, "none")))
    if key in fields:
        return [found[k] for k in data.frames[chosen]]
    if arguments.group_by is None:
        return None
    raise ValueError(
        f"--group-by {key}: {arguments.data} has no such field of frames; it has "
        f"{', '.join(map(str, fields)) or 'none'}"
    )
