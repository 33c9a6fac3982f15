"""Logging a repeated complaint now and then instead of every time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class ReasonThrottle:
    """Lets each reason through at once, and again only `period` seconds later, with how often it recurred.

    Any thread may call it.
    """

    def __init__(self, period: float, clock: Callable[[], float], remembered: int = 64) -> None:
        """Args:
        period: in seconds.
        clock: seconds; it never jumps.
        remembered: of so many reasons, those that came last, it is known when they were let through.
        """
        self._period = period
        self._clock = clock
        self._remembered = remembered
        self._lock = threading.Lock()
        self._seen: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def __call__(self, text: str, key: Hashable = None) -> str | None:
        """Args:
            text: what is to be logged.
            key: the reason, if the text has numbers or names that change from time to time; None: the text itself.

        Returns:
            the text to log now, with how often its reason was kept quiet; None if it shall be kept quiet.
        """
        key = text if key is None else key
        with self._lock:
            now = self._clock()
            last, quiet = self._seen.pop(key, (None, 0))
            if last is not None and now - last < self._period:
                self._seen[key] = (last, quiet + 1)
                return None
            self._seen[key] = (now, 0)
            while len(self._seen) > self._remembered:
                self._seen.popitem(last=False)
        return f"{text} ({quiet} more like this)" if quiet else text
