"""``skatom train``."""

import sys
import time
from contextlib import contextmanager, redirect_stdout

from skatom.cli.checkpoints import Checkpoints
from skatom.cli.cluster import on_cluster
from skatom.cli.configurations import check_fields, configurations, wanted_fields, with_noises
from skatom.cli.fitting import fit, print_estimate
from skatom.cli.frames import read_file, read_labelled
from skatom.cli.judging import check_reports, judge, recorded_warnings, report_fields
from skatom.cli.learning import learning_curve
from skatom.cli.report import describe, describe_symmetry, save
from skatom.cli.run_options import config_text, options_of
from skatom.cli.search import search_sigma
from skatom.cli.splits import split
from skatom.cli.tuning import tune


def train(arguments):
    """Hold out frames, choose settings, fit, save, and judge on frames that took no part."""
    options = options_of(arguments)
    with _threads(options.threads), on_cluster(options.dask):
        if not options.print_config:
            _train(options)
            return
        # the file goes to stdout, and what else is said to stderr
        with redirect_stdout(sys.stderr):
            run = _Run(options)
            run.choose_settings()
        print(run.config(), end="")


def _train(options):
    from skatom._persistence import check_model_path

    check_model_path(options.out)
    check_reports(options)
    begin = time.perf_counter()
    with recorded_warnings() as said:
        run = _Run(options)
        run.choose_settings()
        model = run.fit()
    seconds = {"reading and fit": time.perf_counter() - begin}
    save(model, options.out)  # before anything else can fail
    if run.recipe.name == "sgdml":
        describe_symmetry(model)
    data, test, curve = run.judged, run.test, None
    if options.learning_curve is not None:
        begin = time.perf_counter()
        curve = learning_curve(run, model, data, test)
        seconds["learning curve"] = time.perf_counter() - begin
    run.checkpoints.remove()
    if len(test):
        judge(options, model, data, test, run.what, said, seconds, curve)


class _Run:
    """The data, settings and checkpoints of one call of ``skatom train``."""

    def __init__(self, options):
        from skatom.recipes.facts import Facts

        self.options, self.recipe = options, options.recipe
        self.data = read_labelled(options, info=wanted_fields(options))
        check_fields(options, self.data)
        describe(options.data, self.data)
        self.field, self.names = configurations(options, self.data)
        self.train, self.test, self.validation = split(options, self.data, self.data.info)
        self.structures = self.data.structures[self.train]
        self._check_molecule()
        self._choose_labels()
        self.targets = self.data.targets[self.train]
        self.configurations = None if self.names is None else self.names[self.train]
        self.facts = Facts.of(self.structures)
        settings = self.recipe.settings(self.facts, options.given)
        self.settings, of_noises = with_noises(options, settings, self.configurations)
        self.fixed = of_noises | set(self.recipe.checked(options.given, self.facts))
        self.checkpoints = self._checkpoints()
        self._choose_test()

    def _choose_test(self):
        """The frames to judge on, read before the work that they are for."""
        import numpy as np

        from skatom.recipes.learning import FEWEST, nested_parts

        options = self.options
        self.judged, self.what = self.data, "held-out frames"
        if options.test_file is not None:
            self.judged = read_file(options, report_fields(options), options.test_file)
            self.what = f"frames of {options.test_file}"
            self.test = np.arange(len(self.judged.structures))
        wanted = {"--report": options.report, "--learning-curve": options.learning_curve}
        for option, value in wanted.items():
            if value and not len(self.test):
                raise ValueError(f"{option} needs frames that took no part: give --n-valid above 0")
        if options.learning_curve and not nested_parts(self.structures, self.targets):
            raise ValueError(
                f"--learning-curve: {len(self.structures)} training frames are too few for parts "
                f"of them: give {2 * FEWEST} or more, the half of which has all species"
            )

    def _check_molecule(self):
        """A model of one molecule needs the same atoms in all frames."""
        from skatom.descriptors.one_composition import first_of_other_atoms

        if not self.recipe.one_molecule:
            return
        other = first_of_other_atoms(self.data.structures)
        if other is not None:
            raise ValueError(
                f"{self.options.data}: frame {self.data.frames[other]} has other atoms than frame "
                f"{self.data.frames[0]}, or another order of them, and {self.recipe.name} is a "
                "model of one molecule: give --model gap, or another of those that "
                "skatom train --help lists"
            )

    def _choose_labels(self):
        """Leave out labels that are not to be learnt; those of one molecule are its forces."""
        from skatom.recipes.labels import chosen_labels, labels_to_learn, only

        targets = self.data.targets
        if self.options.labels is not None:
            names = chosen_labels(self.options.labels, targets)
        elif self.recipe.one_molecule:
            return
        else:
            names, reason = labels_to_learn(self.structures, targets[self.train])
            if reason is not None:
                print(f"Note      {reason}")
                print("          They are left out; --labels energy,forces,stress learns them.")
        self.options.labels = ",".join(names)
        self.data.targets = only(targets, names)

    def _checkpoints(self):
        """Checkpoints of all that settings do not tell."""
        X, y = self.structures, self.targets
        content = [
            self.recipe.name, self.options.seed, X.numbers, X.positions, X.offsets, X.cells, X.pbc,
            y.names, [getattr(y, name) for name in y.names], self.configurations,
        ]  # fmt: skip
        return Checkpoints(self.options.out or "model", content, self.options.resume)

    def choose_settings(self):
        """Estimate the cost, and search if asked to."""
        if self.options.tune is not None:
            self.settings = tune(self)
        print_estimate(self)

    def config(self):
        """The YAML file that repeats the run."""
        from skatom.recipes.settings import nested

        return config_text(self.options, nested(self.settings), self.field)

    def model(self, settings):
        """The estimator, not fitted."""
        return self.recipe.make(
            settings, random_state=self.options.seed, verbose=1, device=self.options.device
        )

    def fit(self):
        """The fitted model."""
        sigmas = self.options.sigma or ()
        if len(sigmas) > 1:
            return search_sigma(self, sigmas)
        return fit(self, self.settings, keep=self.options.learning_curve is not None)


@contextmanager
def _threads(n):
    """Limit the threads of numba and BLAS."""
    if n is None:
        yield
        return
    from threadpoolctl import threadpool_limits

    from skatom._numba import limited_threads

    with limited_threads(n), threadpool_limits(n):
        yield
