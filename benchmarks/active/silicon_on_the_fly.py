"""Learning on the fly of silicon: labels beside fixed intervals, force errors, killed processes.

    python -m benchmarks silicon_on_the_fly                     20 ps, ten kills
    python -m benchmarks silicon_on_the_fly --picoseconds 2     a shorter one

Dynamics of 64 atoms at constant volume: a crystal at 1000 K, its melting at 5000 K, the liquid at
3000 K, for 40, 20 and 40 % of the time. The reference is ASE's Tersoff potential. The model is a
linear potential of moment tensors, which begins with the same few labels in all runs, and learns
where the grade of an atom exceeds a threshold, or after fixed numbers of steps whatever the
structure.

Forces are compared with the reference for frames of one more run on the fly, with other random
numbers ("error"), and for the frames of each run, with the forces that moved its atoms ("own", and
the largest). A frame is unphysical if two atoms are closer than 1.7 Å; a run that cannot go on is
said to have ended, as most of those of fixed intervals do in the melting. In the last part a
process is killed at random moments and begun again with the same folder.
"""

import random
import signal
import subprocess
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator

from benchmarks.harness import own, run_process, table

STAGES = ((1000, 0.4), (5000, 0.2), (3000, 0.4))  # temperature in K, share of the time
# Tersoff's potential is switched off between 2.7 and 3.0 Å: functions of a longer cutoff know less.
LEVEL, CUTOFF, ALPHA = 16, 3.05, 1e-8
TIMESTEP, INTERVAL, CLOSEST = 2.0, 50, 1.7
ASKED, BEGUN, INITIAL = "asked.txt", "begun", 5
PAUSE = 0.3  # seconds a picosecond, the longest until a process is killed


class EveryFew(BaseEstimator):
    """Calls a structure new a fixed number of steps after the last one."""

    def __init__(self, interval):
        self.interval = interval

    def fit(self, X, y=None):
        self.n_ = 0
        return self

    partial_fit = fit

    def score(self, X):
        self.n_ += 1
        return np.array([np.inf if self.n_ > self.interval else 0.0])


def reference(folder):
    """Tersoff's potential of silicon, Phys. Rev. B 38, 9902 (1988), which counts its seconds.

    Each structure that it is asked for is written to a file of the folder before and after.
    """
    from ase.calculators.tersoff import Tersoff, TersoffParameters

    class Logged(Tersoff):
        seconds = 0.0

        def calculate(self, atoms=None, properties=("energy",), system_changes=()):
            begin, key = time.process_time(), atoms.positions.tobytes().hex()[:64]
            with (Path(folder) / ASKED).open("a") as file:
                file.write(f"asked {key}\n")
                file.flush()
                super().calculate(atoms, properties, system_changes)
                file.write(f"known {key}\n")
            self.seconds += time.process_time() - begin

    silicon = TersoffParameters(
        A=1830.8, B=471.18, lambda1=2.4799, lambda2=1.7322, lambda3=0.0, beta=1.1e-6, gamma=1.0,
        m=3, n=0.78734, c=100390.0, d=16.217, h=-0.59825, R=2.85, D=0.15,
    )  # fmt: skip
    return Logged({("Si", "Si", "Si"): silicon})


def crystal(amplitude, seed):
    from ase.build import bulk

    atoms = bulk("Si", "diamond", a=5.432, cubic=True) * 2
    atoms.rattle(amplitude, seed=seed)
    return atoms


def learner(folder, way):
    """The calculator, which learns above a "grade" or "every" few steps, and its reference."""
    from sklearn.pipeline import make_pipeline

    from skatom.active import LearningOnTheFly
    from skatom.descriptors import MomentTensor
    from skatom.models import LinearPotential
    from skatom.selection import MaxVol

    tensors, known = MomentTensor(cutoff=CUTOFF, level=LEVEL), reference(folder)
    kind, number = way.split()
    measure = MaxVol(tensors, rows="atom") if kind == "grade" else EveryFew(int(number))
    calculator = LearningOnTheFly(
        make_pipeline(tensors, LinearPotential(alpha=ALPHA)), known, measure, folder=folder,
        threshold=float(number) if kind == "grade" else 0.0, update="partial_fit",
        initial=[crystal(0.02 * (k + 1), k) for k in range(INITIAL)],
    )  # fmt: skip
    return calculator, known


def simulate(calculator, folder, picoseconds, seed):
    """Why the dynamics ended before their time; None if they did not."""
    from skatom.simulation import molecular_dynamics

    atoms = crystal(0.02, 0)
    for stage, (temperature, share) in enumerate(STAGES):
        try:
            found = molecular_dynamics(
                calculator, atoms, round(1000 * picoseconds * share / TIMESTEP),
                timestep=TIMESTEP, ensemble="nvt", temperature=temperature,
                seed=10 * seed + stage, interval=INTERVAL,
                trajectory=Path(folder) / f"{stage}.traj", resume=True,
            )  # fmt: skip
        except (ValueError, RuntimeError, MemoryError) as error:
            return f"{temperature} K: {error}"
        atoms = found.atoms
    return None


def frames_of(folder):
    """The frames of all stages."""
    from ase.io import read

    return [frame for k in range(len(STAGES)) for frame in _frames(read, Path(folder), k)]


def _frames(read, folder, stage):
    file = folder / f"{stage}.traj"
    return read(file, ":") if file.exists() else []


