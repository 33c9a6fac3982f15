"""The executable `evaluator`: compares the labels of the running node with ground truth, and writes a report."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from activesam_ros.ros.endings import ending_signals, run_with_ros

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

_SLICE_SECONDS = 0.1


def main(args: Sequence[str] | None = None) -> int:
    """Evaluate until the player tells the end, SIGINT or SIGTERM; then write the report of what was done.

    Args:
        args: command line including the program's name; None: that of the process.

    Returns:
        exit code: 0 with a report or after a signal, 1 if there cannot be one (one FATAL line says why).
    """
    ending = ending_signals()
    return run_with_ros("evaluator", lambda: _run(args, ending))


def _run(args: Sequence[str] | None, ending: threading.Event) -> int:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from activesam_ros.ros.endings import callbacks_of
    from activesam_ros.ros.evaluator import Evaluator

    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    evaluator = Evaluator()
    with callbacks_of(evaluator) as failed:
        while not (ending.wait(_SLICE_SECONDS) or evaluator.finished.is_set() or failed.is_set()):
            pass
    interrupted = not evaluator.finished.is_set()
    if interrupted and not evaluator.frames:
        print("evaluator: ended before the first image was labelled, so there is no report", flush=True)
        return 0
    page, table = evaluator.report(interrupted)
    print(table)
    print(f"report: {page.resolve()}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
