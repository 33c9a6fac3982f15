"""Command line of the benchmark of the settings for streams."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def add_command(names: argparse._SubParsersAction, at_least: Callable[[int], Callable[[str], int]]) -> None:
    """Adds `video`.

    Args:
        names: where subcommands go.
        at_least: makes the type of a whole number.
    """
    video = names.add_parser(
        "video",
        help="what the settings for streams cost in work and labels",
        description="Labels drives through Toy Town with the demo model and several settings: SAM 3's operations a "
        "frame, mIoU, recall, and how long a class that came up goes unseen. Half an hour on one core.",
    )
    video.add_argument("--drives", type=at_least(1), default=5, help="so many streets (default: 5)")
    video.add_argument("--frames", type=at_least(2), default=40, help="of each drive (default: 40)")
    video.add_argument("--rate", type=_rate, default=10.0, help="frames a second (default: 10)")
    video.add_argument("--classes", type=at_least(20), default=150, help="of the vocabulary (default: 150)")
    video.add_argument("--quick", action="store_true", help="the profiles alone")
    video.add_argument("--threads", type=at_least(1), default=1, help="of the CPU (default: 1)")
    video.add_argument("--json", type=_file, metavar="FILE", help="also write the figures to a file")
    video.set_defaults(benchmark=_video)


def _rate(text: str) -> float:
    rate = float(text)
    if not (math.isfinite(rate) and rate > 0):
        raise argparse.ArgumentTypeError(f"{text} is no rate; expected a number above 0")
    return rate


def _file(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; expected a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}; make it first")
    return path


def _video(given: argparse.Namespace) -> int:
    # Imports torch, after the threads' policy is set.
    import torch
    from transformers import Sam3Config

    from activesam_ros.benchmarks.video import Options, as_json, measure_video, to_markdown
    from activesam_ros.model.flops import FusedModelFlops
    from activesam_ros.segmenter import ActiveSegmenter

    torch.set_num_threads(given.threads)
    shared = (given.drives, given.frames, given.rate, given.classes)
    options = (
        Options(*shared, variants=(), floors=(0.0,), change_drives=0) if given.quick else Options(*shared)
    )
    segmenter = ActiveSegmenter.from_pretrained("toytown", device="cpu")
    found = measure_video(segmenter, FusedModelFlops(Sam3Config()), options, _say)
    print(to_markdown(found), end="")
    if given.json:
        given.json.write_text(json.dumps(as_json(found), indent=1) + "\n", encoding="utf-8")
    return 0


def _say(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)
