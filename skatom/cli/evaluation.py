"""``skatom evaluate``."""

from skatom.cli.frames import draw_frames, read_labelled
from skatom.cli.judging import check_reports, judge, recorded_warnings, report_fields
from skatom.cli.report import describe


def evaluate(arguments):
    """Print the errors of a model on labelled frames."""
    from skatom._persistence import load_model
    from skatom._prediction import comparable

    check_reports(arguments)
    with recorded_warnings() as said:
        model = load_model(arguments.model)
        wanted = [name for name in comparable(model) if name != "stress"]
        data = read_labelled(arguments, wanted, "compare", report_fields(arguments))
    describe(arguments.data, data)
    n_test = len(data.structures) if arguments.n_test is None else arguments.n_test
    (test,) = draw_frames(data.targets, [n_test], arguments.seed)
    judge(arguments, model, data, test, "frames", said)
