"""The report on a model: its numbers, and where to write them."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skatom._files import written_whole
from skatom._typing import ArrayLike, Estimator, FeaturesLike, PathLike, TargetsLike
from skatom.metrics.calibration import calibration
from skatom.metrics.figures import LABELS_OF_FIGURES
from skatom.metrics.outliers import outlying_errors
from skatom.report.assessment import assess
from skatom.report.groups import errors_by_group, unit_of_errors
from skatom.report.html import page
from skatom.report.provenance import peak_memory, settings, versions
from skatom.report.sections import body
from skatom.report.worst import worst_structures

SUFFIXES = (".html", ".json", ".csv")
_N_WORST = 6


class ModelReport:
    """Errors of a model on labelled structures, and all that they depend on.

    The page has parity plots of every property, errors by group, the calibration of standard
    deviations, the worst structures, which can be turned with the mouse, and the parameters,
    versions, times and sources that the numbers depend on. It needs no network. JSON and CSV have
    the same numbers.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        Any model whose ``predict`` takes ``X``.
    X : Structures, list of ase.Atoms, or AtomicFeatures for a model of features
        Structures that the model was not fitted to.
    y : Targets, or array-like of energies
        Their labels.
    configurations : array-like of str, shape (n,), default=None
        The group of each structure, such as its configuration type. None: no such groups.
    title : str, default="Errors of a model"
        Title of the page.
    about : dict of str to str, default=None
        What else to state, such as the names of files.
    sources : dict, default=None
        Where each label came from, as in ``skatom.datasets.read(…).sources``.
    warnings : sequence of str, default=()
        Warnings of the fit and of reading.
    seconds : dict of str to float, default=None
        Times of what was done before, such as ``{"fit": 12.3}``.
    learning_curve : LearningCurveDisplay or list of these, default=None
        Learning curves of the model.
    frames : array-like of int, shape (n,), default=None
        The number of each structure in its file. None: that in X.

    Attributes
    ----------
    errors : dict of str to float
        The errors, as from `skatom.metrics.evaluate`.
    groups : dict of str to list of dict
        Errors by ``"configuration"``, ``"formula"`` and ``"element"``, as far as there are several.
    calibration : dict of str to dict
        Figures of `skatom.metrics.calibration` for each property with standard deviations.
    worst : list of dict
        The structures with the largest errors.
    outliers : list of dict
        For each property the structures whose error is ten times the usual one, or larger, with
        ``frame``, ``error``, ``usual`` and ``unit``. The usual error is two standard deviations, by
        the median, or what 95 % of the errors do not exceed. None among fewer than 30 structures.
    settings, versions, about : dict of str to str
        Parameters of the model, versions of packages, and what was given.
    seconds : dict of str to float
        Times, including those of the predictions.
    peak_memory : float
        Largest memory of the process in GiB.

    Raises
    ------
    ValueError
        If nothing can be compared, or configurations do not belong to the structures.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import GDML
    >>> from skatom.report import ModelReport
    >>> data = load_ethanol()
    >>> model = GDML().fit(data.structures[:50], data.targets[:50])
    >>> report = ModelReport(model, data.structures[50:80], data.targets[50:80])
    >>> [row["group"] for row in report.groups["element"]]
    ['C', 'O', 'H']
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report.save(Path(folder) / "report.html")
    """

    def __init__(
        self,
        model: Estimator,
        X: FeaturesLike,
        y: TargetsLike,
        *,
        configurations: ArrayLike | None = None,
        title: str = "Errors of a model",
        about: dict | None = None,
        sources: dict | None = None,
        warnings: Sequence[str] = (),
        seconds: dict | None = None,
        learning_curve: Any = None,
        frames: ArrayLike | None = None,
    ) -> None:
        curves = [] if learning_curve is None else learning_curve
        self.title = title
        self.learning_curves = list(curves) if isinstance(curves, Sequence) else [curves]
        self.about, self.sources, self.warnings = about or {}, sources or {}, list(warnings)
        self.assessment = assess(model, X, y)
        self.errors = self.assessment.figures()
        self.groups = errors_by_group(self.assessment, configurations)
        self.calibration = {
            name: calibration(*pair)
            for name in self.assessment.deviations
            if len((pair := self.assessment.errors_and_deviations(name))[0])
        }
        self.worst = worst_structures(self.assessment, _N_WORST, frames)
        self.outliers = outlying_errors(
            self.assessment.structures, self.assessment.labels, self.assessment.predicted, frames
        )
        self.settings, self.versions = settings(model), versions()
        self.seconds = {**(seconds or {}), **self.assessment.seconds}
        self.peak_memory = peak_memory()

    def save(self, path: str | PathLike) -> None:
        """Write the report.

        Parameters
        ----------
        path : str or path-like
            File to write; its suffix, .html, .json or .csv, is the format.

        Raises
        ------
        ValueError
            If the suffix is another.
        OSError
            If the file cannot be written.
        """
        check_report_path(path)
        write = {".html": self._write_html, ".json": self._write_json, ".csv": self._write_csv}
        with written_whole(path) as beside:
            write[Path(path).suffix.lower()](beside)

    def as_dict(self) -> dict:
        """All numbers, as dicts and lists of text and numbers.

        Returns
        -------
        dict
            ``None`` stands for what is not a number.
        """
        structures = self.assessment.structures
        found = {
            "title": self.title,
            "about": self.about,
            "n_structures": len(structures),
            "n_atoms": len(structures.numbers),
            "errors": [
                {"error": name, "value": self.errors[name] * label.factor, "unit": label.unit}
                for name, label in LABELS_OF_FIGURES.items() if name in self.errors
            ],
            "groups": self.groups,
            "calibration": [
                {"property": name, "unit": unit_of_errors(name), **figures}
                for name, figures in self.calibration.items()
            ],
            "learning_curve": [
                {"n_train": int(n), "error": float(np.mean(e)), "name": curve.name}
                for curve in self.learning_curves
                for n, e in zip(curve.train_sizes, curve.errors, strict=True)
            ],
            "worst": self.worst,
            "outliers": self.outliers,
            "settings": self.settings,
            "versions": self.versions,
            "seconds": self.seconds,
            "peak_memory_gib": self.peak_memory,
            "sources": {name: _source(source) for name, source in self.sources.items()},
            "warnings": self.warnings,
        }  # fmt: skip
        return _plain(found)

    def _write_html(self, path):
        path.write_text(page(self.title, body(self)), encoding="utf-8")

    def _write_json(self, path):
        text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")

    def _write_csv(self, path):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["place", "value"])
            writer.writerows(_leaves(self.as_dict()))


def check_report_path(path):
    """Raise a ValueError if a report could not be written there."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: a report's name ends in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")


def _source(source):
    return source._asdict() if hasattr(source, "_asdict") else vars(source)


def _plain(value):
    """Text, numbers, dicts and lists alone."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _leaves(value, place=""):
    """Every number and text with its place, as in ``errors.0.value``."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            yield from _leaves(item, f"{place}.{name}" if place else str(name))
    else:
        yield place, value
