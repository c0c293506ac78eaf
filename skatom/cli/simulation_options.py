"""The options of the commands that move atoms."""

from skatom.cli.common_options import add_choice_of_frames, add_model, formatted
from skatom.cli.eos import eos
from skatom.cli.md import md
from skatom.cli.neb import neb
from skatom.cli.phonons import phonons
from skatom.cli.relax import relax


def add_simulations(commands):
    """Add the commands to what ``add_subparsers`` of argparse gave."""
    for add in (_add_relax, _add_md, _add_phonons, _add_eos, _add_neb):
        add(commands)


def _add_relax(commands):
    parser = formatted(
        commands.add_parser,
        "relax",
        help="relax structures, and cells",
        description="""\
Relaxes each structure of DATA to a minimum of the energy, with the cell if --cell is given, and
writes it with its energy (eV), forces (eV/Å) and, if it is periodic, stress (eV/Å³). Atoms that
DATA holds fixed stay where they are.""",
        epilog="""\
examples
  skatom relax silicon.joblib POSCAR --cell --fmax 0.001 --out relaxed.xyz
  skatom relax ethanol.joblib conformers.xyz --out minima.xyz

All steps are kept in the folder OUT.steps until the end: after an interruption, the same command
with --resume goes on from the last ones.""",
    )
    _add_input(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="file of the structures")
    _add_fmax(parser)
    parser.add_argument(
        "--steps", type=int, default=500, metavar="N", help="largest number of steps [%(default)s]"
    )
    parser.add_argument(
        "--optimizer",
        choices=["bfgs", "fire", "lbfgs"],
        default="bfgs",
        help="bfgs is slow for more than some hundred atoms [%(default)s]",
    )
    parser.add_argument("--cell", action="store_true", help="relax the cell, too")
    parser.add_argument(
        "--pressure", type=float, default=0.0, help="on the cell, GPa [%(default)s]"
    )
    parser.add_argument(
        "--trajectory", metavar="FOLDER", help="keep all steps there, in one .traj a structure"
    )
    _add_max_std(parser)
    _add_plot(parser, "energy and largest force against steps")
    _add_resume(parser)
    parser.set_defaults(run=relax)


def _add_md(commands):
    parser = formatted(
        commands.add_parser,
        "md",
        help="molecular dynamics",
        description="""\
Molecular dynamics of one structure, at constant energy (nve, velocity Verlet), temperature (nvt,
Langevin) or temperature and pressure (npt, Langevin with a cell that keeps its shape).""",
        epilog="""\
examples
  skatom md ethanol.joblib relaxed.xyz --temperature 300 --timestep 0.5 --steps 10000 --out md.traj
  skatom md silicon.joblib si.xyz --ensemble npt --temperature 600 --steps 20000 --out md.traj
      the same command with --resume goes on from the last frame, as if there had been no
      interruption; with more --steps, farther

Frames are ASE's .traj, which keeps momenta and all digits: "ase convert md.traj md.xyz" makes other
formats of it. At constant energy, --temperature is that of the first momenta.""",
    )
    _add_input(parser)
    parser.add_argument("--out", required=True, metavar="FILE.traj", help="file of the frames")
    parser.add_argument("--steps", type=int, required=True, metavar="N", help="steps in all")
    parser.add_argument(
        "--timestep", type=float, default=1.0, help="time of a step, fs [%(default)s]"
    )
    parser.add_argument(
        "--ensemble", choices=["nve", "nvt", "npt"], default="nve", help="[%(default)s]"
    )
    parser.add_argument("--temperature", type=float, help="K [nve: momenta of DATA, or at rest]")
    parser.add_argument("--pressure", type=float, default=0.0, help="npt: GPa [%(default)s]")
    parser.add_argument(
        "--thermostat-time", type=float, default=100.0, metavar="TIME",
        help="in which momenta relax, fs [%(default)s]",
    )  # fmt: skip
    parser.add_argument(
        "--barostat-time", type=float, default=1000.0, metavar="TIME",
        help="in which the volume relaxes, fs [%(default)s]",
    )  # fmt: skip
    parser.add_argument(
        "--interval", type=int, default=10, metavar="N", help="steps between frames [%(default)s]"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of momenta and random forces [%(default)s]"
    )
    _add_max_std(parser)
    _add_plot(parser, "energies and temperature against time")
    _add_resume(parser)
    parser.set_defaults(run=md)


