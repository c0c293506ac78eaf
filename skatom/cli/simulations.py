"""What the commands that move atoms share: models, structures, results and plots."""

from skatom.cli.formats import check_folder, check_format, check_is_another, format_of

# What a simulation begins with; other fields of a file are of the structure as it was.
_KEPT = ("numbers", "positions", "momenta", "masses", "tags", "initial_magmoms", "initial_charges")


def load_force_field(path, with_stress=False):
    """A model that predicts forces, and stresses if they are needed."""
    from skatom._persistence import load_model
    from skatom._prediction import predictable

    model = load_model(path)
    given = predictable(model)
    needed = {"energy", "forces", *(["stress"] if with_stress else [])}
    missing = sorted(needed - set(given))
    if missing:
        raise ValueError(
            f"{path} predicts {', '.join(given)}, but no {' and '.join(missing)}, which this needs"
            ": train another model"
        )
    return model


def read_structures(arguments):
    """The structures of DATA as `ase.Atoms`, without labels and results."""
    return [_bare(atoms) for atoms in _all(arguments)]


def read_one(arguments):
    """The only structure of DATA, or the one that --index names."""
    from itertools import islice

    found = [_bare(atoms) for atoms in islice(_all(arguments), 2)]
    if len(found) > 1:
        raise ValueError(
            f"{arguments.data} has several structures: choose one, as in --index 0 or --index -1"
        )
    return found[0]


def check_structures_path(path, source, atoms, names):
    """ASE's format of a file to write, or an error if it would not hold the results."""
    from skatom import Structures

    check_is_another(path, source)
    file_format = format_of(path)
    check_format(path, file_format, Structures.from_ase([atoms, atoms]), names)
    return file_format


def results_of(model, atoms):
    """Names of the results that a file must hold."""
    from skatom._prediction import predictable

    periodic = atoms.pbc.all()
    names = ("energy", "forces", "stress")
    return [name for name in names if name in predictable(model) and (periodic or name != "stress")]


def check_plot_path(path):
    """An error, before the work, if no plot can be written there."""
    if path is None:
        return
    from matplotlib.figure import Figure

    check_folder(path)
    suffix = path.rsplit(".", 1)[-1].lower()
    known = Figure().canvas.get_supported_filetypes()
    if "." not in path or suffix not in known:
        raise ValueError(f"{path}: plots are written as {', '.join(sorted(known))}")


def save_plot(path, display, result):
    """Draw a result and write the plot, if there is a name for it."""
    if path is None:
        return
    import matplotlib

    matplotlib.use("Agg")  # a file is written, no window opened
    import skatom.plotting
    from skatom._files import written_whole

    drawn = getattr(skatom.plotting, display)(result).plot()
    with written_whole(path) as beside:
        drawn.figure_.savefig(beside)
    print(f"Saved     {path}: the plot")


def counted(n):
    """The number of structures, in words."""
    return f"{n} structure" + ("" if n == 1 else "s")


def formula(atoms):
    """The formula of a structure."""
    return atoms.symbols.formula.format("hill")


def _all(arguments):
    from skatom.datasets import iter_atoms

    return iter_atoms(arguments.data, index=arguments.index or ":", species=arguments.species)


def _bare(atoms):
    bare = atoms.copy()  # without the calculator
    bare.info = {}
    for name in set(bare.arrays) - set(_KEPT):
        del bare.arrays[name]
    return bare
