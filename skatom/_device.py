"""Where arrays are worked on: numpy, or torch on the CPU or on a card.

``device="cpu" | "cuda" | "auto" | "torch"`` is a parameter of estimators. `resolve` turns it into a
`Device`, or into None for numpy and the compiled loops; torch is imported only then. Fitted models
hold numpy arrays, so that they are saved, loaded and used on any device.
"""

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils._param_validation import StrOptions

from skatom._numba import is_installed, numba
from skatom.memory import available_memory, check_memory

# The constraint of a parameter ``device``. "torch" is torch on the CPU.
DEVICES = StrOptions({"cpu", "cuda", "auto", "torch"})
# Fraction of a card's free memory that may be planned for: cuBLAS and fragments take some.
_USABLE = 0.92
# To ask a card takes longer than small work on it; this much is taken without asking.
_SMALL = 2**26


def resolve(device, n_jobs=None):
    """The device that a parameter names.

    Parameters
    ----------
    device : {"cpu", "cuda", "auto", "torch"}
        "cpu": numpy and compiled loops. "cuda": torch on the current card. "auto": the card if
        torch finds one, else "cpu". "torch": torch on the CPU.
    n_jobs : int, default=None
        The parameter ``n_jobs`` of the estimator, if it has one.

    Returns
    -------
    Device or None
        None stands for numpy.

    Raises
    ------
    ImportError
        If torch is needed and not installed.
    ValueError
        If there is no card, torch was built without CUDA, or "cuda" meets ``n_jobs`` above 1.
    """
    if device == "cpu":
        return None
    several_jobs = n_jobs is not None and effective_n_jobs(n_jobs) > 1
    if device == "auto":
        return None if several_jobs or not _has_card() else _card()
    if device == "torch":
        _import_torch(device)
        return _device("cpu")
    if several_jobs:
        raise ValueError(
            f"device='cuda' with n_jobs={n_jobs} would open the card once in every job: use "
            "n_jobs=None, since one process keeps the card busy, or device='cpu'"
        )
    return _card()


def resolve_torch(device, what):
    """The device of work that is torch's everywhere: "cpu" and "torch" are both torch on the CPU.

    Parameters
    ----------
    device : {"cpu", "cuda", "auto", "torch"}
    what : str
        What works there, for the message.

    Returns
    -------
    Device

    Raises
    ------
    ImportError
        If torch is not installed.
    ValueError
        If there is no card, or torch was built without CUDA.
    """
    try:
        import_module("torch")
    except ImportError as error:
        raise ImportError(
            f"{what} needs torch, which is not installed: pip install 'skatom[torch]'"
        ) from error
    _keep_threads_of_torch()
    return resolve(device) or _device("cpu")


@cache
def _keep_threads_of_torch():
    """Give torch back the number of its threads on the CPU, which numba changes.

    Where both share a library of OpenMP, numba sets the number once, as it starts its own threads.
    Torch's would then be more than OMP_NUM_THREADS says, and wait for each other on a busy machine.
    """
    torch = import_module("torch")
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    own = int(given) if given.isdecimal() and int(given) else torch.get_num_threads()
    if is_installed():
        numba.get_num_threads()  # which starts numba's
    torch.set_num_threads(own)


