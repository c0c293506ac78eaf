"""The command line: train, evaluate and use a model without writing Python.

Heavy imports sit inside the functions, so that ``skatom --help`` answers at once.
"""

import argparse
import sys
import textwrap
import time
import warnings
from pathlib import Path

_KCAL = 23.060548  # kcal/mol in an eV
_GPA = 160.21766  # GPa in an eV/Å³
_DEBYE = 4.8032047  # D in an e·Å
_BOHR3 = 6.7483346  # bohr³ in an Å³
# key of skatom.metrics.evaluate -> label in the table, unit, conversion factor, and the same two
# for a second unit
_ROWS = {
    "energy_mae": ("energy MAE", "eV", 1.0, "kcal/mol", _KCAL),
    "energy_rmse": ("energy RMSE", "eV", 1.0, "kcal/mol", _KCAL),
    "energy_mae_per_atom": ("energy MAE per atom", "eV", 1.0, "kcal/mol", _KCAL),
    "energy_rmse_per_atom": ("energy RMSE per atom", "eV", 1.0, "kcal/mol", _KCAL),
    "force_mae": ("force MAE, components", "eV/Å", 1.0, "kcal/mol/Å", _KCAL),
    "force_rmse": ("force RMSE, components", "eV/Å", 1.0, "kcal/mol/Å", _KCAL),
    "force_magnitude_error": ("force MAE, magnitudes", "eV/Å", 1.0, "kcal/mol/Å", _KCAL),
    "force_angle_error": ("force angle, mean", "degrees", 180.0, None, None),
    "stress_mae": ("stress MAE, components", "eV/Å³", 1.0, "GPa", _GPA),
    "stress_rmse": ("stress RMSE, components", "eV/Å³", 1.0, "GPa", _GPA),
    "dipole_mae": ("dipole MAE, components", "e·Å", 1.0, "D", _DEBYE),
    "dipole_rmse": ("dipole RMSE, components", "e·Å", 1.0, "D", _DEBYE),
    "polarizability_mae": ("polarisability MAE", "Å³", 1.0, "bohr³", _BOHR3),
    "polarizability_rmse": ("polarisability RMSE", "Å³", 1.0, "bohr³", _BOHR3),
}
_TRUST = """\
A .joblib file can run any code when it is opened: open only files from people you trust. A .skops
file is checked first and refused if it contains anything but a model."""
_MOST_HELD_OUT = 1000
_MOST_PERMUTATIONS = 23
_DEMO_TRAINING = 500


def main(argv=None):
    """Run one command.

    Parameters
    ----------
    argv : list of str, default=None
        The arguments. None: the arguments of the process.

    Returns
    -------
    int
        0, or 2 after an error, which is one line on stderr.
    """
    arguments = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: _warn(message)
        try:
            arguments.run(arguments)
        except (ValueError, OSError, MemoryError, ImportError) as error:
            print(f"skatom: error: {_one_line(error)}", file=sys.stderr)
            return 2
    return 0


def _warn(message):
    print(f"skatom: warning: {_one_line(message)}", file=sys.stderr)


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__


