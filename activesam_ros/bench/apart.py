"""Parts of a benchmark in processes of their own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

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


def _begin(threads: int | None) -> None:
    import torch
    from transformers.utils import logging

    if threads is not None:
        torch.set_num_threads(threads)
    logging.disable_progress_bar()
