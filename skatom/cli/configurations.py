"""Fields of the frames that training needs beside labels, and noises by configuration."""

from skatom.cli.judging import report_fields

# Fields that name the configuration of a frame, if there are any.
_USUAL = ("config_type", "group")
_KINDS = {"energy": 0, "forces": 1, "virial": 2, "stress": 2}
# The name of a frame without one.
_UNNAMED = "unnamed"


def wanted_fields(options):
    """Fields to read from the file."""
    wanted = [options.configurations] if options.configurations else list(_USUAL)
    if options.split_by not in (None, "random", "block"):
        wanted.append(options.split_by)
    return list(dict.fromkeys(wanted + report_fields(options)))


def check_fields(options, data):
    """Raise a ValueError if frames lack a field that an option names."""
    for option, field in (
        ("--configurations", options.configurations), ("--split-by", options.split_by),
        ("--group-by", options.group_by),
    ):  # fmt: skip
        if field in (None, "random", "block") or field in data.info:
            continue
        raise ValueError(
            f"{option} {field}: no frame of {options.data} has this field; "
            f"{data.DESCR.splitlines()[-1]}"
        )


def configurations(options, data):
    """The field that names configurations and the name of each frame, or twice None."""
    import numpy as np

    candidates = [options.configurations] if options.configurations else _USUAL
    field = next((name for name in candidates if name in data.info), None)
    if field is None:
        return None, None
    names = data.info[field]
    return field, np.where(names == "", _UNNAMED, names)


def with_noises(options, settings, names):
    """Settings with the noises of the option --noise, and which of them are given.

    Parameters
    ----------
    options : SimpleNamespace
        Those of the run.
    settings : dict
        All settings of the model, by dotted name.
    names : ndarray of str, or None
        The configuration of each training frame.

    Returns
    -------
    settings : dict
    given : set of str
    """
    given = {}
    for text in options.noises:
        configuration, colon, values = text.rpartition(":")
        for kind, value in _parsed(text, values):
            setting = _setting(options, kind)
            if not colon:
                given[setting] = value
                continue
            _check_configuration(options, text, configuration, names)
            own = given.get(setting, settings.get(setting))
            if not isinstance(own, dict):
                own = dict.fromkeys(sorted(set(names.tolist())), own)
            given[setting] = own | {configuration: value}
    return settings | given, set(given)


def _parsed(text, values):
    """Pairs of a kind of label and its noise."""
    for pair in values.split(","):
        kind, _, number = pair.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = None
        if kind not in _KINDS or value is None:
            raise ValueError(
                f"--noise {text}: give noises of energy, forces or virial, as in energy=0.001 or "
                "liquid:energy=0.01,forces=0.2"
            )
        yield kind, value


def _setting(options, kind):
    noises = options.recipe.noises
    if not noises:
        raise ValueError(f"{options.recipe.name} has no noises: leave --noise out")
    return noises[_KINDS[kind]]


def _check_configuration(options, text, configuration, names):
    if names is None:
        raise ValueError(
            f"--noise {text}: the frames of {options.data} have no configurations: name their "
            "field by --configurations"
        )
    if configuration not in names:
        from skatom.recipes.settings import nearest

        raise ValueError(
            f"--noise {text}: no training frame is of the configuration {configuration!r}: "
            f"{nearest(configuration, set(names.tolist()))}"
        )
