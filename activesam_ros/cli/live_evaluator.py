"""The node `evaluator`: compares the labels of the running node with ground truth, and writes a report."""

from __future__ import annotations

import json
import shlex
import sys
import threading
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.parameter import parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from activesam_ros.cli.frame_sync import FrameSync, MatchedFrame
from activesam_ros.configuration.configuration import settings_of
from activesam_ros.datasets.class_map import (
    ClassMap,
    ClassMatching,
    match_classes,
    read_class_map,
    read_mapping,
)
from activesam_ros.datasets.samples import decode_sample
from activesam_ros.errors import EvaluationError, ImageError
from activesam_ros.evaluation.live import LiveRun, describe_live_run, require_free
from activesam_ros.evaluation.run_folder import RunFolder
from activesam_ros.evaluation.scoring import FrameCost, FrameLabels
from activesam_ros.images.raw import image_to_ids
from activesam_ros.msg import ActiveClasses, Vocabulary
from activesam_ros.ros import qos
from activesam_ros.ros.conversions import (
    active_classes_from_msg,
    class_names_from_msg,
    to_nanoseconds,
    vocabulary_from_msg,
)
from activesam_ros.ros.program import ProgramNode, callbacks_of, declare_group, run_program, wait_for_any
from activesam_ros.ros.replay import ReplayEnd, replay_end_from_msg
from activesam_ros.settings import SegmenterSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rclpy.task import Future

NODE = "activesam"

_TOPICS = (
    "image",
    "ground_truth/labels",
    "ground_truth/label_info",
    f"{NODE}/labels",
    f"{NODE}/active_classes",
    f"{NODE}/vocabulary",
    "replay/ended",
)
_PULSE_SECONDS = 0.5
_SAY_SECONDS = 5.0
# After the player's end, labels that are still on their way get so long.
_SETTLE_SECONDS = 10.0
_MODEL = ("model", "device", "dtype")
_SETTINGS = tuple(field.name for field in fields(SegmenterSettings))
_DEPTH = 100


@dataclass(frozen=True)
class EvaluatorParameters:
    """What is compared with what; each field is a parameter of this name.

    Attributes:
        out: folder of the report.
        overwrite: whether an evaluation that is there may be removed.
        bag: path of the recording, for the report alone.
        start, end: seconds of it that are played, for the report alone; an end of 0: up to its end.
        command: that repeats the run, for the report alone; empty: the one that starts this node with its parameters.
        ground_truth: whether there is any.
        classes: YAML file with the names of its classes; empty: they come on `ground_truth/label_info`.
        map: YAML file, names in the ground truth to names in the vocabulary; empty: none.
        ignore: ids of the ground truth to leave out.
        tolerance: seconds between the stamps of an image and of its truth.
    """

    out: str = "evaluation"
    overwrite: bool = False
    bag: str = ""
    start: float = 0.0
    end: float = 0.0
    command: str = ""
    ground_truth: bool = True
    classes: str = ""
    map: str = ""
    ignore: tuple[int, ...] = ()
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        """Raise EvaluationError if a value is out of range."""
        if not self.tolerance >= 0:
            raise EvaluationError(f"tolerance is {self.tolerance:g}; expected seconds, at least 0")


class _Stamped(NamedTuple):
    """A message, and when it was published, in nanoseconds; 0: the middleware does not tell."""

    message: Any
    published: int


