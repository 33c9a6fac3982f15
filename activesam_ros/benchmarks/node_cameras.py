"""Run two cameras on one model: where every frame of each goes, and whether one gets less than the other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
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
from activesam_ros.evaluation.report.formatting import markdown_table
from activesam_ros.toytown import DEMO_CLASSES

if TYPE_CHECKING:
    from pathlib import Path

CAMERAS = ("front", "rear")
_IMAGES = 60
_SETTLE_SECONDS = 10.0


@dataclass(frozen=True)
class CamerasOptions:
    """What to run: rate (Hz) and size (width, height) of the images of each camera, seconds, and number of classes."""

    rate: float = 10.0
    seconds: float = 30.0
    size: tuple[int, int] = (320, 240)
    model: str = "toytown"
    words: int = len(DEMO_CLASSES)
    threads: int | None = None


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
        """Labelled frames of the camera with fewer ones per labelled frame of the other; 1 is fair."""
        labelled = [one.answered for one in self.counts.values()]
        return min(labelled) / max(labelled)

    def complaints(self) -> list[str]:
        """Say which counts do not add up."""
        return [
            f"camera {name}: the counts fail to add up by {counts.unaccounted} frames"
            for name, counts in self.counts.items()
            if counts.unaccounted
        ]


def measure_cameras(options: CamerasOptions, log_folder: Path | None = None) -> CamerasResult:
    """Send the images of two cameras side by side, best effort and half a period apart.

    Raises:
        ActiveSamError: the node cannot be started or ended early.
    """
    on = describe_machine(options.threads)
    messages = {
        name: [image_message(rgb) for rgb in street_images(seed, _IMAGES, options.size, name)]
        for seed, name in enumerate(CAMERAS)
    }
    parameters = {"model": options.model, "vocabulary": list(DEMO_CLASSES[: options.words])}
    with node_and_client(parameters, CAMERAS, False, options.threads, log_folder) as session:
        client = session.client
        client.connect({name: some[0] for name, some in messages.items()}, session.node.check)
        frames = max(1, round(options.rate * options.seconds))
        begin = time.perf_counter()
        for number in tqdm(range(frames), desc="two cameras", unit="image of each"):
            for index, name in enumerate(CAMERAS):
                due = begin + (number + index / len(CAMERAS)) / options.rate
                time.sleep(max(0.0, due - time.perf_counter()))
                client.send(name, messages[name][number % _IMAGES])
            session.node.check()
        seconds = time.perf_counter() - begin
        for name in CAMERAS:
            # The newest image is labelled last, if it was not lost on its way.
            client.frames.wait_for(name, 0, _SETTLE_SECONDS)
    latency = {
        name: LatencyPercentiles(*map(float, np.percentile(client.frames.latencies(name), (50, 95))))
        for name in CAMERAS
    }
    traffic = {name: client.frames.traffic(name) for name in CAMERAS}
    return CamerasResult(on, options, seconds, traffic, session.counts, latency)


def to_markdown(found: CamerasResult) -> str:
    """Format where the frames of each camera went, rates, latency, and a verdict."""
    options = found.options
    width, height = options.size
    parts = [
        f"Model: {options.model}, {options.words} classes. Machine: {found.machine}.",
        f"Two cameras, {width}x{height} at {options.rate:g} Hz each for {found.seconds:.0f} s, best effort, "
        "the node's own settings:",
        _table(found),
        f"Fairness: {found.fairness:.2f} (answered frames of the one with fewer, per answered frame of the other).",
        verdict(found.complaints()),
    ]
    return "\n\n".join(parts) + "\n"


def _table(found: CamerasResult) -> str:
    rows = []
    for name, traffic in found.traffic.items():
        counts, latency = found.counts[name], found.latency[name]
        total = f"{counts.answered} + {counts.total_dropped} + {counts.pending} = {counts.received}"
        rows.append(
            [
                name,
                *map(str, (traffic.sent, counts.received, counts.answered)),
                listed(counts.dropped),
                str(counts.pending),
                f"off by {counts.unaccounted}" if counts.unaccounted else total,
                f"{traffic.labelled / found.seconds:.2f}",
                milliseconds(latency.p50),
                milliseconds(latency.p95),
            ]
        )
    header = ["camera", "sent", "received", "answered", "dropped", "pending", "answered + dropped + pending"]
    return markdown_table([*header, "answers/s", "latency ms p50", "p95"], rows)
