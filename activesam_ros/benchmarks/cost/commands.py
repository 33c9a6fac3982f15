"""Command lines of the benchmarks of work and speed."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FULL_SIZE_MASKS = 15
"""With random weights no instance passes the usual threshold; a trained model keeps about as many."""
PATH_NAMES = ("plain", "lean", "realtime", "bfloat16", "compiled")


def add_commands(
    names: argparse._SubParsersAction,
    at_least: Callable[[int], Callable[[str], int]],
    size: Callable[[str], tuple[int, int]],
) -> None:
    """Adds `work` and `speed`.

    Args:
        names: where subcommands go.
        at_least: makes the type of a whole number.
        size: the type of WIDTHxHEIGHT.
    """
    work = names.add_parser(
        "work",
        help="counted operations of every way to label an image",
        description="Counts the floating-point operations of SAM 3's published architecture, without weights, for "
        "several vocabularies and image sizes.",
    )
    work.add_argument(
        "--tokens",
        type=at_least(2),
        default=10,
        help="of a prompt: text, context and class token (default: 10)",
    )
    work.add_argument(
        "--kept", type=at_least(1), default=20, help="masks of each decoded prompt (default: 20)"
    )
    work.add_argument("--shown", type=at_least(1), default=11, help="words that a video shows (default: 11)")
    _out(work, "work.md, work.json and work.png")
    work.set_defaults(benchmark=_work)
    speed = names.add_parser(
        "speed",
        help="time and memory of the published path and of ours",
        description="Labels the same images on several paths, each in a process of its own, in turns.",
    )
    which = speed.add_mutually_exclusive_group()
    which.add_argument("--model", default="toytown", help="model folder or hub id (default: the demo model)")
    which.add_argument(
        "--full-size",
        action="store_true",
        help="a SAM 3 of the published size with random weights, made once",
    )
    speed.add_argument(
        "--paths",
        type=_paths,
        help=f"of {', '.join(PATH_NAMES)}; the first is what others are compared with (default: plain,lean, and "
        "realtime unless weights are random)",
    )
    speed.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    speed.add_argument("--dtype", default="auto", help="auto (default), float32 or bfloat16")
    speed.add_argument("--classes", type=at_least(2), default=60, help="of the vocabulary (default: 60)")
    speed.add_argument("--size", type=size, default=(640, 480), help="of the images (default: 640x480)")
    speed.add_argument("--images", type=at_least(1), default=5, help="that are measured (default: 5)")
    speed.add_argument(
        "--cold",
        action="store_true",
        help="measure the first image too, which pays for what later ones reuse (default: one more comes before)",
    )
    speed.add_argument("--threads", type=at_least(1), help="of torch (default: its choice)")
    chosen = speed.add_mutually_exclusive_group()
    chosen.add_argument("--threshold", type=share, help="confidence threshold (default: the usual one)")
    chosen.add_argument(
        "--masks",
        type=at_least(1),
        help="choose the confidence threshold so that each prompt keeps so many (default: the usual threshold, or "
        f"{FULL_SIZE_MASKS} with --full-size)",
    )
    _out(speed, "speed.md and speed.json")
    speed.set_defaults(benchmark=_speed)


def share(text: str) -> float:
    """A command line's number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text}; expected a number from 0 to 1")
    return value


def _out(parser: argparse.ArgumentParser, files: str) -> None:
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"also write {files} there")


def _paths(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in PATH_NAMES:
            raise argparse.ArgumentTypeError(f"{name!r}; expected {', '.join(PATH_NAMES)}")
    if len(set(names)) != len(names):
        raise argparse.ArgumentTypeError(f"{text!r} names a path twice; expected each once")
    return names


def _work(given: argparse.Namespace) -> int:
    # Import torch, after the threads' policy is set.
    from activesam_ros.benchmarks.cost.plots import work_plot
    from activesam_ros.benchmarks.cost.report import work_to_markdown
    from activesam_ros.benchmarks.cost.ways import Inputs
    from activesam_ros.benchmarks.cost.work import count_work

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    found = count_work(Inputs(given.tokens, given.kept, given.shown), _say)
    page = work_to_markdown(found)
    print(page, end="")
    if given.out:
        _write(given.out, "work", page, asdict(found))
        (given.out / "work.png").write_bytes(work_plot(found))
    return 0


def _speed(given: argparse.Namespace) -> int:
    from activesam_ros.benchmarks.cost.report import speed_to_markdown
    from activesam_ros.benchmarks.cost.speed import SpeedOptions, measure_speed
    from activesam_ros.benchmarks.full_size import ensure_random_model, full_size_folder

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    model, masks, called = given.model, given.masks, None
    if given.full_size:
        _say("making sure of the model of full size")
        model = str(ensure_random_model(full_size_folder()))
        if given.threshold is None:
            masks = masks or FULL_SIZE_MASKS
        called = "SAM 3's published size with random weights"
    options = SpeedOptions(
        paths=given.paths or (("plain", "lean") if given.full_size else ("plain", "lean", "realtime")),
        model=model,
        device=given.device,
        dtype=given.dtype,
        classes=given.classes,
        size=given.size,
        images=given.images,
        cold=given.cold,
        threads=given.threads,
        masks=masks,
        threshold=given.threshold,
        called=called,
    )
    found = measure_speed(options, _say)
    page = speed_to_markdown(found)
    print(page, end="")
    if given.out:
        _write(given.out, "speed", page, asdict(found))
    return 0


def _write(folder: Path, name: str, page: str, figures: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(page, encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _say(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)
