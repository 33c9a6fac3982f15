"""What the node adds to the segmenter: conversion, hand-over, publishing and transport."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from activesam_ros.bench.node.pictures import drive
from activesam_ros.bench.node.reference import Reference
from activesam_ros.bench.node.session import describe_machine, greet, node_and_client
from activesam_ros.errors import ActiveSamError
from activesam_ros.toytown.words import DEMO_WORDS

WARM_UP = 2


@dataclass(frozen=True)
class OverheadOptions:
    """How to measure.

    Attributes:
        sizes: of the images, width and height in pixels.
        frames: of each size.
        pictures: different ones among them, in turn.
        model: as for the node.
        words: classes of the vocabulary, at most 60.
        threads: of torch, in the node and in the bare segmenter; None: torch's choice.
    """

    sizes: tuple[tuple[int, int], ...] = ((640, 480), (1280, 720), (1920, 1080))
    frames: int = 60
    pictures: int = 6
    model: str = "toytown"
    words: int = len(DEMO_WORDS)
    threads: int | None = None


@dataclass(frozen=True)
class Overhead:
    """Seconds of one size, medians.

    Attributes:
        size: width and height in pixels.
        frames: images.
        bare: of the segmenter in a process of its own.
        outside: from publishing an image to its labels, in another process.
        added: what `outside` has more than `bare`, picture by picture.
        stages: of the node, as it measures them itself.
    """

    size: tuple[int, int]
    frames: int
    bare: float
    outside: float
    added: float
    stages: dict[str, float]

    @property
    def inside(self) -> float:
        """What the node itself adds, from the arrival of an image to its published labels, by its own clock."""
        return self.stages["latency"] - self.stages["segment"]


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
    return Overheads(on, options, tuple(_measure(options, size, log_folder) for size in options.sizes))


def medians_of_differences(outside: Sequence[Sequence[float]], bare: Sequence[Sequence[float]]) -> float:
    """Median, over the pictures, of the difference of the medians of each.

    Args:
        outside, bare: for every picture, its durations.
    """
    return statistics.median(
        statistics.median(long) - statistics.median(short) for long, short in zip(outside, bare, strict=True)
    )


def _measure(options: OverheadOptions, size: tuple[int, int], log_folder: Path | None) -> Overhead:
    from activesam_ros.bench.node.client import image_message

    name = f"{size[0]}x{size[1]}"
    pictures = drive(0, min(options.pictures, options.frames), size, name)
    parameters = {"model": options.model, "vocabulary": list(DEMO_WORDS[: options.words])}
    outside: list[list[float]] = [[] for _ in pictures]
    bare: list[list[float]] = [[] for _ in pictures]
    with (
        Reference(parameters, pictures, options.threads) as reference,
        node_and_client(
            parameters, [""], False, options.threads, log_folder / name if log_folder else None
        ) as session,
    ):
        messages = [image_message(rgb) for rgb in pictures]
        greet(session, {"": messages[0]})
        for number in range(WARM_UP):
            session.client.ask("", messages[number % len(messages)])
            reference.seconds(number % len(pictures))
        for number in tqdm(range(options.frames), desc=name, unit="image"):
            picture = number % len(pictures)
            session.node.check()
            outside[picture].append(session.client.ask("", messages[picture]))
            bare[picture].append(reference.seconds(picture))
    counts = session.counts[""]
    if counts.answered != counts.received:
        raise ActiveSamError(f"the node answered {counts.answered} of {counts.received} images; read its log")
    return Overhead(
        size=size,
        frames=options.frames,
        bare=statistics.median(seconds for some in bare for seconds in some),
        outside=statistics.median(seconds for some in outside for seconds in some),
        added=medians_of_differences(outside, bare),
        stages=dict(counts.stages),
    )
