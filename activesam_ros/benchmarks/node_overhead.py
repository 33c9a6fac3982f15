"""Measure what the node adds to the segmenter: conversion, hand-over, publishing and transport."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from activesam_ros.benchmarks.inputs import street_images
from activesam_ros.benchmarks.node_session import (
    NODE,
    client_for,
    describe_machine,
    image_message,
    milliseconds,
    node_and_client,
)
from activesam_ros.benchmarks.subprocesses import Subprocess
from activesam_ros.configuration.configuration import first_configuration
from activesam_ros.evaluation.report.formatting import markdown_table
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.toytown import DEMO_CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

LIGHT = {"vocabulary": ["road"], "full_resolution": 64, "preview_resolution": 32}
"""Parameters with which the model takes almost no time; images are handled as with any others."""
LIGHT_REPEATS = 5
"""How many times more images are measured with `LIGHT`."""
_WARM_UP = 4
_SECONDS_BETWEEN_ECHOES = 0.05  # As many images a second as a node labels under a light load.

Durations = list[list[float]]
"""Seconds of the repeats of each image."""


@dataclass(frozen=True)
class OverheadOptions:
    """What to measure.

    Attributes:
        sizes: width and height of the images in pixels.
        frames: number of images of each size with the whole model.
        pictures: number of different images among them, in turn.
        words: number of classes of the vocabulary, at most 60.
        threads: of torch, in the node and in the bare segmenter; None: torch's choice.
    """

    sizes: tuple[tuple[int, int], ...] = ((640, 480), (1280, 720), (1920, 1080))
    frames: int = 60
    pictures: int = 6
    model: str = "toytown"
    words: int = len(DEMO_CLASSES)
    threads: int | None = None


@dataclass(frozen=True)
class AddedLatency:
    """Seconds with and without the node: medians over the images of one figure per image.

    Attributes:
        bare: of the segmenter in a process of its own.
        outside: from publishing an image to its labels, in another process.
        added: difference of the two, image by image.
        stages: of the node by its own clock; medians of all images.
    """

    bare: float
    outside: float
    added: float
    stages: dict[str, float]

    @property
    def handling(self) -> float:
        """What the node itself adds by its own clock: waiting for the worker, conversion and publishing."""
        return sum(self.stages[name] for name in ("wait", "convert", "publish"))

    @classmethod
    def of(
        cls,
        outside: Durations,
        bare: Durations,
        figure: Callable[[Sequence[float]], float],
        stages: Mapping[str, float],
    ) -> AddedLatency:
        """Compare durations; `figure`, such as `min`, summarizes the repeats of one image."""
        long, short = [figure(some) for some in outside], [figure(some) for some in bare]
        added = [one - other for one, other in zip(long, short, strict=True)]
        median = statistics.median
        return cls(median(short), median(long), median(added), dict(stages))


@dataclass(frozen=True)
class InstanceCost:
    """What it takes that detections and both images of ids are subscribed, with the whole model.

    Attributes:
        number: of instances in an image, on average.
        bare: seconds of the segmenter without instances, and `added`: how much longer it takes with them; medians over
            the images of the medians of each image's repeats, which come by turns.
        publish: the node's seconds of publishing by its own clock, with labels, detections and both images of ids.
        published: the same with labels alone.
    """

    number: float
    bare: float
    added: float
    publish: float
    published: float


@dataclass(frozen=True)
class SizeOverhead:
    """The measurements of one image size.

    Attributes:
        size: width and height in pixels.
        whole: with the vocabulary and the model's own resolution; each image by the median of its repeats.
        light: with `LIGHT`, so that the noise of a long computation does not bury the overhead; each image by the
            minimum of its repeats, since other work on the machine only ever adds.
        transport: seconds from publishing an image to its labels where nothing is done in between: what the
            middleware takes from and to Python; each image by the minimum of its repeats.
        instances: what instances take, if they are subscribed.
    """

    size: tuple[int, int]
    whole: AddedLatency
    light: AddedLatency
    transport: float
    instances: InstanceCost


@dataclass(frozen=True)
class OverheadResult:
    """The measurements of all sizes."""

    machine: str
    options: OverheadOptions
    sizes: tuple[SizeOverhead, ...]


class BareSegmenter:
    """Times `segment` with the settings that the node derives from the same parameters."""

    def __init__(self, parameters: Mapping[str, Any], images: Sequence[np.ndarray]) -> None:
        configuration = first_configuration(parameters)
        self._images = images
        self._segmenter = ActiveSegmenter.from_pretrained(
            parameters["model"], settings=configuration.settings, prompt_cache=None
        )
        self._segmenter.set_vocabulary(configuration.vocabulary)

    def seconds(self, image: int, instances: bool = False) -> float:
        """Segment an image by number; return the seconds that took."""
        begin = time.perf_counter()
        self._segmenter.segment(self._images[image], instances=instances)
        return time.perf_counter() - begin

    def number_of_instances(self, image: int) -> int:
        """Return the number of instances in an image."""
        return len(self._segmenter.segment(self._images[image]).instances or ())


class EchoNode:
    """Publishes blank labels of the size of every image, on the node's topics, without a segmenter."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.signals import SignalHandlerOptions
        from sensor_msgs.msg import Image
        from std_msgs.msg import Header

        from activesam_ros.ros import qos
        from activesam_ros.ros.conversions import labels_to_msg

        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("echo")
        labels = self._node.create_publisher(Image, f"{NODE}/labels", qos.results_out())
        blank: dict[tuple[int, int], Image] = {}

        def echo(message: Image) -> None:
            size = (message.height, message.width)
            if size not in blank:
                blank[size] = labels_to_msg(np.zeros(size, np.uint8), Header())
            blank[size].header = message.header
            labels.publish(blank[size])

        self._node.create_subscription(Image, "image", echo, qos.image_in("newest"))
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, name="echo", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Do nothing; a call fails if the process has ended."""

    def close(self) -> None:
        """Leave DDS."""
        import rclpy

        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown()


def measure_overhead(options: OverheadOptions, log_folder: Path | None = None) -> OverheadResult:
    """Give the same images to the node and to the bare segmenter by turns, one at a time.

    Raises:
        ActiveSamError: the node or the segmenter cannot be started, or ended early.
    """
    on = describe_machine(options.threads)
    whole = {"model": options.model, "vocabulary": list(DEMO_CLASSES[: options.words])}
    light = {"model": options.model, **LIGHT}
    threads, many = options.threads, LIGHT_REPEATS * options.frames
    sizes = []
    for size in options.sizes:
        name = f"{size[0]}x{size[1]}"
        images = street_images(0, min(options.pictures, options.frames), size, name)
        folder = log_folder / name if log_folder else None
        outside, bare, stages = _durations(
            name, whole, images, options.frames, threads, folder and folder / "whole"
        )
        with_whole = AddedLatency.of(outside, bare, statistics.median, stages)
        outside, bare, stages = _durations(
            f"{name}, light", light, images, many, threads, folder and folder / "light"
        )
        with_light = AddedLatency.of(outside, bare, min, stages)
        transport = measure_transport(images, many)
        place = folder and folder / "instances"
        cost = _instance_cost(f"{name}, instances", whole, images, options.frames, threads, place, with_whole)
        sizes.append(SizeOverhead(size, with_whole, with_light, transport, cost))
    return OverheadResult(on, options, tuple(sizes))


def _durations(
    title: str,
    parameters: Mapping[str, object],
    images: Sequence[np.ndarray],
    frames: int,
    threads: int | None,
    log_folder: Path | None,
) -> tuple[Durations, Durations, Mapping[str, float]]:
    """Return the durations through the node and without it, and the node's own stages."""
    outside: Durations = [[] for _ in images]
    bare: Durations = [[] for _ in images]
    with (
        Subprocess(BareSegmenter, parameters, images, threads=threads) as segmenter,
        node_and_client(parameters, [""], False, threads, log_folder) as session,
    ):
        messages = [image_message(rgb) for rgb in images]
        session.client.connect({"": messages[0]}, session.node.check)
        for number in range(_WARM_UP):
            session.client.request_labels("", messages[number % len(images)])
            segmenter.call("seconds", number % len(images))
        for number in tqdm(range(frames), desc=title, unit="image"):
            image = number % len(images)
            session.node.check()
            outside[image].append(session.client.request_labels("", messages[image]))
            bare[image].append(segmenter.call("seconds", image))
    return outside, bare, session.counts[""].stages


