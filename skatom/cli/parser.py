"""The options of the commands, and their help."""

import argparse

from skatom import __version__
from skatom.cli.common_options import add_model, add_reading, add_seed, count, formatted
from skatom.cli.demonstration import N_TRAINING, demo
from skatom.cli.dynamics import export, lammps
from skatom.cli.evaluation import evaluate
from skatom.cli.frames import MOST_HELD_OUT
from skatom.cli.judging import add_report_options
from skatom.cli.prediction import predict
from skatom.cli.recipe_options import add_model_options, add_run_options, models_for_help
from skatom.cli.simulation_options import add_simulations
from skatom.cli.training import train

_TRUST = """\
A .joblib file can run any code when it is opened: open only files from people you trust. A .skops
file is checked first and refused if it contains anything but a model."""
_EXIT_CODES = """\
Exit codes: 0; 2 after an error, which is one line on stderr; 130 after Ctrl-C; 143 after SIGTERM;
141 if nobody reads what is printed."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message):
        self.exit(2, f"skatom: error: {message} (see {self.prog} --help)\n")


def new_parser():
    """The parser of all commands."""
    parser = formatted(
        _Parser,
        prog="skatom",
        description="Force fields from molecular-dynamics data: train, judge and use them.",
        epilog=f"""\
begin with
  skatom demo                               the whole way on embedded data, in two minutes
  skatom train md.xyz --n-train 1000 --out model.joblib
  skatom COMMAND --help                     each command with examples

DATA is any file that ASE reads (extended XYZ, .traj, VASP, ...) or an .npz in the layout of sGDML,
MD17 or rMD17, also compressed (.gz, .bz2, .xz). Results are in eV and Å.

{_EXIT_CODES}""",
    )
    parser.add_argument("--version", action="version", version=f"skatom {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (
        _add_demo,
        _add_train,
        _add_evaluate,
        _add_predict,
        _add_lammps,
        _add_export,
    ):
        add(commands)
    add_simulations(commands)
    for command in commands.choices.values():
        command.add_argument("--debug", action="store_true", help="show where an error happens")
    return parser


def _add_demo(commands):
    parser = formatted(
        commands.add_parser,
        "demo",
        help="train and judge a model on embedded data",
        description=f"""\
Trains sGDML on {N_TRAINING} of 2,500 embedded ethanol frames, judges it on {MOST_HELD_OUT}
others, and saves the model and a parity plot of its forces. Takes less than two minutes.""",
    )
    parser.add_argument(
        "--out-dir", default="skatom-demo", help="folder for the two files [%(default)s]"
    )
    parser.set_defaults(run=demo)


def _add_train(commands):
    parser = formatted(
        commands.add_parser,
        "train",
        help="train a model on labelled frames",
        description="""\
Holds out some frames, fits a model to the others, and judges it on those held out. The model is a
recipe: a name with settings whose defaults depend on the data. Memory and time are estimated
before the fit.""",
        epilog=f"""\
models
{models_for_help()}

examples
  skatom train md17_ethanol.npz --n-train 1000 --out ethanol.joblib
  skatom train silicon.xyz --model gap --tune --test-file test.xyz --out silicon.joblib
      searches the settings that matter for five minutes
  skatom train alloy.xyz --model gap --learning-curve --report report.html --out alloy.joblib
      a page with plots, errors by group and a learning curve
  skatom train alloy.xyz --model gap --set soap.cutoff=5.5 n_sparse=800 --split-by group
  skatom train alloy.xyz --model gap --noise liquid:energy=0.01,forces=0.2 --out alloy.joblib
  skatom train alloy.xyz --model gap --tune --print-config --out alloy.joblib > alloy.yaml
  skatom train --config alloy.yaml
      repeats that run exactly
  skatom train md.xyz --n-train 200 --sigma 5 10 20 40 --out md.joblib
      sgdml: fits with each sigma, keeps the one of lowest force RMSE on validation frames, and
      judges it on others
  skatom train md.traj --n-train 500 --out md.skops
      a file that can be given to people who do not trust you (needs skops)
  skatom train md.xyz --keys energy=REF_energy,forces=REF_forces --index ::2 --out md.joblib
      labels that have other names; every second frame

