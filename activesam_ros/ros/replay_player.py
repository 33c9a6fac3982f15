"""The executable `replay`: plays a recording to the node, every image, as fast as it is answered."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from activesam_ros.ros.endings import ending_signals, run_with_ros

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> int:
    """Play a recording until its end, SIGINT or SIGTERM.

    Args:
        args: command line including the program's name; None: that of the process.

    Returns:
        exit code: 0 at the end or after a signal, 1 if the recording could not be played (one FATAL line says why).
    """
    ending = ending_signals()
    return run_with_ros("replay", lambda: _run(args, ending))


def _run(args: Sequence[str] | None, ending: threading.Event) -> int:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from activesam_ros.ros.endings import callbacks_of
    from activesam_ros.ros.player import Player

    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    player = Player(ending)
    with callbacks_of(player):
        player.play()
    return 0


if __name__ == "__main__":
    sys.exit(main())