def _instance_cost(
    title: str,
    parameters: Mapping[str, object],
    images: Sequence[np.ndarray],
    frames: int,
    threads: int | None,
    log_folder: Path | None,
    without: AddedLatency,
) -> InstanceCost:
    """Measure the segmenter with and without instances by turns, and a node from which all is subscribed."""
    bare: Durations = [[] for _ in images]
    asked: Durations = [[] for _ in images]
    with (
        Subprocess(BareSegmenter, parameters, images, threads=threads) as segmenter,
        node_and_client(parameters, [""], False, threads, log_folder, instances=True) as session,
    ):
        messages = [image_message(rgb) for rgb in images]
        session.client.connect({"": messages[0]}, session.node.check)
        number = statistics.mean(segmenter.call("number_of_instances", image) for image in range(len(images)))
        for turn in tqdm(range(frames), desc=title, unit="image"):
            image = turn % len(images)
            session.node.check()
            session.client.request_labels("", messages[image])
            for seconds, instances in ((bare, False), (asked, True)):
                seconds[image].append(segmenter.call("seconds", image, instances))
    figures = AddedLatency.of(asked, bare, statistics.median, session.counts[""].stages)
    return InstanceCost(
        number, figures.bare, figures.added, figures.stages["publish"], without.stages["publish"]
    )


