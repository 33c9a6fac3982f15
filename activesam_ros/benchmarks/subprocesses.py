"""Run parts of a benchmark in fresh interpreters, so that memory and threads are measured apart."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from activesam_ros.errors import ActiveSamError
from activesam_ros.system.machine import ignoring_interrupts

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from types import TracebackType

T = TypeVar("T")


def run_in_subprocess(
    work: Callable[..., T], *arguments: object, threads: int | None = None, **named: object
) -> T:
    """Call an importable function in a fresh interpreter.

    Args:
        work: it, its arguments and its result can be pickled.
        *arguments: for `work`.
        threads: torch's threads; None: torch's choice.
        **named: for `work`.

    Raises:
        Exception: what `work` raises.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _prepare, (threads,)) as pool:
        with ignoring_interrupts():
            future = pool.submit(work, *arguments, **named)
        return future.result()


class Subprocess:
    """An object in a fresh interpreter that lives as long as the `with` block.

    Example:
        >>> with Subprocess(Segmenter, "toytown", threads=1) as segmenter:
        ...     segmenter.call("segment", rgb)
    """

    def __init__(self, make: Callable[..., object], *arguments: object, threads: int | None = None) -> None:
        """Start the interpreter; the first call makes the object.

        Args:
            make: importable; makes the object there. Whatever goes there or comes back can be pickled.
            *arguments: for `make`.
            threads: torch's threads; None: torch's choice.
        """
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, threads, make, arguments), daemon=True)
        with ignoring_interrupts():
            self._process.start()
        theirs.close()

    def __enter__(self) -> Subprocess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ours.close()
        # It ends by itself once the pipe is closed, unless it is in the middle of a call.
        self._process.join(0 if kind else 10)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def call(self, name: str, *arguments: object) -> Any:
        """Call a method of the object.

        Raises:
            ActiveSamError: the process ended.
            Exception: what the method or the making of the object raises.
        """
        try:
            self._ours.send((name, arguments))
            result, error = self._ours.recv()
        except (EOFError, OSError) as broken:
            self._process.join()
            raise ActiveSamError(
                f"a process of the benchmark ended with code {self._process.exitcode}; −9 mostly means that memory "
                "ran out: free some, or ask for smaller images or fewer classes"
            ) from broken
        if error is not None:
            raise error
        return result


def _serve(
    theirs: Connection, threads: int | None, make: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    made: object | None = None
    while True:
        try:
            name, given = theirs.recv()
        except EOFError:
            return
        try:
            if made is None:
                _prepare(threads)
                made = make(*arguments)
            theirs.send((getattr(made, name)(*given), None))
        except Exception as error:  # Raised again by the caller.
            theirs.send((None, error))


def _prepare(threads: int | None) -> None:
    import torch
    from transformers.utils import logging

    if threads is not None:
        torch.set_num_threads(threads)
    logging.disable_progress_bar()
