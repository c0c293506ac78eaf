"""SchNet and PaiNN: a training step, a prediction, errors after a time; peers; a card.

    python -m benchmarks neural                                 on two cores, or a card
    python -m benchmarks neural --network painn --molecule revised_ethanol --tasks training \\
        --seconds 300 --width 128 --rate 2e-3                   five minutes of a card
    python -m benchmarks neural --peers --threads 1             beside SchNetPack and PyG

`--peers` compares a training epoch with forces, and predictions, with those of SchNetPack 2.1.1 and
of PyTorch Geometric with the same batches, sizes and pairs, after it has checked that energies and
forces are equal with the same weights: to rounding in double precision, if the activation that both
peers leave out behind the last layer of SchNet's filters is put there, and the same length is given
to vectors of zeros. Clocks are wall time, and processor time for machines where other programs run.

Without a card the tasks run on the CPU with short times. `--threads` is the number of threads of
torch. The published errors are those of the thesis of K. T. Schütt (2018), of chapter 11 of Machine
Learning Meets Quantum Physics (2020) and of PaiNN (2021), for 1,000 training frames of the same
source.

    python -m benchmarks neural --tasks interactions --width 32 --iterations 60
    python -m benchmarks neural --tasks interactions --seconds 150 --width 128 --batch-size 100

The task `interactions` compares one interaction with three, and energies alone with energies and
forces. On a card, the last command gives each of the three the time in which the published errors
are reached with all labels.
"""

import time
from ast import literal_eval
from functools import partial

import numpy as np

from benchmarks.harness import DATA, KCAL, repeated_within, table, timed
from benchmarks.neural._beside_peers import compare
from skatom import Structures, Targets
from skatom._prediction import predict

# kcal/mol and kcal/mol/Å, three interactions
PUBLISHED = {
    "schnet": {"ethanol": (0.08, 0.39), "aspirin": (0.37, 1.35)},
    "painn": {"ethanol": (0.06, 0.23), "aspirin": (0.16, 0.37)},
}
# ethanol of MD17, and of the revised data
MOLECULES = ("ethanol", "aspirin", "revised_ethanol")
PUBLISHED_BY_ONE = {"ethanol": (0.43, 1.72)}
# 1,000 to learn from, and those that are left out to judge the weights.
_FRAMES, _LEFT_OUT = 1100, 1 / 11
TASKS = ("equality", "steps", "prediction", "training", "interactions")


def add_arguments(parser):
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS[:-1])
    parser.add_argument("--molecule", choices=MOLECULES, default="ethanol")
    parser.add_argument("--seconds", type=float, default=60, help="time of the training")
    parser.add_argument("--iterations", type=int, help="in place of the time")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--width", type=int, default=64, help="features and filters")
    parser.add_argument("--rate", type=float, default=1e-3, help="the first learning rate")
    parser.add_argument("--network", choices=("schnet", "painn"), default="schnet")
    parser.add_argument("--set", nargs="+", default=[], help="such as ema_decay=0.999 n_rbf=32")
    parser.add_argument("--peers", action="store_true", help="beside SchNetPack and PyG, no tasks")
    parser.add_argument("--frames", type=int, default=320, help="in an epoch beside the peers")
    parser.add_argument("--torch", action="store_true", help="on the CPU, card or not")


def run(options):
    import torch

    torch.set_num_threads(options.threads)
    on_card = torch.cuda.is_available() and not options.torch
    options.device = "cuda" if on_card else "cpu"
    name = torch.cuda.get_device_name() if on_card else "torch on the CPU"
    sizes = f"batches of {options.batch_size}, width {options.width}"
    print(f"{name}, {options.network}, {options.molecule}, {sizes}")
    train, test = frames(options.molecule)
    if options.peers:
        compare(options, train)
        return
    for task in options.tasks:
        begin = time.perf_counter()
        globals()[f"_{task}"](options, train, test)
        print(f"  {task}: {time.perf_counter() - begin:.1f} s", flush=True)


def frames(molecule):
    """1,100 frames, 1,000 of revised data, of which a part is left out to judge the weights, and
    others to test on."""
    folder = DATA / "molecules" if (DATA / "molecules").is_dir() else DATA
    if molecule == "ethanol":
        found = np.load(folder / "md17_ethanol.npz")
        order = np.random.default_rng(0).permutation(len(found["E"]))
        return _part(found, order[:_FRAMES]), _part(found, order[_FRAMES:])
    name = molecule.removeprefix("revised_")
    found = [np.load(folder / f"rmd17_{name}_{part}.npz") for part in ("train", "test")]
    n, m = (len(part["E"]) for part in found)
    return _part(found[0], np.arange(min(n, _FRAMES))), _part(found[1], np.arange(m))


def _part(found, rows):
    factor = 1 / KCAL if "kcal" in str(found["e_unit"]) else 1.0
    structures = Structures.from_frames(found["z"], found["R"][rows])
    forces = factor * found["F"][rows].reshape(-1, 3)
    energy = factor * found["E"][rows].ravel()
    return structures, Targets(energy=energy, forces=forces, offsets=structures.offsets)


