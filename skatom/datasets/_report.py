"""What was read from where, and what was not."""

from dataclasses import dataclass, field

from skatom._label_fields import joined, kind_of
from skatom._warnings import warn


@dataclass
class Report:
    """What a file, or several, had.

    Attributes
    ----------
    sources : dict of Source
        Where each label came from.
    fields : dict
        All fields, name -> place.
    unread : dict
        Fields that look like labels and were not taken, name -> place.
    n_without_volume : int
        How many stresses of structures that are not periodic in three directions were left out.
    unnamed : dict of str
        Sentences on what a file holds without a name.
    """

    sources: dict = field(default_factory=dict)
    fields: dict = field(default_factory=dict)
    unread: dict = field(default_factory=dict)
    n_without_volume: int = 0
    unnamed: dict = field(default_factory=dict)

    @classmethod
    def of_collector(cls, labels):
        fields = {name: place for place, name in labels.fields}
        return cls(labels.sources(), fields, labels.unread, labels.n_without_volume)

    @classmethod
    def merged(cls, reports):
        """One report of several."""
        names = dict.fromkeys(name for report in reports for name in report.sources)
        return cls(
            {n: joined([r.sources[n] for r in reports if n in r.sources]) for n in names},
            {n: place for report in reports for n, place in report.fields.items()},
            {n: place for report in reports for n, place in report.unread.items()},
            sum(report.n_without_volume for report in reports),
            {kind: text for report in reports for kind, text in report.unnamed.items()},
        )

    def description(self, n, path):
        """The text of DESCR."""
        lines = [f"{n} structures from {path}"]
        for name, source in self.sources.items():
            unit = f", {source.unit}" if source.unit else ""
            factor = "" if source.factor == 1.0 else f", times {source.factor:.10g}"
            lines.append(f"{name}: {source.field} ({source.place}){unit}{factor}")
        if self.unread:
            lines.append(f"not read: {_listed(self.unread)}")
        lines.append(f"fields: {', '.join(self.fields)}")
        return "\n".join(lines)

    def warn(self):
        """Warn, once, of labels that were left out."""
        sentences = []
        if self.unread:
            sentences.append(
                f"these fields look like labels and were not read: {_listed(self.unread)}"
                f"{_example(self.unread)}"
            )
        sentences += self.unnamed.values()
        if self.n_without_volume:
            sentences.append(
                f"stresses (or virials) of {self.n_without_volume} structures that are not "
                "periodic in three directions are left out: a stress is a derivative per volume"
            )
        if sentences:
            warn("; ".join(sentences), UserWarning)


def _example(fields):
    """How to read one of the fields; none that is per atom, which keys cannot repair."""
    name = next((name for name in fields if "atom" not in name.lower()), None)
    if name is None:
        return ""
    example = f"keys={ ({kind_of(name): name}) }"
    return f"; to read one, name it with its property, for example {example}"


def _listed(fields):
    return ", ".join(f"{name} ({place})" for name, place in fields.items())
