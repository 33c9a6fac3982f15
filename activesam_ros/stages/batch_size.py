"""Adaptive batch size: halve on out-of-memory, and grow back after a quiet period."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, TypeVar

from activesam_ros.errors import OutOfMemoryError
from activesam_ros.system.memory import is_out_of_memory, release_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

S = TypeVar("S")
T = TypeVar("T")

PATIENCE = 20
"""Number of successive images without running out of memory after which the size is doubled."""


class AdaptiveBatchSize:
    """Batch size that is halved when memory runs out, and doubled after `PATIENCE` images without that.

    One thread works with it; `within` may be called from any.
    """

    def __init__(self, what: str, release: Callable[[], None] = release_memory) -> None:
        """Create a batch size without a limit.

        Args:
            what: what is counted, in the singular, for messages.
            release: frees unused memory between two tries.
        """
        self._what = what
        self._release = release
        self._limit: int | None = None
        self._wanted = 0
        self._clean = 0

    def within(self, most: int) -> int:
        """Return the size in force where `most` is wanted."""
        limit = self._limit
        return most if limit is None else min(limit, most)

    def run(self, most: int, work: Callable[[int], T]) -> T:
        """Return `work(size)`, called again with half the size while memory runs out.

        Args:
            most: the size to use where memory allows.
            work: must hold no memory after it has raised.

        Raises:
            OutOfMemoryError: memory runs out even with a size of 1.
            Exception: any other exception of `work`.
        """
        while True:
            size = self.within(most)
            try:
                return work(size)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1 and isinstance(error, OutOfMemoryError):
                    raise
                reason = _summary(error)
            # Outside of the handler, where nothing refers to the traceback, which holds the tensors of the failed try.
            self._release()
            if size == 1:
                raise OutOfMemoryError(
                    f"there is not enough memory for even one {self._what} at a time ({reason}); free memory, lower "
                    "full_resolution, send smaller images, or use dtype 'bfloat16'"
                )
            self._shrink(size, most)
            logger.warning(
                "out of memory with %d %ss at a time (%s); trying %d", size, self._what, reason, self._limit
            )

    def map(self, items: Sequence[S], work: Callable[[Sequence[S]], list[T]]) -> list[T]:
        """Return what `work` gives for each item, called with as many at a time as fit into memory.

        Raises:
            OutOfMemoryError, Exception: as `run`.
        """
        if not items:
            return []
        found = self.run(
            len(items),
            lambda size: [
                one for start in range(0, len(items), size) for one in work(items[start : start + size])
            ],
        )
        for _ in items:
            self.image_done()
        return found

    def image_done(self) -> None:
        """Count an image that did not run out of memory."""
        if self._limit is None:
            return
        self._clean += 1
        if self._clean < PATIENCE:
            return
        self._clean = 0
        self._limit = None if 2 * self._limit >= self._wanted else 2 * self._limit
        logger.info(
            "%d images without running out of memory; up to %d %ss at a time",
            PATIENCE,
            self.within(self._wanted),
            self._what,
        )

    def _shrink(self, tried: int, most: int) -> None:
        self._wanted = max(most, self._wanted if self._limit is not None else 0)
        self._limit = tried // 2
        self._clean = 0


def _summary(error: BaseException) -> str:
    """Shorten the message of an exception to a part of a sentence; torch's are a paragraph."""
    text = str(error).strip() or type(error).__name__
    wanted = re.search(r"tried to allocate [\d.]+ \w+", text, re.IGNORECASE)
    return f"t{wanted[0][1:]}" if wanted else text.splitlines()[0].rstrip(".")
