"""Compile the large parts of a model with torch.compile."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from activesam_ros.errors import ModelError
from activesam_ros.model.folder import first_line
from activesam_ros.system.files import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Compiler:
    """Makes a faster function of a function (or module) of tensors.

    Attributes:
        make: does it.
        complex_numbers: whether the functions may use complex numbers.
    """

    make: Callable[[Any], Any]
    complex_numbers: bool = True

    def __call__(self, function: Any) -> Any:
        """Make the faster function."""
        return self.make(function)


SHAPES = 256
"""Most shapes of one function that are compiled; beyond that torch would silently run it uncompiled."""


def torch_compiler(backend: str | Callable[..., object] = "inductor") -> Compiler:
    """Make a compiler from `torch.compile`, for tensors of fixed shapes.

    The first call with each shape takes seconds to minutes; torch keeps the result in $TORCHINDUCTOR_CACHE_DIR for the
    next process. On a CPU it needs a C++ compiler. Results differ by rounding, since sums are in another order.
    Compiled functions raise ModelError if they cannot be compiled.
    """

    def compiler(function: Any) -> Any:
        compiled = torch.compile(function, dynamic=False, backend=backend)

        def call(*given: Any) -> Any:
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

        return call

    return Compiler(compiler, complex_numbers=False)


def keep_compiled() -> None:
    """Keep what torch compiles in this program's cache folder, unless the user chose another.

    For programs: it sets $TORCHINDUCTOR_CACHE_DIR in this process, before torch compiles anything.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
