"""The program `replay`: play a recording to the running node, record what it answers, and score the recording."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.cli import evaluate
from activesam_ros.cli.replay_player import Player
from activesam_ros.cli.replay_recorder import recorder
from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.run_folder import RunFolder
from activesam_ros.ros.program import callbacks_of, run_program
from activesam_ros.system.machine import ENDING

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence


class _NothingRecorded(Exception):
    """The replay was ended before the first image was labelled."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a recording until its end, SIGINT or SIGTERM; then score what was recorded.

    Args:
        arguments: command line including the program's name; None: that of the process.

    Returns:
        exit code: 0 at the end or after a signal, 1 if the recording could not be played (one FATAL line says why);
        else as `activesam-evaluate`.
    """
    return run_program("replay", _run, arguments)


def _run(ending: threading.Event) -> int:
    player = Player(ending)
    given = player.given
    if not given.record:
        with callbacks_of(player):
            player.play()
        return 0
    if given.out:
        RunFolder(Path(given.out).expanduser()).require_free(given.overwrite)
    folder = Path(given.record).expanduser()
    failure: EvaluationError | None = None
    try:
        with recorder(folder, given.overwrite) as recording:
            with callbacks_of(player):
                try:
                    player.play(recording)
                except EvaluationError as error:  # what was done until then is kept
                    failure = error
            if not recording.images:
                raise failure or _NothingRecorded
    except _NothingRecorded:
        print("replay: ended before the first image was labelled, so nothing was recorded", flush=True)
        return 0
    options = _scoring(player, folder)
    print(f"recorded {recording.images} images and their labels to {folder}", flush=True)
    print(f"score them with: activesam-evaluate {shlex.join(options)}", flush=True)
    if given.out:
        _end_by_signals()
    code = evaluate.main(options) if given.out else 0
    if failure is not None:
        raise failure
    return code


def _end_by_signals() -> None:
    """Have signals end the process again: the recording is whole, and scoring takes its time."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in set(ENDING) - {signal.SIGINT}:
        signal.signal(number, signal.SIG_DFL)


def _scoring(player: Player, folder: Path) -> list[str]:
    """Return the arguments of `activesam-evaluate` that score what was recorded."""
    given = player.given
    options = {
        "--image": player.image_topic,
        "--predictions": player.labels_topic,
        "--labels": player.truth_topic or "none",
        "--classes": player.names_topic,
        "--map": given.map,
        "--ignore": ",".join(map(str, player.ignored)),
        "--tolerance": f"{given.tolerance:g}",
        "--out": str(Path(given.out).expanduser()) if given.out else None,
    }
    chosen = [text for option, value in options.items() if value for text in (option, value)]
    return [str(folder), *chosen, *(["--overwrite"] if given.overwrite else [])]


if __name__ == "__main__":
    sys.exit(main())
