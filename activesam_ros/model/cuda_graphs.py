"""Replay the large parts of a model as CUDA graphs: the host launches each of them at once.

It needs functions of fixed shapes that read no numbers of the GPU, which tests check without one.
"""

from __future__ import annotations

import logging
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from activesam_ros.model.compiling import Compiler
from activesam_ros.model.folder import first_line
from activesam_ros.system.memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

MOST_GRAPHS = 32
"""Graphs that are kept of one function, the newest ones: each keeps the memory of its inputs and results."""

_TRIAL_RUNS = 2
"""Runs before the capture, in which libraries choose their kernels and allocate what they keep."""


def graph_compiler(inner: Compiler | None = None) -> Compiler:
    """Make a compiler that captures a function once for each shape of its tensors, and replays it from then on.

    Args:
        inner: applied to functions before that; None: none is.
    """
    pool = _Pool()

    def make(function: Any) -> Any:
        return _Graphed(inner(function) if inner else function, pool)

    return Compiler(make, complex_numbers=inner is None or inner.complex_numbers)


class _Pool:
    """The memory that all graphs of a model share: they run one after the other, and their results are copied."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._side: Any = None

    def handle(self) -> Any:
        """Return torch's handle."""
        if self._handle is None:
            self._handle = torch.cuda.graph_pool_handle()
        return self._handle

    def side_stream(self) -> Any:
        """Return the stream that graphs are tried and captured on: one, since libraries keep memory for each stream."""
        if self._side is None:
            self._side = torch.cuda.Stream()
        return self._side


class _Graphed:
    """A function of tensors, in tuples or frozen dataclasses, and of other things that can be compared."""

    def __init__(self, function: Callable[..., Any], pool: _Pool) -> None:
        self._function = function
        self._pool = pool
        self._graphs: dict[tuple[Any, ...], _Graph] = {}
        self._fails = False

    def __call__(self, *given: Any) -> Any:
        if self._fails:
            return self._function(*given)
        key = (torch.is_autocast_enabled("cuda"), *_shapes(given))
        graph = self._graphs.get(key)
        if graph is None:
            try:
                graph = _Graph(self._function, given, self._pool)
            except Exception as error:  # CUDA raises many types, and nothing depends on a graph
                if is_out_of_memory(error):
                    raise
                self._fails = True
                logger.warning("a CUDA graph cannot be captured (%s); going on without it", first_line(error))
                return self._function(*given)
            while len(self._graphs) >= MOST_GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            self._graphs[key] = graph
        return graph(given)


class _Graph:
    """A captured function, with the memory that it reads and writes."""

    def __init__(self, function: Callable[..., Any], given: tuple[Any, ...], pool: _Pool) -> None:
        self._inputs = each_tensor(given, torch.clone)
        # Streams are those of the current device, which need not be the model's.
        with torch.cuda.device(_tensors(given)[0].device):
            self._capture(function, pool)

    def _capture(self, function: Callable[..., Any], pool: _Pool) -> None:
        side = pool.side_stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_TRIAL_RUNS):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # Of this thread alone: others, such as one that encodes prompts, may allocate and wait meanwhile. And not on
        # torch's own stream for captures, which is one for all threads and devices.
        handle = pool.handle()
        with torch.cuda.graph(self._graph, handle, stream=side, capture_error_mode="thread_local"):
            self._results = function(*self._inputs)

    def __call__(self, given: tuple[Any, ...]) -> Any:
        for kept, new in zip(_tensors(self._inputs), _tensors(given), strict=True):
            kept.copy_(new)
        with torch.cuda.device(_tensors(given)[0].device):
            self._graph.replay()
        # The next replay overwrites the results.
        return each_tensor(self._results, torch.clone)


def each_tensor(given: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return the same structure with changed tensors."""
    if isinstance(given, torch.Tensor):
        return change(given)
    if isinstance(given, tuple):
        return tuple(each_tensor(one, change) for one in given)
    if is_dataclass(given) and not isinstance(given, type):
        return replace(
            given, **{field.name: each_tensor(getattr(given, field.name), change) for field in fields(given)}
        )
    return given


def _tensors(given: Any) -> list[torch.Tensor]:
    """Return the tensors in the order of `each_tensor`."""
    found: list[torch.Tensor] = []

    def take(tensor: torch.Tensor) -> torch.Tensor:
        found.append(tensor)
        return tensor

    each_tensor(given, take)
    return found


def _shapes(given: Any) -> tuple[Any, ...]:
    """Return what a graph of these arguments depends on."""
    if isinstance(given, torch.Tensor):
        return (given.shape, given.stride(), given.dtype, given.device)
    if isinstance(given, tuple):
        return tuple(_shapes(one) for one in given)
    if is_dataclass(given) and not isinstance(given, type):
        return tuple(_shapes(getattr(given, field.name)) for field in fields(given))
    return (given,)
