"""``skatom train``."""

import time

from skatom.cli.fitting import fit
from skatom.cli.frames import draw_frames, read_labelled, sample_sizes
from skatom.cli.judging import check_reports, judge, recorded_warnings
from skatom.cli.report import describe, describe_symmetry, save
from skatom.cli.search import FinishedFits, search_sigma


def train(arguments):
    """Draw frames, fit, save, and judge on frames that took no part."""
    from skatom._persistence import check_model_path

    check_model_path(arguments.out)
    check_reports(arguments)
    begin = time.perf_counter()
    with recorded_warnings() as said:
        model, data, test = _trained(arguments)
    seconds = {"reading and fit": time.perf_counter() - begin}
    if len(test):
        judge(arguments, model, data, test, "held-out frames", said, seconds)


def _trained(arguments):
    """The model, which is saved, the data, and the frames that took no part."""
    from skatom.models import GDML, SGDML

    data = read_labelled(arguments)
    describe(arguments.data, data)
    sigmas = arguments.sigma
    n_samples = sample_sizes(arguments, len(data.structures))
    if arguments.report and n_samples[1] == 0:
        raise ValueError("--report needs frames that took no part: give --n-valid above 0")
    train, test, *validation = draw_frames(data.targets, n_samples, arguments.seed)
    parameters = {
        "sigma": sigmas[0],
        "alpha": arguments.alpha,
        "energy_constraint": arguments.energy_constraint,
        "max_memory": arguments.max_memory,
        "verbose": 1,
    }
    if arguments.model == "gdml":
        model = GDML(**parameters)
    else:
        model = SGDML(**parameters, random_state=arguments.seed)
    finished = FinishedFits(arguments.out, data, train)
    if len(sigmas) > 1:
        model = search_sigma(model, sigmas, data, *validation, finished)
    else:
        model = fit(model, data, train)
    save(model, arguments.out)  # before anything else can fail
    finished.remove()
    describe_symmetry(model)
    return model, data, test
