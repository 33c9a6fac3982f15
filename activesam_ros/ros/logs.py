"""Passing what the library logs on to the node's logger."""

from __future__ import annotations

import logging

LIBRARY_LOGGER = "activesam_ros"


class RosLogHandler(logging.Handler):
    """A handler of Python's logging that writes to a ROS logger, level by level."""

    def __init__(self, logger) -> None:
        """`logger`: an rclpy logger (anything with debug, info, warning, error and fatal)."""
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        # rclpy ties the severity to the calling line, so each level has a line of its own.
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
