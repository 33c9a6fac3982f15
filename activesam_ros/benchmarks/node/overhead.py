"""What the node adds to the segmenter: conversion, hand-over, publishing and transport."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tqdm import tqdm

from activesam_ros.benchmarks.node.echo import Echo
from activesam_ros.benchmarks.node.pictures import drive
from activesam_ros.benchmarks.node.reference import Reference
from activesam_ros.benchmarks.node.session import (
    START_SECONDS,
    client_for,
    describe_machine,
    greet,
    node_and_client,
)
from activesam_ros.toytown import DEMO_CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np

LIGHT = {"vocabulary": ["road"], "full_resolution": 64, "preview_resolution": 32}
"""Parameters with which the model takes next to no time; images are handled as with any others."""
LIGHT_REPEATS = 5
"""So many times as many images as of the whole model; they are quick."""
_WARM_UP = 4


@dataclass(frozen=True)
class OverheadOptions:
    """How to measure.

    Attributes:
        sizes: of the images, width and height in pixels.
        frames: of each size with the whole model.
        pictures: different ones among them, in turn.
        model: as for the node.
        words: classes of the vocabulary, at most 60.
        threads: of torch, in the node and in the bare segmenter; None: torch's choice.
    """

    sizes: tuple[tuple[int, int], ...] = ((640, 480), (1280, 720), (1920, 1080))
    frames: int = 60
    pictures: int = 6
    model: str = "toytown"
    words: int = len(DEMO_CLASSES)
    threads: int | None = None


@dataclass(frozen=True)
class Comparison:
    """Seconds through the node and without it: of each picture one figure of its repeats, and the median of those.

    Attributes:
        bare: of the segmenter in a process of its own.
        outside: from publishing an image to its labels, in another process.
        added: what `outside` has more than `bare`, picture by picture.
        stages: of the node, as it measures them itself; medians of all images.
    """

    bare: float
    outside: float
    added: float
    stages: dict[str, float]

    @property
    def handling(self) -> float:
        """What the node itself adds by its own clock: waiting for the worker, conversion and publishing."""
        return sum(self.stages[name] for name in ("wait", "convert", "publish"))


@dataclass(frozen=True)
class Overhead:
    """What was measured of one size.

    Attributes:
        size: width and height in pixels.
        whole: with the vocabulary and the model's own resolution; each picture by the median of its repeats.
        light: with `LIGHT`, under which the overhead is not buried under the noise of a long computation; each
            picture by the quickest of its repeats, since other work on the machine only ever adds.
        transport: seconds from publishing an image to its labels where nothing is done in between: what the
            middleware takes from and to Python; each picture by the quickest of its repeats.
    """

    size: tuple[int, int]
    whole: Comparison
    light: Comparison
    transport: float


@dataclass(frozen=True)
class Overheads:
    """What came of it: machine, options and the figures of each size."""

    machine: str
    options: OverheadOptions
    sizes: tuple[Overhead, ...]


def measure_overhead(options: OverheadOptions, log_folder: Path | None = None) -> Overheads:
    """Gives the same pictures to the node and to the bare segmenter by turns, one at a time.

    Args:
        options: how.
        log_folder: where the node's logs go, in a folder for each size; None: nowhere that stays.

    Raises:
        ActiveSamError: the node or the segmenter cannot be started, or ended early.
    """
    on = describe_machine(options.threads)
    sizes = []
    for size in options.sizes:
        name = f"{size[0]}x{size[1]}"
        pictures = drive(0, min(options.pictures, options.frames), size, name)
        whole = {"model": options.model, "vocabulary": list(DEMO_CLASSES[: options.words])}
        light = {"model": options.model, **LIGHT}
        folder = log_folder / name if log_folder else None
        threads, many = options.threads, LIGHT_REPEATS * options.frames
        sizes.append(
            Overhead(
                size,
                _compare(
                    name,
                    whole,
                    pictures,
                    options.frames,
                    threads,
                    statistics.median,
                    folder and folder / "whole",
                ),
                _compare(f"{name}, light", light, pictures, many, threads, min, folder and folder / "light"),
                _transport(pictures, many),
            )
        )
    return Overheads(on, options, tuple(sizes))


def compared(
    outside: Sequence[Sequence[float]],
    bare: Sequence[Sequence[float]],
    of: Callable[[Sequence[float]], float],
    stages: Mapping[str, float],
) -> Comparison:
    """The comparison of durations.

    Args:
        outside, bare: for every picture, its durations.
        of: the figure of the durations of one picture, such as `min`.
        stages: see `Comparison`.
    """
    long, short = [of(some) for some in outside], [of(some) for some in bare]
    added = [one - other for one, other in zip(long, short, strict=True)]
    return Comparison(*map(statistics.median, (short, long, added)), dict(stages))


def _compare(
    name: str,
    parameters: dict[str, object],
    pictures: Sequence[np.ndarray],
    frames: int,
    threads: int | None,
    of: Callable[[Sequence[float]], float],
    log_folder: Path | None,
) -> Comparison:
    from activesam_ros.benchmarks.node.client import image_message

    outside: list[list[float]] = [[] for _ in pictures]
    bare: list[list[float]] = [[] for _ in pictures]
    with (
        Reference(parameters, pictures, threads) as reference,
        node_and_client(parameters, [""], False, threads, log_folder) as session,
    ):
        messages = [image_message(rgb) for rgb in pictures]
        greet(session, {"": messages[0]})
        for number in range(_WARM_UP):
            session.client.ask("", messages[number % len(messages)])
            reference.seconds(number % len(pictures))
        for number in tqdm(range(frames), desc=name, unit="image"):
            picture = number % len(pictures)
            session.node.check()
            outside[picture].append(session.client.ask("", messages[picture]))
            bare[picture].append(reference.seconds(picture))
    return compared(outside, bare, of, session.counts[""].stages)


def _transport(pictures: Sequence[np.ndarray], frames: int) -> float:
    from activesam_ros.benchmarks.node.client import image_message

    messages = [image_message(rgb) for rgb in pictures]
    seconds: list[list[float]] = [[] for _ in pictures]
    with Echo() as echo, client_for([""], False) as client:
        client.connect({"": messages[0]}, echo.check, START_SECONDS)
        for number in range(frames):
            # As many images a second as a node answers under a light load.
            time.sleep(0.05)
            picture = number % len(messages)
            seconds[picture].append(client.ask("", messages[picture]))
    return statistics.median(min(some) for some in seconds)
