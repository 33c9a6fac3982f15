"""Measure what a labelled point cloud takes: making it, and turning it into the bytes that are sent."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from activesam_ros.benchmarks.node_session import describe_machine, milliseconds
from activesam_ros.evaluation.report.formatting import markdown_table
from activesam_ros.ros.conversions import confidence_to_msg, depth_to_msg, ids_to_msg, labels_to_msg
from activesam_ros.ros.point_cloud import CloudMaker
from activesam_ros.ros.point_matcher import LabelledFrame
from activesam_ros.ros.point_parameters import PointParameters
from activesam_ros.ros.toytown_camera import camera_info
from activesam_ros.toytown import CLASSES
from activesam_ros.toytown.world import World
from activesam_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensor_msgs.msg import CameraInfo

_UNLABELED = 255


@dataclass(frozen=True)
class PointsOptions:
    """What to measure, in every combination, dense and organised.

    Attributes:
        sizes: width and height of the images in pixels.
        strides: values of the parameter.
        repeats: of each combination, by turns.
    """

    sizes: tuple[tuple[int, int], ...] = ((640, 480), (1920, 1080))
    strides: tuple[int, ...] = (1, 4)
    repeats: int = 15


@dataclass(frozen=True)
class PointsCost:
    """One combination; seconds of processor time, medians.

    Attributes:
        points: number of them.
        size_bytes: of the message's data.
        make: from the messages of labels, confidence, instances and depth to that of the cloud.
        serialize: from there to bytes, as the middleware does before it sends them.
    """

    size: tuple[int, int]
    stride: int
    organized: bool
    points: int
    size_bytes: int
    make: float
    serialize: float


@dataclass(frozen=True)
class Points:
    """The measurements."""

    machine: str
    options: PointsOptions
    costs: tuple[PointsCost, ...]


def measure_points(options: PointsOptions, say: Callable[[str], None]) -> Points:
    """Make clouds of a frame of Toy Town with everything that belongs to it."""
    costs = []
    for size in options.sizes:
        say(f"{size[0]}x{size[1]}")
        frame, info = _frame(size)
        ways = [
            PointParameters(stride=stride, organized=organized)
            for stride in options.strides
            for organized in (False, True)
        ]
        maker = CloudMaker(say)
        maker.vocabulary = Vocabulary.from_names(CLASSES)
        made: list[list[float]] = [[] for _ in ways]
        serialized: list[list[float]] = [[] for _ in ways]
        clouds = [maker.cloud(frame, info, way) for way in ways]
        for _ in range(options.repeats):
            for number, way in enumerate(ways):
                began = time.process_time()
                clouds[number] = maker.cloud(frame, info, way)
                between = time.process_time()
                serialize_message(clouds[number])
                made[number].append(between - began)
                serialized[number].append(time.process_time() - between)
        costs += [
            PointsCost(
                size,
                way.stride,
                way.organized,
                cloud.width * cloud.height,
                len(cloud.data),
                statistics.median(making),
                statistics.median(serializing),
            )
            for way, cloud, making, serializing in zip(ways, clouds, made, serialized, strict=True)
        ]
    return Points(describe_machine(1), options, tuple(costs))


def _frame(size: tuple[int, int]) -> tuple[LabelledFrame, CameraInfo]:
    world, header = World(0, *size), Header(frame_id="camera")
    rendered = world.render(2.0, measured=True)
    assert rendered.depth is not None
    sure = np.full(rendered.labels.shape, 0.8, np.float32)
    parts = {
        "labels": labels_to_msg(rendered.labels, header),
        "confidence": confidence_to_msg(sure, rendered.labels, _UNLABELED, header),
        "instances": ids_to_msg(rendered.instances, header),
    }
    frame = LabelledFrame(0, parts, depth_to_msg(rendered.depth, header))
    return frame, camera_info(world.camera(2.0), header)


def to_markdown(found: Points) -> str:
    """Format the processor time of each combination, and what is sent."""
    rows = [
        [
            f"{one.size[0]}x{one.size[1]}",
            str(one.stride),
            "organised" if one.organized else "dense",
            str(one.points),
            f"{one.size_bytes / 1e6:.1f}",
            milliseconds(one.make),
            milliseconds(one.serialize),
        ]
        for one in found.costs
    ]
    head = ["size", "stride", "cloud", "points", "MB", "make", "serialise"]
    return (
        f"Machine: {found.machine}. Labels, confidence, instances and depth of one image become a cloud; "
        f"{found.options.repeats} times each, by turns (processor time, ms, medians):\n\n{markdown_table(head, rows)}\n"
    )
