"""What a run has finished, in a folder beside the model's file."""

import json
import shutil
from pathlib import Path

from skatom.cli.report import warn

# Shortest time between two files of a fit, in seconds.
_SECONDS = 60.0
# Kinds of results, and how they are called.
_RESULTS = {"trials": ("trial", "of the search"), "curve": ("fit", "of the learning curve")}


class Checkpoints:
    """Results by name, models that are fitted, and the state of a fit, of one run.

    Parameters
    ----------
    out : path
        The file that the model shall go to.
    content : object
        Everything on which they depend besides settings; those of other content have other names.
    resume : bool
        Whether to go on with what is there.

    Raises
    ------
    ValueError
        If what is there is all of other content.
    """

    def __init__(self, out, content, resume):
        import joblib

        from skatom import __version__

        out = Path(out)
        self.folder = out.with_name(f"{out.name}.search")
        self.key = joblib.hash([content, __version__])
        self.resume = resume
        self._is_warned = False
        if resume and not self.folder.exists():
            print(f"Note      there is no folder {self.folder} to resume from: the run begins anew")
        elif resume:
            self._check_files()

    def _check_files(self):
        files = [path.name for path in self.folder.iterdir()]
        if files and not any(self.key in name for name in files):
            raise ValueError(
                f"{self.folder} is of another run, with other training frames, labels, --model or "
                "--seed, or of another version of skatom: give those, or another --out, or leave "
                "out --resume to begin anew"
            )

    def results(self, kind):
        """Results of a kind, "trials" or "curve", by their name."""
        (one, of), path = _RESULTS[kind], self._results_path(kind)
        if not self.resume or not path.exists():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            warn(f"{path}: {error}: the {one}s {of} begin anew")
            return {}
        print(f"Resumed   {len(found)} {one}{'s' * (len(found) != 1)} {of}")
        return found

    def keep_results(self, kind, known):
        """Write all results of a kind."""
        text = json.dumps(known)
        self._write(self._results_path(kind), lambda p: p.write_text(text, encoding="utf-8"))

    def fit(self, model, structures, targets, parameters, settings, keep=False):
        """Fit a model, from where an earlier fit of the same was interrupted.

        Parameters
        ----------
        model : estimator
        structures : Structures
        targets : Targets
        parameters : dict
            Further keywords of ``fit``, arrays by structure.
        settings : dict
            What the model was made of.
        keep : bool, default=False
            Whether to keep the model, since more is to be done before the run ends.

        Returns
        -------
        The fitted model.
        """
        from skatom._checkpoints import kept_every

        path = self._model_path(settings)
        begun, seen = self._begun(path), 0
        if begun is not None:
            model, seen = begun, getattr(begun, "n_structures_seen_", len(structures))
            print(f"Resumed   the fit after {seen} of {len(structures)} frames", flush=True)
        if seen == len(structures):
            return model
        fit = model.fit if begun is None else model.partial_fit
        rest = {name: values[seen:] for name, values in parameters.items()}
        with kept_every(_SECONDS, lambda partly: self._keep(partly, path)):
            try:
                model = fit(structures[seen:], targets[seen:], **rest)
            except BaseException:  # an interrupted fit leaves what it has learnt
                if getattr(model, "n_structures_seen_", 0) > seen:
                    self._keep(model, path)
                raise
        if keep:
            self._keep(model, path)
        return model

    def remove(self):
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begun(self, path):
        import joblib

        if not self.resume or not path.exists():
            return None
        try:
            return joblib.load(path)
        except Exception as error:  # a damaged pickle fails in any way
            warn(f"{path}: {error}: the fit begins anew")
            return None

    def _keep(self, model, path):
        import joblib

        self._write(path, lambda p: joblib.dump(model, p))

    def _write(self, path, write):
        """Write a file; if that fails, say so once, since the run itself can go on."""
        from skatom._files import written_whole

        try:
            self.folder.mkdir(exist_ok=True)
            with written_whole(path) as beside:
                write(beside)
        except OSError as error:
            if not self._is_warned:
                warn(f"{error}; the run goes on, but could not be resumed")
            self._is_warned = True

    def _results_path(self, kind):
        return self.folder / f"{kind}-{self.key}.json"

    def _model_path(self, settings):
        import joblib

        return self.folder / f"fit-{self.key}-{joblib.hash(settings)}.joblib"
