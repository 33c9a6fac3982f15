"""The executable `toytown_camera`: a camera for trying things out, without hardware."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from activesam_ros.ros.endings import ending_signals, run_with_ros

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

_SLICE_SECONDS = 0.1


def main(args: Sequence[str] | None = None) -> int:
    """Publish images until SIGINT or SIGTERM.

    Args:
        args: command line including the program's name; None: that of the process.

    Returns:
        exit code: 0 after a signal, 1 if there can be no images (one FATAL line says why).
    """
    ending = ending_signals()
    return run_with_ros("toytown_camera", lambda: _run(args, ending))


def _run(args: Sequence[str] | None, ending: threading.Event) -> int:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from activesam_ros.ros.endings import callbacks_of
    from activesam_ros.ros.toytown_camera import ToytownCamera

    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    with callbacks_of(ToytownCamera()) as failed:
        while not (ending.wait(_SLICE_SECONDS) or failed.is_set()):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
