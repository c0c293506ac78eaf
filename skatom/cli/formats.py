"""Files of structures to write, whose format must hold what is written."""

import tempfile
import warnings
from pathlib import Path

# Written in a file and read from it again, numbers agree to that many digits.
_DIGITS = 1e-5


def format_of(path):
    """ASE's name of the format, or an error if ASE could not write structures there."""
    from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat

    check_folder(path)
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder: give the name of a file in it")
    try:
        name = filetype(path, read=False)
        known = get_ioformat(name).can_write
    except UnknownFileTypeError:
        known = False
    if not known:
        raise ValueError(f"{path}: ASE writes no format of this suffix; try .xyz")
    return name


def check_folder(path):
    """An error if there is no folder to write a file in."""
    if not Path(path).parent.is_dir():
        raise ValueError(f"{path}: there is no folder {Path(path).parent}")


def check_is_another(path, source):
    """An error if writing to a file would destroy the one that is read."""
    if Path(path).exists() and Path(source).exists() and Path(path).samefile(source):
        raise ValueError(f"{path} is the file with the structures: give --out another name")


def check_format(path, file_format, structures, names):
    """An error, before the work, if a file of this format would not hold the results.

    Some formats take results and drop them. Made-up results of the first structures are written and
    read again, since ASE does not say which.
    """
    import numpy as np

    from skatom import Targets
    from skatom.properties import LABELS

    rng, n = (
        np.random.default_rng(0),
        {"structure": len(structures), "atom": structures.n_atoms.sum()},
    )
    made_up = {}
    for name in names:
        values = rng.normal(size=(n[LABELS[name].per], *LABELS[name].shape))
        if LABELS[name].shape == (3, 3):
            values = values + np.swapaxes(values, -1, -2)
        made_up[name] = values
    found = _written_and_read(
        path, file_format, structures, Targets(**made_up, offsets=structures.offsets)
    )
    lost = [name for name in names if not _same(getattr(found, name, None), made_up[name])]
    if lost:
        raise ValueError(
            f"{path}: a file of ASE's format {file_format} would not hold {', '.join(lost)} of "
            "several structures: give a name that ends in .xyz or .traj"
        )


def write_structures(path, images, file_format):
    """Write `ase.Atoms` with their results, all or nothing."""
    import ase.io

    from skatom._files import written_whole

    with written_whole(path) as beside:
        ase.io.write(beside, images, format=file_format)


def _written_and_read(path, file_format, structures, targets):
    """The Targets that remain, or None if the format fails."""
    import ase.io

    from skatom import Targets

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sample = Path(folder) / Path(path).name
        try:
            ase.io.write(sample, structures.to_ase(targets), format=file_format)
            return Targets.from_ase(ase.io.read(sample, ":"))
        except Exception:  # each of ASE's formats fails in its own way
            return None


def _same(found, expected):
    import numpy as np

    return np.shape(found) == expected.shape and np.allclose(found, expected, atol=_DIGITS)