class Evaluator(ProgramNode):
    """The node `evaluator`.

    Listens to `image` or `image/compressed`, `ground_truth/labels` (or that with `/compressed`),
    `ground_truth/label_info`, `activesam/labels`, `activesam/active_classes`, `activesam/vocabulary` and
    `replay/ended`. Publishes on `~/seen` the headers of the images that it has taken, so that a player can wait for it.
    It takes images once it knows vocabulary, settings and true classes. All but `report` is for the executor's thread.

    Attributes:
        finished: set once the replay has ended and every image is evaluated.
    """

    def __init__(self, **node_options: object) -> None:
        """Declare the parameters and subscribe.

        Args:
            node_options: for `rclpy.node.Node`.

        Raises:
            EvaluationError: a parameter is out of range, or the folder holds an evaluation.
        """
        super().__init__("evaluator", **node_options)
        self._given = declare_group(self, EvaluatorParameters, nothing={"ignore": -1})
        self._mapping = read_mapping(Path(self._given.map).expanduser()) if self._given.map else None
        self._class_map: ClassMap | None = None
        if self._given.ground_truth and self._given.classes:
            self._class_map = read_class_map(Path(self._given.classes).expanduser())
        self._folder = RunFolder(Path(self._given.out).expanduser())
        require_free(self._folder.path, self._given.overwrite)
        self.finished = threading.Event()
        self._end: ReplayEnd | None = None
        self._vocabulary: Vocabulary | None = None
        self._revision = 0
        self._node_values: dict[str, Any] | None = None
        self._asked: Future | None = None
        self._run: LiveRun | None = None
        tolerance = round(self._given.tolerance * 1e9)
        self._sync = FrameSync(tolerance, self._given.ground_truth)
        self._labelled_at = 0
        self._heard = self._said = time.monotonic()

        results = QoSProfile(depth=_DEPTH)
        self._seen = self.create_publisher(Header, "~/seen", _DEPTH)
        self.create_subscription(Image, f"{NODE}/labels", self._on_labels, results)
        self.create_subscription(ActiveClasses, f"{NODE}/active_classes", self._on_active, results)
        self.create_subscription(DiagnosticStatus, "replay/ended", self._on_ended, qos.latched_out())
        if self._given.ground_truth:
            self._truth_info = self.resolve_topic_name("ground_truth/label_info")
            self._subscribe_images("ground_truth/labels", self._on_truth)
            self.create_subscription(LabelInfo, self._truth_info, self._on_label_info, qos.latched_out())
        self._parameter_client = AsyncParameterClient(self, NODE)
        # Last: subscriptions are discovered in this order. Once the vocabulary has come, labels will not be missed.
        self.create_subscription(Vocabulary, f"{NODE}/vocabulary", self._on_vocabulary, qos.latched_out())
        self.create_timer(_PULSE_SECONDS, self._pulse, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def frames(self) -> int:
        """Number of images that were judged."""
        return 0 if self._run is None else self._run.frames

    def report(self, interrupted: bool) -> tuple[Path, str]:
        """Write the report of what was done; once the callbacks are over.

        Args:
            interrupted: whether more images were to come.

        Returns:
            the path of the page, and the headline as plain text.

        Raises:
            EvaluationError: nothing was done.
        """
        if self._run is None:
            raise EvaluationError(f"no image was judged: the replay ended before there was {self._lacking()}")
        if interrupted:
            for frame in [*self._sync.ready(), *self._sync.answered_rest()]:
                self._judge(self._run, frame)
        self._run.__exit__(None, None, None)
        notes = [] if self._end is None else list(self._end.notes)
        if interrupted:
            notes.insert(
                0, "The run was interrupted; this is about the images that were labelled until then."
            )
        return self._run.finalize(notes)

    # Preparation.

    def _lacking(self) -> str | None:
        """Return what has to be known before images are taken."""
        if self._vocabulary is None:
            return f"the vocabulary of the node on {self.resolve_topic_name(NODE)}/vocabulary"
        if self._node_values is None:
            return f"the parameters of the node {self.resolve_topic_name(NODE)}"
        if self._given.ground_truth and self._class_map is None:
            return f"the names of the true classes on {self._truth_info} (or set classes to a file with them)"
        return None

    def _ask_for_parameters(self) -> None:
        if self._asked is None and self._parameter_client.services_are_ready():
            self._asked = self._parameter_client.get_parameters([*_MODEL, *_SETTINGS])
        if self._asked is not None and self._asked.done():
            values = map(parameter_value_to_python, self._asked.result().values)
            self._node_values = dict(zip((*_MODEL, *_SETTINGS), values, strict=True))

    def _begin(self, message: Vocabulary, values: dict[str, Any]) -> None:
        vocabulary = vocabulary_from_msg(message)
        matching: ClassMatching | None = None
        if self._class_map is not None:
            matching = match_classes(vocabulary, self._class_map.ignoring(self._given.ignore), self._mapping)
        model = {name: values[name] for name in _MODEL}
        image_topic = self.resolve_topic_name("image")
        recording = {
            "path": self._given.bag or image_topic,
            "image_topic": image_topic,
            "labels_topic": self.resolve_topic_name("ground_truth/labels")
            if self._given.ground_truth
            else None,
            "class_map": self._given.classes or None,
            "ignore": list(self._given.ignore),
            "tolerance": self._given.tolerance,
            "start": self._given.start or None,
            "end": self._given.end or None,
        }
        description = describe_live_run(
            recording={**recording, "played": "to the running node"},
            model={"name": model.pop("model"), **model},
            vocabulary=vocabulary,
            matching=matching,
            settings=settings_of(values),
            command=self._given.command or self._own_command(),
        )
        # A run without frames may be there; any other was refused at the start, unless it may be overwritten.
        self._folder.begin(description, overwrite=True)
        self._run = LiveRun(self._folder, vocabulary, matching).__enter__()
        self._subscribe_images("image", self._on_image)
        self.get_logger().info(
            f"{len(vocabulary)} classes, {len(matching.classes) if matching else 'none'} of them evaluated; images "
            f"from {image_topic}"
        )

    def _own_command(self) -> str:
        defaults = EvaluatorParameters()
        parameters = {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in fields(EvaluatorParameters)
            if (value := getattr(self._given, field.name)) != getattr(defaults, field.name)
        }
        namespace = self.get_namespace()
        remappings = {} if namespace == "/" else {"__ns": namespace}
        for name in _TOPICS:
            resolved = self.resolve_topic_name(name)
            if resolved != f"{namespace.rstrip('/')}/{name}":
                remappings[name] = resolved
        return command_line(parameters, remappings)

    def _subscribe_images(self, name: str, callback: Any) -> None:
        """Raw and compressed; whichever comes."""
        topic = self.resolve_topic_name(name)
        profile = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)
        with qos.overrides_checked():
            for kind, full in ((Image, topic), (CompressedImage, f"{topic}/compressed")):
                self.create_subscription(
                    kind, full, callback, profile, qos_overriding_options=qos.overriding()
                )

    # Callbacks. rclpy hands the message's info to those that take exactly two arguments.

    def _on_vocabulary(self, message: Vocabulary) -> None:
        if self._run is None:
            self._vocabulary, self._revision = message, message.revision
        elif message.revision != self._revision:
            self.get_logger().warning(
                f"the node has another vocabulary now (revision {message.revision}); images labelled with it are not "
                "evaluated"
            )

    def _on_label_info(self, message: LabelInfo) -> None:
        if self._class_map is None:
            self._class_map = ClassMap(class_names_from_msg(message))

    def _on_image(self, message: Image | CompressedImage, info: dict[str, Any]) -> None:
        self._sync.add_image(to_nanoseconds(message.header.stamp), _stamped(message, info))
        self._seen.publish(message.header)
        self._go_on()

    def _on_labels(self, message: Image, info: dict[str, Any]) -> None:
        if self._run is not None:
            self._sync.add_labels(to_nanoseconds(message.header.stamp), _stamped(message, info))
            self._go_on()

    def _on_active(self, message: ActiveClasses) -> None:
        if self._run is not None and message.stage == ActiveClasses.DECODED:
            self._sync.add_active(to_nanoseconds(message.header.stamp), message)
            self._go_on()

    def _on_truth(self, message: Image | CompressedImage) -> None:
        if self._run is not None:
            self._sync.add_truth(to_nanoseconds(message.header.stamp), message)
            self._go_on()

    def _on_ended(self, message: DiagnosticStatus) -> None:
        self._end = replay_end_from_msg(message)
        self._heard = time.monotonic()

    def _go_on(self) -> None:
        if self._run is not None:
            for frame in self._sync.ready():
                self._judge(self._run, frame)
        self._heard = time.monotonic()

    def _pulse(self) -> None:
        if self._run is None:
            self._ask_for_parameters()
            if self._vocabulary is not None and self._node_values is not None and self._lacking() is None:
                self._begin(self._vocabulary, self._node_values)
        now = time.monotonic()
        if now - self._said > _SAY_SECONDS:
            self._said = now
            self._say()
        if self._end is not None and not self.finished.is_set():
            self._finish_if_done(self._end, now - self._heard)

    def _say(self) -> None:
        if self._run is None:
            self.get_logger().info(f"waiting for {self._lacking()}")
        elif self._run.frames:
            score = self._run.mean_iou
            metric = "" if score is None else f", mIoU {100 * score:.1f} %"
            failed = f", {self._run.failed} of them failed" if self._run.failed else ""
            self.get_logger().info(f"{self._run.frames} images judged{failed}{metric}")

    def _finish_if_done(self, end: ReplayEnd, quiet: float) -> None:
        # The end may overtake earlier messages on other topics.
        complete = self._sync.images >= end.images and not self._sync.unanswered
        here = complete and quiet > _PULSE_SECONDS
        settled = quiet > _SETTLE_SECONDS
        if self._run is not None and (here or settled):
            for frame in self._sync.rest():
                self._judge(self._run, frame)
            if self._sync.images < end.images:
                lost = end.images - self._sync.images
                self._end = ReplayEnd(end.images, (*end.notes, f"{lost} images did not reach the evaluator."))
            self._say()
        if here or settled:
            self.finished.set()

    def _judge(self, run: LiveRun, frame: MatchedFrame) -> None:
        sample = decode_sample(frame.index, frame.stamp, frame.image.message, frame.truth)
        if frame.labels is None:
            run.add_failed(sample, sample.error or "the node gave no labels")
            return
        if frame.active is not None and frame.active.vocabulary_revision != self._revision:
            run.add_failed(
                sample,
                f"it was labelled with revision {frame.active.vocabulary_revision} of the vocabulary, the run is about "
                f"revision {self._revision}",
            )
            return
        try:
            labels = image_to_ids(frame.labels.message)
        except ImageError as error:
            run.add_failed(sample, f"its labels cannot be used: {error}")
            return
        active = None if frame.active is None else active_classes_from_msg(frame.active)
        answer = FrameLabels(labels, int(np.iinfo(labels.dtype).max), active, self._timings(frame))
        run.add(sample, answer, FrameCost(latency=_seconds(frame.image, frame.labels)))

    def _timings(self, frame: MatchedFrame) -> dict[str, float]:
        """Return the time in which the node did nothing but this image: from it or from the labels before, the later.

        Other images of the replay wait meanwhile, so the latency says less of what the node can do.
        """
        before, self._labelled_at = self._labelled_at, frame.labels.published
        latency = _seconds(frame.image, frame.labels)
        if latency is None:
            return {}
        return {"total": min(latency, max(0, frame.labels.published - before) / 1e9)}


