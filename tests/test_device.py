"""The parameter ``device``: what it resolves to, and its errors."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from skatom import _device
from skatom._device import device_of, is_tensor, resolve

GIB = 2**30


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def without_torch(monkeypatch):
    def refuse(name, *arguments, **keywords):
        if name == "torch":
            raise ImportError("no torch")
        return load(name, *arguments, **keywords)

    load = _device.import_module
    monkeypatch.setattr(_device, "import_module", refuse)


@pytest.fixture
def card(monkeypatch):
    """A torch of which 3 GiB of a card's memory are free, and 1 GiB is kept for reuse."""
    cuda = SimpleNamespace(
        is_available=lambda: True,
        current_device=lambda: 1,
        get_device_name=lambda name: f"a card at {name}",
        mem_get_info=lambda name: (3 * GIB, 8 * GIB),
        memory_reserved=lambda name: 2 * GIB,
        memory_allocated=lambda name: GIB,
        empty_cache=lambda: None,
        OutOfMemoryError=type("OutOfMemoryError", (RuntimeError,), {}),
    )
    backends = SimpleNamespace(cuda=SimpleNamespace(is_built=lambda: True))
    fake = SimpleNamespace(cuda=cuda, backends=backends, __version__="0")
    monkeypatch.setattr(_device, "import_module", lambda name: fake)
    _device._device.cache_clear()
    yield fake
    _device._device.cache_clear()


def test_cpu_is_numpy_and_imports_nothing(monkeypatch):
    monkeypatch.setattr(_device, "import_module", None)
    assert resolve("cpu") is None
    assert resolve("cpu", n_jobs=4) is None


def test_auto_without_torch_or_card_is_numpy(without_torch):
    assert resolve("auto") is None


def test_auto_and_cuda_are_the_current_card(card):
    for device in (resolve("auto"), resolve("cuda"), resolve("cuda", n_jobs=1)):
        assert device.is_card
        assert device.name == "cuda:1"
        assert device.title == "a card at cuda:1"


def test_auto_with_jobs_is_numpy(card):
    assert resolve("auto", n_jobs=2) is None


def test_cuda_with_jobs_is_refused(card):
    with pytest.raises(ValueError, match="n_jobs=2 would open the card once in every job"):
        resolve("cuda", n_jobs=2)


@pytest.mark.parametrize("name", ["cuda", "torch"])
def test_torch_is_absent(without_torch, name):
    with pytest.raises(ImportError, match=f"device='{name}' needs torch, which is not installed"):
        resolve(name)


def test_torch_has_no_cuda(card):
    card.backends.cuda.is_built = lambda: False
    with pytest.raises(ValueError, match="torch 0 was built without it: install a build"):
        resolve("cuda")


def test_there_is_no_card(card):
    card.cuda.is_available = lambda: False
    with pytest.raises(ValueError, match="needs a card, and torch finds none"):
        resolve("cuda")


def test_free_memory_counts_what_torch_keeps(card):
    assert resolve("cuda").free_memory() == pytest.approx(0.92 * 4 * GIB)


def test_what_does_not_fit_on_the_card_is_an_error_with_a_remedy(card):
    device = resolve("cuda")
    device.check_memory(3 * GIB, "the matrix", "take less")
    message = "the matrix needs 4 GiB and 3.68 GiB are free on a card at cuda:1: take less"
    with pytest.raises(MemoryError, match=message):
        device.check_memory(4 * GIB, "the matrix", "take less")
    with pytest.raises(MemoryError, match="1 GiB are allowed by max_memory: take less"):
        device.check_memory(2 * GIB, "the matrix", "take less", max_memory=1)
    with (
        pytest.raises(MemoryError, match=message),
        device.room_for(4 * GIB, "the matrix", "take less"),
    ):
        raise card.cuda.OutOfMemoryError


def test_other_errors_pass(card):
    with pytest.raises(RuntimeError, match="something else"), resolve("cuda").room_for(1, "", ""):
        raise RuntimeError("something else")


def test_arrays_become_tensors_of_double_precision_and_back(torch):
    device = resolve("torch")
    for given, expected in [
        (np.arange(3, dtype=np.float32), torch.float64),
        (np.arange(3, dtype=np.int32), torch.int64),
        (np.array([True, False]), torch.bool),
        ([1.0, 2.0], torch.float64),
    ]:
        tensor = device.tensor(given)
        assert tensor.dtype == expected
        np.testing.assert_array_equal(device.array(tensor), given)
    assert device.zeros(2, 3).dtype == device.empty(2, 3).dtype == torch.float64


def test_a_tensor_is_a_copy(torch):
    array = np.zeros(3)
    array.flags.writeable = False
    resolve("torch").tensor(array).fill_(1.0)
    assert not array.any()


def test_devices_of_arrays(torch):
    device = resolve("torch")
    assert is_tensor(device.zeros(1)) and not is_tensor(np.zeros(1))
    assert device_of(device.zeros(1)) is device
    assert device_of(np.zeros(1)) is None


def test_a_device_is_the_same_object_after_pickling(torch):
    device = resolve("torch")
    assert device.torch is torch
    assert pickle.loads(pickle.dumps(device)) is device
