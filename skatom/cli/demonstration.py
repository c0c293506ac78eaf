"""``skatom demo``."""

from pathlib import Path

from skatom.cli.fitting import announced, of_one_molecule
from skatom.cli.frames import MOST_HELD_OUT, draw_frames
from skatom.cli.report import describe, describe_symmetry, print_errors, save

N_TRAINING = 500


def demo(arguments):
    """The whole way on embedded data."""
    import matplotlib

    from skatom._files import written_whole
    from skatom.datasets import load_ethanol
    from skatom.models import SGDML

    matplotlib.use("Agg")  # a file is written, no window opened
    from skatom.plotting import ParityDisplay

    folder = Path(arguments.out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    model_path, plot_path = folder / "ethanol.joblib", folder / "ethanol_forces.png"
    data = load_ethanol()
    print("Ethanol at 500 K: can a model learn its forces?\n")
    describe("embedded ethanol trajectory", data)
    train, test = draw_frames(data.targets, [N_TRAINING, MOST_HELD_OUT], seed=0)
    model = SGDML(random_state=0, verbose=1)
    with announced(of_one_molecule(model, len(train))):
        model.fit(data.structures[train], data.targets[train])
    describe_symmetry(model)
    print_errors(model, data, test, "held-out frames")
    save(model, model_path)
    display = ParityDisplay.from_estimator(model, data.structures[test], data.targets[test])
    with written_whole(plot_path) as beside:
        display.figure_.savefig(beside)
    print(f"Saved     {plot_path}: predicted against reference forces\n")
    print("Next, with your own trajectory (any file that ASE reads, or .npz):")
    print("  skatom train trajectory.xyz --n-train 1000 --out model.joblib")
    print("  skatom predict model.joblib others.xyz --out predictions.xyz")
