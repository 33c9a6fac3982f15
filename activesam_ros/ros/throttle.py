"""Logging a repeated complaint now and then instead of every time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable


class ReasonThrottle:
    """Lets each text through at once, and again only `period` seconds later, with how often it recurred."""

    def __init__(self, period: float, clock: Callable[[], float], remembered: int = 64) -> None:
        self._period = period
        self._clock = clock
        self._remembered = remembered
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __call__(self, text: str) -> str | None:
        """The text to log now, or None if it shall be kept quiet."""
        now = self._clock()
        last, quiet = self._seen.pop(text, (None, 0))
        if last is not None and now - last < self._period:
            self._seen[text] = (last, quiet + 1)
            return None
        self._seen[text] = (now, 0)
        while len(self._seen) > self._remembered:
            self._seen.popitem(last=False)
        return f"{text} ({quiet} more like this)" if quiet else text
