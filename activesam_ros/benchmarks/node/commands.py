"""Command lines of the node's benchmarks."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.errors import ActiveSamError

if TYPE_CHECKING:
    from collections.abc import Callable


def add_commands(names: argparse._SubParsersAction, at_least: Callable[[int], Callable[[str], int]]) -> None:
    """Adds `soak`, `cameras` and `overhead`.

    Args:
        names: where subcommands go.
        at_least: makes the type of a whole number.
    """
    soak = names.add_parser(
        "soak",
        help="thousands of frames through the node, with edits and bad frames",
        description="Sends frames of two cameras to the real node, with edits of the vocabulary and bad frames among "
        "them; reports memory, where every frame went, and latency. Exit code 1 if something is unclean.",
    )
    soak.add_argument("--frames", type=at_least(20), default=5000, help="after the warm-up (default: 5000)")
    soak.add_argument(
        "--warm-up", type=at_least(1), default=500, help="frames before memory counts (default: 500)"
    )
    soak.add_argument("--size", type=image_size, default=(160, 120), help="of the images (default: 160x120)")
    soak.add_argument("--seed", type=at_least(0), default=1, help="of the order of things (default: 1)")
    soak.add_argument(
        "--bad-rate", type=_share(0.4), default=0.05, help="share of frames that are bad (default: 0.05)"
    )
    soak.add_argument(
        "--edit-rate", type=_share(1.0), default=0.02, help="edits of the words per frame (default: 0.02)"
    )
    soak.add_argument(
        "--unanswered",
        type=at_least(2),
        default=4,
        help="frames of a camera that are on their way at most (default: 4; the node's queue takes 20)",
    )
    _common(soak, _soak)
    cameras = names.add_parser(
        "cameras",
        help="two cameras on one model",
        description="Sends the images of two cameras side by side to the real node, best effort as cameras do; "
        "reports where every frame went. Exit code 1 if the counts do not add up.",
    )
    cameras.add_argument("--rate", type=_rate, default=10.0, help="images a second of each (default: 10)")
    cameras.add_argument("--seconds", type=_rate, default=30.0, help="how long (default: 30)")
    cameras.add_argument(
        "--size", type=image_size, default=(320, 240), help="of the images (default: 320x240)"
    )
    _common(cameras, _cameras)
    overhead = names.add_parser(
        "overhead",
        help="what the node adds to the bare segmenter",
        description="Gives the same images to the real node and to the bare segmenter, by turns.",
    )
    overhead.add_argument(
        "--sizes",
        type=lambda text: tuple(map(image_size, text.split(","))),
        default=((640, 480), (1280, 720), (1920, 1080)),
        help="of the images (default: 640x480,1280x720,1920x1080)",
    )
    overhead.add_argument("--frames", type=at_least(2), default=60, help="of each size (default: 60)")
    _common(overhead, _overhead)
    for parser in (soak, cameras, overhead):
        parser.add_argument("--threads", type=at_least(1), help="of torch (default: its choice)")


def _common(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("--model", default="toytown", help="model folder or hub id (default: the demo model)")
    parser.add_argument("--log", type=Path, metavar="FOLDER", help="keep the node's log there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    parser.set_defaults(benchmark=lambda given: _with_ros(run, given))


def _with_ros(run: Callable[[argparse.Namespace], int], given: argparse.Namespace) -> int:
    if find_spec("rclpy") is None:
        raise ActiveSamError("ROS is missing; run `make setup` once and `source env.sh` in this shell")
    return run(given)


def _soak(given: argparse.Namespace) -> int:
    from activesam_ros.benchmarks.node.report import soak_to_markdown
    from activesam_ros.benchmarks.node.soak import SoakOptions, measure_soak

    options = SoakOptions(
        frames=given.frames,
        warm_up=given.warm_up,
        size=given.size,
        seed=given.seed,
        bad_rate=given.bad_rate,
        edit_rate=given.edit_rate,
        unanswered=given.unanswered,
        model=given.model,
        threads=given.threads,
    )
    found = measure_soak(options, given.log)
    return _done(given, soak_to_markdown(found), found, found.complaints())


def _cameras(given: argparse.Namespace) -> int:
    from activesam_ros.benchmarks.node.cameras import CamerasOptions, measure_cameras
    from activesam_ros.benchmarks.node.report import cameras_to_markdown

    options = CamerasOptions(
        rate=given.rate, seconds=given.seconds, size=given.size, model=given.model, threads=given.threads
    )
    found = measure_cameras(options, given.log)
    return _done(given, cameras_to_markdown(found), found, found.complaints())


def _overhead(given: argparse.Namespace) -> int:
    from activesam_ros.benchmarks.node.overhead import OverheadOptions, measure_overhead
    from activesam_ros.benchmarks.node.report import overhead_to_markdown

    options = OverheadOptions(
        sizes=given.sizes, frames=given.frames, model=given.model, threads=given.threads
    )
    found = measure_overhead(options, given.log)
    return _done(given, overhead_to_markdown(found), found, [])


def _done(given: argparse.Namespace, report: str, found: object, complaints: list[str]) -> int:
    print(report, end="")
    if given.json:
        given.json.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
    return 1 if complaints else 0


def image_size(text: str) -> tuple[int, int]:
    """Width and height of WIDTHxHEIGHT."""
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) >= 32 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}; expected WIDTHxHEIGHT such as 640x480, from 32x32")
    return int(parts[0]), int(parts[1])


def _share(most: float) -> Callable[[str], float]:
    def share(text: str) -> float:
        value = float(text)
        if not 0 <= value <= most:
            raise argparse.ArgumentTypeError(f"{text}; expected 0 to {most:g}")
        return value

    return share


def _rate(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text}; expected 0.1 to 1000")
    return value
