"""Parts of a benchmark in processes of their own."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from activesam_ros.errors import ActiveSamError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from types import TracebackType

T = TypeVar("T")


def in_own_process(
    work: Callable[..., T], *arguments: object, threads: int | None = None, **named: object
) -> T:
    """Calls a function in a fresh interpreter, so that its memory has nothing of this one's.

    Args:
        work: importable; it, its arguments and its answer can be pickled.
        arguments, named: for `work`.
        threads: torch's threads; None: torch's choice.

    Raises:
        Exception: what `work` raises.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _begin, (threads,)) as pool:
        return pool.submit(work, *arguments, **named).result()


class OwnProcess:
    """An object in a fresh interpreter, which lives as long as the `with` block and is asked in turns with others."""

    def __init__(self, make: Callable[..., object], *arguments: object, threads: int | None = None) -> None:
        """Args:
        make: importable; makes the object there. Whatever goes there or comes back can be pickled.
        arguments: for `make`.
        threads: torch's threads; None: torch's choice.
        """
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, threads, make, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> OwnProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ours.close()
        # Without a caller it ends by itself, unless it is in the middle of something.
        self._process.join(0 if kind else 10)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def call(self, name: str, *arguments: object) -> Any:
        """Calls a method of the object.

        Raises:
            ActiveSamError: the process ended.
            Exception: what the method raises, or what making the object raised.
        """
        try:
            self._ours.send((name, arguments))
            answer, error = self._ours.recv()
        except (EOFError, OSError) as broken:
            self._process.join()
            raise ActiveSamError(
                f"a process of the benchmark ended with code {self._process.exitcode}; −9 mostly means that memory "
                "ran out: free some, or ask for smaller images or fewer classes"
            ) from broken
        if error is not None:
            raise error
        return answer


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
                _begin(threads)
                made = make(*arguments)
            theirs.send((getattr(made, name)(*given), None))
        except Exception as error:  # raised again by the caller
            theirs.send((None, error))


def _begin(threads: int | None) -> None:
    import torch
    from transformers.utils import logging

    if threads is not None:
        torch.set_num_threads(threads)
    logging.disable_progress_bar()
