"""Copies between the host and a GPU that keep neither waiting for longer than it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np


def upload(numbers: Sequence[int] | np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy whole numbers to a device, int64 of the same length; the host goes on at once."""
    return torch.as_tensor(numbers, dtype=torch.int64).to(device, non_blocking=True)


class HostCopies:
    """Copies of some tensors to the host, all under way together, and the one wait for them.

    What is queued on the device after this is created is not waited for.
    """

    def __init__(self, *tensors: torch.Tensor) -> None:
        """Start copying tensors of one device, of types that numpy has; on a CPU they are not copied."""
        self._copies = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        self._done: torch.cuda.Event | None = None
        if tensors[0].device.type == "cuda":
            self._done = torch.cuda.Event()
            self._done.record(torch.cuda.current_stream(tensors[0].device))

    def wait(self, kept: int = 0) -> list[np.ndarray]:
        """Return the tensors as arrays, in order.

        Args:
            kept: the first so many arrays may live long. Those of a GPU are copied once more, out of the memory that
                GPUs copy to, which the system cannot swap.
        """
        arrays = [copy.numpy() for copy in self._copies]
        if self._done is None:
            return arrays
        self._done.synchronize()
        return [array.copy() for array in arrays[:kept]] + arrays[kept:]
