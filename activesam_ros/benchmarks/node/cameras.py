"""Two cameras on one model: where every frame of each goes, and whether one gets less than the other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from activesam_ros.benchmarks.node.pictures import drive
from activesam_ros.benchmarks.node.session import describe_machine, greet, node_and_client
from activesam_ros.ros.latency import Percentiles
from activesam_ros.toytown import DEMO_CLASSES

if TYPE_CHECKING:
    from pathlib import Path

    from activesam_ros.benchmarks.node.counts import NodeCounts
    from activesam_ros.benchmarks.node.ledger import Traffic

CAMERAS = ("front", "rear")
_PICTURES = 60
_SETTLE_SECONDS = 10.0


@dataclass(frozen=True)
class CamerasOptions:
    """How to run two cameras.

    Attributes:
        rate: images a second of each.
        seconds: how long.
        size: of the images, width and height in pixels.
        model: as for the node.
        words: classes of the vocabulary, at most 60.
        threads: of the node's torch; None: its choice.
    """

    rate: float = 10.0
    seconds: float = 30.0
    size: tuple[int, int] = (320, 240)
    model: str = "toytown"
    words: int = len(DEMO_CLASSES)
    threads: int | None = None


@dataclass(frozen=True)
class Cameras:
    """What came of it.

    Attributes:
        machine: on what.
        options: how.
        seconds: from the first image to the last.
        traffic: what was sent and came back, by camera, the first images that woke the node included.
        counts: what the node says, by camera.
        latency: seconds from sending an image to its labels, by camera.
    """

    machine: str
    options: CamerasOptions
    seconds: float
    traffic: dict[str, Traffic]
    counts: dict[str, NodeCounts]
    latency: dict[str, Percentiles]

    @property
    def fairness(self) -> float:
        """Answers of the camera with the fewer ones per answer of the other; 1 is fair."""
        answered = [one.answered for one in self.counts.values()]
        return min(answered) / max(answered)

    def complaints(self) -> list[str]:
        """What is not as it should be: counts that do not add up."""
        found = []
        for name, counts in self.counts.items():
            if counts.unaccounted:
                found.append(f"camera {name}: the counts fail to add up by {counts.unaccounted} frames")
        return found


def measure_cameras(options: CamerasOptions, log_folder: Path | None = None) -> Cameras:
    """Sends the images of two cameras side by side, best effort and half a period apart.

    Args:
        options: how.
        log_folder: where the node's log goes; None: nowhere that stays.

    Raises:
        ActiveSamError: the node cannot be started or ended early.
    """
    from activesam_ros.benchmarks.node.client import image_message

    on = describe_machine(options.threads)
    pictures = {
        name: [image_message(rgb) for rgb in drive(seed, _PICTURES, options.size, name)]
        for seed, name in enumerate(CAMERAS)
    }
    parameters = {"model": options.model, "vocabulary": list(DEMO_CLASSES[: options.words])}
    with node_and_client(parameters, CAMERAS, False, options.threads, log_folder) as session:
        client = session.client
        greet(session, {name: messages[0] for name, messages in pictures.items()})
        frames = max(1, round(options.rate * options.seconds))
        begin = time.perf_counter()
        for number in tqdm(range(frames), desc="two cameras", unit="image of each"):
            for index, name in enumerate(CAMERAS):
                due = begin + (number + index / len(CAMERAS)) / options.rate
                time.sleep(max(0.0, due - time.perf_counter()))
                client.send(name, pictures[name][number % _PICTURES])
            session.node.check()
        seconds = time.perf_counter() - begin
        for name in CAMERAS:
            # The newest image is answered last, if it was not lost on its way.
            client.ledger.wait_for(name, 0, _SETTLE_SECONDS)
    latency = {name: _percentiles(client.ledger.latencies(name)) for name in CAMERAS}
    traffic = {name: client.ledger.traffic(name) for name in CAMERAS}
    return Cameras(on, options, seconds, traffic, session.counts, latency)


def _percentiles(durations: list[float]) -> Percentiles:
    return Percentiles(*map(float, np.percentile(durations, (50, 95))))
