"""How far the loading of a model is, in lines of a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

T = TypeVar("T")

STEP_PERCENT = 10
QUIET_SECONDS = 1.0
"""A line comes at most every so many per cent and seconds: a small model needs none, and a slow disk not many."""


class CountedTensors(Generic[T]):
    """Hands out what it is given, and logs how much of it has been taken."""

    def __init__(
        self, what: str, tensors: Collection[T], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._tensors = tensors
        self._clock = clock

    def __iter__(self) -> Iterator[T]:
        total = len(self._tensors)
        said, since = 0, self._clock()
        for taken, tensor in enumerate(self._tensors):
            percent = 100 * taken // total
            if percent >= said + STEP_PERCENT and self._clock() - since >= QUIET_SECONDS:
                said, since = percent, self._clock()
                logger.info("%s: %d %% of %d tensors", self._what, percent, total)
            yield tensor


@contextmanager
def counted_loading(what: str) -> Iterator[None]:
    """Logs how many tensors transformers has loaded, in place of its progress bar and its tables.

    A node's log is no terminal, and each new word would bring them.
    """
    from transformers.utils import logging as chatter

    def hook(factory: Callable, arguments: tuple, named: dict) -> object:
        if named.get("desc") == "Loading weights" and arguments and isinstance(arguments[0], Collection):
            return CountedTensors(what, arguments[0])
        return factory(*arguments, **named)

    verbosity, bar = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    before = chatter.set_tqdm_hook(hook)
    try:
        yield
    finally:
        chatter.set_tqdm_hook(before)
        chatter.set_verbosity(verbosity)
        if bar:
            chatter.enable_progress_bar()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Logs how long the body took, once it has succeeded."""
    started = time.monotonic()
    yield
    logger.info("%s in %.1f s", what, time.monotonic() - started)


def weights_on_disk(folder: Path) -> str:
    """The size of a model's weights, for people."""
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
