"""Which frames a model is trained on, chosen by, and judged on."""

from types import SimpleNamespace

from skatom.cli.frames import MOST_HELD_OUT, draw_frames, sample_sizes

_FRACTION = 0.1
_MOST_TRAINED = 1000  # frames of sgdml and gdml, whose time grows with the third power


def split(options, data, info):
    """Indices of the frames to train on, to judge on, and to choose sigma by.

    Parameters
    ----------
    options : SimpleNamespace
        Those of the run.
    data : Bunch
        With ``structures`` and ``targets``.
    info : dict of str to ndarray of str
        Fields of the structures.

    Returns
    -------
    train, test, validation : ndarray of int
    """
    import numpy as np

    n, several = len(data.structures), len(options.sigma or ()) > 1
    new = (options.test_file, options.test_fraction, options.split_by)
    if options.recipe.one_molecule and all(value is None for value in new):
        sigma = options.sigma or [None]
        n_train = _n_trained(options, n, min(len(sigma), 2))
        asked = SimpleNamespace(
            n_train=n_train, n_valid=options.n_valid, sigma=sigma, data=options.data
        )
        sizes = sample_sizes(asked, n)
        train, test, *validation = draw_frames(data.targets, sizes, options.seed)
        return train, test, validation[0] if validation else np.empty(0, int)
    rest, test = _held_out(options, data, info)
    validation = np.empty(0, int)
    if several:
        rest, validation = _drawn(options, data, rest, _n_held_out(options, len(rest)))
    return np.sort(_train(options, data, rest)), np.sort(test), validation


def _n_trained(options, n, parts):
    """Frames of one molecule to train on: those asked for, or what its held-out parts leave."""
    if options.n_train is not None:
        return options.n_train
    return max(1, min(_MOST_TRAINED, n - parts * _n_held_out(options, n)))


def _held_out(options, data, info):
    """The frames that are left, and those to judge on."""
    import numpy as np

    n, how = len(data.structures), options.split_by or "random"
    everything = np.arange(n)
    n_test = _n_held_out(options, n)
    if options.test_file is not None or n_test == 0:
        return everything, np.empty(0, int)
    if n_test >= n:
        raise ValueError(
            f"{n_test} frames to hold out are all of the {n} of {options.data}: hold out fewer by "
            "--n-valid, or judge on another file by --test-file"
        )
    if how == "block":
        return everything[: n - n_test], everything[n - n_test :]
    if how == "random":
        return _drawn(options, data, everything, n_test)
    return _whole_groups(info[how], n_test, how, options.seed)


def _n_held_out(options, n):
    if options.n_valid is not None:
        return options.n_valid
    if options.test_fraction == 0:
        return 0
    fraction = _FRACTION if options.test_fraction is None else options.test_fraction
    return max(1, min(round(fraction * n), MOST_HELD_OUT))


def _drawn(options, data, frames, n_drawn):
    """The frames that are left, and some with the energy distribution of all of them."""
    import numpy as np

    if n_drawn == 0:
        return frames, np.empty(0, int)
    (drawn,) = draw_frames(data.targets[frames], [n_drawn], options.seed)
    return np.delete(frames, drawn), frames[drawn]


def _whole_groups(names, n_test, field, seed):
    """Frames of some values of a field are held out, as many values as give enough frames."""
    import numpy as np

    groups = np.random.default_rng(seed).permutation(np.unique(names))
    if len(groups) < 2:
        raise ValueError(
            f"--split-by {field}: all frames have the value {str(groups[0])!r}, so none can be "
            "held out: use another field, block, or random"
        )
    held_out = np.zeros(len(names), bool)
    for group in groups[:-1]:
        if held_out.sum() >= n_test:
            break
        held_out |= names == group
    print(f"Held out  {field} {', '.join(np.unique(names[held_out]))}")
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _train(options, data, frames):
    """The frames to train on, out of those that are left."""
    n_train = options.n_train
    if n_train is None:
        n_train = min(len(frames), _MOST_TRAINED) if options.recipe.one_molecule else len(frames)
    if not 1 <= n_train <= len(frames):
        raise ValueError(
            f"--n-train {n_train}, but {options.data} has {len(frames)} frames that are not held "
            f"out: ask for 1 to {len(frames)}, or give more data"
        )
    if n_train == len(frames):
        return frames
    return _drawn(options, data, frames, n_train)[1]