def _demo(arguments):
    import matplotlib

    from skatom.datasets import load_ethanol
    from skatom.models import SGDML

    matplotlib.use("Agg")  # a file is written, no window opened
    from skatom.plotting import ParityDisplay

    folder = Path(arguments.out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    model_path, plot_path = folder / "ethanol.joblib", folder / "ethanol_forces.png"
    data = load_ethanol()
    print("Ethanol at 500 K: can a model learn its forces?\n")
    _describe("embedded ethanol trajectory", data)
    train, test = _draw_frames(data.targets, [_DEMO_TRAINING, _MOST_HELD_OUT], seed=0)
    model = _fit(SGDML(random_state=0, verbose=1), data, train)
    _describe_symmetry(model)
    _print_errors(model, data, test, "held-out frames")
    _save(model, model_path)
    display = ParityDisplay.from_estimator(model, data.structures[test], data.targets[test])
    display.figure_.savefig(plot_path)
    print(f"Saved     {plot_path}: predicted against reference forces\n")
    print("Next, with your own trajectory (any file that ASE reads, or .npz):")
    print("  skatom train trajectory.xyz --n-train 1000 --out model.joblib")
    print("  skatom predict model.joblib others.xyz --out predictions.xyz")


def _train(arguments):
    from skatom._persistence import check_model_path
    from skatom.models import GDML, SGDML

    check_model_path(arguments.out)
    data = _read_labelled(arguments.data)
    _describe(arguments.data, data)
    sigmas = arguments.sigma
    n_samples = _sample_sizes(arguments, len(data.structures))
    train, test, *validation = _draw_frames(data.targets, n_samples, arguments.seed)
    parameters = {
        "sigma": sigmas[0],
        "alpha": arguments.alpha,
        "energy_constraint": arguments.energy_constraint,
        "max_memory": arguments.max_memory,
        "verbose": 1,
    }
    if arguments.model == "gdml":
        model = GDML(**parameters)
    else:
        model = SGDML(**parameters, random_state=arguments.seed)
    if len(sigmas) > 1:
        model = _search_sigma(model, sigmas, data, train, *validation)
    else:
        model = _fit(model, data, train)
    _describe_symmetry(model)
    if len(test):
        _print_errors(model, data, test, "held-out frames")
    _save(model, arguments.out)


def _evaluate(arguments):
    from skatom._persistence import load_model
    from skatom._prediction import comparable

    model = load_model(arguments.model)
    wanted = [name for name in comparable(model) if name != "stress"]
    data = _read_labelled(arguments.data, wanted, "compare")
    _describe(arguments.data, data)
    n_test = len(data.structures) if arguments.n_test is None else arguments.n_test
    (test,) = _draw_frames(data.targets, [n_test], arguments.seed)
    _print_errors(model, data, test, "frames")


def _predict(arguments):
    import ase.io

    from skatom import Targets
    from skatom._persistence import load_model
    from skatom._prediction import predict, predictable
    from skatom.datasets import read
    from skatom.properties import LABELS

    _check_structure_path(arguments.out)
    model = load_model(arguments.model)
    structures = read(arguments.data).structures
    periodic = structures.pbc.all()
    given = [name for name in predictable(model) if name in LABELS]
    names = [name for name in given if periodic or name != "stress"]
    answers = predict(model, structures, names)
    ase.io.write(arguments.out, structures.to_ase(Targets(**answers, offsets=structures.offsets)))
    print(f"Saved     {arguments.out}: {len(structures)} structures with {', '.join(names)}")


def _read_labelled(path, wanted=("energy", "forces"), purpose="learn from"):
    """The frames of a file that have every wanted label which any of its frames has."""
    from skatom.datasets import read

    data = read(path)
    names = [] if data.targets is None else data.targets.names
    names = [name for name in wanted if name in names]
    if not names:
        raise ValueError(
            f"{path} has no labels of {' or '.join(wanted)}: there is nothing to {purpose}"
        )
    for name in names:
        has = data.targets.labelled(name)
        if not has.all():
            print(f"Note      {(~has).sum()} of {len(has)} frames have no {name}: left out")
            data.structures, data.targets = data.structures[has], data.targets[has]
    if not len(data.structures):
        raise ValueError(f"{path} has no frame that is labelled with {' and '.join(names)}")
    return data


def _sample_sizes(arguments, n_frames):
    """Numbers of frames to train on, to test on and, for several sigmas, to choose by."""
    n_train, n_valid, parts = arguments.n_train, arguments.n_valid, min(len(arguments.sigma), 2)
    if not 1 <= n_train <= n_frames:
        raise ValueError(
            f"--n-train {n_train}, but {arguments.data} has {n_frames} frames: ask for 1 to "
            f"{n_frames}, or give more data"
        )
    if n_valid is None:
        n_valid = min((n_frames - n_train) // parts, _MOST_HELD_OUT)
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


def _draw_frames(targets, n_samples, seed):
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


def _fit(model, data, train):
    begin = time.perf_counter()
    print(
        f"Fitting   {type(model).__name__}, sigma {model.sigma:g}, to {len(train)} frames",
        flush=True,
    )
    model.fit(data.structures[train], data.targets[train])
    print(f"          done in {time.perf_counter() - begin:.1f} s")
    return model


def _describe_symmetry(model):
    """The permutations found, as cycles such as (H6 H7 H8)."""
    from ase.data import chemical_symbols

    labels = [f"{chemical_symbols[z]}{a}" for a, z in enumerate(model.numbers_)]
    cycles = ["".join(_cycles(permutation, labels)) for permutation in model.permutations_[1:]]
    print(f"Symmetry  {len(model.permutations_)} permutations of like atoms, counted from 0:")
    text = ", ".join(["identity", *cycles[:_MOST_PERMUTATIONS]])
    text += ", …" if len(cycles) > _MOST_PERMUTATIONS else ""
    print(textwrap.indent(textwrap.fill(text, 80, break_on_hyphens=False), 10 * " "))


def _cycles(permutation, labels):
    left = set(range(len(labels)))
    while left:
        atom, cycle = min(left), []
        while atom in left:
            left.remove(atom)
            cycle.append(labels[atom])
            atom = int(permutation[atom])
        if len(cycle) > 1:
            yield f"({' '.join(cycle)})"


def _search_sigma(model, sigmas, data, train, validation):
    """Fit with each sigma and keep the one of lowest force RMSE on the validation frames."""
    from sklearn.base import clone

    from skatom.metrics import neg_force_rmse

    X, y = data.structures[validation], data.targets[validation]
    fitted, errors = [], []
    for sigma in sigmas:
        model = _fit(clone(model).set_params(sigma=sigma), data, train)
        errors.append(-neg_force_rmse(model, X, y))
        print(f"          force RMSE {errors[-1]:.5f} eV/Å on {len(validation)} validation frames")
        fitted.append(model)
    best = min(range(len(sigmas)), key=errors.__getitem__)
    print(f"Chosen    sigma {sigmas[best]:g}")
    if sigmas[best] in (min(sigmas), max(sigmas)):
        side = "smaller" if sigmas[best] == min(sigmas) else "larger"
        _warn(f"sigma {sigmas[best]:g} is at the edge of those tried: try {side} ones too")
    return fitted[best]


def _describe(name, data):
    from ase.symbols import Symbols

    formula = Symbols(data.structures[:1].numbers).formula.format("hill")
    print(f"Data      {name}: {len(data.structures)} frames, the first of {formula}")
    print(f"          with {', '.join(data.targets.names)}")


def _print_errors(model, data, test, what):
    from skatom.metrics import evaluate

    figures = evaluate(model, data.structures[test], data.targets[test])
    print(f"\nErrors on {len(test)} {what}")
    for name, (label, unit, factor, other, other_factor) in _ROWS.items():
        if name in figures:
            second = f"{figures[name] * other_factor:12.4g} {other}" if other else ""
            print(f"  {label:24}{figures[name] * factor:10.4g} {unit:8}{second}".rstrip())
    print()


def _save(model, path):
    from skatom._persistence import save_model

    save_model(model, path)
    print(f"Saved     {path}: the model, {Path(path).stat().st_size / 1e6:.2f} MB")


def _check_structure_path(path):
    """An error, before anything long is begun, if ASE could not write structures there."""
    from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat

    if not Path(path).parent.is_dir():
        raise ValueError(f"{path}: there is no folder {Path(path).parent}")
    try:
        known = get_ioformat(filetype(path, read=False)).can_write
    except UnknownFileTypeError:
        known = False
    if not known:
        raise ValueError(f"{path}: ASE writes no format of this suffix; try .xyz")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message):
        self.exit(2, f"skatom: error: {message} (see {self.prog} --help)\n")


def _parser():
    parser = _new_parser(
        _Parser,
        prog="skatom",
        description="Force fields from molecular-dynamics data: train, judge and use them.",
        epilog="""\
begin with
  skatom demo                               the whole way on embedded data, in two minutes
  skatom train md.xyz --n-train 1000 --out model.joblib
  skatom COMMAND --help                     each command with examples

DATA is any file that ASE reads (extended XYZ, .traj, VASP, ...) or an .npz in the layout of sGDML,
MD17 or rMD17, also compressed (.gz, .bz2, .xz). Results are in eV and Å.""",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_add_demo, _add_train, _add_evaluate, _add_predict):
        add(commands)
    return parser


def _new_parser(make, *args, **kwargs):
    return make(*args, **kwargs, formatter_class=argparse.RawDescriptionHelpFormatter)


def _add_demo(commands):
    demo = _new_parser(
        commands.add_parser,
        "demo",
        help="train and judge a model on embedded data",
        description=f"""\
Trains sGDML on {_DEMO_TRAINING} of 2,500 embedded ethanol frames, judges it on {_MOST_HELD_OUT}
others, and saves the model and a parity plot of its forces. Takes less than two minutes.""",
    )
    demo.add_argument(
        "--out-dir", default="skatom-demo", help="folder for the two files [%(default)s]"
    )
    demo.set_defaults(run=_demo)


def _add_train(commands):
    train = _new_parser(
        commands.add_parser,
        "train",
        help="train a model on a trajectory",
        description="""\
Draws training frames with the energy distribution of the trajectory, fits the model, and judges it
on frames that took no part. All frames need the same atoms in the same order, and forces.""",
        epilog="""\
examples
  skatom train md17_ethanol.npz --n-train 1000 --out ethanol.joblib
  skatom train md.xyz --n-train 200 --sigma 5 10 20 40 --out md.joblib
      fits with each sigma, keeps the one of lowest force RMSE on validation frames, and judges it
      on others
  skatom train md.traj --n-train 500 --out md.skops
      a file that can be given to people who do not trust you (needs skops)""",
    )
    train.add_argument("data", metavar="DATA", help="trajectory with forces, and energies or not")
    train.add_argument(
        "--model",
        choices=["sgdml", "gdml"],
        default="sgdml",
        help="gdml does not use the molecule's permutational symmetry [%(default)s]",
    )
    train.add_argument(
        "--n-train", type=_count, default=1000, metavar="N", help="training frames [%(default)s]"
    )
    train.add_argument(
        "--n-valid",
        type=_count,
        metavar="N",
        help="held-out frames to judge the model on, and as many more to choose sigma by if "
        f"several are given [what is left, at most {_MOST_HELD_OUT}]",
    )
    train.add_argument(
        "--sigma",
        type=float,
        nargs="+",
        default=[20.0],
        help="length scale of the kernel; give several to choose from [20]",
    )
    train.add_argument(
        "--alpha", type=float, default=1e-10, help="regularisation of the kernel [%(default)s]"
    )
    train.add_argument(
        "--energy-constraint", action="store_true", help="learn energies and forces together"
    )
    train.add_argument("--max-memory", type=float, metavar="GIB", help="limit [what is available]")
    train.add_argument(
        "--out", required=True, metavar="MODEL", help="file to write: .joblib or .skops"
    )
    _add_seed(train)
    train.set_defaults(run=_train)


def _add_evaluate(commands):
    evaluate = _new_parser(
        commands.add_parser,
        "evaluate",
        help="errors of a model on labelled frames",
        description="""\
Prints the errors of energies, forces, stresses, dipoles and polarisabilities, as far as the data
have and the model predicts them. Give frames that the model was not trained on.""",
        epilog=f"""\
example
  skatom evaluate ethanol.joblib hot_ethanol.xyz --n-test 500

{_TRUST}""",
    )
    _add_model(evaluate)
    evaluate.add_argument("data", metavar="DATA", help="frames with labels")
    evaluate.add_argument(
        "--n-test", type=_count, metavar="N", help="judge on so many frames, drawn at random [all]"
    )
    _add_seed(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _add_predict(commands):
    predict = _new_parser(
        commands.add_parser,
        "predict",
        help="energies and forces of structures",
        description="""\
Predicts energies (eV), forces (eV/Å) and, for periodic structures and models that have it, stresses
(eV/Å³), and writes them with the structures. Labels in DATA are not used.""",
        epilog=f"""\
examples
  skatom predict ethanol.joblib conformers.xyz --out predictions.xyz
  skatom predict ethanol.joblib conformers.xyz --out predictions.traj

{_TRUST}""",
    )
    _add_model(predict)
    predict.add_argument("data", metavar="DATA", help="structures")
    predict.add_argument(
        "--out", required=True, metavar="FILE", help="file to write; the suffix tells the format"
    )
    predict.set_defaults(run=_predict)


def _add_model(parser):
    parser.add_argument("model", metavar="MODEL", help="file that skatom train wrote")


def _add_seed(parser):
    parser.add_argument(
        "--seed", type=int, default=0, help="of the random draw of frames [%(default)s]"
    )


def _count(text):
    """A number of frames, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of frames")
    return int(text)
