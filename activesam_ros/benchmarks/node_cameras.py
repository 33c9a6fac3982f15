"""Run several cameras on one model: where every frame of each goes, whether one gets less than another, and the batch.

Whether images of several cameras are better labelled together is measured without the node, by turns.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from activesam_ros.benchmarks.inputs import street_images
from activesam_ros.benchmarks.node_session import (
    NodeCounts,
    Traffic,
    describe_machine,
    image_message,
    listed,
    milliseconds,
    node_and_client,
    verdict,
)
from activesam_ros.configuration.configuration import first_configuration
from activesam_ros.errors import SettingsError
from activesam_ros.evaluation.report.formatting import markdown_table
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.toytown import DEMO_CLASSES

if TYPE_CHECKING:
    from pathlib import Path

CAMERAS = ("front", "rear", "left", "right")
_IMAGES = 60
_SETTLE_SECONDS = 10.0


@dataclass(frozen=True)
class CamerasOptions:
    """What to run: number of cameras, rate (Hz) and size (width, height) of their images, seconds, and classes."""

    cameras: int = 2
    rate: float = 10.0
    seconds: float = 30.0
    size: tuple[int, int] = (320, 240)
    model: str = "toytown"
    words: int = len(DEMO_CLASSES)
    threads: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.cameras <= len(CAMERAS):
            raise SettingsError(f"{self.cameras} cameras; expected 1 to {len(CAMERAS)}")


@dataclass(frozen=True)
class LatencyPercentiles:
    """Median and 95th percentile in seconds."""

    p50: float
    p95: float


@dataclass(frozen=True)
class CamerasResult:
    """The measurements by camera.

    Attributes:
        seconds: from the first image to the last.
        traffic: what was sent and came back, with the first images that woke the node.
        latency: from sending an image to its labels.
    """

    machine: str
    options: CamerasOptions
    seconds: float
    traffic: dict[str, Traffic]
    counts: dict[str, NodeCounts]
    latency: dict[str, LatencyPercentiles]

    @property
    def fairness(self) -> float:
        """Labelled frames of the camera with the fewest per labelled frame of that with the most; 1 is fair."""
        labelled = [one.answered for one in self.counts.values()]
        return min(labelled) / max(labelled)

    def complaints(self) -> list[str]:
        """Say which counts do not add up."""
        return [
            f"camera {name}: the counts fail to add up by {counts.unaccounted} frames"
            for name, counts in self.counts.items()
            if counts.unaccounted
        ]


@dataclass(frozen=True)
class BatchResult:
    """Median seconds until the first and the last of some images were labelled, one after the other and together."""

    images: int
    turns_first: float
    turns_last: float
    together_first: float
    together_last: float


def measure_batches(options: CamerasOptions, most: int, repeats: int = 9) -> tuple[BatchResult, ...]:
    """Label 1 to `most` images one after the other and as one batch, as the node would, by turns.

    Args:
        options: of the run with the node, whose model, vocabulary and images are taken.
        most: largest batch.
        repeats: of each, of which the median is taken.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    configuration = first_configuration(_parameters(options))
    segmenter = ActiveSegmenter.from_pretrained(
        options.model, settings=configuration.settings, prompt_cache=None
    )
    segmenter.set_vocabulary(configuration.vocabulary)
    images = street_images(0, _IMAGES, options.size, "batches")
    _label(segmenter, [images[:most]])
    found = []
    for size in tqdm(range(1, most + 1), desc="batches", unit="size"):
        seconds = []
        for number in range(repeats):
            some = [images[(number + index) % len(images)] for index in range(size)]
            turns, together = _label(segmenter, [[one] for one in some]), _label(segmenter, [some])
            seconds.append((turns[0], turns[-1], together[0], together[-1]))
        found.append(BatchResult(size, *(statistics.median(column) for column in zip(*seconds, strict=True))))
    return tuple(found)


def _parameters(options: CamerasOptions) -> dict[str, object]:
    return {"model": options.model, "vocabulary": list(DEMO_CLASSES[: options.words])}


def _label(segmenter: ActiveSegmenter, batches: list[list[np.ndarray]]) -> list[float]:
    """Return the seconds after which each image was labelled."""
    begun = time.perf_counter()
    seconds = []
    for batch in batches:
        for encoded in segmenter.encode_images(batch):
            segmenter.decode(encoded)
            seconds.append(time.perf_counter() - begun)
    return seconds