def _add_phonons(commands):
    parser = formatted(
        commands.add_parser,
        "phonons",
        help="phonons of a crystal",
        description="""\
Frequencies (THz) of a relaxed crystal along a path through the Brillouin zone, and their density of
states, by displacements of each atom in a supercell.""",
        epilog="""\
example
  skatom phonons silicon.joblib relaxed.xyz --supercell 3 3 3 --out si.json --plot si.png

Forces are kept in the folder OUT.forces until the end: after an interruption, the same command with
--resume computes the others.""",
    )
    _add_input(parser)
    parser.add_argument("--out", required=True, metavar="FILE.json", help="file of the numbers")
    parser.add_argument(
        "--supercell", type=int, nargs=3, metavar="N",
        help="repeats of the cell [opposite faces 10 Å apart]",
    )  # fmt: skip
    parser.add_argument(
        "--displacement", type=float, default=0.01, help="of each atom, Å [%(default)s]"
    )
    parser.add_argument(
        "--engine",
        choices=["ase", "phonopy"],
        default="ase",
        help="phonopy, if installed, leaves out displacements that symmetry relates [%(default)s]",
    )
    parser.add_argument(
        "--path", metavar="POINTS", help="special points, as in GXWKGL,UX [those of the lattice]"
    )
    _add_plot(parser, "bands and density of states")
    _add_resume(parser)
    parser.set_defaults(run=phonons)


def _add_eos(commands):
    parser = formatted(
        commands.add_parser,
        "eos",
        help="equation of state and bulk modulus",
        description="""\
Energies (eV) of a crystal at several volumes (Å³), with atoms at the same places in units of the
cell, and the bulk modulus (GPa) of the Birch-Murnaghan equation through them.""",
        epilog="""\
example
  skatom eos silicon.joblib relaxed.xyz --plot si.png""",
    )
    _add_input(parser)
    parser.add_argument(
        "--strain", type=float, default=0.03, help="largest change of edges, relative [%(default)s]"
    )
    parser.add_argument(
        "--points", type=int, default=9, metavar="N", help="number of volumes [%(default)s]"
    )
    parser.add_argument("--out", metavar="FILE", help="file of the structures and their energies")
    _add_plot(parser, "energies against volumes")
    parser.set_defaults(run=eos)


def _add_neb(commands):
    parser = formatted(
        commands.add_parser,
        "neb",
        help="barrier between two structures",
        description="""\
Relaxes two structures of the same atoms in the same order, joins them by a nudged elastic band with
a climbing image, and writes the images with their energies (eV) and forces (eV/Å).""",
        epilog="""\
examples
  skatom neb ethanol.joblib gauche.xyz trans.xyz --images 9 --out path.xyz --plot path.png
  skatom neb ethanol.joblib both.xyz --out path.xyz

All steps are kept in OUT.steps.traj until the end: after an interruption, the same command with
--resume goes on from the last band.""",
    )
    _add_input(parser, "two structures, in two files or one", nargs="+")
    parser.add_argument("--out", required=True, metavar="FILE", help="file of the images")
    parser.add_argument(
        "--images", type=int, default=7, metavar="N", help="images, ends included [%(default)s]"
    )
    _add_fmax(parser)
    parser.add_argument(
        "--steps", type=int, default=300, metavar="N",
        help="largest number of steps of each stage [%(default)s]",
    )  # fmt: skip
    parser.add_argument("--trajectory", metavar="FILE.traj", help="keep the bands of all steps")
    _add_max_std(parser)
    _add_plot(parser, "energies along the path")
    _add_resume(parser)
    parser.set_defaults(run=neb)


def _add_input(parser, data="structure", **options):
    add_model(parser)
    parser.add_argument("data", metavar="DATA", help=data, **options)
    add_choice_of_frames(parser)


def _add_resume(parser):
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last step of an interrupted run"
    )


def _add_fmax(parser):
    parser.add_argument(
        "--fmax", type=float, default=0.05, help="largest force at the end, eV/Å [%(default)s]"
    )


def _add_max_std(parser):
    parser.add_argument(
        "--max-std",
        type=float,
        metavar="STD",
        help="warn when the standard deviation of a force component exceeds this, eV/Å; of models "
        "with deviations of energies alone, that of the energy, eV an atom",
    )


def _add_plot(parser, what):
    parser.add_argument("--plot", metavar="FILE", help=f"{what}: .png, .pdf, .svg")
