"""What the tasks of the benchmark `gpu` share."""

import time
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from benchmarks.harness import DATA
from skatom._device import Device, resolve
from skatom.datasets import read


class Unequal(Exception):
    """Numbers of the card and of the CPU differ by more than they may."""


@dataclass
class Bench:
    """The device of a run, its data, and what is printed.

    ``name`` is the value of estimators' parameter ``device``; with ``small``, sizes are for a CPU.
    """

    name: str
    small: bool
    _loaded: dict = field(default_factory=dict)

    @classmethod
    def find(cls, torch_on_cpu):
        found = None if torch_on_cpu else resolve("auto")
        return cls("torch", True) if found is None else cls("cuda", False)

    @cached_property
    def device(self) -> Device:
        return resolve(self.name)

    @property
    def torch(self):
        return self.device.torch

    def describe(self):
        told = f"{self.device.title}, torch {self.torch.__version__}"
        return f"no card is used: {told}, small sizes" if self.small else told

    def clean(self):
        """Give back what torch keeps of the card's memory."""
        if self.device.is_card:
            self.torch.cuda.empty_cache()
            self.torch.cuda.reset_peak_memory_stats()

    def peak_gib(self):
        if not self.device.is_card:
            return float("nan")
        return self.torch.cuda.max_memory_allocated() / 2**30

    def data(self, name):
        """Structures and targets of a file of the reference data."""
        if name not in self._loaded:
            paths = [DATA / f"{name}.npz", DATA / "molecules" / f"{name}.npz"]
            path = next((path for path in paths if path.exists()), None)
            if path is None:
                raise FileNotFoundError(f"no {name}.npz in {DATA}: set SKATOM_DATA")
            data = read(path)
            self._loaded[name] = data.structures, data.targets
        return self._loaded[name]

    def seconds(self, function, repeats=3):
        """The shortest time of some calls after one that is not counted, and what they gave."""
        found, times = function(), []
        for _ in range(repeats):
            self.device.synchronize()
            begin = time.perf_counter()
            found = function()
            self.device.synchronize()
            times.append(time.perf_counter() - begin)
        return min(times), found

    def once(self, function):
        """The time of one call, and what it gave."""
        self.device.synchronize()
        begin = time.perf_counter()
        found = function()
        self.device.synchronize()
        return time.perf_counter() - begin, found

    def stages(self, label, function, places):
        """Print the time of one call, and of the functions in it that have names.

        ``places`` are (label, owner, name of the attribute); stages may be parts of others. The
        card is waited for after each, so that their sum is more than a call takes otherwise.
        """
        found = {told: [0, 0.0] for told, _, _ in places}
        before = [(owner, name, getattr(owner, name)) for _, owner, name in places]
        for (told, _, _), (owner, name, plain) in zip(places, before, strict=True):
            setattr(owner, name, self._timed(plain, found[told]))
        try:
            total, _ = self.once(function)
        finally:
            for owner, name, plain in before:
                setattr(owner, name, plain)
        self.say(f"{label}: with waits", 1000 * total, "ms")
        for told, (calls, seconds) in found.items():
            if calls:
                self.say(f"    {told}, {calls} calls", 1000 * seconds, "ms")

    def kernels(self, label, function, most=12):
        """Print the kernels of one call that take most of the card's time."""
        if not self.device.is_card:
            return
        profiler = self.torch.profiler
        try:
            with profiler.profile(activities=[profiler.ProfilerActivity.CUDA]) as profile:
                function()
                self.device.synchronize()
        except RuntimeError as error:  # the driver does not let the kernels be observed
            print(f"  {label}: no profile, {error}", flush=True)
            return
        found = [event for event in profile.key_averages() if event.self_device_time_total > 0]
        total = sum(event.self_device_time_total for event in found)
        self.say(f"{label}: on the card, {sum(e.count for e in found)} kernels", total / 1e3, "ms")
        for event in sorted(found, key=lambda e: -e.self_device_time_total)[:most]:
            told = f"    {event.key.split('(')[0][-40:]}, {event.count} calls"
            self.say(told, event.self_device_time_total / 1e3, "ms")

    def _timed(self, function, found):
        def timed(*arguments, **keywords):
            seconds, value = self.once(lambda: function(*arguments, **keywords))
            found[0] += 1
            found[1] += seconds
            return value

        return timed

    def say(self, label, figure, unit="", **ratios):
        """Print a figure and its ratios: to the CPU, to an aim."""
        told = "".join(f"{name} {ratio:.4g}  " for name, ratio in ratios.items())
        card = "" if self.small else f"  [{self.device.title}]"
        print(f"  {label:52s}{figure:12.4g} {unit:16s}{told}{card}", flush=True)

    def check(self, label, one, other, tolerance, scale=None):
        """Print the largest difference, relative to the largest number or to ``scale``."""
        one, other = np.asarray(one), np.asarray(other)
        found = np.abs(one - other).max() / (scale or np.abs(other).max())
        print(f"  {label:52s}{found:12.1e} of {tolerance:.0e} allowed", flush=True)
        if not found <= tolerance:
            raise Unequal(f"{label}: {found:.2e} is more than {tolerance:.0e}")