def is_tensor(array):
    """Whether an array is a torch tensor; torch is not imported for the answer."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def namespace(array):
    """numpy, or torch for a torch tensor, for code that calls what both have."""
    return sys.modules["torch"] if is_tensor(array) else np


def device_of(tensor):
    """The `Device` on which a tensor is, None for a numpy array."""
    return _device(str(tensor.device)) if is_tensor(tensor) else None


def device_parameter(tensor):
    """The parameter ``device`` that names the place of a tensor, "cpu" for a numpy array."""
    device = device_of(tensor)
    if device is None:
        return "cpu"
    return "cuda" if device.is_card else "torch"


def beside(array, other):
    """An array where another one is: copied to the device of a tensor, unless it is a tensor."""
    device = device_of(other)
    return array if device is None or is_tensor(array) else device.tensor(array)


def on_host(array):
    """A tensor as a numpy array; a numpy array unchanged."""
    return device_of(array).array(array) if is_tensor(array) else array


def moved(array, device):
    """An array or a tensor on a `Device`, or as a numpy array where it is None."""
    if device_of(array) is device:
        return array
    return on_host(array) if device is None else device.tensor(on_host(array))


def check_together(array, other, name):
    """Raise a TypeError if one of two arrays is a tensor and the other is not, or is elsewhere.

    Parameters
    ----------
    array : array-like or Tensor
        What is checked.
    other : ndarray or Tensor
        What it meets.
    name : str
        Name of the array, for the message.
    """
    first, second = device_of(array), device_of(other)
    if first is not second:
        places = [
            "an array of numpy" if d is None else f"a tensor on {d.title}" for d in (first, second)
        ]
        raise TypeError(
            f"{name} is {places[0]} and meets {places[1]}: bring it there, by torch.as_tensor or "
            "by .cpu().numpy(), or make both with the same device"
        )


def check_is_array(features, what, instead):
    """Raise a ValueError if features are on a device and what takes them is not.

    Parameters
    ----------
    features : AtomicFeatures or StructureFeatures
    what : str
        What takes arrays of numpy only: "solver='cg' of ForceKernelRidge".
    instead : str
        What takes tensors, with its verb: "solver='cholesky' is".
    """
    device = device_of(features.values)
    if device is not None:
        raise ValueError(
            f"{what} is not on a device yet, and the features are on {device.title}: {instead}, "
            "or make the features with device='cpu'"
        )


@dataclass(frozen=True)
class Device:
    """torch on the CPU or on one card.

    Parameters
    ----------
    name : str
        torch's name of the device: "cpu", "cuda:0".
    """

    name: str

    def __reduce__(self):  # a module, which is kept here, has no pickle
        return _device, (self.name,)

    @cached_property
    def torch(self):
        """The module torch."""
        return import_module("torch")

    @property
    def is_card(self):
        return self.name != "cpu"

    @cached_property
    def title(self):
        """Name for messages and reports: "NVIDIA H100 80GB HBM3", "torch on the CPU"."""
        return self.torch.cuda.get_device_name(self.name) if self.is_card else "torch on the CPU"

    def tensor(self, array):
        """A copy of an array on this device: float64, int64 or bool."""
        array = np.asarray(array)
        if array.dtype != bool:
            array = array.astype(_dtype(array), copy=False)
        if self.is_card and array.flags.c_contiguous and array.flags.writeable:
            return self.torch.from_numpy(array).to(self.name)  # without a copy on the host
        return self.torch.tensor(array, device=self.name)

    def empty(self, *shape):
        """An uninitialised float64 tensor."""
        return self.torch.empty(shape, dtype=self.torch.float64, device=self.name)

    def zeros(self, *shape):
        """A float64 tensor of zeros."""
        return self.torch.zeros(shape, dtype=self.torch.float64, device=self.name)

    def array(self, tensor):
        """A tensor as a numpy array; on the CPU both share their memory."""
        return tensor.detach().cpu().numpy()

    def synchronize(self):
        """Wait until all work is done, as timings need it."""
        if self.is_card:
            self.torch.cuda.synchronize(self.name)

    def free_memory(self):
        """Bytes that may still be allocated, those that torch keeps for reuse included."""
        if not self.is_card:
            return available_memory()
        cuda = self.torch.cuda
        kept = cuda.memory_reserved(self.name) - cuda.memory_allocated(self.name)
        return _USABLE * (cuda.mem_get_info(self.name)[0] + kept)

    def check_memory(self, n_bytes, what, remedy, max_memory=None):
        """Raise MemoryError if an allocation would not fit, as `skatom.memory.check_memory` does.

        Parameters
        ----------
        n_bytes : float
            Size of the allocation.
        what, remedy : str
            What is allocated, and how to make it smaller, for the message.
        max_memory : float, default=None
            The limit in GiB. None: what is free on the device.
        """
        if max_memory is not None or not self.is_card:
            check_memory(n_bytes, what, remedy, max_memory)
        elif n_bytes > _SMALL and n_bytes > self.free_memory():
            raise MemoryError(self._no_room(n_bytes, what, remedy))

    @contextmanager
    def room_for(self, n_bytes, what, remedy):
        """A context in which torch's error of a full card becomes a MemoryError with a remedy."""
        try:
            yield
        except self.torch.cuda.OutOfMemoryError as error:
            self.torch.cuda.empty_cache()
            raise MemoryError(self._no_room(n_bytes, what, remedy)) from error

    def _no_room(self, n_bytes, what, remedy):
        free = self.free_memory() / 2**30
        return (
            f"{what} needs {n_bytes / 2**30:.3g} GiB and {free:.3g} GiB are free on "
            f"{self.title}: {remedy}"
        )


def _dtype(array):
    return np.int64 if np.issubdtype(array.dtype, np.integer) else np.float64


def _import_torch(device):
    try:
        return import_module("torch")
    except ImportError as error:
        raise ImportError(
            f"device={device!r} needs torch, which is not installed: pip install 'skatom[torch]', "
            "or use device='cpu'"
        ) from error


def _has_card():
    try:
        return import_module("torch").cuda.is_available()
    except ImportError:
        return False


def _card():
    torch = _import_torch("cuda")
    if not torch.backends.cuda.is_built():
        raise ValueError(
            f"device='cuda' needs torch with CUDA, and torch {torch.__version__} was built without "
            "it: install a build with CUDA, or use device='cpu' or 'torch'"
        )
    if not torch.cuda.is_available():
        raise ValueError(
            "device='cuda' needs a card, and torch finds none: see nvidia-smi and "
            "CUDA_VISIBLE_DEVICES, or use device='cpu' or 'auto'"
        )
    return _device(f"cuda:{torch.cuda.current_device()}")


@cache
def _device(name):
    return Device(name)
