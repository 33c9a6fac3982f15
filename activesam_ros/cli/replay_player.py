"""The node `replay`: plays a recording to the node that labels it, every image, as fast as it is answered."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.duration import Duration
from rclpy.parameter import parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import LabelInfo

from activesam_ros.cli.replay_pacing import Pacing, Stillness, Surroundings, missing
from activesam_ros.configuration.configuration import settings_of
from activesam_ros.datasets.class_map import ClassMap, class_map_of, match_classes, read_mapping
from activesam_ros.datasets.label_origin import LabelOrigin
from activesam_ros.datasets.recordings import RecordedMessage, Recording
from activesam_ros.datasets.samples import COMPRESSED, default_image_topic
from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.scoring import RunningScore
from activesam_ros.msg import ActiveClasses, Vocabulary
from activesam_ros.ros import qos
from activesam_ros.ros.conversions import (
    class_names_to_msg,
    recorded_image_to_msg,
    to_nanoseconds,
    vocabulary_from_msg,
)
from activesam_ros.ros.program import ProgramNode, declare_group
from activesam_ros.settings import SegmenterSettings

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from rclpy.task import Future

    from activesam_ros.cli.replay_recorder import ReplayRecorder
    from activesam_ros.datasets.storage import RawMessage

NODE = "activesam"
LABELS, ACTIVE = f"{NODE}/labels", f"{NODE}/active_classes"
INFO, VOCABULARY = f"{NODE}/label_info", f"{NODE}/vocabulary"

_TRUTH = "ground_truth/labels"
_TRUTH_INFO = "ground_truth/label_info"
_MODEL = ("model", "device", "dtype")
_SETTINGS = tuple(field.name for field in fields(SegmenterSettings))
_SLICE_SECONDS = 0.2
_SAY_SECONDS = 5.0
# Without a sign of the node for so long, a publisher that is gone is gone for good.
_GONE_SECONDS = 5.0
# Truth is recorded a little sooner or later than its image.
_TRUTH_LEEWAY_SECONDS = 1.0
_FLUSH = Duration(seconds=10)
_TRUTH_DEPTH = 100


@dataclass(frozen=True)
class PlayerParameters:
    """What is played, and what becomes of the answers; each field is a parameter of this name.

    Attributes:
        bag: path of the recording.
        image: topic of the images in it; empty: the only one.
        labels: topic of their ground truth in it; empty: none.
        classes: names of its classes: a LabelInfo topic in it, or a YAML file; empty: the LabelInfo beside `labels`.
        start: seconds after the recording's start.
        end: likewise; 0: up to its end.
        unanswered: maximum number of images that are on their way.
        timeout: seconds to wait for the node at the start, and for any answer later.
        clock: whether the stamps of the images are published as time.
        record: folder of a recording of what is played and what the node answers; empty: nothing is recorded.
        out: folder of a report about that recording; empty: it is not evaluated.
        overwrite: whether a recording and an evaluation that are there may be replaced.
        map: YAML file, names in the ground truth to names in the vocabulary; empty: none.
        ignore: ids of the ground truth to leave out.
        tolerance: seconds between the stamps of an image and of its truth.
        command: that repeats all this, for the report alone.
    """

    bag: str = ""
    image: str = ""
    labels: str = ""
    classes: str = ""
    start: float = 0.0
    end: float = 0.0
    unanswered: int = 4
    timeout: float = 300.0
    clock: bool = False
    record: str = ""
    out: str = ""
    overwrite: bool = False
    map: str = ""
    ignore: tuple[int, ...] = ()
    tolerance: float = 0.02
    command: str = ""

    def __post_init__(self) -> None:
        """Raise EvaluationError if a value is missing or out of range."""
        if not self.bag:
            raise EvaluationError("no recording is given; set the parameter bag to its path")
        if self.unanswered < 1:
            raise EvaluationError(f"unanswered is {self.unanswered}; expected at least 1")
        if self.timeout <= 0:
            raise EvaluationError(f"timeout is {self.timeout:g}; expected more than 0 seconds")
        if self.start < 0 or self.end < 0 or (self.end and self.end <= self.start):
            raise EvaluationError(
                f"start is {self.start:g} and end {self.end:g}; expected seconds of the recording, in this order"
            )
        if not self.tolerance >= 0:
            raise EvaluationError(f"tolerance is {self.tolerance:g}; expected seconds, at least 0")
        if self.out and not self.record:
            raise EvaluationError("out is given without record; what is evaluated has to be recorded")


class Player(ProgramNode):
    """The node `replay`; callbacks take the answers while another thread plays.

    Publishes `image` or `image/compressed`, as recorded, `ground_truth/labels` (or that with `/compressed`) and
    `ground_truth/label_info`. Listens to the node on `activesam/labels`, `activesam/vocabulary` and `/diagnostics`, and
    if there is a recorder on `activesam/active_classes` and `activesam/label_info`.

    Attributes:
        given: the parameters.
        image_topic, truth_topic, names_topic: what is played; the last two are None without truth or names.
        labels_topic: of the answers.
        ignored: ids of the truth that do not count.
    """

    def __init__(self, ending: threading.Event) -> None:
        """Declare the parameters.

        Args:
            ending: set when the replay shall end.

        Raises:
            EvaluationError: a parameter is missing or out of range.
        """
        super().__init__("replay")
        self._ending = ending
        self.given = declare_group(self, PlayerParameters, nothing={"ignore": -1})
        self.image_topic = self.resolve_topic_name("image")
        self.truth_topic: str | None = None
        self.names_topic: str | None = None
        self.ignored = self.given.ignore
        self._mapping = read_mapping(Path(self.given.map).expanduser()) if self.given.map else None
        self._recorder: ReplayRecorder | None = None
        self._score: RunningScore | None = None
        self._truths: Any = None
        self._images: Any = None
        self._names: Any = None
        self._matched = 0
        self._unread = 0
        self._labelled = 0
        self._progress = time.monotonic()
        self._stillness = Stillness()
        self._pacing = Pacing([LABELS, ACTIVE] if self.given.record else [LABELS], self.given.unanswered)
        self._vocabulary: Vocabulary | None = None
        self._label_info: LabelInfo | None = None
        self._asked: Future | None = None
        self._node_parameters = AsyncParameterClient(self, NODE)
        self._times = self.create_publisher(Clock, "/clock", 10) if self.given.clock else None
        answers = QoSProfile(depth=max(100, self.given.unanswered))
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._labels = self.create_subscription(Image, LABELS, self._on_labels, answers)
        self.labels_topic = self._labels.topic_name
        if self.given.record:
            self._active = self.create_subscription(ActiveClasses, ACTIVE, self._on_active, answers)
            self.create_subscription(LabelInfo, INFO, self._on_label_info, qos.latched_out())
        # Last: subscriptions are discovered in this order, so a node whose vocabulary has come knows that of ~/labels.
        self._words = self.create_subscription(Vocabulary, VOCABULARY, self._on_vocabulary, qos.latched_out())

    def play(self, recorder: ReplayRecorder | None = None) -> None:
        """Wait for the node, then play until the end, or until `ending` is set.

        Args:
            recorder: takes what is played and answered; None: the node's parameters and the true classes do not matter.

        Raises:
            EvaluationError: the recording cannot be played, or the node did not come or did not answer in time; the
                recorder has what was done until then.
        """
        given = self.given
        notes: list[str] = []
        with Recording(Path(given.bag).expanduser()) as source:
            if given.labels:
                source.require(given.labels)
            topic = given.image or default_image_topic(source, given.labels or None)
            if next(source.messages([topic], given.start or None, given.end or None), None) is None:
                raise EvaluationError(f"{source.path} has no image on {topic} in the part that is asked for")
            classes = self._open(source, topic)
            self._wait_for_others()
            if recorder is not None and not self._ending.is_set():
                self._begin_to_record(recorder, classes)
            failed = True
            try:
                self._play(source, topic)
                self._wait_for_answers()
                self._require_whole(source, topic)
                failed = False
            except EvaluationError as error:
                notes.append(f"The replay ended early: {error}.")
                raise
            finally:
                if self._unread:
                    notes.append(f"{self._unread} messages could not be read and were not played.")
                if self._ending.is_set():
                    notes.append(
                        "The run was interrupted; this is about the images that were labelled until then."
                    )
                self._end([*notes, *source.notes], failed or self._ending.is_set())

    # Preparation: playing thread.

    def _open(self, source: Recording, topic: str) -> ClassMap | None:
        """Create the publishers; return the names of the true classes, None if there are none."""
        given = self.given
        kind = source.require(topic).type
        profile = QoSProfile(depth=given.unanswered, reliability=ReliabilityPolicy.RELIABLE)
        self.image_topic = self._with_transport("image", kind)
        self._images = self.create_publisher(_type(kind), self.image_topic, profile)
        if not given.labels:
            return None
        kind = source.require(given.labels).type
        self.truth_topic = self._with_transport(_TRUTH, kind)
        self._truths = self.create_publisher(_type(kind), self.truth_topic, _TRUTH_DEPTH)
        try:
            classes = class_map_of(source, given.labels, given.classes or None)
        except EvaluationError as error:
            if given.classes or given.out:
                raise
            self.get_logger().warning(f"names of the classes are not played: {error}")
            return None
        self._names = self.create_publisher(LabelInfo, _TRUTH_INFO, qos.latched_out())
        self._names.publish(class_names_to_msg(classes.names))
        self.names_topic = self._names.topic_name
        self.ignored = tuple(sorted({*given.ignore, *classes.ignore}))
        return classes

    def _begin_to_record(self, recorder: ReplayRecorder, classes: ClassMap | None) -> None:
        """Raise EvaluationError if no class of the truth is in the vocabulary."""
        assert self._vocabulary is not None
        matching = None
        if classes is not None:
            vocabulary = vocabulary_from_msg(self._vocabulary)
            matching = match_classes(vocabulary, classes.ignoring(self.ignored), self._mapping)
            self._score = RunningScore(matching, round(self.given.tolerance * 1e9))
            recorder.add(self.names_topic or "", class_names_to_msg(classes.names), latched=True)
        self.get_logger().info(
            f"{len(self._vocabulary.classes)} classes, {len(matching.classes) if matching else 'none'} of them "
            f"evaluated; images from {self.image_topic}"
        )
        recorder.add(self._words.topic_name, self._vocabulary, latched=True)
        if self._label_info is not None:
            recorder.add(self.resolve_topic_name(INFO), self._label_info, latched=True)
        self._recorder = recorder

    def _with_transport(self, name: str, kind: str) -> str:
        topic = self.resolve_topic_name(name)
        return f"{topic}/compressed" if kind == COMPRESSED else topic

    def _wait_for_others(self) -> None:
        deadline = time.monotonic() + self.given.timeout
        said, said_at = "", 0.0
        while not self._ending.is_set():
            lacking = missing(self._surroundings())
            if lacking is None:
                self._matched = self._images.get_subscription_count()
                self._progress = time.monotonic()
                return
            now = time.monotonic()
            if now > deadline:
                raise EvaluationError(f"waited {self.given.timeout:g} s in vain for {lacking}")
            if lacking != said or now - said_at > _SAY_SECONDS:
                said, said_at = lacking, now
                self.get_logger().info(f"waiting for {lacking}")
            self._ending.wait(_SLICE_SECONDS)

    def _surroundings(self) -> Surroundings:
        subscribers = {
            _owner(one): one.qos_profile.reliability == ReliabilityPolicy.RELIABLE
            for one in self.get_subscriptions_info_by_topic(self.image_topic)
        }
        return Surroundings(
            image_topic=self.image_topic,
            labels_topic=self.labels_topic,
            labelling=self._labelling(),
            active=self._vocabulary is not None,
            described=not self.given.record or self._knows_parameters(),
            subscribers=subscribers,
            matched=self._images.get_subscription_count(),
        )

    def _labelling(self) -> list[str]:
        return [_owner(one) for one in self.get_publishers_info_by_topic(self.labels_topic)]

    def _knows_parameters(self) -> bool:
        if self._asked is None and self._node_parameters.services_are_ready():
            self._asked = self._node_parameters.get_parameters([*_MODEL, *_SETTINGS])
        return self._asked is not None and self._asked.done()

    # Playing thread.

    def _play(self, source: Recording, topic: str) -> None:
        expected = source.topics[topic].count
        whole = not self.given.start and not self.given.end
        said = time.monotonic()
        for raw in self._messages(source, topic):
            if raw[1].topic == topic:
                self._wait_for_room()
            if self._ending.is_set():
                return
            self._publish(raw, source.deserialised(raw), topic)
            if time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                self._say(f" of {expected}" if whole else "")

    def _messages(self, source: Recording, topic: str) -> Iterator[RawMessage]:
        """Images of the part that is asked for, and what may be their truth."""
        start, end = self.given.start, self.given.end or None
        if self._truths is None:
            yield from source.serialised([topic], start or None, end)
            return
        first, last = source.part(start, end)
        wide = (
            max(0.0, start - _TRUTH_LEEWAY_SECONDS) or None,
            None if end is None else end + _TRUTH_LEEWAY_SECONDS,
        )
        for raw in source.serialised([topic, self.given.labels], *wide):
            time_ns, connection, _ = raw
            late_enough = first is None or first <= time_ns
            if connection.topic != topic or (late_enough and (last is None or time_ns < last)):
                yield raw

    def _publish(self, raw: RawMessage, one: RecordedMessage, topic: str) -> None:
        message, stamp = None, None
        try:
            if one.message is None:
                raise ValueError(one.error)
            message = recorded_image_to_msg(one.message)
            stamp = to_nanoseconds(message.header.stamp)
        except (ValueError, TypeError, AssertionError, OverflowError) as error:  # of the fields' setters
            self._unread += 1
            self.get_logger().warning(f"a message on {one.topic} is not played: {error}")
        recorder = self._recorder if raw[1].encoding == "cdr" else None
        if one.topic != topic:
            if recorder is not None and self.truth_topic is not None:
                recorder.copy(self.truth_topic, raw)
            if message is not None and stamp is not None:
                self._truths.publish(message)
                if self._score is not None:
                    self._score.add_truth(stamp, message)
            return
        if recorder is not None:
            recorder.send(self.image_topic, raw, stamp)
        if message is None or stamp is None:
            return
        if self._times is not None:
            self._times.publish(Clock(clock=message.header.stamp))
        self._stillness.sent(time.time_ns())
        self._pacing.send(stamp)
        self._progress = time.monotonic()
        self._images.publish(message)

    def _wait_for_room(self) -> None:
        while not self._pacing.wait_for_room(_SLICE_SECONDS) and not self._ending.is_set():
            self._require_progress()
        # A node that was deactivated meanwhile has left the topic, and what it does not get it cannot answer.
        if self._images.get_subscription_count() < self._matched:
            self._wait_for_others()

    def _wait_for_answers(self) -> None:
        while not self._pacing.wait_for_all(_SLICE_SECONDS) and not self._ending.is_set():
            self._require_progress()
        if self._pacing.abandoned:
            self.get_logger().warning(
                f"{self._pacing.abandoned} images got no labels; the node's log says why"
            )

    def _require_whole(self, source: Recording, topic: str) -> None:
        """Raise EvaluationError if no image was played, or fewer than the recording states."""
        if self._ending.is_set():
            return
        if not self._pacing.sent:
            raise EvaluationError(f"none of the images on {topic} could be read")
        shortage = source.shortage(topic)
        if shortage:
            raise EvaluationError(shortage)

    def _require_progress(self) -> None:
        quiet = time.monotonic() - self._progress
        if quiet > _GONE_SECONDS and not self._labels.get_publisher_count():
            raise EvaluationError(f"the node that published {self.labels_topic} is gone; its log says why")
        if quiet > self.given.timeout:
            raise EvaluationError(f"no answer has come on {self.labels_topic} for {self.given.timeout:g} s")

    def _end(self, notes: list[str], early: bool) -> None:
        if self._truths is not None:
            self._truths.wait_for_all_acked(_FLUSH)
        if self._recorder is not None:
            self._recorder.finish(self._origin(notes), early)
        self._say()

    def _origin(self, notes: list[str]) -> LabelOrigin:
        assert self._asked is not None
        values = dict(
            zip(
                (*_MODEL, *_SETTINGS),
                map(parameter_value_to_python, self._asked.result().values),
                strict=True,
            )
        )
        given = self.given
        return LabelOrigin(
            model={"name": values["model"], "device": values["device"], "dtype": values["dtype"]},
            settings=asdict(settings_of(values)),
            played={
                "recording": given.bag,
                "start": given.start or None,
                "end": given.end or None,
                "command": given.command,
            },
            notes=tuple(notes),
        )

    def _say(self, of: str = "") -> None:
        score = None if self._score is None else self._score.mean_iou
        metric = "" if score is None else f", mIoU {100 * score:.1f} % so far"
        self.get_logger().info(
            f"{self._pacing.sent}{of} images played, {self._labelled} of them labelled{metric}"
        )

    # Callbacks. rclpy hands the message's info to those that take exactly two arguments.

    def _on_labels(self, message: Image, info: dict[str, Any]) -> None:
        stamp = to_nanoseconds(message.header.stamp)
        self._record(self.labels_topic, message, info["source_timestamp"])
        self._labelled += 1
        self._answered(LABELS, stamp)
        if self._score is not None:
            self._score.add_labels(stamp, message)

    def _on_active(self, message: ActiveClasses, info: dict[str, Any]) -> None:
        self._record(self._active.topic_name, message, info["source_timestamp"])
        if message.stage == ActiveClasses.DECODED:
            self._answered(ACTIVE, to_nanoseconds(message.header.stamp))

    def _record(self, topic: str, message: Image | ActiveClasses, published: int) -> None:
        if self._recorder is None:
            return
        try:
            self._recorder.add(topic, message, published)
            if topic == self.labels_topic:
                self._recorder.answered(to_nanoseconds(message.header.stamp))
        except OSError:  # as of a full disk: what is played now would be lost
            self._ending.set()
            raise

    def _answered(self, topic: str, stamp: int) -> None:
        self._progress = time.monotonic()
        self._pacing.answered(topic, stamp)

    def _on_label_info(self, message: LabelInfo) -> None:
        self._label_info = message
        if self._recorder is not None:
            self._recorder.add(self.resolve_topic_name(INFO), message, latched=True)

    def _on_vocabulary(self, message: Vocabulary) -> None:
        if self._recorder is None:
            self._vocabulary = message
            return
        self._recorder.add(self._words.topic_name, message, latched=True)
        self.get_logger().warning(
            f"the node has another vocabulary now (revision {message.revision}); images labelled with it are not "
            "evaluated"
        )

    def _on_diagnostics(self, message: DiagnosticArray, info: dict[str, Any]) -> None:
        names = {_camera_status(owner, self.labels_topic) for owner in self._labelling()}
        for status in message.status:
            if status.name not in names:
                continue
            values = {one.key: one.value for one in status.values}
            try:
                received = int(values["received"])
                pending = int(values["waiting"]) + int(values["in work"])
            except (KeyError, ValueError):  # another version's
                continue
            if self._stillness.counted(info["source_timestamp"], received, pending):
                self._pacing.abandon()


def _camera_status(owner: str, labels_topic: str) -> str:
    """Name of the status that counts the frames behind a topic of labels."""
    camera = labels_topic.removeprefix(f"{owner}/").removesuffix("labels").strip("/")
    return f"{owner.lstrip('/')}: camera {camera}".rstrip()


def _owner(endpoint: Any) -> str:
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def _type(kind: str) -> type:
    return CompressedImage if kind == COMPRESSED else Image