def measure_transport(images: Sequence[np.ndarray], frames: int) -> float:
    """Return the median over the images of the minimum seconds from publishing one to its echoed labels."""
    messages = [image_message(rgb) for rgb in images]
    seconds: Durations = [[] for _ in images]
    with client_for([""], False) as client, Subprocess(EchoNode) as echo:
        client.connect({"": messages[0]}, lambda: echo.call("check"))
        for number in range(frames):
            time.sleep(_SECONDS_BETWEEN_ECHOES)
            image = number % len(messages)
            seconds[image].append(client.request_labels("", messages[image]))
        echo.call("close")
    return statistics.median(min(some) for some in seconds if some)


def to_markdown(found: OverheadResult) -> str:
    """Format what the node adds for each size, from outside and by its own clock."""
    options = found.options
    parts = [
        f"Model: {options.model}, {options.words} classes. Machine: {found.machine}.",
        "From outside: publishing an image until its labels are there, in another process, less the bare segmenter on "
        f"the same image; {options.frames} images of each size, by turns (ms, medians). Light: one class at "
        f"{LIGHT['full_resolution']} pixels, {LIGHT_REPEATS} times as many images, and the quickest of each image's "
        "repeats, so that neither the noise of a long computation nor other work buries the overhead. Transport: of "
        "that overhead, what images and labels take without a node, from Python to Python:",
        _outside_table(found),
        "By the node's own clock (ms, medians); the overhead is wait, convert and publish, without the transport:",
        _stage_table(found),
        "With `~/detections`, `~/instances` and `~/panoptic` subscribed as well (ms, medians): the segmenter without "
        "and with instances by turns, and what the node publishes, by its own clock:",
        _instance_table(found),
    ]
    return "\n\n".join(parts) + "\n"


def _outside_table(found: OverheadResult) -> str:
    rows = []
    for one in found.sizes:
        loads = [(load.bare, load.outside, load.added) for load in (one.whole, one.light)]
        cells = [milliseconds(value) for value in (*loads[0], *loads[1], one.transport)]
        rows.append([f"{one.size[0]}x{one.size[1]}", *cells, f"{one.light.added / one.whole.bare:.1%}"])
    load = ["bare segmenter", "through the node", "overhead"]
    light = [f"light: {name}" for name in load]
    return markdown_table(["size", *load, *light, "transport", "light overhead / bare segmenter"], rows)


def _stage_table(found: OverheadResult) -> str:
    stages = ["wait", "convert", "publish", "segment", "latency"]
    rows = []
    for one in found.sizes:
        times = [milliseconds(one.whole.stages[name]) for name in stages]
        share = one.whole.handling / one.whole.stages["segment"]
        rows.append(
            [f"{one.size[0]}x{one.size[1]}", *times, milliseconds(one.whole.handling), f"{share:.1%}"]
        )
    return markdown_table(["size", *stages, "overhead", "of the segmenter's time"], rows)


def _instance_table(found: OverheadResult) -> str:
    rows = []
    for one in found.sizes:
        cost = one.instances
        times = (cost.bare, cost.added, cost.published, cost.publish, cost.publish - cost.published)
        share = (cost.added + cost.publish - cost.published) / cost.bare
        rows.append(
            [
                f"{one.size[0]}x{one.size[1]}",
                f"{cost.number:.0f}",
                *(milliseconds(value) for value in times),
                f"{share:.1%}",
            ]
        )
    head = ["size", "instances", "bare segmenter", "added", "publish labels", "publish all", "added"]
    return markdown_table([*head, "of the segmenter's time"], rows)
