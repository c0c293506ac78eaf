"""``skatom train``."""

import sys
import time
from contextlib import contextmanager, redirect_stdout

from skatom.cli.checkpoints import Checkpoints
from skatom.cli.cluster import on_cluster
from skatom.cli.configurations import check_fields, configurations, wanted_fields, with_noises
from skatom.cli.fitting import fit, fit_recipe, print_estimate
from skatom.cli.frames import read_file, read_labelled
from skatom.cli.judging import check_reports, judge, recorded_warnings, report_fields
from skatom.cli.report import describe, describe_symmetry, save
from skatom.cli.run_options import config_text, options_of
from skatom.cli.search import FinishedFits, search_sigma
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
        if options.report and options.test_file is None and not len(run.test):
            raise ValueError("--report needs frames that took no part: give --n-valid above 0")
        run.choose_settings()
        model = run.fit()
    seconds = {"reading and fit": time.perf_counter() - begin}
    save(model, options.out)  # before anything else can fail
    run.finished.remove()
    if hasattr(model, "permutations_"):
        describe_symmetry(model)
    data, test = run.judged()
    if len(test):
        judge(options, model, data, test, run.what, said, seconds)


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
        self._choose_labels()
        self.targets = self.data.targets[self.train]
        self.configurations = None if self.names is None else self.names[self.train]
        self.facts = Facts.of(self.structures)
        settings = self.recipe.settings(self.facts, options.given)
        self.settings, of_noises = with_noises(options, settings, self.configurations)
        self.fixed = of_noises | set(self.recipe.checked(options.given, self.facts))
        self.finished = self._checkpoints()

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
        if self.recipe.one_molecule and self.options.tune is None:
            return FinishedFits(self.options.out or "", self.data, self.train)
        content = [self.recipe.name, self.train, self.structures.positions, self.targets.names]
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

    def model(self):
        """The estimator, not fitted."""
        return self.recipe.make(
            self.settings, random_state=self.options.seed, verbose=1, device=self.options.device
        )

    def fit(self):
        """The fitted model."""
        sigmas, model = self.options.sigma or (), self.model()
        if isinstance(self.finished, Checkpoints):
            return fit_recipe(self, model)
        if len(sigmas) > 1:
            model.set_params(sigma=sigmas[0])
            return search_sigma(model, sigmas, self.data, self.validation, self.finished)
        return fit(model, self.data, self.train)

    def judged(self):
        """Data, and the indices of those to judge on."""
        import numpy as np

        if self.options.test_file is None:
            self.what = "held-out frames"
            return self.data, self.test
        self.what = f"frames of {self.options.test_file}"
        data = read_file(self.options, report_fields(self.options), self.options.test_file)
        return data, np.arange(len(data.structures))


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
