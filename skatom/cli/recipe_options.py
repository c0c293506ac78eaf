"""The options of ``skatom train`` that concern all models."""

import argparse

# Minutes of a search, and of a learning curve, without a number.
TUNING_MINUTES, LEARNING_MINUTES = 5.0, 5.0
_SPLITS = "random, block, or the name of a field"


def add_model_options(parser):
    """The model, its settings, and where they come from."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        metavar="NAME",
        help="sgdml, gdml, gap, fchl19, nbody, mapped, greedy, mtp, ace, hdnnp, schnet, dtnn, "
        "painn or mpnn; see the end of this help [sgdml]",
    )
    group.add_argument(
        "--set",
        nargs="+",
        action="extend",
        metavar="NAME=VALUE",
        help="settings of the model, as in soap.cutoff=5.5 n_sparse=1000",
    )
    group.add_argument(
        "--noise",
        nargs="+",
        action="extend",
        metavar="NOISES",
        help="noises of the labels, as in energy=0.001,forces=0.05; or of one configuration, as in "
        "liquid:energy=0.01,forces=0.2",
    )
    group.add_argument(
        "--configurations",
        metavar="FIELD",
        help="field with the name of each frame's configuration [config_type or group]",
    )
    group.add_argument(
        "--labels",
        metavar="NAMES",
        help="labels to learn, as in energy,forces [all, but stresses that contradict the others]",
    )
    group.add_argument(
        "--tune",
        nargs="?",
        type=float,
        const=TUNING_MINUTES,
        metavar="MINUTES",
        help="choose the settings that matter by cross-validation on the training frames, within "
        f"this time [{TUNING_MINUTES:g} if no number is given]",
    )
    group.add_argument("--device", help="cpu, cuda or auto, for models that can choose [cpu]")
    group.add_argument("--threads", type=_positive, metavar="N", help="number of threads [all]")
    group.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="fit and judge on a Dask cluster, by the address of its scheduler [this machine]",
    )


def add_run_options(parser):
    """Which frames to judge on, and repeated and continued runs."""
    group = parser.add_argument_group("frames to judge on")
    group.add_argument("--test-file", metavar="FILE", help="judge on the frames of this file")
    group.add_argument(
        "--test-fraction",
        type=_fraction,
        metavar="F",
        help="hold out this fraction of the frames [0.1, at most 1000 frames]",
    )
    group.add_argument(
        "--split-by",
        metavar="HOW",
        help=f"how to hold out: {_SPLITS}, such as trajectory, of whose values some are held out "
        "as a whole [random]",
    )
    group.add_argument(
        "--learning-curve",
        nargs="?",
        type=_minutes,
        const=LEARNING_MINUTES,
        metavar="MINUTES",
        help="also fit to a half, a quarter, … of the training frames, within this time "
        f"[{LEARNING_MINUTES:g} if no number is given]",
    )
    group = parser.add_argument_group("runs")
    group.add_argument("--config", metavar="FILE.yaml", help="options of a run from a file")
    group.add_argument(
        "--print-config",
        action="store_true",
        help="print the file that repeats this run exactly, and stop before the fit",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with a search or fit that was interrupted, from the folder MODEL.search",
    )


def models_for_help():
    """The names of the recipes, each with its line, without loading them."""
    return "\n".join(f"  {name:8}{line}" for name, line in SUMMARIES.items())


SUMMARIES = {
    "sgdml": "one molecule: its forces by kernels of inverse distances and its symmetry",
    "gdml": "one molecule: its forces by kernels of inverse distances",
    "gap": "crystals, liquids, molecules: SOAP and pairs, sparse Gaussian process",
    "fchl19": "molecules, up to some 1,000 structures: FCHL19, kernel ridge regression",
    "nbody": "simple materials, few data: pairs and triangles, Gaussian process",
    "mapped": "the same as tables: as fast as a classical potential, for LAMMPS",
    "greedy": "a short linear model of moment tensors, or of SOAP for molecules",
    "mtp": "a linear moment tensor potential: fits in seconds, predicts fast, any size of data",
    "ace": "a linear cluster expansion up to five bodies, for molecules of a few elements",
    "hdnnp": "networks of elements on symmetry functions, with charges if they are wanted",
    "schnet": "a neural potential, for many structures and a graphics card; needs torch",
    "painn": "a neural potential whose atoms have vectors, the most accurate one; needs torch",
    "dtnn": "a small neural potential, for energies of many molecules; needs torch",
    "mpnn": "messages between atoms, for energies of many molecules; needs torch",
}


def _positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _minutes(text):
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of minutes")
    return value


def _fraction(text):
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a fraction from 0 to below 1")
    return value
