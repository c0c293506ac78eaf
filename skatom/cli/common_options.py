"""Options that several commands have."""

import argparse


def formatted(make, *args, **kwargs):
    """A parser whose description and epilog keep their lines."""
    return make(*args, **kwargs, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_model(parser):
    """The file of a model."""
    parser.add_argument("model", metavar="MODEL", help="file that skatom train wrote")


def add_reading(parser):
    """How labelled frames are read."""
    parser.add_argument(
        "--keys",
        metavar="NAMES",
        help="names of fields in DATA, as in energy=REF_energy,forces=REF_forces",
    )
    add_choice_of_frames(parser)


def add_choice_of_frames(parser):
    """Which structures of a file are read, and of which elements."""
    parser.add_argument(
        "--index", metavar="FRAMES", help="frames of DATA to read, as in ::10, :500, 7 or -1 [all]"
    )
    parser.add_argument(
        "--species",
        nargs="+",
        metavar="SYMBOL",
        help="elements of the atom types 1, 2, ... in files that number them",
    )


def add_seed(parser):
    """The seed of what is drawn."""
    parser.add_argument("--seed", type=int, default=0, help="of the random draw of frames [0]")


def count(text):
    """A number of frames, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of frames")
    return int(text)
