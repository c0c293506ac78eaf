"""Errors of a model on labelled frames, printed and, if asked for, written as reports."""

import sys
import warnings
from contextlib import contextmanager

from skatom.cli.report import one_line, print_figures, warn

# Fields that name the configuration of a frame, if there are any.
_USUAL = ("config_type", "group")


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
        help="field of the frames to list errors by in reports [config_type, or group]",
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
    """Collect the texts of warnings, but for those to programmers; all are shown as ever."""
    said, show = [], warnings.showwarning

    def keep(message, category, *args, **kwargs):
        if one_line(message) not in said and not issubclass(category, DeprecationWarning):
            said.append(one_line(message))
        show(message, category, *args, **kwargs)

    warnings.showwarning = keep
    try:
        yield said
    finally:
        warnings.showwarning = show


def report_fields(options):
    """Fields of frames to read for reports."""
    if not options.report:
        return []
    return [options.group_by] if options.group_by else list(_USUAL)


def judge(options, model, data, chosen, what, said=(), seconds=None, learning_curve=None):
    """Print the errors of a model on the chosen frames, and write reports.

    Parameters
    ----------
    options : Namespace
        Those of a command with `add_report_options`.
    model : fitted estimator
    data : Bunch
        What `read_file` gives, with the fields of `report_fields`.
    chosen : ndarray of int
        Frames of ``data``.
    what : str
        What the frames are, such as "held-out frames".
    said : sequence of str
        Warnings to repeat in the report.
    seconds : dict of str to float
        Times of what was done before.
    learning_curve : list of LearningCurveDisplay
        Learning curves, for the report.
    """
    structures, targets = data.structures[chosen], data.targets[chosen]
    if not options.report:
        from skatom.metrics.evaluation import compared, figures_of
        from skatom.metrics.outliers import outlying_errors

        labels, predicted = compared(model, structures, targets)
        print_figures(figures_of(labels, predicted), len(chosen), what)
        _warn_of(outlying_errors(structures, labels, predicted, data.frames[chosen]))
        return
    import matplotlib

    matplotlib.use("Agg")  # files are written, no window opened
    from skatom.report import ModelReport

    report = ModelReport(
        model,
        structures,
        targets,
        configurations=_configurations(options, data, chosen),
        title=f"Errors on {len(chosen)} {what}",
        about={"command": f"skatom {' '.join(sys.argv[1:])}", "data": data.DESCR.splitlines()[0]},
        sources=data.sources,
        warnings=said,
        seconds=seconds,
        learning_curve=learning_curve,
        frames=data.frames[chosen],
    )
    print_figures(report.errors, len(chosen), what)
    _warn_of(report.outliers)
    for path in options.report:
        report.save(path)
        print(f"Saved     {path}: the report")


def _warn_of(outliers):
    """Say which errors are far outside, in one line."""
    from skatom.metrics.outliers import sentences

    if outliers:
        warn("; ".join(sentences(outliers)))


def _configurations(options, data, chosen):
    """The group of each chosen frame, or None if the frames have none."""
    field = next((name for name in report_fields(options) if name in data.info), None)
    if field is not None:
        return [name or "none" for name in data.info[field][chosen]]
    if options.group_by is None:
        return None
    raise ValueError(
        f"--group-by {options.group_by}: no frame has this field; {data.DESCR.splitlines()[-1]}"
    )
