"""What a search or a fit has finished, in a folder beside the model's file."""

import json
import shutil
from pathlib import Path

from skatom.cli.report import warn

# Shortest time between two files of a fit, in seconds.
_SECONDS = 60.0


class Checkpoints:
    """Trials of a search, and the state of a fit, of one model and its data.

    Parameters
    ----------
    out : path
        The file that the model shall go to.
    content : object
        Everything on which the trials depend; others are of another name.
    resume : bool
        Whether to go on with what is there.
    """

    def __init__(self, out, content, resume):
        import joblib

        out = Path(out)
        self.folder = out.with_name(f"{out.name}.search")
        self.trials_path = self.folder / f"trials-{joblib.hash(content)}.json"
        self.resume = resume

    def trials(self):
        """Results of trials, by their name."""
        if not self.resume or not self.trials_path.exists():
            return {}
        try:
            found = json.loads(self.trials_path.read_text(encoding="utf-8"))
        except ValueError as error:
            warn(f"{self.trials_path}: {error}: the search begins anew")
            return {}
        print(f"Resumed   {len(found)} trials of the search")
        return found

    def keep_trials(self, known):
        """Write all trials."""
        self._write(self.trials_path, lambda p: p.write_text(json.dumps(known), encoding="utf-8"))

    def fit(self, model, structures, targets, parameters, settings):
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

        Returns
        -------
        The fitted model.
        """
        import joblib

        from skatom._checkpoints import kept_every

        name = joblib.hash([settings, self.trials_path.name])
        path = self.folder / f"fit-{name}.joblib"

        def keep(partly):
            self._write(path, lambda p: joblib.dump(partly, p))

        begun, seen = self._begun(path), 0
        if begun is not None:
            model, seen = begun, begun.n_structures_seen_
            print(f"Resumed   the fit after {seen} of {len(structures)} frames")
        fit = model.fit if begun is None else model.partial_fit
        rest = {name: values[seen:] for name, values in parameters.items()}
        with kept_every(_SECONDS, keep):
            try:
                return fit(structures[seen:], targets[seen:], **rest)
            except BaseException:  # an interrupted fit leaves what it has learnt
                if getattr(model, "n_structures_seen_", 0) > seen:
                    keep(model)
                raise

    def _begun(self, path):
        import joblib

        if not self.resume or not path.exists():
            return None
        try:
            return joblib.load(path)
        except Exception as error:  # a damaged pickle fails in any way
            warn(f"{path}: {error}: the fit begins anew")
            return None

    def _write(self, path, write):
        from skatom._files import written_whole

        self.folder.mkdir(exist_ok=True)
        with written_whole(path) as beside:
            write(beside)

    def remove(self):
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
