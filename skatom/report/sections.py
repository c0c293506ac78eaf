"""The sections of the page."""

from datetime import datetime
from html import escape

import numpy as np

from skatom.metrics.figures import LABELS_OF_FIGURES
from skatom.metrics.outliers import sentences
from skatom.plotting import CalibrationDisplay, GroupErrorsDisplay, ParityDisplay
from skatom.plotting.groups import height_of
from skatom.report.assessment import MOST_ATOMS
from skatom.report.drawing import MOST_DRAWN, draw
from skatom.report.groups import unit_of_errors
from skatom.report.html import figure, figures, folded, paragraph, section, table

_MOST_BARS = 20
# Names of properties in English, where these differ.
_NAMES = {"forces": "force", "polarizability": "polarisability"}
_CALIBRATION = {
    "rmse": "RMSE", "rms_deviation": "RMS deviation", "scale": "scale", "within_1": "within 1 σ",
    "within_2": "within 2 σ", "miscalibration": "miscalibration",
    "rank_correlation": "rank correlation",
}  # fmt: skip


def body(report):
    """All sections of a report."""
    parts = (
        _summary(report), _parity(report), _groups(report), _learning_curve(report),
        _calibration(report), _worst(report), _settings(report), _sources(report),
        _versions(report),
    )  # fmt: skip
    return "\n".join(part for part in parts if part)


def _summary(report):
    structures = report.assessment.structures
    rows = [
        (label.text, report.errors[name] * label.factor, label.unit,
         report.errors[name] * label.other_factor if label.other else "", label.other or "")
        for name, label in LABELS_OF_FIGURES.items() if name in report.errors
    ]  # fmt: skip
    return section(
        "Errors",
        paragraph(
            f"{report.settings['model']} on {len(structures):,} structures with "
            f"{len(structures.numbers):,} atoms."
        ),
        *(paragraph(text, "warning") for text in [*report.warnings, *sentences(report.outliers)]),
        table(("error", "value", "unit", "or", "unit"), rows),
        table(("", ""), list(report.about.items())),
    )


def _parity(report):
    found = report.assessment
    images = [
        figure(
            lambda ax, name=name: ParityDisplay(
                found.labels, found.predicted[name], quantity=name
            ).plot(ax),
            (4.8, 4.2),
            f"predicted against reference: {_name(name)}",
        )
        for name in found.names
    ]  # fmt: skip
    return section("Predicted against reference", figures(images))


def _groups(report):
    parts = []
    for kind, rows in report.groups.items():
        parts.append(f"<h3>By {escape(kind)}</h3>")
        parts.append(figures([_bars(rows, name) for name in dict.fromkeys(_of_bars(rows))]))
        head = ("property", kind, "numbers", "mean", "MAE", "RMSE", "largest", "unit")
        keys = ("group", "n", "bias", "mae", "rmse", "largest", "unit")
        lines = [(_name(row["property"]), *(row[key] for key in keys)) for row in rows]
        parts.append(table(head, lines))
    return section("Errors by group", *parts)


def _of_bars(rows):
    """The properties to draw: forces, and energies, if there are several groups of them."""
    names = [row["property"] for row in rows]
    return [name for name in names if names.count(name) > 1]


def _bars(rows, name):
    own = [row for row in rows if row["property"] == name]
    label = f"{_name(name)} RMSE ({unit_of_errors(name)})"
    display = GroupErrorsDisplay(
        [row["group"] for row in own], [row["rmse"] for row in own], label, _MOST_BARS
    )
    size = (5.6, height_of(min(len(own), _MOST_BARS)))
    return figure(display.plot, size, f"{label} by group")


def _learning_curve(report):
    if not report.learning_curves:
        return ""
    images = [
        figure(curve.plot, (4.8, 3.8), f"learning curve: {curve.name}")
        for curve in report.learning_curves
    ]
    return section("Learning curve", figures(images))


def _calibration(report):
    found = report.assessment
    if not report.calibration:
        return ""
    images, rows = [], []
    for name, values in report.calibration.items():
        display = CalibrationDisplay(
            *found.errors_and_deviations(name), f"{_name(name)} error", unit_of_errors(name)
        )
        images.append(figure(display.plot, (8.4, 3.8), f"calibration: {_name(name)}", 2))
        rows.append((_name(name), *(values[key] for key in _CALIBRATION), unit_of_errors(name)))
    part = (
        f" Deviations are of {len(found.chosen):,} of the {len(found.structures):,} structures, at "
        f"most {MOST_ATOMS:,} atoms."
        if len(found.chosen) < len(found.structures)
        else ""
    )
    return section(
        "Calibration of standard deviations",
        paragraph(
            "Calibrated deviations lie on the diagonals, with 0.683 of the errors within one and "
            f"0.954 within two; the scale is the factor that would make them so on average.{part}"
        ),
        table(("property", *_CALIBRATION.values(), "unit"), rows),
        figures(images),
    )


def _worst(report):
    drawings = "".join(_drawing(report.assessment, entry) for entry in report.worst)
    judge = "forces" if "forces" in report.assessment.names else report.assessment.names[0]
    arrows = ", errors of forces in red, the longest of each drawing with the same length"
    return section(
        "Worst structures",
        paragraph(
            f"The structures of the largest root-mean-square error of the {_name(judge)}; "
            f"frames are counted from 0. Drag to turn{arrows if judge == 'forces' else ''}.",
        ),
        f'<div class="structures">{drawings}</div>',
    )


def _drawing(found, entry):
    structures = found.structures[entry["structure"]]
    arrows = None
    if "forces" in found.names:
        rows = slice(*found.structures.offsets[entry["structure"] :][:2])
        arrows = np.nan_to_num(found.errors("forces")[rows])
    cell = structures.cells[0] if structures.pbc.any() else None
    title = f"frame {entry['frame']}, {entry['formula']}"
    drawing = draw(structures.numbers, structures.positions, cell, arrows, escape(title))
    lines = [
        _line(name, error) for name, error in entry["errors"].items() if np.isfinite(error["rmse"])
    ]
    if entry["n_atoms"] > MOST_DRAWN:
        lines.append(f"{MOST_DRAWN} of {entry['n_atoms']} atoms drawn")
    caption = "<br>".join([f"<strong>{escape(title)}</strong>", *map(escape, lines)])
    return f"<figure>{drawing}<figcaption>{caption}</figcaption></figure>"


def _name(label):
    return _NAMES.get(label, label)


def _line(name, error):
    """The error of a number, or of several."""
    if name == "energy":
        return f"energy error {error['largest']:.3g} {error['unit']}"
    return f"{_name(name)} RMSE {error['rmse']:.3g}, largest {error['largest']:.3g} {error['unit']}"


def _settings(report):
    rows = list(report.settings.items())
    return section(
        "Settings", folded(f"{len(rows)} parameters", table(("parameter", "value"), rows))
    )


def _sources(report):
    rows = [
        (name, source.field, source.place, source.unit or "", float(source.factor))
        for name, source in report.sources.items()
    ]
    return section("Sources of labels", table(("label", "field", "place", "unit", "factor"), rows))


def _versions(report):
    rows = [(f"time of {what} (s)", value) for what, value in report.seconds.items()]
    rows.append(("largest memory of the process (GiB)", report.peak_memory))
    return section(
        "Time, memory and versions",
        table(("", ""), rows),
        table(("", ""), list(report.versions.items())),
        paragraph(f"Written on {datetime.now():%Y-%m-%d %H:%M}.", "note"),
    )
