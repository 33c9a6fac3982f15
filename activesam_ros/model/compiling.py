"""Compiling the large parts of a model with torch.compile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch

from activesam_ros.errors import ModelError
from activesam_ros.files import cache_folder
from activesam_ros.model.folder import first_line

F = TypeVar("F", bound=Callable[..., object])

Compiler = Callable[[F], F]
"""Makes a function (or module) of tensors that gives the same, faster."""


def torch_compiler() -> Compiler:
    """`torch.compile` for tensors of fixed shapes; what it makes is kept in this program's cache folder.

    The first image of each kind takes seconds to minutes, in the next process a fraction of that. On a CPU it needs a
    C++ compiler. Sums are done in another order, so numbers differ by rounding.
    """
    # Read by torch when it compiles first; a folder that the user chose stays.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    return partial(torch.compile, dynamic=False)


@contextmanager
def compiling() -> Iterator[None]:
    """What fails to compile in its body is one sentence.

    Raises:
        ModelError: it did.
    """
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        raise ModelError(
            f"torch cannot compile the model here ({first_line(error)}); on a CPU that needs a C++ compiler, on a GPU "
            "triton, so install it, or leave compile off"
        ) from error