def follow(folder, picoseconds, seed, way):
    """One run: its labels and seconds, and what became of its frames."""
    import skatom.active  # noqa: F401

    warnings.simplefilter("ignore")
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / BEGUN).touch()
    calculator, known = learner(folder, way)
    begin, known.seconds = time.process_time(), 0.0
    ended = simulate(calculator, folder, picoseconds, seed)
    seconds = time.process_time() - begin
    frames = frames_of(folder)
    closest = min(_closest(frame) for frame in frames)
    unphysical = sum(_closest(frame) < CLOSEST for frame in frames)
    return {
        "folder": folder, "labels": len(calculator.frames_), "calls": calculator.n_calls_,
        "seconds": seconds, "reference": known.seconds, "ended": ended, "closest": closest,
        "unphysical": unphysical, "frames": len(frames),
    }  # fmt: skip


def _closest(frame):
    distances = frame.get_all_distances(mic=True)
    return float(distances[np.triu_indices(len(frame), 1)].min())


def errors(folder, test_folder, way, few):
    """RMSE of forces of frames of another run, and RMSE and largest error of its own forces."""
    import skatom

    warnings.simplefilter("ignore")
    calculator, known = learner(folder, way)
    off = {}
    for name, place in (("test", test_folder), ("own", folder)):
        frames = [frame for frame in frames_of(place)[::few] if _closest(frame) > CLOSEST]
        structures = skatom.Structures.from_ase(frames)
        true = np.concatenate([known.get_forces(frame.copy()) for frame in frames])
        predicted = calculator.model_.predict(structures, return_forces=True)[1]
        used = np.concatenate([frame.get_forces() for frame in frames])
        off[name] = (predicted if name == "test" else used) - true
    return {
        "test": float(np.sqrt(np.mean(off["test"] ** 2))),
        "own": float(np.sqrt(np.mean(off["own"] ** 2))),
        "largest": float(np.abs(off["own"]).max()),
        "scale": float(np.sqrt(np.mean(true**2))),
    }


def survive(folder, picoseconds, kills, seed, way):
    """What is left of a run whose process was killed at random moments and begun again."""
    rng = random.Random(seed)
    Path(folder).mkdir(parents=True)
    command = [str(part) for part in own(follow, folder, picoseconds, seed, way)]
    done, begun = 0, Path(folder) / BEGUN
    while done < kills:
        begun.unlink(missing_ok=True)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not begun.exists():
            time.sleep(0.02)
        try:
            process.wait(rng.uniform(0, PAUSE * picoseconds))
            break  # it came to its end
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
    found = run_process(command, 1)
    lines = (Path(folder) / ASKED).read_text().split()
    known = Counter(
        key for word, key in zip(lines[::2], lines[1::2], strict=True) if word == "known"
    )
    asked = lines[::2].count("asked")
    return {
        "kills": done, "labels": found["labels"], "asked": asked, "ended": found["ended"],
        "twice": sum(count - 1 for count in known.values()), "unphysical": found["unphysical"],
    }  # fmt: skip


def add_arguments(parser):
    parser.add_argument("--picoseconds", type=float, default=20.0, help="of a run (default: 20)")
    parser.add_argument("--grades", default="2,10", help="thresholds on the fly, the first of all")
    parser.add_argument("--intervals", default="30,100,300,1000", help="steps between labels")
    parser.add_argument("--kills", type=int, default=10, help="of the last part (default: 10)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (default: 1)")
    parser.add_argument(
        "--few", type=int, default=4, help="each of how many frames is compared (default: 4)"
    )


def run(options):
    first, *rest = (f"grade {part}" for part in options.grades.split(","))
    ways = [first, *rest, *(f"every {part}" for part in options.intervals.split(",") if part)]
    length, few = options.picoseconds, options.few
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(options.jobs) as pool:

        def submit(function, *arguments):
            return pool.submit(run_process, own(function, *arguments), 1)

        test = submit(follow, f"{place}/test", length, 1, first)
        runs = {way: submit(follow, f"{place}/{way}", length, 0, way) for way in ways}
        killed = options.kills and pool.submit(
            survive, f"{place}/killed", length, options.kills, 0, first
        )
        print(f"other random numbers: {test.result()['labels']} labels", flush=True)
        off = {}
        for way, found in runs.items():
            print(f"{way}: {found.result()['labels']} labels", flush=True)
            if not found.result()["ended"]:
                off[way] = submit(errors, f"{place}/{way}", f"{place}/test", way, few)
        rows = []
        for way, found in runs.items():
            rows.append(_row(way, found.result(), off[way].result() if way in off else None))
            print(" ".join(rows[-1]), flush=True)
        header = [
            "labelled", "labels", "ps", "error", "own", "largest", "closest", "unphysical",
            "ms/step", "of these Tersoff",
        ]  # fmt: skip
        table("silicon, forces in eV/Å, distances in Å, time of the processor", header, rows)
        if first in off:
            print(f"  forces of the reference: {off[first].result()['scale']:.2f} eV/Å")
        for way, found in runs.items():
            if found.result()["ended"]:
                print(f"  {way} ended: {found.result()['ended']}")
        if killed:
            found = killed.result()
            print(
                f"  killed {found['kills']} times: {found['asked']} calls of the reference for "
                f"{found['labels']} labels, {found['twice']} labelled twice, {found['unphysical']} "
                f"frames unphysical, ended: {found['ended'] or 'after its time'}"
            )


def _row(way, found, off):
    steps = max(found["calls"], 1)
    sizes = (f"{off[key]:.3f}" if off else "" for key in ("test", "own", "largest"))
    return [
        way, str(found["labels"]), f"{found['calls'] * TIMESTEP / 1000:.1f}", *sizes,
        f"{found['closest']:.2f}", f"{found['unphysical']} of {found['frames']}",
        f"{1e3 * found['seconds'] / steps:.1f}", f"{1e3 * found['reference'] / steps:.1f}",
    ]  # fmt: skip