def _model(options, **changes):
    from skatom.models import PaiNN, SchNet

    settings = {
        "n_features": options.width, "batch_size": options.batch_size,
        "learning_rate_init": options.rate, "device": options.device, "random_state": 0,
        "validation_fraction": _LEFT_OUT,
    }  # fmt: skip
    network = {"schnet": SchNet, "painn": PaiNN}[options.network]
    chosen = dict(each.split("=", 1) for each in options.set)
    return network(**settings | changes | {k: literal_eval(v) for k, v in chosen.items()})


def _equality(options, train, test):
    """The same weights on the CPU and on the device, and a fit that is repeated."""
    for dtype in ("float32", "float64"):
        model = _model(options, max_iter=3, dtype=dtype).fit(train[0][:200], train[1][:200])
        again = _model(options, max_iter=3, dtype=dtype).fit(train[0][:200], train[1][:200])
        repeated = (model.network_.theta() == again.network_.theta()).all()
        found = [
            predict(model.set_params(device=device), test[0][:50], {"energy", "forces"})
            for device in ("cpu", options.device)
        ]
        spread = found[0]["energy"] - found[0]["energy"].mean()
        energy = np.abs(found[1]["energy"] - found[0]["energy"]).max() / np.abs(spread).max()
        forces = np.abs(found[1]["forces"] - found[0]["forces"]).max()
        forces /= np.abs(found[0]["forces"]).max()
        print(
            f"  {dtype}: device and CPU differ by {energy:.1e} of the spread of energies and "
            f"{forces:.1e} of forces; a fit repeats itself: {repeated}"
        )


def _steps(options, train, test):
    """Time of a training step, with operations started one by one and recorded."""
    from skatom.models._torch.networks import recorded

    n_batches = -(-len(train[0]) // options.batch_size)
    rows = []
    kept = recorded._LAYOUTS
    for name, layouts in (("one by one", 0), ("recorded", kept)):
        if name == "recorded" and options.device == "cpu":
            continue
        recorded._LAYOUTS = layouts
        steps = 300 if options.device == "cuda" else 60
        times = []
        for n_iter in (max(1, steps // (4 * n_batches)), max(2, steps // n_batches)):
            model = _model(options, max_iter=n_iter, validation_fraction=0)
            seconds, _ = timed(partial(model.fit, *train))
            times.append((seconds, n_iter * n_batches))
        (short, few), (long, many) = times
        rows.append([name, f"{1e3 * (long - short) / (many - few):.2f}"])
    recorded._LAYOUTS = kept
    table("training step with forces, ms", ["operations", "time"], rows)


def _prediction(options, train, test):
    """Time of predictions with forces."""
    model = _model(options, max_iter=1).fit(train[0][:100], train[1][:100])
    rows = []
    for n in (1, 100, len(test[0])):
        some = test[0][:n]

        def work(some=some):
            return model.predict(some, return_forces=True)

        times = repeated_within(work, 2, 5, 200)
        rows.append([str(n), f"{1e3 * min(times):.2f}", f"{n / min(times):.0f}"])
    table("prediction with forces", ["frames", "ms", "frames/s"], rows)


def _training(options, train, test):
    """Errors after a training of so many seconds."""
    model = _model(options, **_limit(options))
    seconds, model = timed(partial(model.fit, *train))
    history = model.history_
    for k in np.unique(np.linspace(0, len(history["step"]) - 1, 8).astype(int)):
        print("  " + ", ".join(f"{name} {values[k]:.5g}" for name, values in history.items()))
    energy, forces = _errors(model, test)
    published = PUBLISHED[options.network][options.molecule.removeprefix("revised_")]
    rows = [
        ["skatom", f"{energy:.3f}", f"{forces:.3f}", f"{seconds:.0f} s"],
        ["published", f"{published[0]}", f"{published[1]}", ""],
    ]
    table(
        f"mean absolute errors, {len(test[0])} frames, kcal/mol and kcal/mol/Å",
        ["", "energy", "forces", "training"], rows,
    )  # fmt: skip


def _interactions(options, train, test):
    """One interaction and three; energies alone."""
    alone = Targets(energy=train[1].energy, offsets=train[1].offsets)
    rows = []
    for name, n, labels in (
        ("one interaction", 1, train[1]),
        ("three", 3, train[1]),
        ("three, energies alone", 3, alone),
    ):
        model = _model(options, n_interactions=n, **_limit(options))
        seconds, model = timed(partial(model.fit, train[0], labels))
        energy, forces = _errors(model, test)
        rows.append([
            name, f"{energy:.3f}", f"{forces:.3f}", str(model.history_["step"][-1]),
            f"{seconds:.0f} s",
        ])  # fmt: skip
    for name, published in (("one", PUBLISHED_BY_ONE), ("three", PUBLISHED["schnet"])):
        if options.molecule in published and options.network == "schnet":
            rows.append([f"published, {name}", *map(str, published[options.molecule]), "", ""])
    table(
        f"mean absolute errors, {len(test[0])} frames, kcal/mol and kcal/mol/Å",
        ["", "energy", "forces", "steps", "training"], rows,
    )  # fmt: skip


def _limit(options):
    """The parameters that end a training."""
    if options.iterations:
        return {"max_iter": options.iterations}
    return {"max_iter": 10**6, "max_time": options.seconds}


def _errors(model, test):
    """Mean absolute errors in kcal/mol and kcal/mol/Å."""
    found = predict(model, test[0], {"energy", "forces"})
    return tuple(
        KCAL * np.abs(found[name] - getattr(test[1], name)).mean() for name in ("energy", "forces")
    )
