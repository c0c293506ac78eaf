"""Random features of FCHL19 on revised MD17: error against features, beside the kernel and a peer.

    python -m benchmarks random_features curve               errors, time and memory (an hour)
    python -m benchmarks random_features peer                beside kernelforge's LocalRFFModel
    python -m benchmarks random_features card                the same fits on a card (90 s)
    python -m benchmarks random_features card --small        with torch on the CPU, small

All need the data in SKATOM_DATA. Seconds of processors are summed over threads: other programs
disturb them less. The peer learns from the same frames with features of its own FCHL19, with one
harmonic of the angle; ours have two.
"""

import json
import tempfile
import time

from benchmarks.harness import own, peer_python, peer_script, run_worker, table
from benchmarks.linear._random_feature_fit import (
    errors,
    kernel_worker,
    load,
    random_feature_model,
    random_feature_worker,
    write_arrays,
)
from skatom._device import resolve

PEER = "descriptors"
_CURVE = {"ethanol": (750, 1500, 3000, 6000), "aspirin": (1500, 3000, 6000)}
# molecule, numbers of features; they are tried in this order while time is left
_CARD = [("ethanol", (6000, 12000, 24000)), ("aspirin", (6000, 12000, 24000, 40000))]
_SECONDS = 90.0
_HEADER = ["molecule", "features", "meV", "meV/Å", "seconds", "processor/s", "GiB"]


def add_arguments(parser):
    parser.add_argument("what", choices=["curve", "peer", "card"])
    parser.add_argument("--molecules", nargs="+", default=[*_CURVE], choices=[*_CURVE])
    parser.add_argument("--features", nargs="+", type=int, help="numbers of random features")
    parser.add_argument("--frames", type=int, default=1000, help="training frames (default: 1000)")
    parser.add_argument("--test", type=int, default=500, help="test frames (default: 500)")
    parser.add_argument("--kernel", action="store_true", help="curve: fit the kernel, too")
    parser.add_argument("--small", action="store_true", help="card: torch on the CPU, small sizes")


def run(options):
    {"curve": curve, "peer": peer, "card": card}[options.what](options)


def _task(options, molecule, features=0, method="orthogonal"):
    return {
        "molecule": molecule, "frames": options.frames, "test": options.test,
        "features": features, "method": method, "device": "cpu",
    }  # fmt: skip


def _row(molecule, label, found):
    figures = (found[name] for name in ("energy", "forces", "seconds", "cpu", "gib"))
    return [molecule, label, *(f"{figure:.3g}" for figure in figures)]


def curve(options):
    for molecule in options.molecules:
        rows = []
        for features in options.features or _CURVE[molecule]:
            task = _task(options, molecule, features)
            found = run_worker(own(random_feature_worker, task), options.threads)
            rows.append(_row(molecule, str(features), found))
            print(*rows[-1], flush=True)
        if options.kernel:
            found = run_worker(own(kernel_worker, _task(options, molecule)), options.threads)
            rows.append(_row(molecule, "kernel", found))
        table(f"{options.frames} frames, {options.threads} threads", _HEADER, rows)


def peer(options):
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for molecule in options.molecules:
            arrays = write_arrays(folder, molecule, options.frames, options.test)
            for features in options.features or (2000,):
                command = peer_python(PEER), peer_script("random_features.py"), json.dumps(
                    {"arrays": arrays, "features": features}
                )  # fmt: skip
                theirs = run_worker(command, options.threads)
                task = _task(options, molecule, features)
                ours = run_worker(own(random_feature_worker, task), options.threads)
                rows += [
                    _row(molecule, f"kernelforge {features}", theirs),
                    _row(molecule, f"skatom {features}", ours),
                    [
                        molecule, "ratio", "", "", f"{theirs['seconds'] / ours['seconds']:.2f}",
                        f"{theirs['cpu'] / ours['cpu']:.2f}", f"{theirs['gib'] / ours['gib']:.2f}",
                    ],
                ]  # fmt: skip
    table(f"{options.frames} frames, {options.threads} threads", _HEADER, rows)


def card(options):
    begin, name = time.perf_counter(), "torch" if options.small else "cuda"
    device = resolve(name)
    print(device.title, flush=True)
    rows = []
    for molecule, sizes in _CARD:
        if molecule not in options.molecules:
            continue
        n, n_test = (100, 20) if options.small else (options.frames, options.test)
        (X, y), test = load(molecule, "train", n), load(molecule, "test", n_test)
        random_feature_model(64, "orthogonal", name, 4).fit(X[:4], y[:4])  # compiles
        for features in options.features or ((300, 600) if options.small else sizes):
            if time.perf_counter() - begin > _SECONDS:
                print(f"{_SECONDS:.0f} s have passed: no fit of {features} features", flush=True)
                break
            rows.append(_row(molecule, str(features), _on_card(features, name, X, y, test)))
            print(*rows[-1], flush=True)
    table(f"On {device.title}", _HEADER, rows)


def _on_card(features, name, X, y, test):
    """Errors, time and memory of a fit in this process, and of its prediction."""
    device = resolve(name)
    if device.is_card:
        device.torch.cuda.empty_cache()
        device.torch.cuda.reset_peak_memory_stats()
    begin, cpu = time.perf_counter(), time.process_time()
    model = random_feature_model(features, "orthogonal", name).fit(X, y)
    device.synchronize()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    peak = device.torch.cuda.max_memory_allocated() / 2**30 if device.is_card else float("nan")
    return {"seconds": seconds, "cpu": cpu, "gib": peak, **errors(model, *test)}
