"""Memory of this process and its GPU: how much, whether it ran out, and how to release it."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.errors import OutOfMemoryError

if TYPE_CHECKING:
    import torch

# torch's messages where it raises a bare RuntimeError: its CPU allocator, the CUDA runtime and cuBLAS.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "alloc_failed",
    # All that oneDNN says.
    "could not create a primitive",
    "could not execute a primitive",
)

# The CUDA and HIP runtimes and drivers, where torch raises a bare RuntimeError.
_DEVICE_FAILURE = (
    "cuda error",
    "cuda driver error",
    "hip error",
    "cudnn error",
    "cublas error",
    "no cuda gpus",
)

# Of glibc's malloc.h.
_M_ARENA_MAX = -8


@dataclass(frozen=True)
class Memory:
    """Memory of a process, in bytes.

    Attributes:
        resident: resident memory.
        anonymous: the part of it that the system cannot drop and read again from files.
        peak: highest resident memory so far.
    """

    resident: int
    anonymous: int
    peak: int


@dataclass(frozen=True)
class DeviceMemory:
    """Memory of a GPU, in bytes.

    Attributes:
        allocated: used by tensors of this process.
        reserved: held by this process, including what is kept for later.
        total: memory of the GPU.
    """

    allocated: int
    reserved: int
    total: int


def memory(status: Path = Path("/proc/self/status")) -> Memory:
    """Return the memory of a process from its Linux status file.

    Raises:
        OSError, KeyError: there is no such file, or it has other fields.
    """
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return Memory(*(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon", "VmHWM")))


def device_memory(device: torch.device) -> DeviceMemory | None:
    """Return the memory of a device; None for the CPU."""
    import torch

    if device.type != "cuda":
        return None
    return DeviceMemory(
        torch.cuda.memory_allocated(device),
        torch.cuda.memory_reserved(device),
        torch.cuda.get_device_properties(device).total_memory,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory ran out, on any device."""
    if isinstance(error, MemoryError | OutOfMemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _OUT_OF_MEMORY)


def is_device_failure(error: BaseException) -> bool:
    """Return whether an exception says that the GPU or its driver failed, after which nothing runs on it any more."""
    if type(error).__name__ == "AcceleratorError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _DEVICE_FAILURE)


def release_memory() -> None:
    """Return the memory of deleted objects to the system and to other users of the GPU.

    Stops every thread for a garbage collection, so call it only after deleting something large; see `trim_heap`.
    """
    gc.collect()
    # Neither torch nor the GPU is initialized just for this.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim_heap()


def share_one_heap() -> None:
    """Have all threads allocate from one heap, unless the user chose otherwise (MALLOC_ARENA_MAX).

    By default glibc gives threads heaps of their own, up to eight for each core. What one thread allocates and another
    one frees leaves holes in all of them, so that a process whose objects stay the same grows for hours. Call this
    before threads are started; other C libraries have no such call.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    try:
        choose = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    choose(_M_ARENA_MAX, 1)


def trim_heap() -> None:
    """Return free pages of the heap, which glibc keeps; other C libraries have no such call.

    What stays for long, such as a cached prompt, lies between what is freed soon. So the heap grows now and then, and
    glibc never returns what is free below its end. Takes milliseconds, in which other threads cannot allocate.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return
    trim(0)
