"""Memory as Linux accounts for it, and what comes back when a model is dropped."""

import ctypes
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from activesam_ros.benchmarks.inputs import ensure_random_model
from activesam_ros.system.memory import (
    DeviceMemory,
    device_memory,
    is_out_of_memory,
    memory,
    release_memory,
    trim_heap,
)


def test_fields(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t    3072 kB\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\n")
    found = memory(status)
    assert (found.resident, found.anonymous, found.peak) == (2 << 20, 1 << 20, 3 << 20)


def test_what_is_written_to_is_resident():
    before = memory()
    block = np.ones(64 << 20, np.uint8)
    after = memory()
    assert after.resident - before.resident > block.nbytes // 2
    assert after.resident <= after.peak


def test_pages_that_are_free_between_what_stays_go_back_to_the_system():
    blocks = [bytes([1]) * 3_000 for _ in range(20_000)]
    blocks[:] = blocks[::50] + blocks[-1:]
    before = memory()
    trim_heap()
    assert before.anonymous - memory().anonymous > 30_000_000


def test_another_system(tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\n")
    with pytest.raises(KeyError):
        memory(tmp_path / "status")


@pytest.fixture(scope="module")
def larger_model(toytown_folder, tmp_path_factory):
    """The demo model with random weights and a table of words that weighs."""
    from transformers import Sam3Config

    config = Sam3Config.from_dict(json.loads((toytown_folder / "config.json").read_text()))
    config.text_config.vocab_size = 600_000
    return ensure_random_model(tmp_path_factory.mktemp("larger") / "model", config)


def load_and_drop(folder: str, rounds: int) -> tuple[int, list[tuple[int, int]]]:
    """Bytes of a model's parameters, and for each round the anonymous memory with it and after it."""
    from activesam_ros.segmenter import ActiveSegmenter
    from activesam_ros.vocabulary import Vocabulary

    rgb = np.zeros((120, 160, 3), np.uint8)
    found = []
    for _ in range(rounds):
        segmenter = ActiveSegmenter.from_pretrained(folder, "cpu", text_encoder="keep", prompt_cache=None)
        segmenter.set_vocabulary(Vocabulary.from_names(["road", "sky"]))
        segmenter.segment(rgb)
        parts = (segmenter._checkpoint.model, segmenter._text._network)
        size = sum(weight.numel() * weight.element_size() for part in parts for weight in part.parameters())
        loaded = memory().anonymous
        del segmenter, parts
        release_memory()
        found.append((loaded, memory().anonymous))
    return size, found


def test_a_dropped_segmenter_gives_its_memory_back(larger_model):
    command = [sys.executable, __file__, str(larger_model), "3"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    size, found = json.loads(done.stdout)
    assert size > 100 << 20
    for loaded, dropped in found:
        assert loaded - dropped > 0.9 * size
    # The first round also pays for what libraries set up once.
    assert found[-1][1] - found[0][1] < 0.2 * size


def test_releasing_loads_no_torch():
    code = "import activesam_ros.system.memory as m, sys; m.release_memory(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "False"


HEAPS = """
import ctypes, sys, threading
from activesam_ros.system.memory import share_one_heap

share_one_heap()
libc, together = ctypes.CDLL(None), threading.Barrier(4)
libc.malloc.restype, libc.malloc_info.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
threads = [threading.Thread(target=lambda: (libc.malloc(100), together.wait())) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
@pytest.mark.parametrize(("chosen", "heaps"), [({}, 1), ({"MALLOC_ARENA_MAX": "2"}, 2)])
def test_threads_share_one_heap_unless_the_user_chose_otherwise(chosen, heaps):
    environment = {key: value for key, value in os.environ.items() if key != "MALLOC_ARENA_MAX"}
    command = [sys.executable, "-c", HEAPS]
    done = subprocess.run(command, env=environment | chosen, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.count("<heap nr=") == heaps


def test_memory_of_a_gpu(monkeypatch):
    assert device_memory(torch.device("cpu")) is None
    # There may be no GPU here, so what torch would say of one is put in its place.
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 1)
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 2)
    properties = type("Properties", (), {"total_memory": 3})()
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: properties)
    assert device_memory(torch.device("cuda:0")) == DeviceMemory(allocated=1, reserved=2, total=3)


def test_the_gpu_cache_is_emptied_only_where_a_gpu_is_used(monkeypatch):
    emptied = []
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: emptied.append(True))
    for used in (False, True):
        monkeypatch.setattr("torch.cuda.is_initialized", lambda used=used: used)
        release_memory()
    assert emptied == [True]


def test_what_the_allocators_say():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert is_out_of_memory(caught.value)
    with pytest.raises(MemoryError) as caught:
        bytearray(1 << 60)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


if __name__ == "__main__":
    # A process of its own, which has nothing else to give back.
    print(json.dumps(load_and_drop(sys.argv[1], int(sys.argv[2]))))