def _stamped(message: Any, info: dict[str, Any]) -> _Stamped:
    return _Stamped(message, info["source_timestamp"])


def _seconds(image: _Stamped, labels: _Stamped) -> float | None:
    """None if the clocks do not tell."""
    known = image.published and labels.published >= image.published
    return (labels.published - image.published) / 1e9 if known else None


def command_line(parameters: Mapping[str, Any], remappings: Mapping[str, str]) -> str:
    """Return the command that starts the evaluator with parameters and remappings, quoted for a shell.

    Args:
        parameters: values by name; a list must not be empty.
        remappings: new name by old name.
    """
    parts = ["ros2", "run", "activesam_ros", "evaluator"]
    if parameters or remappings:
        parts.append("--ros-args")
    # JSON is YAML; its quotes keep a text a text that looks like a number.
    for name, value in parameters.items():
        parts += ["-p", f"{name}:={json.dumps(value, ensure_ascii=False)}"]
    for old, new in remappings.items():
        parts += ["-r", f"{old}:={new}"]
    return shlex.join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate until the replay ends, SIGINT or SIGTERM; then write the report of what was done.

    Args:
        arguments: command line including the program's name; None: that of the process.

    Returns:
        exit code: 0 with a report or after a signal, 1 if there cannot be one (one FATAL line says why).
    """
    return run_program("evaluator", _run, arguments)


def _run(ending: threading.Event) -> int:
    evaluator = Evaluator()
    with callbacks_of(evaluator) as failed:
        wait_for_any(ending, evaluator.finished, failed)
    interrupted = not evaluator.finished.is_set()
    if interrupted and not evaluator.frames:
        print("evaluator: ended before the first image was labelled, so there is no report", flush=True)
        return 0
    page, table = evaluator.report(interrupted)
    print(table)
    print(f"report: {page.resolve()}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
