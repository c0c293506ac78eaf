"""The options of a run of ``skatom train``: of the command line, over those of a YAML file."""

from types import SimpleNamespace

# name in the file -> what it must be, and its default. Settings of the model are a dict.
_TEXT, _NUMBER, _COUNT = "a text", "a number", "a whole number"
_OPTIONS = {
    "data": (_TEXT, None),
    "keys": (_TEXT, None),
    "index": (_TEXT, None),
    "species": ("a list of symbols", None),
    "model": (_TEXT, "sgdml"),
    "settings": ("settings by name", None),
    "labels": (_TEXT, None),
    "configurations": (_TEXT, None),
    "n_train": (_COUNT, None),
    "n_valid": (_COUNT, None),
    "test_file": (_TEXT, None),
    "test_fraction": (_NUMBER, None),
    "split_by": (_TEXT, None),
    "sigma": ("a list of numbers", None),
    "tune": (_NUMBER, None),
    "device": (_TEXT, "cpu"),
    "threads": (_COUNT, None),
    "seed": (_COUNT, 0),
    "out": (_TEXT, None),
}
_TYPES = {
    _TEXT: str,
    _NUMBER: (int, float),
    _COUNT: int,
    "a list of symbols": list,
    "a list of numbers": list,
    "settings by name": dict,
}
# Options that do not change the model.
_OF_THE_CALL = ("dask", "print_config", "resume", "report", "group_by", "learning_curve")
# Options that are settings of some models.
_SHORT = ("alpha", "energy_constraint", "max_memory")


def options_of(arguments):
    """All options of a run.

    Parameters
    ----------
    arguments : argparse.Namespace
        Those of the command line, None where not given.

    Returns
    -------
    SimpleNamespace
        With ``given``, the settings that were chosen, by name.
    """
    from skatom.recipes import find
    from skatom.recipes.settings import value_of

    options = {name: default for name, (_, default) in _OPTIONS.items()}
    if arguments.config is not None:
        options |= _read(arguments.config)
    for name in _OPTIONS:
        value = getattr(arguments, name, None)
        options[name] = options[name] if value is None else value
    given = dict(options.pop("settings") or {})
    for text in arguments.set or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"--set {text}: give NAME=VALUE, as in soap.cutoff=5.5")
        given[name] = value_of(value)
    given |= {n: getattr(arguments, n) for n in _SHORT if getattr(arguments, n) is not None}
    if options["sigma"]:
        given["sigma"] = options["sigma"][0]
    missing = [shown for name, shown in (("data", "DATA"), ("out", "--out")) if not options[name]]
    if missing and not (arguments.print_config and missing == ["--out"]):
        raise ValueError(f"the following arguments are required: {', '.join(missing)}")
    noises = list(arguments.noise or ())
    run = {name: getattr(arguments, name) for name in _OF_THE_CALL}
    return SimpleNamespace(
        **options, **run, given=given, noises=noises, recipe=find(options["model"])
    )


def _read(path):
    """The options in a YAML file, checked."""
    from pathlib import Path

    from skatom.recipes.settings import nearest

    yaml = _yaml()
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} has no options: give lines such as 'model: gap'")
    found = {}
    for name, value in content.items():
        if name == "skatom":  # the version that wrote it
            continue
        if name not in _OPTIONS:
            raise ValueError(f"{path}: there is no option {name!r}: {nearest(str(name), _OPTIONS)}")
        kind = _OPTIONS[name][0]
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, _TYPES[kind]):
            raise ValueError(f"{path}: {name} is {value!r}: give {kind}")
        found[name] = value
    return found


def config_text(options, settings, configurations):
    """The YAML file that repeats a run.

    Parameters
    ----------
    options : SimpleNamespace
        From `options_of`.
    settings : dict
        All settings of the model, nested.
    configurations : str or None
        The field with the names of configurations.

    Returns
    -------
    str
    """
    from skatom import __version__

    content = {name: getattr(options, name) for name in _OPTIONS if name != "settings"}
    if content["sigma"] is not None and len(content["sigma"]) == 1:
        content["sigma"] = None  # it is among the settings
    content |= {"configurations": configurations, "tune": None}
    content = {name: value for name, value in content.items() if value is not None}
    content |= {"skatom": __version__, "settings": _plain(settings)}
    text = _yaml().safe_dump(content, sort_keys=False, allow_unicode=True)
    return f"# skatom train --config FILE repeats this run\n{text}"


def _plain(value):
    """Numbers of Python, so that YAML has them to the last digit."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _yaml():
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            "--config and --print-config need PyYAML: pip install 'skatom[cli]'"
        ) from error
    return yaml
