"""Logging: the library's records to the ROS logger, repeated complaints throttled, the last error remembered."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from rclpy.impl.rcutils_logger import RcutilsLogger

from activesam_ros.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY_LOGGER = "activesam_ros"

_NUMBER = re.compile(r"\d+")


class PrintableLogger(RcutilsLogger):
    """A ROS logger of lines that may quote what strangers send: each comes out as one printable line."""

    # rclpy ties the severity to the calling line, so each level has a line of its own.

    def debug(self, message: str, **filters: Any) -> bool:
        """Log with severity DEBUG."""
        return super().debug(printable(message), **filters)

    def info(self, message: str, **filters: Any) -> bool:
        """Log with severity INFO."""
        return super().info(printable(message), **filters)

    def warning(self, message: str, **filters: Any) -> bool:
        """Log with severity WARN."""
        return super().warning(printable(message), **filters)

    def error(self, message: str, **filters: Any) -> bool:
        """Log with severity ERROR."""
        return super().error(printable(message), **filters)

    def fatal(self, message: str, **filters: Any) -> bool:
        """Log with severity FATAL."""
        return super().fatal(printable(message), **filters)


class RosLogHandler(logging.Handler):
    """A handler of Python's logging that writes to an rclpy logger, level by level."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        # As above, each level has a line of its own.
        text = self.format(record)
        if record.levelno >= logging.CRITICAL:
            self._logger.fatal(text)
        elif record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


class Throttle:
    """Lets each sentence through at once, and again only `period` seconds later, with how often it recurred.

    Sentences that differ only in numbers, such as the length of a damaged image, count as the same. Any thread may
    call it. The `remembered` last sentences are kept.
    """

    def __init__(
        self, period: float, clock: Callable[[], float] = time.monotonic, remembered: int = 64
    ) -> None:
        self._period = period
        self._clock = clock
        self._remembered = remembered
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __call__(self, text: str) -> str | None:
        """Return the text to log now, with how often it was suppressed; None if it is to be suppressed."""
        key = _NUMBER.sub("#", text)
        with self._lock:
            now = self._clock()
            last, suppressed = self._seen.pop(key, (None, 0))
            if last is not None and now - last < self._period:
                self._seen[key] = (last, suppressed + 1)
                return None
            self._seen[key] = (now, 0)
            while len(self._seen) > self._remembered:
                self._seen.popitem(last=False)
        return f"{text} ({suppressed} more like this)" if suppressed else text


class ErrorLog:
    """Logs what goes wrong to an rclpy logger, and remembers the last of it for the diagnostics; for any thread.

    Sentences of the same kind are `period` seconds apart, if they are throttled.
    """

    def __init__(self, logger: Any, period: float = 5.0) -> None:
        self._logger = logger
        self._throttle = Throttle(period)
        self._last: tuple[str, float] | None = None
        self._faults = 0

    @property
    def faults(self) -> int:
        """Number of callbacks that raised."""
        return self._faults

    @property
    def last(self) -> tuple[str, float] | None:
        """The last error and when it occurred, `time.monotonic()` seconds; None if there was none."""
        return self._last

    def remember(self, sentence: str) -> None:
        """Note an error that is logged elsewhere."""
        self._last = (printable(sentence), time.monotonic())

    def error(self, sentence: str) -> None:
        """Log an error, every time."""
        self.remember(sentence)
        self._logger.error(sentence)

    def fault(self, sentence: str) -> None:
        """Count a callback that raised, and log it as an error, throttled; executor's thread."""
        self._faults += 1
        self.lost(sentence)

    def lost(self, sentence: str) -> None:
        """Log the loss of a frame or a message as an error, throttled."""
        self.remember(sentence)
        text = self._throttle(printable(sentence))
        if text:
            self._logger.error(text)

    def failed(self, sentence: str) -> None:
        """Log a frame or call that failed as a warning, throttled."""
        self.remember(sentence)
        text = self._throttle(printable(sentence))
        if text:
            self._logger.warning(text)
