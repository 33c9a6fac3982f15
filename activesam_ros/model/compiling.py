"""Compiling the large parts of a model with torch.compile."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import torch

from activesam_ros.errors import ModelError
from activesam_ros.model.folder import first_line
from activesam_ros.system.files import cache_folder

F = TypeVar("F", bound=Callable[..., object])

Compiler = Callable[[F], F]
"""Makes a function (or module) of tensors that gives the same, faster."""

SHAPES = 256
"""So many shapes of one function are compiled; beyond that torch would quietly run it as it is, for all of them."""


def torch_compiler(backend: str | Callable[..., object] = "inductor") -> Compiler:
    """`torch.compile` for tensors of fixed shapes.

    The first call with each shape takes seconds to minutes. torch keeps what it made in $TORCHINDUCTOR_CACHE_DIR, so
    that the next process takes less. On a CPU it needs a C++ compiler. Sums are done in another order, so numbers
    differ by rounding.

    The functions raise ModelError if they cannot be compiled.

    Args:
        backend: of torch.compile.
    """

    def compiler(function: F) -> F:
        compiled = torch.compile(function, dynamic=False, backend=backend)

        def call(*given: object) -> object:
            from torch._dynamo.config import patch
            from torch._dynamo.exc import TorchDynamoException

            try:
                with patch(recompile_limit=SHAPES):
                    return compiled(*given)
            except TorchDynamoException as error:
                raise ModelError(
                    f"torch cannot compile the model here ({first_line(error)}); on a CPU that needs a C++ compiler, "
                    "on a GPU triton, so install it, or leave compile off"
                ) from error

        return call  # type: ignore[return-value]

    return compiler


def keep_compiled() -> None:
    """Has torch keep what it compiles in this program's cache folder, unless the user chose another.

    For programs: it sets the environment of this process, before torch compiles anything.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
