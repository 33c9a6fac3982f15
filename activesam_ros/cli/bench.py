"""The command `activesam-bench`: measure the library and the node."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.benchmarks import video_command
from activesam_ros.benchmarks.cost import commands as cost
from activesam_ros.benchmarks.node import commands as node
from activesam_ros.errors import ActiveSamError
from activesam_ros.system.threads import let_waiting_threads_sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: 1 if what was measured is not as it should be, 2 without a measurement."""
    given = _parser().parse_args(arguments)
    let_waiting_threads_sleep()
    try:
        return given.benchmark(given)
    except (ActiveSamError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="activesam-bench", description="Benchmarks.")
    names = parser.add_subparsers(required=True, metavar="NAME")
    vocabulary = names.add_parser(
        "vocabulary",
        help="what words cost",
        description="Time of changes of words and of a start, memory with and without the text encoder, and "
        "gaps between outputs while words are encoded; on the CPU.",
    )
    which = vocabulary.add_mutually_exclusive_group()
    which.add_argument("--model", default="toytown", help="model folder or hub id (default: the demo model)")
    which.add_argument(
        "--full-size",
        action="store_true",
        help="a SAM 3 of the published size with random weights, made once",
    )
    vocabulary.add_argument("--dtype", default="auto", help="auto (default), float32 or bfloat16")
    vocabulary.add_argument("--classes", type=_at_least(3), help="of the vocabulary (default: all 171)")
    vocabulary.add_argument(
        "--repeats", type=int, choices=range(1, 7), default=3, help="of each change of words (default: 3)"
    )
    vocabulary.add_argument("--threads", type=_at_least(1), help="of torch (default: its choice)")
    vocabulary.add_argument(
        "--stream-classes", type=_at_least(2), default=19, help="of the stream (default: 19)"
    )
    vocabulary.add_argument(
        "--stream-resolution", type=_at_least(1), help="of the stream, in pixels (default: the model's)"
    )
    vocabulary.add_argument(
        "--stream-frames", type=_at_least(2), default=10, help="images between words (default: 10)"
    )
    vocabulary.add_argument(
        "--stream-edits", type=_at_least(1), default=5, help="words beside the stream (default: 5)"
    )
    vocabulary.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    vocabulary.set_defaults(benchmark=_vocabulary)
    node.add_commands(names, _at_least)
    cost.add_commands(names, _at_least, node.image_size)
    video_command.add_command(names, _at_least)
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return number


def _vocabulary(given: argparse.Namespace) -> int:
    # Imports torch, after the threads' policy is set.
    from activesam_ros.benchmarks.full_size import ensure_random_model, full_size_folder
    from activesam_ros.benchmarks.report import to_markdown
    from activesam_ros.benchmarks.vocabulary import Options, measure_vocabulary

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    model = given.model
    if given.full_size:
        _say("making sure of the model of full size")
        model = str(ensure_random_model(full_size_folder()))
    options = Options(
        model,
        given.dtype,
        given.classes,
        given.repeats,
        given.threads,
        given.stream_classes,
        given.stream_resolution,
        given.stream_frames,
        given.stream_edits,
    )
    found = measure_vocabulary(options, _say)
    print(to_markdown(found), end="")
    if given.json:
        given.json.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
    return 0


def _say(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