What is finished of --tune, of several sigmas, of --learning-curve and of a fit of gap is kept in
the folder MODEL.search: if the command is interrupted, run it again with --resume.""",
    )
    parser.add_argument("data", nargs="?", metavar="DATA", help="frames with energies or forces")
    add_reading(parser)
    parser.add_argument(
        "--n-train",
        type=count,
        metavar="N",
        help="training frames [all that are not held out, at most 1000 for sgdml and gdml]",
    )
    parser.add_argument(
        "--n-valid",
        type=count,
        metavar="N",
        help="held-out frames to judge the model on, and as many more to choose sigma by if "
        f"several are given [what is left, at most {MOST_HELD_OUT}]",
    )
    parser.add_argument(
        "--sigma",
        type=float,
        nargs="+",
        help="length scale of the kernel of sgdml and gdml; give several to choose from [20]",
    )
    parser.add_argument("--alpha", type=float, help="regularisation of the kernel [1e-10]")
    parser.add_argument(
        "--energy-constraint",
        action="store_true",
        default=None,
        help="sgdml and gdml: learn energies and forces together",
    )
    parser.add_argument("--max-memory", type=float, metavar="GIB", help="limit [what is available]")
    parser.add_argument("--out", metavar="MODEL", help="file to write: .joblib or .skops")
    add_seed(parser)
    add_report_options(parser)
    add_model_options(parser)
    add_run_options(parser)
    parser.set_defaults(run=train, seed=None)


def _add_evaluate(commands):
    parser = formatted(
        commands.add_parser,
        "evaluate",
        help="errors of a model on labelled frames",
        description="""\
Prints the errors of energies, forces, stresses, dipoles and polarisabilities, as far as the data
have and the model predicts them. Give frames that the model was not trained on.""",
        epilog=f"""\
examples
  skatom evaluate ethanol.joblib hot_ethanol.xyz --n-test 500
  skatom evaluate ethanol.joblib hot_ethanol.xyz --report report.html report.json
      a page with plots, errors by group and the worst frames, and its numbers

{_TRUST}""",
    )
    add_model(parser)
    parser.add_argument("data", metavar="DATA", help="frames with labels")
    add_reading(parser)
    parser.add_argument(
        "--n-test", type=count, metavar="N", help="judge on so many frames, drawn at random [all]"
    )
    add_seed(parser)
    add_report_options(parser)
    parser.set_defaults(run=evaluate)


def _add_predict(commands):
    parser = formatted(
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
    add_model(parser)
    parser.add_argument("data", metavar="DATA", help="structures")
    add_reading(parser)
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="file to write; the suffix tells the format, which must hold results",
    )
    parser.set_defaults(run=predict)


def _add_lammps(commands):
    parser = formatted(
        commands.add_parser,
        "lammps",
        help="run an input script of LAMMPS with a model",
        description="""\
Runs INPUT in LAMMPS with the forces of the model. The script needs units metal and a box, and
neither a line for the model nor a pair style; those that it has are added. Needs the package
lammps[mpi].""",
        epilog=f"""\
examples
  skatom lammps in.silicon --model silicon.joblib
  skatom lammps in.melt --model bn.joblib --species B N --var T 3000
  skatom lammps in.ethanol --model ethanol.joblib --replicas 16
      the script runs 16 times at once, with the variable replica = 1 ... 16

{_TRUST}""",
    )
    parser.add_argument("input", metavar="INPUT", help="input script of LAMMPS")
    parser.add_argument("--model", required=True, metavar="MODEL", help="file of a fitted model")
    parser.add_argument(
        "--species",
        nargs="+",
        metavar="SYMBOL",
        help="elements of the atom types 1, 2, ... [those of their masses]",
    )
    parser.add_argument(
        "--var",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a variable of the script; may be repeated",
    )
    parser.add_argument(
        "--replicas", type=count, default=1, metavar="N", help="runs at once [%(default)s]"
    )
    parser.add_argument(
        "--skin",
        type=float,
        default=0.5,
        metavar="LENGTH",
        help="how much farther than the cutoff neighbours are searched, in Å [%(default)s]",
    )
    parser.set_defaults(run=lammps)


def _add_export(commands):
    parser = formatted(
        commands.add_parser,
        "export",
        help="write a model for LAMMPS or MLIP",
        description="""\
Writes the pairs and triangles of a MappedForceField for pair_style table and pair_style uf3 of
LAMMPS, and prints the commands that use them; or a moment tensor potential for MLIP and its
interface to LAMMPS. These then need neither Python nor skatom, and run on any number of ranks.""",
        epilog=f"""\
example
  skatom export silicon.joblib --out silicon

{_TRUST}""",
    )
    add_model(parser)
    parser.add_argument(
        "--out", required=True, metavar="PREFIX", help="beginning of the names of the files"
    )
    parser.set_defaults(run=export)
