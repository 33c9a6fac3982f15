"""How many things memory has room for at once, found out by trying."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, TypeVar

from activesam_ros.errors import OutOfMemoryError
from activesam_ros.system.memory import is_out_of_memory, release_memory

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 20
"""Images without trouble after which twice as much is tried again."""


class AdaptiveBatchSize:
    """The size of a step that shrinks when memory runs out and recovers when it has not for a while.

    It is halved each time until the step fits, and doubled after `PATIENCE` images without trouble, up to what was
    asked for. One thread works with it; `within` may be asked by any.
    """

    def __init__(self, what: str, release: Callable[[], None] = release_memory) -> None:
        """Args:
        what: the things that are counted, in the singular, for messages.
        release: gives unused memory back between two tries.
        """
        self._what = what
        self._release = release
        self._limit: int | None = None
        self._wanted = 0
        self._clean = 0

    def within(self, most: int) -> int:
        """The size in force where `most` is asked for."""
        limit = self._limit
        return most if limit is None else min(limit, most)

    def run(self, most: int, work: Callable[[int], T]) -> T:
        """Answers `work(size)`, called again with half the size while memory runs out.

        Args:
            most: the size to work with where memory allows.
            work: holds nothing after it has raised.

        Raises:
            OutOfMemoryError: memory runs out even with a size of 1.
            Exception: whatever else `work` raises.
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
                reason = _short(error)
            # Out here nothing refers to the traceback any more, which holds the tensors of the failed try.
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

    def image_done(self) -> None:
        """Counts an image that went through without trouble."""
        if self._limit is None:
            return
        self._clean += 1
        if self._clean < PATIENCE:
            return
        self._clean = 0
        self._limit = None if 2 * self._limit >= self._wanted else 2 * self._limit
        logger.info(
            "%d images without trouble; up to %d %ss at a time",
            PATIENCE,
            self.within(self._wanted),
            self._what,
        )

    def _shrink(self, tried: int, most: int) -> None:
        self._wanted = max(most, self._wanted if self._limit is not None else 0)
        self._limit = tried // 2
        self._clean = 0


def _short(error: BaseException) -> str:
    """What an exception says of the memory, as a part of a sentence; torch's go on for a paragraph."""
    text = str(error).strip() or type(error).__name__
    wanted = re.search(r"tried to allocate [\d.]+ \w+", text, re.IGNORECASE)
    return f"t{wanted[0][1:]}" if wanted else text.splitlines()[0].rstrip(".")