def measure_cameras(options: CamerasOptions, log_folder: Path | None = None) -> CamerasResult:
    """Send the images of the cameras side by side, best effort and evenly apart.

    Raises:
        ActiveSamError: the node cannot be started or ended early.
    """
    names = CAMERAS[: options.cameras]
    on = describe_machine(options.threads)
    messages = {
        name: [image_message(rgb) for rgb in street_images(seed, _IMAGES, options.size, name)]
        for seed, name in enumerate(names)
    }
    with node_and_client(_parameters(options), names, False, options.threads, log_folder) as session:
        client = session.client
        client.connect({name: some[0] for name, some in messages.items()}, session.node.check)
        frames = max(1, round(options.rate * options.seconds))
        begin = time.perf_counter()
        for number in tqdm(range(frames), desc=f"cameras: {len(names)}", unit="image of each"):
            for index, name in enumerate(names):
                due = begin + (number + index / len(names)) / options.rate
                time.sleep(max(0.0, due - time.perf_counter()))
                client.send(name, messages[name][number % _IMAGES])
            session.node.check()
        seconds = time.perf_counter() - begin
        for name in names:
            # The newest image is labelled last, if it was not lost on its way.
            client.frames.wait_for(name, 0, _SETTLE_SECONDS)
    latency = {
        name: LatencyPercentiles(*map(float, np.percentile(client.frames.latencies(name), (50, 95))))
        for name in names
    }
    traffic = {name: client.frames.traffic(name) for name in names}
    return CamerasResult(on, options, seconds, traffic, session.counts, latency)


def to_markdown(found: tuple[CamerasResult, ...], batches: tuple[BatchResult, ...] = ()) -> str:
    """Format where the frames of each camera went, rates, latency, batches, and a verdict."""
    options = found[0].options
    width, height = options.size
    fairness = ", ".join(f"{one.fairness:.2f} of {one.options.cameras}" for one in found)
    parts = [
        f"Model: {options.model}, {options.words} classes. Machine: {found[0].machine}.",
        f"Cameras of {width}x{height} at {options.rate:g} Hz each for {found[0].seconds:.0f} s, best effort, "
        "the node's own settings:",
        _table(found),
        "By the node's own clock (ms, medians):",
        _stage_table(found),
        f"Fairness: {fairness} (answered frames of the camera with the fewest, per one of that with the most).",
    ]
    if batches:
        parts += [
            "Without the node, images labelled one after the other and together (ms):",
            _batch_table(batches),
        ]
    parts.append(verdict([complaint for one in found for complaint in one.complaints()]))
    return "\n\n".join(parts) + "\n"


def _table(found: tuple[CamerasResult, ...]) -> str:
    rows = []
    for run in found:
        for name, traffic in run.traffic.items():
            counts, latency = run.counts[name], run.latency[name]
            total = f"{counts.answered} + {counts.total_dropped} + {counts.pending} = {counts.received}"
            rows.append(
                [
                    str(run.options.cameras),
                    name,
                    *map(str, (traffic.sent, counts.received, counts.answered)),
                    listed(counts.dropped),
                    str(counts.pending),
                    f"off by {counts.unaccounted}" if counts.unaccounted else total,
                    f"{traffic.labelled / run.seconds:.2f}",
                    milliseconds(latency.p50),
                    milliseconds(latency.p95),
                ]
            )
    header = ["cameras", "camera", "sent", "received", "answered", "dropped", "pending"]
    return markdown_table(
        [*header, "answered + dropped + pending", "answers/s", "latency ms p50", "p95"], rows
    )


def _stage_table(found: tuple[CamerasResult, ...]) -> str:
    parts = ("wait", "convert", "segment", "batch", "publish")
    rows = []
    for run in found:
        for name, counts in run.counts.items():
            seconds = [counts.stages.get(part, 0.0) for part in (*parts, "latency")]
            rows.append([str(run.options.cameras), name, *map(milliseconds, (*seconds, sum(seconds[:-1])))])
    return markdown_table(["cameras", "camera", *parts, "latency", "sum of the stages"], rows)


def _batch_table(batches: tuple[BatchResult, ...]) -> str:
    rows = [
        [
            str(one.images),
            *map(milliseconds, (one.turns_first, one.together_first, one.turns_last, one.together_last)),
            f"{one.together_first / one.turns_first:.2f}",
            f"{one.together_last / one.turns_last:.2f}",
        ]
        for one in batches
    ]
    header = ["images", "first labels: by turns", "together", "last labels: by turns", "together"]
    return markdown_table([*header, "together / by turns, first", "last"], rows)
