"""``skatom train``."""

from skatom.cli.fitting import fit
from skatom.cli.frames import draw_frames, read_labelled, sample_sizes
from skatom.cli.report import describe, describe_symmetry, print_errors, save
from skatom.cli.search import FinishedFits, search_sigma


def train(arguments):
    """Draw frames, fit, save, and judge on frames that took no part."""
    from skatom._persistence import check_model_path
    from skatom.models import GDML, SGDML

    check_model_path(arguments.out)
    data = read_labelled(arguments)
    describe(arguments.data, data)
    sigmas = arguments.sigma
    n_samples = sample_sizes(arguments, len(data.structures))
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
    if len(test):
        print_errors(model, data, test, "held-out frames")
