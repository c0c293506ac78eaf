"""Labelled frames of files, and samples of them."""

MOST_HELD_OUT = 1000


def read_file(arguments, info=(), path=None):
    """The data of a command, read as its options say, or all frames of another file."""
    import numpy as np

    from skatom.datasets import read

    names = ("keys", "species") if path else ("keys", "index", "species")
    given = {name: getattr(arguments, name) for name in names} | {"info": info or None}
    data = read(
        arguments.data if path is None else path,
        **{name: x for name, x in given.items() if x is not None},
    )
    data.frames = np.arange(len(data.structures))  # their numbers, also when some are left out
    return data


def read_labelled(arguments, wanted=("energy", "forces"), purpose="learn from", info=()):
    """The frames of a file that have every wanted label which any of its frames has."""
    data, path = read_file(arguments, info), arguments.data
    names = [] if data.targets is None else data.targets.names
    names = [name for name in wanted if name in names]
    if not names:
        raise ValueError(
            f"{path} has no labels of {' or '.join(wanted)}: there is nothing to {purpose}"
            f"{_keys_of(data.unread)}"
        )
    for name in names:
        has = data.targets.labelled(name)
        if not has.all():
            print(f"Note      {(~has).sum()} of {len(has)} frames have no {name}: left out")
            data.structures, data.targets = data.structures[has], data.targets[has]
            data.frames = data.frames[has]
            data.info = {field: values[has] for field, values in data.info.items()}
    if not len(data.structures):
        raise ValueError(f"{path} has no frame that is labelled with {' and '.join(names)}")
    return data


def _keys_of(unread):
    """How to name fields that look like labels, on the command line."""
    from skatom._label_fields import kind_of

    fields = {kind_of(field): field for field in reversed(unread)}
    keys = ",".join(f"{name}={fields[name]}" for name in ("energy", "forces") if name in fields)
    return f", unless you name its fields, as in --keys {keys}" if keys else ""


def sample_sizes(arguments, n_frames):
    """Numbers of frames to train on, to test on and, for several sigmas, to choose by."""
    n_train, n_valid, parts = arguments.n_train, arguments.n_valid, min(len(arguments.sigma), 2)
    if not 1 <= n_train <= n_frames:
        raise ValueError(
            f"--n-train {n_train}, but {arguments.data} has {n_frames} frames: ask for 1 to "
            f"{n_frames}, or give more data"
        )
    if n_valid is None:
        n_valid = min((n_frames - n_train) // parts, MOST_HELD_OUT)
        if n_valid == 0:
            raise ValueError(
                f"--n-train {n_train} leaves {n_frames - n_train} of {n_frames} frames to hold "
                "out: train on fewer, or do without a test by --n-valid 0 and a single sigma"
            )
    if parts > 1 and n_valid == 0:
        raise ValueError("several sigmas need frames to choose by: give --n-valid above 0")
    if n_train + parts * n_valid > n_frames:
        raise ValueError(
            f"{n_train} frames to train on and {parts} × {n_valid} held out are more than the "
            f"{n_frames} of {arguments.data}: lower --n-train or --n-valid"
        )
    return [n_train] + parts * [n_valid]


def draw_frames(targets, n_samples, seed):
    """Disjoint samples of frames, each with the energy distribution of the whole."""
    import numpy as np

    from skatom.model_selection import energy_stratified_sample

    # unless all have energies, frames are alike: one bin, a uniform draw
    known = targets.labelled("energy").all()
    energies = targets.energy if known else np.zeros(len(targets))
    rng = np.random.RandomState(seed)
    samples, taken = [], np.empty(0, int)
    for n in n_samples:
        sample = energy_stratified_sample(energies, n, taken, rng) if n else np.empty(0, int)
        samples.append(sample)
        taken = np.concatenate([taken, sample])
    return samples
